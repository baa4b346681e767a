'use strict'

// Checks of arguments and options, with messages that name what it is about, what was expected and what came.

const { fileURLToPath } = require('node:url')
const { isAnyArrayBuffer } = require('node:util/types')
const { ChordError } = require('./errors.js')

const invalid = (message) => new ChordError(message, { code: 'INVALID_ARGUMENT' })

/** What a value looks like in a message: short, and with its type where that is not plain to see. */
function describe(value) {
  const cut = (text) => (text.length > 40 ? `${text.slice(0, 40)}...` : text)
  if (typeof value === 'string') return `${cut(JSON.stringify(value))} (string)`
  if (typeof value === 'bigint') return `${cut(String(value))}n (bigint)`
  if (typeof value === 'function') return value.name ? `function ${cut(value.name)}` : 'a function'
  if (typeof value === 'symbol') return cut(value.toString())
  if (Array.isArray(value)) return value.length === 0 ? '[]' : `an array of ${value.length}`
  if (typeof value === 'object' && value !== null) {
    const { constructor } = value
    return typeof constructor === 'function' && constructor !== Object && constructor.name ? `an object of class ${cut(constructor.name)}` : 'an object'
  }
  return Object.is(value, -0) ? '0' : String(value)
}

/** The error for an option or argument: "option 'topP': expected a number from 0 to 1, got 2". */
function invalidOption(name, expected, actual) {
  return invalid(`${name}: expected ${expected}, got ${describe(actual)}`)
}

// ---- Checks: (name, value) -> the value to work with ------------------------------------------------------------------

function number({ least = -Infinity, most = Infinity, above, below } = {}) {
  const bounds =
    above !== undefined ? ` above ${above}${most < Infinity ? `, at most ${most}` : ''}`
    : least > -Infinity && most < Infinity ? ` from ${least} to ${most}`
    : least > -Infinity ? ` of at least ${least}`
    : ''
  return (name, value) => {
    const fits =
      typeof value === 'number' && Number.isFinite(value) && value >= least && value <= most &&
      (above === undefined || value > above) && (below === undefined || value < below)
    if (!fits) throw invalidOption(name, `a number${bounds}`, value)
    return value
  }
}

function integer({ least = 0, most = Number.MAX_SAFE_INTEGER } = {}) {
  const bounds = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`
  return (name, value) => {
    if (!Number.isSafeInteger(value) || value < least || value > most) throw invalidOption(name, `an integer ${bounds}`, value)
    return value
  }
}

function boolean(name, value) {
  if (typeof value !== 'boolean') throw invalidOption(name, 'true or false', value)
  return value
}

function string(name, value) {
  if (typeof value !== 'string') throw invalidOption(name, 'a string', value)
  return value
}

function callback(name, value) {
  if (typeof value !== 'function') throw invalidOption(name, 'a function', value)
  return value
}

function list(name, value) {
  if (!Array.isArray(value)) throw invalidOption(name, 'an array', value)
  return value
}

function plainObject(name, value) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalidOption(name, 'an object', value)
  return value
}

/** One of `names`. */
function oneOf(names) {
  return (name, value) => {
    if (names.includes(value)) return value
    throw invalidOption(name, listed(names), value)
  }
}

const listed = (names) => names.map((name) => `'${name}'`).join(' or ')

const UNITS = { '': 1, b: 1 }
for (const [power, letter] of ['k', 'm', 'g', 't'].entries()) {
  UNITS[`${letter}b`] = 1000 ** (power + 1)
  UNITS[letter] = UNITS[`${letter}ib`] = 1024 ** (power + 1)
}

/** Bytes: a number, or a string such as '2GiB', '1.5 GB' or '512M' (of 1024²). */
function size(name, value) {
  const expected = "bytes, as a number above 0 or a string such as '2GiB' or '800MB'"
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value) || value <= 0) throw invalidOption(name, expected, value)
    return value
  }
  const match = typeof value === 'string' ? /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(value) : null
  const unit = match ? UNITS[match[2].toLowerCase()] : undefined
  const bytes = unit === undefined ? NaN : Math.floor(Number(match[1]) * unit)
  if (!(bytes > 0) || bytes > Number.MAX_SAFE_INTEGER) throw invalidOption(name, expected, value)
  return bytes
}

/** bytes, or undefined for 'auto'. */
function sizeOrAuto(name, value) {
  if (value === 'auto') return undefined
  if (typeof value !== 'string' && typeof value !== 'number') throw invalidOption(name, "'auto' or bytes, as a number or a string such as '2GiB'", value)
  return size(name, value)
}

/** sizeOrAuto, or an object of sizes: { total, weights, kv, scratch }, each undefined where there is none. */
function memory(name, value) {
  if (typeof value !== 'object' || value === null) return { total: sizeOrAuto(name, value) }
  return checkObject(name, value, { total: sizeOrAuto, weights: size, kv: size, scratch: size }, 'memory')
}

function guestMemory(name, value) {
  if (typeof value !== 'function' && !isAnyArrayBuffer(value?.buffer)) throw invalidOption(name, 'a WebAssembly.Memory, or a function that returns it', value)
  return value
}

/** A JSON Schema, as its JSON text. */
function jsonSchema(name, value) {
  const expected = 'a JSON Schema: an object, or true'
  if (typeof value !== 'boolean' && (typeof value !== 'object' || value === null || Array.isArray(value))) throw invalidOption(name, expected, value)
  let text
  try {
    text = JSON.stringify(value)
  } catch (error) {
    throw invalid(`${name}: expected ${expected}, that JSON can be made of: ${error.message}`)
  }
  if (text === undefined) throw invalid(`${name}: expected ${expected}, that JSON can be made of`)
  return text
}

function signal(name, value) {
  const fits = typeof value === 'object' && value !== null && typeof value.aborted === 'boolean' && typeof value.addEventListener === 'function'
  if (!fits) throw invalidOption(name, 'an AbortSignal', value)
  return value
}

function strings(name, value) {
  const list = typeof value === 'string' ? [value] : value
  if (!Array.isArray(list)) throw invalidOption(name, 'a string or an array of strings', value)
  list.forEach((item, i) => {
    if (typeof item !== 'string' || item === '') throw invalidOption(`${name}[${i}]`, 'a string that is not empty', item)
  })
  return list
}

/** An object or Map of token id -> bias: { tokens: Uint32Array, values: Float32Array }. */
function logitBias(name, value) {
  const plain = typeof value === 'object' && value !== null && !Array.isArray(value)
  if (!plain) throw invalidOption(name, 'an object or a Map of token ids and numbers, such as { 42: -Infinity }', value)
  const entries = value instanceof Map ? [...value] : Object.entries(value)
  for (const [token, bias] of entries) {
    if (!isTokenId(Number(token)) || String(token).trim() === '') throw invalidOption(`${name}, key`, 'a token id', token)
    if (typeof bias !== 'number' || Number.isNaN(bias) || bias === Infinity) throw invalidOption(`${name}[${token}]`, 'a number or -Infinity', bias)
  }
  return { tokens: Uint32Array.from(entries, ([token]) => Number(token)), values: Float32Array.from(entries, ([, bias]) => bias) }
}

/** The Models that there are: model.js adds them. */
const models = new WeakSet()

function draft(name, value) {
  if (value !== false && !models.has(value)) throw invalidOption(name, 'a Model of loadModel(), or false', value)
  return value
}

const SPECULATE = { lookup: boolean, guesses: integer({ least: 1, most: 15 }), always: boolean }

/** false, 'lookup' or an object: what the addon takes; null for none. */
function speculate(name, value) {
  if (value === false) return null
  if (value === 'lookup') return { lookup: true }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalidOption(name, "false, 'lookup' or an object", value)
  return { lookup: true, ...checkObject(name, value, SPECULATE, 'speculate') }
}

/** 'scattered', 'repeating' or { file }. */
function routes(name, value) {
  if (value === 'scattered' || value === 'repeating') return value
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalidOption(name, "'scattered', 'repeating' or { file }", value)
  const { file } = checkObject(name, value, { file: (of, path) => filePath(of, path, 'of a file') }, 'routes')
  if (file === undefined) throw invalidOption(name, "'scattered', 'repeating' or { file }", value)
  return { file }
}

// ---- Options objects --------------------------------------------------------------------------------------------------

const letters = (name) => name.toLowerCase().replace(/[^a-z0-9]/g, '')

function distance(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1))
    row = next
  }
  return row[b.length]
}

/** The name in `names` that `given` was probably meant to be, or undefined. */
function closest(given, names) {
  const ranked = names.map((name) => ({ name, far: distance(letters(given), letters(name)) })).sort((a, b) => a.far - b.far)
  return ranked.length > 0 && ranked[0].far <= Math.ceil(given.length / 3) ? ranked[0].name : undefined
}

function objectSchema(where, schema) {
  return (name, value) => checkObject(name, value, schema, where)
}

function checkObject(name, value, schema, where) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalidOption(name, 'an object', value)
  const checked = {}
  for (const key of Object.keys(value)) {
    if (!Object.hasOwn(schema, key)) {
      const names = Object.keys(schema)
      const meant = closest(key, names)
      const hint = meant ? `did you mean '${meant}'?` : names.length === 0 ? 'there are none' : `there are ${names.join(', ')}`
      throw invalid(`unknown option '${key}' of ${where}: ${hint}`)
    }
    if (value[key] !== undefined) checked[key] = schema[key](`option '${key}' of ${where}`, value[key])
  }
  return checked
}

/** Checks an options object against a schema of checks; undefined values count as absent. Returns a new object. */
function options(where, value, schema) {
  return value === undefined ? {} : checkObject(`the options of ${where}`, value, schema, where)
}

// ---- Arguments --------------------------------------------------------------------------------------------------------

function filePath(name, value, what = 'of a GGUF file') {
  if (value instanceof URL) {
    if (value.protocol !== 'file:') throw invalid(`${name}: expected a path or a file: URL, got ${value.protocol} URL`)
    return fileURLToPath(value)
  }
  if (typeof value !== 'string' || value === '') throw invalidOption(name, `the path ${what}`, value)
  if (value.includes('\0')) throw invalid(`${name}: a path can't hold the character U+0000`)
  return value
}

const isTokenId = (value) => Number.isInteger(value) && value >= 0 && value < 2 ** 32

/** An array or typed array of token ids below `limit`, as a Uint32Array. */
function tokenIds(name, value, limit = 2 ** 32) {
  const typed = ArrayBuffer.isView(value) && !(value instanceof DataView)
  if (!Array.isArray(value) && !typed) throw invalidOption(name, 'an array of token ids', value)
  const ids = new Uint32Array(value.length)
  for (let i = 0; i < ids.length; i++) {
    if (!isTokenId(value[i]) || value[i] >= limit) {
      throw invalidOption(`${name}[${i}]`, limit === 2 ** 32 ? 'a token id' : `a token id (an integer from 0 to ${limit - 1})`, value[i])
    }
    ids[i] = value[i]
  }
  return ids
}

module.exports = {
  boolean, callback, closest, draft, filePath, guestMemory, integer, invalid, invalidOption, jsonSchema, list, logitBias, memory, models, number, objectSchema, oneOf, options, plainObject,
  routes, signal, size, sizeOrAuto, speculate, string, strings, tokenIds,
}
