'use strict'

/**
 * Reads a text that comes in pieces, for the readers of formats.js: generators that ask for what they need with `yield*` and are suspended
 * until it is there. What they find becomes events, which do not depend on where the pieces were cut, but for how `text` is divided:
 *
 *   { type: 'text' | 'reasoning', text }
 *   { type: 'toolCall', name, arguments }
 *
 * What looks like a call and is none comes as text; a call that the end of the text cuts off comes not at all.
 */
class Scanner {
  #read
  #waiting // is #read suspended until more comes?
  #ended = false
  #buffer = ''
  #isCut = false // did the end come while more was asked for?
  #call = null // what was read of the form of a call so far, null outside of one
  #events = []

  /** `read(scanner)`: a generator function. */
  constructor(read) {
    this.#read = read(this)
    this.#waiting = !this.#read.next().done
  }

  /** The events of the next piece of text. */
  push(text) {
    this.#buffer += text
    return this.#go()
  }

  /** The events that the end of the text brings. */
  end() {
    this.#ended = true
    return this.#go()
  }

  #go() {
    if (this.#waiting) this.#waiting = !this.#read.next().done
    return this.#take()
  }

  #take() {
    const events = this.#events
    this.#events = []
    return events
  }

  // ---- For readers ------------------------------------------------------------------------------------------------------

  /** Waits for more text: false if there is none. */
  *#more() {
    const { length } = this.#buffer
    while (this.#buffer.length === length && !this.#ended) yield
    this.#isCut = this.#buffer.length === length
    return !this.#isCut
  }

  #consume(length) {
    const text = this.#buffer.slice(0, length)
    this.#buffer = this.#buffer.slice(length)
    if (this.#call !== null) this.#call += text
    return text
  }

  #emit(type, text) {
    const last = this.#events.at(-1)
    if (text === '') return
    if (last?.type === type) last.text += text
    else this.#events.push({ type, text })
  }

  /**
   * Gives as events of `type` all up to the first of `markers`, which it consumes and returns; null at the end of the text. With `trim`,
   * white space before a marker is dropped, and at the end too if `trim` is 'end'. No marker may begin with another one.
   */
  *text(type, markers, { trim } = {}) {
    for (;;) {
      const { at, marker } = earliest(this.#buffer, markers)
      const isOver = marker === undefined && this.#ended
      const before = this.#buffer.slice(0, isOver ? this.#buffer.length : at)
      const sure = trim ? before.trimEnd() : before
      if (marker !== undefined) {
        this.#emit(type, sure)
        this.#buffer = this.#buffer.slice(at)
        this.#call = ''
        return this.#consume(marker.length)
      }
      if (isOver) {
        this.#emit(type, trim === 'end' ? sure : before)
        this.#buffer = ''
        return null
      }
      this.#emit(type, sure)
      this.#buffer = this.#buffer.slice(sure.length)
      if (!(yield* this.#more()) && !this.#ended) return null
    }
  }

  /** All up to the first of `markers`; null if the text ends before. */
  *before(...markers) {
    for (;;) {
      const { at, marker } = earliest(this.#buffer, markers)
      if (marker !== undefined) return this.#consume(at)
      if (!(yield* this.#more())) return null
    }
  }

  /** As before(), and consumes the marker. */
  *upTo(marker) {
    const text = yield* this.before(marker)
    if (text !== null) this.#consume(marker.length)
    return text
  }

  /** Consumes white space. */
  *space() {
    for (;;) {
      this.#consume(this.#buffer.length - this.#buffer.trimStart().length)
      if (this.#buffer !== '' || !(yield* this.#more())) return
    }
  }

  /** Consumes the one of `literals` that comes next and returns it; null if none does. */
  *accept(...literals) {
    for (;;) {
      const found = literals.find((literal) => this.#buffer.startsWith(literal))
      if (found !== undefined) return this.#consume(found.length)
      const undecided = literals.some((literal) => literal.startsWith(this.#buffer))
      if (!undecided || !(yield* this.#more())) return null
    }
  }

  /** Whether `literal` comes next; nothing is consumed. */
  *comes(literal) {
    while (literal.startsWith(this.#buffer) && this.#buffer.length < literal.length) if (!(yield* this.#more())) break
    this.#isCut = false
    return this.#buffer.startsWith(literal)
  }

  /** From here on it may be a call. text() says so itself of what follows a marker. */
  begin() {
    this.#call = ''
  }

  /** The value of the JSON object or array that comes next; undefined if none does, or none that is whole. */
  *json() {
    yield* this.space()
    let depth = 0
    let isString = false
    for (let i = 0; ; i++) {
      while (i >= this.#buffer.length) if (!(yield* this.#more())) return undefined
      const c = this.#buffer[i]
      if (isString) {
        if (c === '\\') i++
        else if (c === '"') isString = false
      } else if (c === '"') isString = true
      else if (c === '{' || c === '[') depth++
      else if (c === '}' || c === ']') depth--
      if (depth === 0) return i === 0 ? undefined : parsed(this.#consume(i + 1))
    }
  }

  /** A call is whole: its event. `id`: of the text, if it has one. */
  call(name, args, id) {
    this.#call = ''
    this.#events.push({ type: 'toolCall', name, arguments: args, ...(id !== undefined && { id }) })
  }

  /** What was read since begin() or call() was no call: it is text, unless it was one that the end cut off. */
  noCall() {
    if (this.#isCut) this.#buffer = ''
    else this.#emit('text', this.#call)
    this.#call = ''
  }
}

/** Where the first of `markers` begins in `text`, or the place from which on one may still come. */
function earliest(text, markers) {
  let at = text.length
  let marker
  for (const each of markers) {
    const found = text.indexOf(each)
    if (found >= 0 && found < at) [at, marker] = [found, each]
  }
  for (const each of markers) {
    for (let length = Math.min(each.length - 1, text.length); length > 0 && text.length - length < at; length--) {
      if (text.endsWith(each.slice(0, length))) [at, marker] = [text.length - length, undefined]
    }
  }
  return { at, marker }
}

function parsed(json) {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}

module.exports = { Scanner, parsed }
