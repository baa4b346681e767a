'use strict'

// Three ways to end a generation early, each within one layer of the step under way.
//
//   node examples/cancel.js [MODEL.gguf]

const path = require('node:path')
const { loadModel } = require('..')

const [file = path.join(__dirname, '..', 'models', 'demo.gguf')] = process.argv.slice(2)

async function main() {
  const model = await loadModel(file)

  // 1. Leave the loop.
  let text = ''
  for await (const piece of model.generate('')) {
    text += piece
    if (text.length > 60) break
  }
  console.log(`break:  ${JSON.stringify(text)}`)

  // 2. cancel(): the promise resolves with what there is.
  const generation = model.generate('')
  setTimeout(() => generation.cancel(), 20)
  const { tokens, finishReason } = await generation
  console.log(`cancel: ${finishReason} after ${tokens.length} tokens`)

  // 3. A signal, as with fetch(): the promise rejects with the signal's reason.
  await model.generate('', { ignoreEos: true, signal: AbortSignal.timeout(10) }).then(
    () => console.log('signal: the text was complete before the time was up'),
    (error) => console.log(`signal: ${error.name}`),
  )
  await model.close()
}

main().catch((error) => {
  console.error(`${error.message} (${error.code})`)
  process.exitCode = 1
})
