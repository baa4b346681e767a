'use strict'

// Several generations at once: every step of the model is one pass over its weights for all of them together, so that four texts
// take little longer than one.
//
//   node examples/concurrent.js [MODEL.gguf]

const path = require('node:path')
const { loadModel } = require('..')

const [file = path.join(__dirname, '..', 'models', 'demo.gguf')] = process.argv.slice(2)
const prompts = ['The prince', 'In the evening', 'She said that', 'The army']
const options = { maxTokens: 48, seed: 7 }

async function main() {
  const model = await loadModel(file)
  const stepsOf = async (work) => {
    const before = model.stats().work.steps
    await work()
    return model.stats().work.steps - before
  }
  const oneByOne = await stepsOf(async () => {
    for (const prompt of prompts) await model.generate(prompt, options)
  })
  const together = await stepsOf(async () => {
    const results = await Promise.all(prompts.map((prompt) => model.generate(prompt, options)))
    results.forEach(({ text }, i) => console.log(`${prompts[i]}${text}\n`))
  })
  console.log(`one by one: ${oneByOne} steps, together: ${together}`)
  await model.close()
}

main().catch((error) => {
  console.error(`${error.message} (${error.code})`)
  process.exitCode = 1
})
