'use strict'

const binding = require('./binding.js')
const v = require('./validate.js')

const SECRET = Symbol('chord')

const perSecond = (n, seconds) => (seconds > 0 ? n / seconds : 0)

/**
 * A text being generated: a stream of its pieces and a promise of its result, in one object.
 *
 * Everything that has been generated stays here (no more than the context holds), so that any number of readers may begin at any
 * time, and each reads from the start. A reader that leaves early cancels the generation.
 */
class Generation {
  #handle = null
  #cancelled = false
  #signal
  #onAbort = () => this.#settle(this.#signal.reason)
  #withLogprobs
  #withValue
  #sample // the caller's own sampler
  #state // what it is told, beside logits

  #events = []
  #texts = []
  #settled = false
  #failed = false
  #error
  #resolve
  #reject
  #result = new Promise((resolve, reject) => {
    this.#resolve = resolve
    this.#reject = reject
  })
  #wake = null // resolves the promise that readers wait for
  #news = null
  #readable = null

  /**
   * `prompt`: the tokens, or a promise of them. `submit(tokens, listener)` hands the work to the addon and returns its handle; what
   * it throws this throws, if the tokens are there.
   */
  constructor(secret, prompt, submit, { signal, withLogprobs, withValue, sample }) {
    if (secret !== SECRET) throw new TypeError('a Generation is made by model.generate()')
    this.#signal = signal
    this.#withLogprobs = withLogprobs
    this.#withValue = withValue
    this.#sample = sample
    this.#result.catch(() => {}) // whoever awaits sees the error; nobody has to
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
      if (this.#settled) return
      if (!this.#cancelled) this.#handle = submit(tokens)
    } catch (error) {
      // The model was closed in between: that cancels, as it does a generation under way.
      if (error.code === 'CLOSED') this.#cancelled = true
      else this.#settle(error)
    }
    if (this.#cancelled && !this.#handle && !this.#settled) {
      this.#finish({ finish: 'cancelled', promptTokens, generatedTokens: 0, promptSeconds: 0, generateSeconds: 0 })
    }
  }

  /** Stops within one layer of the step under way. The result then has what was generated so far. */
  cancel() {
    this.#cancelled = true
    if (!this.#settled && this.#handle) binding.cancelJob(this.#handle)
  }

  then(onFulfilled, onRejected) {
    return this.#result.then(onFulfilled, onRejected)
  }

  catch(onRejected) {
    return this.#result.catch(onRejected)
  }

  finally(onFinally) {
    return this.#result.finally(onFinally)
  }

  [Symbol.asyncIterator]() {
    return this.#read(this.#texts)
  }

  events() {
    return this.#read(this.#events)
  }

  get readable() {
    if (this.#readable) return this.#readable
    const texts = this.#read(this.#texts)
    const pull = async (controller) => {
      const { value, done } = await texts.next()
      if (done) controller.close()
      else controller.enqueue(value)
    }
    this.#readable = new ReadableStream({ pull, cancel: () => this.cancel() }, { highWaterMark: 0 })
    return this.#readable
  }

  get [Symbol.toStringTag]() {
    return 'Generation'
  }

  async *#read(list) {
    try {
      for (let i = 0; ; ) {
        while (i < list.length && !this.#failed) yield list[i++]
        if (this.#failed) throw this.#error
        if (this.#settled) return
        this.#news ??= new Promise((resolve) => (this.#wake = resolve))
        await this.#news
      }
    } finally {
      this.cancel()
    }
  }

  /** Has the caller's sampler choose from logits. The addon goes on with this text when it has been told. */
  async #choose(logits) {
    const { length } = logits
    try {
      const token = await this.#sample(logits, this.#state)
      if (this.#settled) return
      if (!Number.isInteger(token) || token < 0 || token >= length) {
        throw v.invalidOption("what the option 'sample' of generate() returned", `a token id (an integer from 0 to ${length - 1}), or a promise of one`, token)
      }
      binding.chooseToken(this.#handle, token)
    } catch (error) {
      this.#settle(error)
    }
  }

  #take(events, rest, final) {
    if (this.#settled) return
    if (events) {
      for (const event of events) {
        this.#events.push(event)
        if (this.#state) this.#state.step = this.#state.tokens.push(event.token) - this.#state.promptTokens
        if (event.text !== '') this.#texts.push(event.text)
      }
    }
    if (rest !== '') {
      this.#events.push({ token: null, text: rest })
      this.#texts.push(rest)
    }
    if (final) this.#finish(final)
    else if (events || rest !== '') this.#wakeReaders()
  }

  #finish(final) {
    if (final.error) {
      this.#settle(final.error)
      return
    }
    const chosen = this.#events.filter(({ token }) => token !== null)
    const { promptTokens, generatedTokens, reusedTokens = 0, promptSeconds, generateSeconds } = final
    const { guessedTokens = 0, acceptedTokens = 0, draftedTokens = 0, acceptedDraftTokens = 0 } = final
    this.#settled = true
    this.#release()
    const text = this.#texts.join('')
    this.#resolve({
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
    if (this.#settled) return
    this.cancel()
    this.#settled = true
    this.#failed = true
    this.#error = error
    this.#release()
    this.#reject(error)
  }

  #release() {
    this.#signal?.removeEventListener('abort', this.#onAbort)
    this.#handle = null
    this.#wakeReaders()
  }

  #wakeReaders() {
    this.#wake?.()
    this.#wake = this.#news = null
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
