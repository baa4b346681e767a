'use strict'

// From the text that a template writes to tokens. What a model has generated keeps the tokens in which it was generated, wherever that text
// stands again: they need not be those into which the text would be divided, and their keys and values are there already.

const { createHash } = require('node:crypto')
const { located } = require('../errors.js')

const LONG = 8192 // characters; about a millisecond of work
const REMEMBERED = 4096 // texts

/** A model's tokenizer, as chats use it: on the thread pool for long texts. */
class ChatTokenizer {
  #tokenizer
  #controls = new Map() // text -> whether it holds control tokens

  constructor(tokenizer) {
    this.#tokenizer = tokenizer
  }

  get info() {
    return this.#tokenizer.info
  }

  tokenize(text, options) {
    return this.#tokenizer.tokenize(text, options)
  }

  detokenize(tokens, options) {
    return this.#tokenizer.detokenize(tokens, options)
  }

  /** Whether a text spells out tokens that are more than text. */
  async holdsControls(text) {
    if (text === '') return false
    const known = this.#controls.get(text)
    if (known !== undefined) return known
    const how = (special) => ({ special, bos: false })
    const ids = async (special) => (text.length > LONG ? located(this.#tokenizer.tokenizeLong(text, how(special))) : this.#tokenizer.tokenize(text, how(special)))
    const [plain, parsed] = [await ids(false), await ids(true)]
    const holds = plain.length !== parsed.length || plain.some((id, i) => id !== parsed[i])
    if (this.#controls.size >= REMEMBERED) this.#controls.delete(this.#controls.keys().next().value)
    this.#controls.set(text, holds)
    return holds
  }

  /** The tokens of a part of a text, special ones among them, but none across `cuts`, byte offsets. */
  part(text, continues, cuts) {
    return this.#tokenizer.tokenizePart(text, { continues, cuts, isLong: text.length > LONG })
  }
}

/** The cuts strictly inside text[from, to), offsets of UTF-16 units in the whole, as byte offsets in the part. */
function byteCuts(text, cuts, from, to) {
  const bytes = []
  let at = from
  let n = 0
  for (const cut of cuts) {
    if (cut <= from || cut >= to) continue
    n += Buffer.byteLength(text.slice(at, cut))
    at = cut
    bytes.push(n)
  }
  return Uint32Array.from(bytes)
}

/**
 * What was generated as the answer to one prompt: { at, digest, last, tokens }: the length of the prompt's text and its digest, its last token, and
 * the tokens generated. It holds for every later text that begins with this prompt.
 */
function recordOf(prompt, tokens) {
  return { at: prompt.text.length, digest: createHash('sha256').update(prompt.text).digest('base64'), last: prompt.tokens.at(-1), tokens: Array.from(tokens) }
}

/** How many tokens of `record` stand in `text` at record.at, and how many UTF-16 units that is. */
function matching(tokenizer, record, text) {
  const anchor = tokenizer.detokenize([record.last], { special: true }).length
  const spoken = (n) => tokenizer.detokenize([record.last, ...record.tokens.slice(0, n)], { special: true }).slice(anchor)
  const fits = (n) => text.startsWith(spoken(n), record.at)
  let least = 0
  let most = record.tokens.length
  if (most > 0 && fits(most)) least = most
  while (least < most) {
    const middle = (least + most + 1) >> 1
    if (fits(middle)) least = middle
    else most = middle - 1
  }
  // Half a character is in no text.
  while (least > 0 && least < record.tokens.length && spoken(least).endsWith('\ufffd')) least--
  return { n: least, length: spoken(least).length }
}

/** The tokens of a rendered text { text, cuts }; `records` are of the answers in it, in their order. */
async function assemble(tokenizer, { text, cuts }, records) {
  const { bos, addBos } = tokenizer.info
  const pieces = []
  const hash = createHash('sha256')
  let hashed = 0
  let at = 0
  const add = async (to) => {
    if (to > at) pieces.push(await tokenizer.part(text.slice(at, to), at > 0, byteCuts(text, cuts, at, to)))
    at = to
  }
  for (const record of records) {
    if (record.at < at || record.at < hashed || record.at > text.length) continue
    hash.update(text.slice(hashed, record.at))
    hashed = record.at
    if (hash.copy().digest('base64') !== record.digest) break
    const { n, length } = matching(tokenizer, record, text)
    if (n === 0) continue
    await add(record.at)
    pieces.push(record.tokens.slice(0, n))
    at += length
  }
  await add(text.length)
  const tokens = pieces.flatMap((piece) => Array.from(piece))
  // A template may write BOS itself.
  if (addBos && bos !== null && tokens[0] !== bos) tokens.unshift(bos)
  return tokens
}

module.exports = { ChatTokenizer, assemble, recordOf }
