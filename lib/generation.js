'use strict'

const binding = require('./binding.js')
const { TextLog, TextStream } = require('./stream.js')
const v = require('./validate.js')

const SECRET = Symbol('chord')

const perSecond = (n, seconds) => (seconds > 0 ? n / seconds : 0)

/** A text being generated: a stream of its pieces and a promise of its result, in one object. A reader that leaves early cancels the generation. */
class Generation extends TextStream {
  #log
  #handle = null
  #cancelled = false
  #signal
  #onAbort = () => this.#settle(this.#signal.reason)
  #withLogprobs
  #withValue
  #sample // the caller's own sampler
  #state // what it is told, beside logits

  /**
   * `prompt`: the tokens, or a promise of them. `submit(tokens, listener)` hands the work to the addon and returns its handle; what
   * it throws this throws, if the tokens are there.
   */
  constructor(secret, prompt, submit, { signal, withLogprobs, withValue, sample }) {
    if (secret !== SECRET) throw new TypeError('a Generation is made by model.generate()')
    const log = new TextLog()
    super(log)
    this.#log = log
    this.#signal = signal
    this.#withLogprobs = withLogprobs
    this.#withValue = withValue
    this.#sample = sample
    if (signal?.aborted) {
      this.#settle(signal.reason)
      return
    }
    const listener = (events, rest, promptDone, final, asked) => {
      this.#take(events, rest, final)
      if (asked) this.#choose(asked)
    }
    const begin = (tokens) => {
      if (sample) this.#state = { tokens: Array.from(tokens), promptTokens: tokens.length, step: 0 }
      return submit(tokens, listener)
    }
    if (prompt instanceof Promise) this.#submitLater(prompt, begin)
    else this.#handle = begin(prompt)
    signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  async #submitLater(prompt, submit) {
    let promptTokens = 0
    try {
      const tokens = await prompt
      promptTokens = tokens.length
      if (this.#log.isSettled) return
      if (!this.#cancelled) this.#handle = submit(tokens)
    } catch (error) {
      // The model was closed in between: that cancels, as it does a generation under way.
      if (error.code === 'CLOSED') this.#cancelled = true
      else this.#settle(error)
    }
    if (this.#cancelled && !this.#handle && !this.#log.isSettled) {
      this.#finish({ finish: 'cancelled', promptTokens, generatedTokens: 0, promptSeconds: 0, generateSeconds: 0 })
    }
  }

  /** Stops within one layer of the step under way. The result then has what was generated so far. */
  cancel() {
    this.#cancelled = true
    if (!this.#log.isSettled && this.#handle) binding.cancelJob(this.#handle)
  }

  get [Symbol.toStringTag]() {
    return 'Generation'
  }

  /** Has the caller's sampler choose from logits. The addon goes on with this text when it has been told. */
  async #choose(logits) {
    const { length } = logits
    try {
      const token = await this.#sample(logits, this.#state)
      if (this.#log.isSettled) return
      if (!Number.isInteger(token) || token < 0 || token >= length) {
        throw v.invalidOption("what the option 'sample' of generate() returned", `a token id (an integer from 0 to ${length - 1}), or a promise of one`, token)
      }
      binding.chooseToken(this.#handle, token)
    } catch (error) {
      this.#settle(error)
    }
  }

  #take(events, rest, final) {
    if (this.#log.isSettled) return
    for (const event of events ?? []) {
      this.#log.add(event)
      if (this.#state) this.#state.step = this.#state.tokens.push(event.token) - this.#state.promptTokens
    }
    if (rest !== '') this.#log.add({ token: null, text: rest })
    if (final) this.#finish(final)
  }

  #finish(final) {
    if (final.error) {
      this.#settle(final.error)
      return
    }
    const chosen = this.#log.events.filter(({ token }) => token !== null)
    const { promptTokens, generatedTokens, reusedTokens = 0, promptSeconds, generateSeconds } = final
    const { guessedTokens = 0, acceptedTokens = 0, draftedTokens = 0, acceptedDraftTokens = 0 } = final
    this.#release()
    const text = this.#log.texts.join('')
    this.#log.resolve({
      text,
      ...(this.#withValue && final.isOfGrammar ? { value: JSON.parse(text) } : {}),
      tokens: chosen.map(({ token }) => token),
      finishReason: final.finish,
      usage: { promptTokens, reusedTokens, completionTokens: generatedTokens },
      speculation: { guessedTokens, acceptedTokens, draftedTokens, acceptedDraftTokens },
      timings: {
        promptMs: promptSeconds * 1000,
        completionMs: generateSeconds * 1000,
        promptPerSecond: perSecond(promptTokens - reusedTokens, promptSeconds),
        // The first token comes with the prompt.
        completionPerSecond: perSecond(Math.max(0, generatedTokens - 1), generateSeconds),
      },
      ...(this.#withLogprobs ? { logprobs: chosen.map(({ token, logprob, top }) => ({ token, logprob, top })) } : {}),
    })
  }

  #settle(error) {
    if (this.#log.isSettled) return
    this.cancel()
    this.#release()
    this.#log.reject(error)
  }

  #release() {
    this.#signal?.removeEventListener('abort', this.#onAbort)
    this.#handle = null
  }
}

const startGeneration = (prompt, submit, options) => new Generation(SECRET, prompt, submit, options)

/** Runs a job without a stream: resolves with what the addon reports at its end, rejects with its error or the signal's reason. */
function runJob(submit, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    let handle = null
    const onAbort = () => {
      binding.cancelJob(handle)
      reject(signal.reason)
    }
    handle = submit((events, rest, promptDone, final) => {
      if (!final) return
      signal?.removeEventListener('abort', onAbort)
      if (final.error) reject(final.error)
      else resolve(final)
    })
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

module.exports = { Generation, runJob, startGeneration }
