'use strict'

const path = require('node:path')
const { LOAD_OPTIONS, loadOptions } = require('./command.js')
const { bar, bytes, figure, gigabytesPerSecond, seconds, table } = require('./format.js')

function draw(plan) {
  const parts = [
    { name: `weights, ${plan.mode}`, value: plan.weightsBytes, mark: '█' },
    { name: `KV cache at ${plan.context} tokens`, value: plan.kvBytes, mark: '▓' },
    { name: 'scratch', value: plan.scratchBytes, mark: '▒' },
    { name: 'header and tokenizer', value: plan.metadataBytes, mark: '░' },
  ]
  const needed = parts.reduce((sum, { value }) => sum + value, 0)
  const rows = parts.map(({ name, value, mark }) => [mark, name, bytes(value)])
  rows.push(['', 'together', bytes(needed)], ['.', 'memory', bytes(plan.memoryBytes)])
  return (
    `${path.basename(plan.path)}: ${plan.architecture}, ${plan.layers} layers, context ${plan.context} of ${plan.contextTrained}\n\n` +
    `  ${bar(parts, plan.memoryBytes)}\n\n` +
    table(rows, { right: [2], indent: '  ' }) +
    `\n${plan.fits ? 'Fits.' : 'Does not fit: weights will be read from disk again and again.'} ` +
    `A token reads ${bytes(plan.weightsBytesPerToken)} of weights; at ${gigabytesPerSecond(plan.readBandwidth)} with ${plan.threads} threads ` +
    `that takes ${seconds(plan.secondsPerToken)}: about ${figure(plan.tokensPerSecond)} tokens/s.\n` +
    plan.warnings.map((warning) => `warning: ${warning}\n`).join('')
  )
}

async function run(values, [file], terminal) {
  const made = await require('../index.js').plan(file, loadOptions(values))
  await (values.json ? terminal.json(made) : terminal.write(draw(made)))
}

module.exports = {
  name: 'plan',
  words: 'MODEL',
  counts: { least: 1, most: 1 },
  summary: 'Shows what a model will take, and how fast it can be, from its header alone.',
  options: LOAD_OPTIONS,
  run,
}
