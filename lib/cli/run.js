'use strict'

const fs = require('node:fs')
const path = require('node:path')
const { LOAD_OPTIONS, UsageError, integer, loadOptions, number, pick, text } = require('./command.js')
const { bytes, figure, seconds } = require('./format.js')

const DEMO = path.resolve(__dirname, '..', '..', 'models', 'demo.gguf')
const DEMO_TOKENS = 200

const SAMPLING = {
  'max-tokens': { value: 'N', help: 'end after N tokens (default: when the model ends the text)', read: integer(1) },
  temperature: { value: 'T', help: 'how freely tokens are chosen; 0: always the most likely (default 0.8)', read: number(0) },
  'top-k': { value: 'K', help: 'choose among the K most likely tokens, 0: all (default 40)', read: integer(0) },
  'top-p': { value: 'P', help: 'choose among the tokens that together have probability P (default 0.95)', read: number(0, 1) },
  'min-p': { value: 'P', help: 'choose among the tokens P times as likely as the best (default 0.05)', read: number(0, 1) },
  seed: { value: 'N', help: 'the same seed gives the same text', read: integer(0) },
  stop: { value: 'TEXT', help: 'end before TEXT; may be given several times', read: text, multiple: true },
}

const camel = (name) => name.replace(/-(\w)/g, (_, letter) => letter.toUpperCase())

function summary({ usage, timings, finishReason }, model) {
  const { memory } = model.stats()
  return [
    `${usage.promptTokens} prompt tokens in ${seconds(timings.promptMs / 1000)} (${figure(timings.promptPerSecond)}/s)`,
    `${usage.completionTokens} tokens in ${seconds(timings.completionMs / 1000)} (${figure(timings.completionPerSecond)}/s)`,
    finishReason,
    `peak ${bytes(memory.peakBytes)} beside the weights`,
  ].join(', ')
}

async function run(values, [file, prompt = ''], terminal) {
  const { loadModel } = require('../index.js')
  if (!file && !fs.existsSync(DEMO)) {
    throw new UsageError('no model given, and this package has no demo model (models/demo.gguf): chord run MODEL.gguf [PROMPT]')
  }
  const given = Object.fromEntries(Object.entries(pick(values, Object.keys(SAMPLING))).map(([name, value]) => [camel(name), value]))
  const options = file ? given : { maxTokens: DEMO_TOKENS, ...given }

  let stoppedAt = 0
  const model = await loadModel(file ?? DEMO, loadOptions(values))
  const generation = model.generate(prompt, options)
  // A terminal and a parent such as npm may both pass on the same Ctrl-C; one that comes later means it.
  const onInterrupt = () => {
    if (stoppedAt > 0 && performance.now() - stoppedAt > 500) process.exit(130)
    stoppedAt ||= performance.now()
    generation.cancel()
  }
  process.on('SIGINT', onInterrupt).on('SIGTERM', onInterrupt)
  try {
    if (!values.json) {
      if (prompt !== '') await terminal.write(prompt)
      for await (const piece of generation) await terminal.write(piece)
    }
    const result = await generation
    if (values.json) await terminal.json({ model: model.info.path, prompt, ...result })
    else await terminal.write('\n')
    if (values.stats || stoppedAt > 0) terminal.note(summary(result, model))
  } finally {
    // After a stop they stay: a second Ctrl-C on its way must not kill a process that is ending by itself.
    if (stoppedAt === 0) process.off('SIGINT', onInterrupt).off('SIGTERM', onInterrupt)
    await model.close()
  }
  return stoppedAt > 0 ? 130 : 0
}

module.exports = {
  name: 'run',
  words: '[MODEL] [PROMPT]',
  counts: { least: 0, most: 2 },
  summary: 'Continues a text. Without a model, the demo model of the package writes.',
  options: { ...SAMPLING, ...LOAD_OPTIONS, stats: { help: 'tokens, speed and memory, on standard error' } },
  run,
}
