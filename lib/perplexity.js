'use strict'

const { invalid } = require('./validate.js')

// Windows that are in the model's scheduler at once: their steps share passes over the weights.
const AT_ONCE = 4

/**
 * The windows of a text: { from, first }, where tokens[from + first ...] to the window's end are scored.
 *
 * Without a stride, windows lie side by side and each is scored in its second half, as llama.cpp's perplexity tool does it: the
 * first half is context only. With one, windows begin every `stride` tokens and score their last `stride` tokens. A text shorter
 * than a window is one window; of a longer one, what is left over at its end is not scored.
 */
function windowsOf(nTokens, context, stride) {
  const length = Math.min(context, nTokens)
  const first = stride === undefined || length < context ? Math.floor(length / 2) + 1 : length - stride
  const windows = []
  for (let from = 0; from + length <= nTokens; from += stride ?? length) windows.push({ from, first })
  return { length, windows }
}

async function measurePerplexity({ tokens, bos, context, stride, score, signal, onProgress }) {
  if (tokens.length < 3) throw invalid(`text: expected at least 3 tokens to measure perplexity, got ${tokens.length}`)
  const { length, windows } = windowsOf(tokens.length, context, stride)
  const results = new Array(windows.length)
  let next = 0
  let done = 0
  const work = async () => {
    while (next < windows.length) {
      const i = next++
      const { from, first } = windows[i]
      const window = tokens.slice(from, from + length)
      if (bos !== null) window[0] = bos
      results[i] = await score(window, first)
      done++
      onProgress?.({ phase: 'perplexity', done, total: windows.length, perplexity: summarize(results).perplexity })
    }
  }
  signal?.throwIfAborted()
  const workers = Array.from({ length: Math.min(AT_ONCE, windows.length) }, () =>
    work().catch((error) => {
      next = windows.length // the others begin nothing new
      throw error
    }),
  )
  const failure = (await Promise.allSettled(workers)).find(({ status }) => status === 'rejected')
  if (failure) throw failure.reason
  return { ...summarize(results), windows: windows.length }
}

// In the order of the windows, so that the sum does not depend on which finished first.
function summarize(results) {
  let nll = 0
  let tokens = 0
  for (const result of results) {
    if (!result) continue
    nll += result.nll
    tokens += result.scored
  }
  return { perplexity: Math.exp(nll / tokens), tokens }
}

module.exports = { measurePerplexity }
