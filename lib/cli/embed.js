'use strict'

const { LOAD_OPTIONS, integer, loadOptions, oneOf, pick } = require('./command.js')

const SHOWN = 6 // elements of a vector that people are shown

const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0)
const short = (text) => JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}...` : text)

async function run(values, [file, ...texts], terminal) {
  const { loadModel } = require('../index.js')
  const model = await loadModel(file, loadOptions(values))
  try {
    const vectors = await model.embed(texts, pick(values, ['dimensions', 'pooling']))
    if (values.json) {
      await terminal.json({ model: model.info.path, embeddings: texts.map((text, i) => ({ text, vector: Array.from(vectors[i]) })) })
      return
    }
    for (const [i, vector] of vectors.entries()) {
      const begin = Array.from(vector.subarray(0, SHOWN), (x) => x.toFixed(4)).join(', ')
      const near = i > 0 ? `, ${dot(vectors[0], vector).toFixed(4)} near the first` : ''
      await terminal.write(`${short(texts[i])}: [${begin}${vector.length > SHOWN ? ', ...' : ''}] of ${vector.length}${near}\n`)
    }
  } finally {
    await model.close()
  }
}

module.exports = {
  name: 'embed',
  words: 'MODEL TEXT...',
  counts: { least: 2, most: Infinity },
  summary: 'Prints the vectors of texts; with --json all of their numbers.',
  options: {
    dimensions: { value: 'N', help: 'the first N numbers, for models that are trained for that', read: integer(1) },
    pooling: { value: 'HOW', help: "mean, cls or last: what of a text's tokens makes its vector (default: by the model)", read: oneOf('mean', 'cls', 'last') },
    ...LOAD_OPTIONS,
  },
  run,
}
