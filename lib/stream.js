'use strict'

/**
 * What has come of a text so far and how it ended: the part of a TextStream that only whoever makes the text reaches.
 *
 * Everything stays here (no more than a context holds), so that any number of readers may begin at any time, and each reads from the start.
 */
class TextLog {
  events = []
  texts = []
  isSettled = false
  failure = null // { error }: what readers get next, whatever they have not read
  result // the promise of it
  #resolve
  #reject
  #news = null // the promise that readers wait for
  #wake = null // resolves it

  constructor() {
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.result.catch(() => {}) // whoever awaits sees the error; nobody has to
  }

  /** An event has come; `isText`: what it says is of the text. */
  add(event, isText = true) {
    this.events.push(event)
    if (isText && event.text !== '') this.texts.push(event.text)
    this.#wakeReaders()
  }

  /** Nothing more comes. */
  resolve(value) {
    this.isSettled = true
    this.#wakeReaders()
    this.#resolve(value)
  }

  reject(error) {
    this.isSettled = true
    this.failure = { error }
    this.#wakeReaders()
    this.#reject(error)
  }

  /** A promise that resolves as soon as something has come, or the end. */
  news() {
    this.#news ??= new Promise((resolve) => (this.#wake = resolve))
    return this.#news
  }

  #wakeReaders() {
    this.#wake?.()
    this.#wake = this.#news = null
  }
}

/**
 * A stream of the pieces of a text and a promise of its result, in one object. A reader that leaves early cancels it: cancel() is what a
 * class that extends this one adds.
 */
class TextStream {
  #log
  #leavesAtRest
  #readable = null

  /** `leavesAtRest`: a loop over it that is left early ends only when the result is there. */
  constructor(log, { leavesAtRest = false } = {}) {
    this.#log = log
    this.#leavesAtRest = leavesAtRest
  }

  then(onFulfilled, onRejected) {
    return this.#log.result.then(onFulfilled, onRejected)
  }

  catch(onRejected) {
    return this.#log.result.catch(onRejected)
  }

  finally(onFinally) {
    return this.#log.result.finally(onFinally)
  }

  [Symbol.asyncIterator]() {
    return this.#read(this.#log.texts)
  }

  events() {
    return this.#read(this.#log.events)
  }

  get readable() {
    if (this.#readable) return this.#readable
    const texts = this.#read(this.#log.texts)
    const pull = async (controller) => {
      const { value, done } = await texts.next()
      if (done) controller.close()
      else controller.enqueue(value)
    }
    this.#readable = new ReadableStream({ pull, cancel: () => this.cancel() }, { highWaterMark: 0 })
    return this.#readable
  }

  async *#read(list) {
    const log = this.#log
    try {
      for (let i = 0; ; ) {
        while (i < list.length && !log.failure) yield list[i++]
        if (log.failure) throw log.failure.error
        if (log.isSettled) return
        await log.news()
      }
    } finally {
      this.cancel()
      if (this.#leavesAtRest) await log.result.catch(() => {})
    }
  }
}

module.exports = { TextLog, TextStream }
