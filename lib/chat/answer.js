'use strict'

const SECRET = Symbol('chord')

/**
 * An answer being given: a stream of its text and a promise of its result, in one object, as a Generation is. Beside the text its events
 * tell what else comes, such as reasoning.
 *
 * `produce({ emit, onCancel, isCancelled })` does the work and returns the result: emit(event) hands on what has come, onCancel(stop) names
 * what a cancel stops now.
 */
class Answer {
  #events = []
  #texts = []
  #settled = false
  #failed = false
  #error
  #cancelled = false
  #stop = null
  #signal
  #onAbort = () => this.cancel()
  #result
  #wake = null
  #news = null
  #readable = null

  constructor(secret, produce, signal) {
    if (secret !== SECRET) throw new TypeError('a ChatAnswer is made by chat.send()')
    this.#signal = signal
    if (signal?.aborted) this.#cancelled = true
    else signal?.addEventListener('abort', this.#onAbort, { once: true })
    this.#result = this.#run(produce)
    this.#result.catch(() => {}) // whoever awaits sees the error; nobody has to
  }

  async #run(produce) {
    const controls = {
      emit: (event) => this.#take(event),
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
    } catch (error) {
      this.#failed = true
      this.#error = error
      throw error
    } finally {
      this.#settled = true
      this.#stop = null
      this.#signal?.removeEventListener('abort', this.#onAbort)
      this.#wakeReaders()
    }
  }

  /** Stops within one layer of the step under way. The result then has what was said so far. */
  cancel() {
    if (this.#cancelled || this.#settled) return
    this.#cancelled = true
    this.#stop?.()
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
    return 'ChatAnswer'
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
      // Whoever left the loop finds the chat at rest.
      this.cancel()
      await this.#result.catch(() => {})
    }
  }

  #take(event) {
    this.#events.push(event)
    if (event.type === 'text' && event.text !== '') this.#texts.push(event.text)
    this.#wakeReaders()
  }

  #wakeReaders() {
    this.#wake?.()
    this.#wake = this.#news = null
  }
}

const startAnswer = (produce, signal) => new Answer(SECRET, produce, signal)

module.exports = { Answer, startAnswer }
