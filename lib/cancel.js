'use strict'

const binding = require('./binding.js')
const { located } = require('./errors.js')

/** Runs `work(cancel handle)`; an abort of `signal` stops it, and then its reason is what is thrown. */
async function withCancel(signal, work) {
  if (!signal) return located(work(undefined))
  signal.throwIfAborted()
  const cancel = binding.makeCancel()
  const onAbort = () => binding.requestCancel(cancel)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await located(work(cancel))
  } catch (error) {
    throw signal.aborted && error.code === 'CANCELLED' ? signal.reason : error
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

module.exports = { withCancel }
