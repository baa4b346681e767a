'use strict'

// What a model thinks before it answers, told from the answer: by the marks that its template knows.

const BLOCKS = [
  { open: '<think>', close: '</think>' },
  { open: '[THINK]', close: '[/THINK]' },
  { open: '<seed:think>', close: '</seed:think>' },
  { open: '<|START_THINKING|>', close: '<|END_THINKING|>' },
  { open: '<|inner_prefix|>', close: '<|inner_suffix|>' },
]

/** The marks that stand in a template, or null. */
const findBlock = (source) => BLOCKS.find(({ close }) => source.includes(close)) ?? null

/** How many of the last characters of `text` may be the beginning of `mark`. */
function begun(text, mark) {
  for (let n = Math.min(mark.length - 1, text.length); n > 0; n--) {
    if (mark.startsWith(text.slice(text.length - n))) return n
  }
  return 0
}

const passOn = { push: (event) => [{ type: 'text', ...event }], end: () => [] }

/**
 * Turns token events into events of text and of reasoning; only a block at the beginning of the answer counts. Its marks are in neither. Each
 * token gives one event that bears it, and what was held back gives some with `token: null`.
 */
class ReasoningSplitter {
  #block
  #state // 'before' the block, if there is one; 'inside'; 'behind' it, where blanks are left out; 'text'
  #held = ''

  /** `block`: { open, close, openToken, closeToken }; the tokens are those that show no text, else null. */
  constructor(block, isOpen) {
    this.#block = block
    this.#state = isOpen ? 'inside' : 'before'
  }

  push(event) {
    const { text, ...token } = event
    const { openToken, closeToken } = this.#block
    const parts = this.#take(text)
    if (event.token !== null && event.token === openToken && this.#state === 'before') {
      this.#held = ''
      this.#state = 'inside'
    } else if (event.token !== null && event.token === closeToken && this.#state === 'inside') {
      if (this.#held !== '') parts.push({ type: 'reasoning', text: this.#held })
      this.#held = ''
      this.#state = 'behind'
    }
    const [first = { type: this.#isReasoning() ? 'reasoning' : 'text', text: '' }, ...others] = parts
    return [{ ...first, ...token }, ...others.map((part) => ({ ...part, token: null }))]
  }

  end() {
    const text = this.#held
    this.#held = ''
    return text === '' ? [] : [{ type: this.#isReasoning() ? 'reasoning' : 'text', text, token: null }]
  }

  #isReasoning() {
    return this.#state === 'inside'
  }

  #take(text) {
    const { open, close } = this.#block
    const parts = []
    this.#held += text
    if (this.#state === 'before') {
      const rest = this.#held.trimStart()
      if (rest.startsWith(open)) {
        this.#held = rest.slice(open.length)
        this.#state = 'inside'
      } else if (!open.startsWith(rest)) {
        this.#state = 'text'
      }
    }
    if (this.#state === 'inside') {
      const at = this.#held.indexOf(close)
      const end = at >= 0 ? at : this.#held.length - begun(this.#held, close)
      if (end > 0) parts.push({ type: 'reasoning', text: this.#held.slice(0, end) })
      this.#held = this.#held.slice(at >= 0 ? at + close.length : end)
      if (at >= 0) this.#state = 'behind'
    }
    if (this.#state === 'behind') {
      this.#held = this.#held.trimStart()
      if (this.#held !== '') this.#state = 'text'
    }
    if (this.#state === 'text' && this.#held !== '') {
      parts.push({ type: 'text', text: this.#held })
      this.#held = ''
    }
    return parts
  }
}

/** Whether the prompt `text` has opened the block. */
const isOpen = (block, text) => block !== null && text.trimEnd().endsWith(block.open)

/** A splitter for answers to the prompt `text`. */
function splitterOf(block, text) {
  return block ? new ReasoningSplitter(block, isOpen(block, text)) : passOn
}

module.exports = { findBlock, isOpen, splitterOf }
