'use strict'

const { TextLog, TextStream } = require('../stream.js')

const SECRET = Symbol('chord')

/**
 * An answer being given: a stream of its text and a promise of its result, in one object, as a Generation is. Beside the text its events
 * tell what else comes, such as reasoning. Whoever left a loop over it finds the chat at rest.
 *
 * `produce({ emit, onCancel, isCancelled })` does the work and returns the result: emit(event) hands on what has come, onCancel(stop) names
 * what a cancel stops now.
 */
class Answer extends TextStream {
  #log
  #cancelled = false
  #stop = null
  #signal
  #onAbort = () => this.cancel()

  constructor(secret, produce, signal) {
    if (secret !== SECRET) throw new TypeError('a ChatAnswer is made by chat.send()')
    const log = new TextLog()
    super(log, { leavesAtRest: true })
    this.#log = log
    this.#signal = signal
    if (signal?.aborted) this.#cancelled = true
    else signal?.addEventListener('abort', this.#onAbort, { once: true })
    this.#run(produce).then(
      (result) => log.resolve(result),
      (error) => log.reject(error),
    )
  }

  async #run(produce) {
    const controls = {
      emit: (event) => this.#log.add(event, event.type === 'text'),
      onCancel: (stop) => {
        this.#stop = stop
        if (this.#cancelled) stop?.()
      },
      isCancelled: () => this.#cancelled,
    }
    try {
      this.#signal?.throwIfAborted()
      const result = await produce(controls)
      this.#signal?.throwIfAborted()
      return result
    } finally {
      this.#stop = null
      this.#signal?.removeEventListener('abort', this.#onAbort)
    }
  }

  /** Stops within one layer of the step under way. The result then has what was said so far. */
  cancel() {
    if (this.#cancelled || this.#log.isSettled) return
    this.#cancelled = true
    this.#stop?.()
  }

  get [Symbol.toStringTag]() {
    return 'ChatAnswer'
  }
}

const startAnswer = (produce, signal) => new Answer(SECRET, produce, signal)

module.exports = { Answer, startAnswer }
