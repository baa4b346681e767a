'use strict'

const binding = require('./binding.js')
const { ChordError, located } = require('./errors.js')
const v = require('./validate.js')

// Tokens that are handed to the scheduler at once, of as many texts: a few of its batches. The next are tokenized meanwhile.
const TOKENS_AT_ONCE = 1024
const POOLINGS = { mean: 1, cls: 2, last: 3 }

/**
 * Computes the vectors of texts, in groups of about TOKENS_AT_ONCE tokens of which two are with the scheduler at a time.
 *
 * `tokensOf(index)` gives a text's { tokens, second } (where its second part begins, 0: nowhere) or a promise of that. Rejects with the
 * first error or the signal's reason; nothing is computed then any more.
 */
async function embedTexts({ handle, n, tokensOf, pooling, signal, take }) {
  const running = new Set()
  const groups = new Set()
  let failure = null
  const fail = (error) => {
    failure ??= { error }
    for (const job of running) binding.cancelJob(job)
  }
  const onAbort = () => fail(signal.reason)
  signal?.throwIfAborted()
  signal?.addEventListener('abort', onAbort, { once: true })

  const submit = (texts) => {
    let left = texts.length
    let end
    const done = new Promise((resolve) => (end = resolve))
    const listeners = texts.map(({ index }, i) => (events, rest, promptDone, final) => {
      if (!final) return
      running.delete(jobs[i])
      if (final.error) fail(final.error)
      else if (final.finish === 'cancelled') fail(new ChordError('the model was closed while it worked on this', { code: 'CLOSED' }))
      else take(index, final.embedding)
      if (--left === 0) end()
    })
    const lists = [texts.map(({ tokens }) => tokens), texts.map(({ second }) => second ?? 0)]
    const jobs = binding.embed(handle, ...lists, POOLINGS[pooling] ?? 0, listeners)
    for (const job of jobs) running.add(job)
    return done
  }

  try {
    for (let index = 0; index < n && !failure; ) {
      const texts = []
      for (let total = 0; index < n && total < TOKENS_AT_ONCE && !failure; index++) {
        const made = tokensOf(index)
        const text = made instanceof Promise ? await made : made
        if (failure) break
        texts.push({ index, ...text })
        total += text.tokens.length
      }
      if (failure) break
      const group = submit(texts)
      groups.add(group)
      group.then(() => groups.delete(group))
      if (groups.size > 1) await Promise.race(groups)
    }
  } catch (error) {
    fail(error)
  }
  await Promise.all(groups)
  signal?.removeEventListener('abort', onAbort)
  if (failure) throw failure.error
}

/** Scales a vector to length 1, in place; one of zeros stays as it is. */
function normalize(vector) {
  let squares = 0
  for (const x of vector) squares += x * x
  const length = Math.sqrt(squares)
  if (length > 0) for (let i = 0; i < vector.length; i++) vector[i] /= length
  return vector
}

/** The first `dimensions` elements, of length 1 if wanted; always an array of its own memory. */
function finished(vector, dimensions, wantsNormal) {
  const cut = dimensions < vector.length ? vector.slice(0, dimensions) : vector
  return wantsNormal ? normalize(cut) : cut
}

/** A text, or an array of texts, as an array. */
function textList(name, value) {
  if (typeof value === 'string') return [value]
  if (!Array.isArray(value)) throw v.invalidOption(name, 'a string or an array of strings', value)
  value.forEach((text, i) => {
    if (typeof text !== 'string') throw v.invalidOption(`${name}[${i}]`, 'a string', text)
  })
  return value
}

function checkLength(what, nTokens, context) {
  if (nTokens > context) {
    throw new ChordError(`${what} has ${nTokens} tokens and the context holds ${context}: shorten it, or cut it into parts`, { code: 'CONTEXT_FULL' })
  }
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x))

/** What a classifier's labels say of how well a document answers: from 0 to 1. Of two labels, the first is yes. */
function relevance(labels) {
  return labels.length === 1 ? sigmoid(labels[0]) : sigmoid(labels[0] - labels[1])
}

module.exports = { checkLength, embedTexts: (work) => located(embedTexts(work)), finished, relevance, textList }
