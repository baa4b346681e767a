'use strict'

const { integer, pick, text } = require('./command.js')
const { bytes, gigabytesPerSecond, seconds } = require('./format.js')

function weighed({ type, imatrix }) {
  if (!imatrix) return ''
  const { weighted, unweighted } = imatrix
  if (weighted + unweighted === 0) return `no tensor of ${type} takes importances: the matrix changes nothing\n`
  return `${weighted} ${weighted === 1 ? 'tensor' : 'tensors'} weighed by importance${unweighted > 0 ? `, ${unweighted} not: the matrix does not know them` : ''}\n`
}

async function run(values, [input, output, type], terminal) {
  const { quantize } = require('../index.js')
  const stop = new AbortController()
  const onInterrupt = () => stop.abort()
  process.on('SIGINT', onInterrupt).on('SIGTERM', onInterrupt)
  const began = performance.now()
  try {
    const result = await quantize(input, output, {
      type,
      ...pick(values, ['threads', 'requantize', 'imatrix']),
      signal: stop.signal,
      onProgress: ({ done, total }) => {
        const left = ((performance.now() - began) / 1000 / done) * (total - done)
        if (done > 0) terminal.progress(`${bytes(done)} of ${bytes(total)}, ${seconds(left)} left`)
      },
    })
    terminal.clear()
    const elapsed = (performance.now() - began) / 1000
    if (values.json) await terminal.json({ input, ...result, seconds: elapsed })
    else await terminal.write(`${output}: ${result.type}, ${bytes(result.outputBytes)} from ${bytes(result.inputBytes)} in ${seconds(elapsed)} (${gigabytesPerSecond(result.inputBytes / elapsed)})\n${weighed(result)}`)
  } catch (error) {
    if (!stop.signal.aborted) throw error
    terminal.note('stopped; nothing is left of the new file')
    return 130
  } finally {
    process.off('SIGINT', onInterrupt).off('SIGTERM', onInterrupt)
  }
  return 0
}

module.exports = {
  name: 'quantize',
  words: 'MODEL OUTPUT TYPE',
  counts: { least: 3, most: 3 },
  summary: 'Writes a model with its matrices in another type: Q8_0, Q4_0, Q4_K_M, ...',
  options: {
    threads: { value: 'N', help: 'compute threads (default: one per processor)', read: integer(1) },
    imatrix: { value: 'FILE', help: 'importance matrix (.gguf or .dat, as llama.cpp writes them) that values are weighed with', read: text },
    requantize: { help: 'also from a model that is quantized already, adding one loss to the other' },
  },
  run,
}
