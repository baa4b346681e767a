'use strict'

const { Scanner } = require('./scanner.js')

/**
 * Turns the token events of an answer into events of text, of reasoning and of calls. As the splitters of reasoning do (chat/reasoning.js),
 * it gives one event for each token that bears it, and others with `token: null`.
 */
class CallSplitter {
  #inner
  #marks
  #scanner
  #idOf

  /**
   * `inner`: the splitter of reasoning, whose text is read. `marks`: the texts of special tokens by id, which are part of the form. `idOf(name, id)`:
   * the id of the next call, of which the text says `id`, or undefined.
   */
  constructor({ format, tools, marks, inner, idOf }) {
    this.#inner = inner
    this.#marks = marks
    this.#idOf = idOf
    this.#scanner = new Scanner((scanner) => format.read(scanner, tools))
  }

  push(event) {
    const text = this.#marks.get(event.token) ?? event.text
    return this.#inner.push({ ...event, text }).flatMap((part) => {
      if (part.type !== 'text') return [part]
      const { type, text: _, ...token } = part
      const [first = { type: 'text', text: '' }, ...rest] = this.#read(this.#scanner.push(part.text))
      return [{ ...first, ...token }, ...rest.map((other) => ({ ...other, token: null }))]
    })
  }

  end() {
    const parts = this.#inner.end()
    const text = parts.filter(({ type }) => type === 'text').map((part) => part.text)
    const events = [...this.#read(this.#scanner.push(text.join(''))), ...this.#read(this.#scanner.end())]
    return [...parts.filter(({ type }) => type !== 'text'), ...events.map((event) => ({ ...event, token: null }))]
  }

  #read(events) {
    return events.map((event) => {
      if (event.type !== 'toolCall') return event
      const { name, arguments: args, id } = event
      return { type: 'toolCall', text: '', toolCall: { id: this.#idOf(name, id), name, arguments: args } }
    })
  }
}

module.exports = { CallSplitter }
