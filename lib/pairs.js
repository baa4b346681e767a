'use strict'

// A query and a document as models for ranking read them: as one list of tokens.

const { ChordError } = require('./errors.js')

const LONG = 8192 // characters; about a millisecond of work
const PLACES = /\{(query|document)\}/

/** The text of a file's template for pairs, cut at its places: [text, 'query' or 'document', text, ...]. */
function readTemplate(template) {
  const parts = template.split(PLACES)
  for (const name of ['query', 'document']) {
    if (!parts.some((part, i) => i % 2 === 1 && part === name)) {
      throw new ChordError(`the file's template for ranking (tokenizer.chat_template.rerank) has no place for the ${name}: '{${name}}' is nowhere in it`, { code: 'CHAT_TEMPLATE' })
    }
  }
  return parts
}

/**
 * A template with texts in its places: { text, cuts }, the offsets in bytes that no special token may reach across: the borders of texts, and every
 * byte of those in `closed`, names of texts that spell out special tokens.
 */
function fillTemplate(parts, texts, closed) {
  const cuts = []
  let text = ''
  let at = 0
  parts.forEach((part, i) => {
    const isPlace = i % 2 === 1
    const piece = isPlace ? texts[part] : part
    const end = at + Buffer.byteLength(piece)
    if (isPlace) {
      const step = closed.has(part) ? 1 : Math.max(1, end - at)
      for (let cut = at; cut <= end; cut += step) if (cut > 0 && cut !== cuts.at(-1)) cuts.push(cut)
    }
    text += piece
    at = end
  })
  return { text, cuts: Uint32Array.from(cuts) }
}

/** Whether a text spells out tokens that are more than text. */
async function spellsControls(tokenizer, text) {
  const ids = (special) => (text.length > LONG ? tokenizer.tokenizeLong(text, { special, bos: false }) : tokenizer.tokenize(text, { special, bos: false }))
  const [plain, parsed] = [await ids(false), await ids(true)]
  return plain.length !== parsed.length || plain.some((id, i) => id !== parsed[i])
}

/** The function that makes tokens of a document with this query, as the template says: a promise of { tokens }. */
function templatePairs(tokenizer, template, query) {
  const parts = readTemplate(template)
  const wellFormed = (text) => Buffer.from(text).toString()
  const asked = wellFormed(query)
  const isQueryClosed = spellsControls(tokenizer, asked)
  isQueryClosed.catch(() => {}) // of a model that is closed: told where it is awaited
  return async (document) => {
    const texts = { query: asked, document: wellFormed(document) }
    const closed = new Set()
    if (await isQueryClosed) closed.add('query')
    if (await spellsControls(tokenizer, texts.document)) closed.add('document')
    const { text, cuts } = fillTemplate(parts, texts, closed)
    return { tokens: await tokenizer.tokenizePart(text, { continues: false, cuts, isLong: text.length > LONG }) }
  }
}

/**
 * The same without a template: both texts end as texts do, between them stands what the vocabulary puts between two. `second` is where the second
 * part begins. `tokensOf(text, then)` gives then(the document's own tokens) or a promise of that.
 */
function plainPairs(tokenizer, tokensOf, query) {
  const { eos, separator } = tokenizer.info
  const first = tokenizer.tokenize(query)
  if (eos !== null && first.at(-1) !== eos) first.push(eos)
  if (separator !== null) first.push(separator)
  const end = eos === null ? [] : [eos]
  return (document) => tokensOf(document, (tokens) => ({ tokens: Uint32Array.from([...first, ...tokens, ...end]), second: first.length }))
}

module.exports = { plainPairs, templatePairs }
