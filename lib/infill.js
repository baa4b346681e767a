'use strict'

const { ChordError } = require('./errors.js')
const v = require('./validate.js')

const LONG = 8192 // characters; about a millisecond of work

/** The tokens of a part of a text, in which special tokens are text; or a promise of them. */
function partTokens(tokenizer, text, continues) {
  const isLong = text.length > LONG
  if (continues && tokenizer.info.model === 'llama') {
    // SentencePiece puts a space before a text, unless it goes on from one before.
    return tokenizer.tokenizePart(text, { continues, cuts: null, isLong })
  }
  return isLong ? tokenizer.tokenizeLong(text, { bos: false }) : tokenizer.tokenize(text, { bos: false })
}

// Vocabularies whose models were trained with the suffix first, by its token: what follows the prefix. All others (Code Llama, CodeGemma,
// DeepSeek-Coder, Granite, Qwen2.5-Coder, StarCoder2) are asked in the order prefix, suffix, middle.
const SUFFIX_FIRST = {
  '[SUFFIX]': () => [], // Codestral: what is missing goes on after the prefix
  '<[fim-suffix]>': ({ middle }) => [middle], // Seed-Coder
}

/** The prompt by which a model fills the gap between two texts, each behind its token. A promise if that takes long. */
function infillTokens(tokenizer, prefix, suffix) {
  v.string('prefix', prefix)
  v.string('suffix', suffix)
  const { infill, bos, addBos } = tokenizer.info
  if (!infill) {
    throw new ChordError('infill(): the vocabulary of this model has no tokens for prefix, suffix and middle: it was not made to fill gaps', { code: 'NOT_FOUND' })
  }
  const begin = addBos && bos !== null ? [bos] : []
  const parts = [partTokens(tokenizer, prefix, false), partTokens(tokenizer, suffix, true)]
  const join = ([before, after]) => {
    const last = SUFFIX_FIRST[tokenizer.detokenize([infill.suffix], { special: true })]
    if (last) return Uint32Array.from([...begin, infill.suffix, ...after, infill.prefix, ...before, ...last(infill)])
    return Uint32Array.from([...begin, infill.prefix, ...before, infill.suffix, ...after, infill.middle])
  }
  return parts.some((part) => part instanceof Promise) ? Promise.all(parts).then(join) : join(parts)
}

module.exports = { infillTokens }
