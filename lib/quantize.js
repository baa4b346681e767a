'use strict'

const binding = require('./binding.js')
const { withCancel } = require('./cancel.js')
const { located } = require('./errors.js')
const { QUANTIZE } = require('./options.js')
const v = require('./validate.js')

const SECONDS = 0.05 // of work between two reports

async function quantize(input, output, options) {
  const files = [v.filePath('input', input), v.filePath('output', output)]
  const { signal, onProgress, ...native } = v.options('quantize()', options, QUANTIZE)
  if (native.type === undefined) throw v.invalid("quantize(): the option 'type' is missing, such as 'Q4_K_M'")
  signal?.throwIfAborted()
  const quantizer = await located(binding.openQuantizer(...files, native))
  // A process that ends in the middle takes the unfinished file with it.
  const onExit = () => binding.stopQuantizer(quantizer)
  process.on('exit', onExit)
  try {
    await withCancel(signal, async (cancel) => {
      for (let done = 0, total = Infinity; done < total; ) {
        ;({ done, total } = await binding.runQuantizer(quantizer, SECONDS, cancel))
        onProgress?.({ phase: 'weights', done, total })
      }
    })
    const { weighted, unweighted, ...info } = binding.quantizerInfo(quantizer)
    return { path: files[1], ...info, ...(native.imatrix !== undefined && { imatrix: { weighted, unweighted } }) }
  } finally {
    process.off('exit', onExit)
    binding.closeQuantizer(quantizer)
  }
}

module.exports = { quantize }
