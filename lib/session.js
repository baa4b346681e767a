'use strict'

const binding = require('./binding.js')
const { withCancel } = require('./cancel.js')
const { ChordError, located } = require('./errors.js')
const { TRANSFER } = require('./options.js')
const v = require('./validate.js')

const SECRET = Symbol('chord')
// Node.js 18 has no such symbol of its own; libraries agree on this one.
if (!Symbol.asyncDispose) Object.defineProperty(Symbol, 'asyncDispose', { value: Symbol.for('Symbol.asyncDispose') })

/** A text whose keys and values are kept between the generations that continue it. From model.session(). */
class Session {
  #model // what it may call of its Model
  #handle
  #closing = null

  constructor(secret, model, handle) {
    if (secret !== SECRET) throw new TypeError('a Session is made by model.session()')
    this.#model = model
    this.#handle = handle
  }

  get tokens() {
    this.#assertOpen()
    return Array.from(binding.sessionTokens(this.#handle))
  }

  generate(prompt, options) {
    this.#assertOpen()
    return this.#model.generate(prompt, options, (tokens, native, listener) => binding.sessionGenerate(this.#handle, tokens, native, listener))
  }

  async fork() {
    this.#assertOpen()
    return this.#model.makeSession(await located(binding.sessionFork(this.#handle)))
  }

  save(path, options) {
    return this.saveWith(undefined, path, options)
  }

  /** save(), with a note: a string to keep with it. */
  async saveWith(note, path, options) {
    this.#assertOpen()
    const file = v.filePath('path', path, 'of the file to write')
    const { signal, onProgress } = v.options('save()', options, TRANSFER)
    const progress = onProgress && ((done, total) => onProgress({ phase: 'save', done, total }))
    await withCancel(signal, (cancel) => binding.sessionSave(this.#handle, file, cancel, progress, note))
  }

  close() {
    this.#closing ??= this.#model.closing() ?? binding.sessionClose(this.#handle)
    return this.#closing
  }

  [Symbol.asyncDispose]() {
    return this.close()
  }

  #assertOpen() {
    this.#model.assertOpen()
    if (this.#closing) throw new ChordError('the session has been closed', { code: 'CLOSED' })
  }
}

module.exports = { SECRET, Session }
