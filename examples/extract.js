'use strict'

// Typed data out of a text: whatever the model makes of it, the answer is of the schema.
//
//   node examples/extract.js [MODEL.gguf] [TEXT]

const path = require('node:path')
const { loadModel } = require('..')

const [file = path.join(__dirname, '..', 'models', 'demo.gguf'), text = 'Prince Andrew, who is thirty-one, came back from Vienna on 5 November 1805.'] =
  process.argv.slice(2)

const schema = {
  type: 'object',
  properties: {
    name: { type: 'string', minLength: 1, maxLength: 40 },
    age: { type: 'integer', minimum: 0, maximum: 120 },
    date: { type: 'string', format: 'date' },
    places: { type: 'array', items: { type: 'string', maxLength: 30 }, maxItems: 3 },
    mood: { enum: ['glad', 'sad', 'unknown'] },
  },
  required: ['name', 'age', 'date', 'places', 'mood'],
}

async function main() {
  const model = await loadModel(file)
  const prompt = `Text: ${text}\nThe person in it as JSON, with name, age, date (YYYY-MM-DD), places and mood:\n`
  const { value, finishReason } = await model.generate(prompt, { schema, temperature: 0, maxTokens: 256 })
  if (value) console.log(`${value.name}, ${value.age}, ${value.date}, ${value.mood}; ${value.places.length} places`)
  else console.log(`no whole answer: ${finishReason}`)
  await model.close()
}

main().catch((error) => {
  console.error(`${error.message} (${error.code})`)
  process.exitCode = 1
})
