'use strict'

const path = require('node:path')
const { LOAD_OPTIONS, integer, loadOptions } = require('./command.js')
const { figure, gigabytesPerSecond, median, seconds, table } = require('./format.js')

const spread = (numbers) => ({ median: median(numbers), least: Math.min(...numbers), most: Math.max(...numbers) })
const range = ({ median: middle, least, most }) => `${figure(middle)}  [${figure(least)} - ${figure(most)}]`

/** Token ids that every vocabulary has; each round has its own. */
function promptOf(n, round, vocabulary) {
  let state = 12345 + round
  return Array.from({ length: n }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return (state >>> 8) % vocabulary
  })
}

async function measure(values, file, terminal) {
  const { loadModel, plan } = require('../index.js')
  const { prompt: nPrompt = 128, tokens: nTokens = 32, rounds = 3 } = values
  const planned = await plan(file, loadOptions(values))
  const began = performance.now()
  const model = await loadModel(file, loadOptions(values))
  const loadMs = performance.now() - began
  try {
    const heldAfterLoad = model.stats().memory.heldBytes
    const prefill = []
    const decode = []
    for (let round = 0; round <= rounds; round++) {
      terminal.progress(round === 0 ? 'warming up' : `round ${round} of ${rounds}`)
      const options = { maxTokens: nTokens, ignoreEos: true, temperature: 0, speculate: false }
      const { timings } = await model.generate(promptOf(nPrompt, round, model.info.vocabulary), options)
      if (round === 0) continue
      prefill.push(timings.promptPerSecond)
      decode.push(timings.completionPerSecond)
    }
    terminal.clear()
    const { work } = model.stats()
    const speed = { prefill: spread(prefill), decode: spread(decode) }
    return {
      model: path.resolve(file),
      quantization: model.info.quantization,
      cpu: model.info.cpu,
      threads: model.info.threads,
      decodeThreads: work.decodeThreads,
      prefetchBytes: work.prefetchBytes,
      promptTokens: nPrompt,
      tokens: nTokens,
      rounds,
      loadMs,
      heldAfterLoad,
      prefillPerSecond: speed.prefill,
      decodePerSecond: speed.decode,
      weightsPerSecond: speed.decode.median * planned.weightsBytesPerToken,
      readBandwidth: planned.readBandwidth,
      predictedPerSecond: planned.tokensPerSecond,
    }
  } finally {
    await model.close()
  }
}

function draw(r) {
  const rows = [
    ['load', seconds(r.loadMs / 1000)],
    [`prefill of ${r.promptTokens} tokens, tokens/s`, range(r.prefillPerSecond)],
    [`decode of ${r.tokens} tokens, tokens/s`, range(r.decodePerSecond)],
    ['weights read in decode', `${gigabytesPerSecond(r.weightsPerSecond)} of ${gigabytesPerSecond(r.readBandwidth)} that memory gives (${Math.round((100 * r.weightsPerSecond) / r.readBandwidth)} %)`],
    ['found for decode', `${r.decodeThreads} ${r.decodeThreads === 1 ? 'thread' : 'threads'}, ${r.prefetchBytes} bytes ahead`],
    ['decode that plan predicts, tokens/s', `about ${figure(r.predictedPerSecond)}`],
  ]
  return `${path.basename(r.model)}, ${r.quantization}, ${r.cpu}, ${r.threads} threads, median of ${r.rounds} rounds [least - most]\n${table(rows, { indent: '  ' })}`
}

async function run(values, [file], terminal) {
  const result = await measure(values, file, terminal)
  await (values.json ? terminal.json(result) : terminal.write(draw(result)))
}

module.exports = {
  name: 'bench',
  words: 'MODEL',
  counts: { least: 1, most: 1 },
  summary: 'Measures load time and the speed of prompts (prefill) and of generation (decode).',
  options: {
    prompt: { value: 'N', help: 'tokens of the prompt (default 128)', read: integer(1) },
    tokens: { value: 'N', help: 'tokens to generate (default 32)', read: integer(2) },
    rounds: { value: 'N', help: 'rounds after the one that warms up (default 3)', read: integer(1) },
    ...LOAD_OPTIONS,
  },
  run,
}
