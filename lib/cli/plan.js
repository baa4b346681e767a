'use strict'

const path = require('node:path')
const { LOAD_OPTIONS, loadOptions, text } = require('./command.js')
const { bar, bytes, figure, gigabytesPerSecond, seconds, table } = require('./format.js')

const LAYER_WIDTH = 48
const ROUTES = {
  scattered: 'by random weights (trained ones repeat more and are faster: --routes repeating)',
  repeating: 'by trained models of many small experts',
}

/** A row of blocks per layer: those that stay in memory, and those that are read for every token, spread as they will be. */
function drawLayers({ layerBytes }) {
  const most = Math.max(...layerBytes.map(({ stepBytes }) => stepBytes))
  const rows = layerBytes.map(({ stepBytes, pinnedBytes }, i) => {
    const width = Math.max(1, Math.round((stepBytes / most) * LAYER_WIDTH))
    const pinned = stepBytes === 0 ? 0 : Math.round((pinnedBytes / stepBytes) * width)
    let blocks = ''
    for (let k = 0; k < width; k++) blocks += Math.floor(((k + 1) * pinned) / width) > Math.floor((k * pinned) / width) ? '█' : '·'
    return [i + 1 === layerBytes.length ? 'output' : `layer ${i}`, stepBytes === 0 ? '' : blocks, bytes(pinnedBytes), `of ${bytes(stepBytes)}`]
  })
  return `${table(rows, { right: [2], indent: '  ' })}\n  █ stays in memory   · is read from disk for every token\n`
}

function partsOf(plan) {
  const paged = plan.mode === 'paged'
  const { experts } = plan
  const stay = experts ? plan.pinnedBytes - experts.bytesPerToken * experts.hitShare : plan.pinnedBytes
  return [
    { name: paged ? 'weights that stay' : 'weights, mapped', value: paged ? stay : plan.weightsBytes, mark: '█' },
    ...(experts ? [{ name: 'experts that stay', value: experts.memoryBytes, mark: '▇' }] : []),
    ...(paged ? [{ name: 'weights on their way', value: plan.ringBytes, mark: '▚' }] : []),
    { name: `KV cache at ${plan.context} tokens`, value: plan.kvBytes, mark: '▓' },
    { name: 'scratch', value: plan.scratchBytes, mark: '▒' },
    { name: 'header and tokenizer', value: plan.metadataBytes, mark: '░' },
  ]
}

function speed(plan) {
  const perToken = `that takes ${seconds(plan.secondsPerToken)}: about ${figure(plan.tokensPerSecond)} tokens/s.\n`
  if (plan.mode === 'mapped') {
    return (
      `${plan.fits ? 'Fits.' : 'Does not fit: weights will be read from disk again and again.'} ` +
      `A token reads ${bytes(plan.weightsBytesPerToken)} of weights; at ${gigabytesPerSecond(plan.readBandwidth)} with ${plan.threads} threads ${perToken}`
    )
  }
  const streamed = plan.weightsBytesPerToken - plan.pinnedBytes
  if (plan.experts) {
    const { bytesPerToken, diskBandwidth, hitShare, routes } = plan.experts
    return (
      `Larger than the memory. A token uses ${bytes(plan.weightsBytesPerToken)} of weights, ${bytes(bytesPerToken)} of them of experts; ${(100 * hitShare).toFixed(0)} % of experts' uses ` +
      `find them in memory, if they are chosen as ${ROUTES[routes] ?? `in ${routes}`}. The other ${bytes(streamed)} are read at ${gigabytesPerSecond(diskBandwidth)}; ${perToken}` +
      'KV cache and scratch take memory of experts only while they need it.\n'
    )
  }
  return (
    `Larger than the memory. Of the ${bytes(plan.weightsBytesPerToken)} of weights of a token ${bytes(streamed)} are read from disk, while the others are ` +
    `computed with; at ${gigabytesPerSecond(plan.diskBandwidth)} ${perToken}` +
    'KV cache and scratch take memory of weights only while they need it.\n'
  )
}

/** What the other KV type gains at the end of the context. */
function kvTypes({ kv: { f16, q8_0: q8 }, context }) {
  const time = ({ secondsPerToken }) => (secondsPerToken === null ? 'does not fit' : `${seconds(secondsPerToken)} per token`)
  return (
    `At the end of the context of ${context} tokens, with keys and values in f16: ${bytes(f16.bytes)} of cache, ${time(f16)}; ` +
    `in q8_0 (kv.type): ${bytes(q8.bytes)}, ${time(q8)}.\n`
  )
}

function draw(plan) {
  const parts = partsOf(plan)
  const needed = parts.reduce((sum, { value }) => sum + value, 0)
  const rows = parts.map(({ name, value, mark }) => [mark, name, bytes(value)])
  if (plan.mode === 'mapped') rows.push(['', 'together', bytes(needed)])
  rows.push(['.', 'memory', bytes(plan.memoryBytes)])
  return (
    `${path.basename(plan.path)}: ${plan.architecture}, ${plan.layers} layers, context ${plan.context} of ${plan.contextTrained}\n\n` +
    `  ${bar(parts, plan.memoryBytes)}\n\n` +
    table(rows, { right: [2], indent: '  ' }) +
    `\n${plan.mode === 'paged' ? `${drawLayers(plan)}\n` : ''}${speed(plan)}${kvTypes(plan)}` +
    plan.warnings.map((warning) => `warning: ${warning}\n`).join('')
  )
}

const routesOption = (routes) => (Object.hasOwn(ROUTES, routes) ? routes : { file: routes })

async function run(values, [file], terminal) {
  const made = await require('../index.js').plan(file, { ...loadOptions(values), ...(values.routes ? { routes: routesOption(values.routes) } : {}) })
  await (values.json ? terminal.json(made) : terminal.write(draw(made)))
}

module.exports = {
  name: 'plan',
  words: 'MODEL',
  counts: { least: 1, most: 1 },
  summary: 'Shows what a model will take, and how fast it can be, from its header alone.',
  options: {
    ...LOAD_OPTIONS,
    routes: { value: 'NAME', help: 'scattered, repeating or a file: which experts are chosen (default: scattered)', read: text },
  },
  run,
}
