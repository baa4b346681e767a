'use strict'

const { integer, pick } = require('./command.js')
const { bytes, gigabytesPerSecond, seconds } = require('./format.js')

async function run(values, [input, output, type], terminal) {
  const { quantize } = require('../index.js')
  const stop = new AbortController()
  const onInterrupt = () => stop.abort()
  process.on('SIGINT', onInterrupt).on('SIGTERM', onInterrupt)
  const began = performance.now()
  try {
    const result = await quantize(input, output, {
      type,
      ...pick(values, ['threads', 'requantize']),
      signal: stop.signal,
      onProgress: ({ done, total }) => {
        const left = ((performance.now() - began) / 1000 / done) * (total - done)
        if (done > 0) terminal.progress(`${bytes(done)} of ${bytes(total)}, ${seconds(left)} left`)
      },
    })
    terminal.clear()
    const elapsed = (performance.now() - began) / 1000
    if (values.json) await terminal.json({ input, ...result, seconds: elapsed })
    else await terminal.write(`${output}: ${result.type}, ${bytes(result.outputBytes)} from ${bytes(result.inputBytes)} in ${seconds(elapsed)} (${gigabytesPerSecond(result.inputBytes / elapsed)})\n`)
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
    requantize: { help: 'also from a model that is quantized already, adding one loss to the other' },
  },
  run,
}
