'use strict'

const binding = require('./binding.js')
const { located } = require('./errors.js')
const { DETOKENIZE, TOKENIZE } = require('./options.js')
const v = require('./validate.js')

const SECRET = Symbol('chord')

/** Text to token ids and back. From loadTokenizer(), or within a model. */
class Tokenizer {
  #handle
  #info

  constructor(secret, handle) {
    if (secret !== SECRET) throw new TypeError('a Tokenizer is made by loadTokenizer()')
    this.#handle = handle
    this.#info = Object.freeze(binding.tokenizerInfo(handle))
  }

  get info() {
    return this.#info
  }

  tokenize(text, options) {
    return Array.from(binding.tokenize(this.#handle, v.string('text', text), ...Tokenizer.#flags(options)))
  }

  /** On the thread pool, for long texts; only of a model's tokenizer. Resolves with a Uint32Array. */
  tokenizeLong(text, options) {
    return binding.tokenizeAsync(this.#handle, text, ...Tokenizer.#flags(options))
  }

  /**
   * Of a part of a text: special tokens are tokens, but for those that reach across `cuts`, offsets in bytes (a Uint32Array); with null for
   * these, all special tokens are text. `continues`: a part stands before it. Resolves with a Uint32Array; on the thread pool if `isLong`.
   */
  async tokenizePart(text, { continues, cuts, isLong }) {
    return located((isLong ? binding.tokenizePartAsync : binding.tokenizePart)(this.#handle, text, continues, cuts))
  }

  detokenize(tokens, options) {
    const { special = false } = v.options('detokenize()', options, DETOKENIZE)
    return binding.detokenize(this.#handle, v.tokenIds('tokens', tokens, this.#info.vocabulary), special)
  }

  static #flags(options) {
    const { special = false, bos } = v.options('tokenize()', options, TOKENIZE)
    return [special, bos === undefined ? -1 : Number(bos)]
  }
}

async function loadTokenizer(path) {
  return new Tokenizer(SECRET, await located(binding.openTokenizer(v.filePath('path', path))))
}

const tokenizerOf = (modelHandle) => new Tokenizer(SECRET, binding.tokenizerOfModel(modelHandle))

module.exports = { Tokenizer, loadTokenizer, tokenizerOf }
