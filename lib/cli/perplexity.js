'use strict'

const fs = require('node:fs')
const { LOAD_OPTIONS, integer, loadOptions, pick } = require('./command.js')
const { figure, seconds } = require('./format.js')

async function run(values, [file, textFile], terminal) {
  const { loadModel } = require('../index.js')
  const text = fs.readFileSync(textFile, 'utf8')
  const model = await loadModel(file, loadOptions(values))
  const began = performance.now()
  try {
    const result = await model.perplexity(text, {
      ...(values.window ? { context: values.window } : {}),
      ...pick(values, ['stride']),
      onProgress: ({ done, total, perplexity }) => {
        const left = ((performance.now() - began) / 1000 / done) * (total - done)
        terminal.progress(`window ${done} of ${total}, perplexity ${perplexity.toFixed(4)}, ${seconds(left)} left`)
      },
    })
    terminal.clear()
    const elapsed = (performance.now() - began) / 1000
    if (values.json) await terminal.json({ model: model.info.path, text: textFile, ...result, seconds: elapsed })
    else await terminal.write(`perplexity ${result.perplexity.toFixed(4)} over ${result.tokens} tokens in ${result.windows} windows, ${seconds(elapsed)} (${figure(result.tokens / elapsed)} scored tokens/s)\n`)
  } finally {
    await model.close()
  }
}

module.exports = {
  name: 'perplexity',
  words: 'MODEL FILE',
  counts: { least: 2, most: 2 },
  summary: 'Measures how well a model foretells the text in a file; less is better.',
  options: {
    window: { value: 'N', help: "tokens of a window (default: 512, or the model's context if that is less)", read: integer(4) },
    stride: { value: 'N', help: 'score the last N tokens of windows that begin every N tokens', read: integer(1) },
    ...LOAD_OPTIONS,
  },
  run,
}
