'use strict'

// How well a model foretells a text: its perplexity, and what it expects to follow a beginning.
//
//   node examples/perplexity.js [MODEL.gguf] [TEXT.txt]

const fs = require('node:fs')
const path = require('node:path')
const { loadModel } = require('..')

const root = path.join(__dirname, '..')
const [file = path.join(root, 'models', 'demo.gguf'), textFile = path.join(root, 'LICENSE')] = process.argv.slice(2)

async function main() {
  const model = await loadModel(file)
  const text = fs.readFileSync(textFile, 'utf8')
  const { perplexity, tokens, windows } = await model.perplexity(text, {
    onProgress: ({ done, total }) => process.stderr.write(`\rwindow ${done} of ${total} `),
  })
  console.log(`\nperplexity of ${path.basename(textFile)}: ${perplexity.toFixed(3)} over ${tokens} tokens in ${windows} windows`)

  // evaluate() gives the logits after a prefix: here, what the model expects next.
  const prompt = model.tokenize(text.slice(0, 40))
  const logits = Array.from(await model.evaluate(prompt), (logit, token) => ({ logit, token }))
  const best = logits.sort((a, b) => b.logit - a.logit).slice(0, 5)
  console.log(`after ${JSON.stringify(model.detokenize(prompt))}:`, best.map(({ token }) => model.detokenize([token])))
  await model.close()
}

main().catch((error) => {
  console.error(`${error.message} (${error.code})`)
  process.exitCode = 1
})
