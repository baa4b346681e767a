'use strict'

// Streams the continuation of a prompt, then shows what it took.
//
//   node examples/generate.js [MODEL.gguf] [PROMPT]

const path = require('node:path')
const { loadModel } = require('..') // require('chord') in a project of yours

const [file = path.join(__dirname, '..', 'models', 'demo.gguf'), prompt = ''] = process.argv.slice(2)

async function main() {
  const model = await loadModel(file)
  const generation = model.generate(prompt, { maxTokens: 120, temperature: 0.7 })

  process.stdout.write(prompt)
  for await (const text of generation) process.stdout.write(text)

  // The same object is also a promise of the whole result.
  const { usage, timings, finishReason } = await generation
  console.log(`\n\n${usage.completionTokens} tokens, ${timings.completionPerSecond.toFixed(1)} per second, ended by ${finishReason}`)
  await model.close()
}

main().catch((error) => {
  console.error(`${error.message} (${error.code})`)
  process.exitCode = 1
})
