'use strict'

// The options of the commands that generate, one row for each: what it is in the options of generate(), how it is read, its line of help.

const { PARTS, SAMPLERS, SAMPLING, nativeSampling } = require('../sampling.js')
const { closest } = require('../validate.js')
const { UsageError, integer, pick, text } = require('./command.js')

const camel = (name) => name.replace(/-(\w)/g, (_, letter) => letter.toUpperCase())
const kebab = (name) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)

function howToSpeculate(name, given) {
  if (given !== 'lookup' && given !== 'off') throw new UsageError(`--${name}: expected 'lookup' or 'off', got '${given}'`)
  return given === 'off' ? false : given
}

/** A number that the checks of generate() take. */
const number = (check) => (name, given) => {
  const n = given.trim() === '' ? NaN : Number(given)
  try {
    return check(`--${name}`, Number.isNaN(n) ? given : n)
  } catch (error) {
    throw new UsageError(error.message)
  }
}

const NAMES = Object.keys(SAMPLERS).map(kebab)

function hint(name) {
  const meant = closest(name, NAMES)
  return meant ? `did you mean ${meant}?` : `there are ${NAMES.join(', ')}`
}

function samplers(name, given) {
  const names = given.split(',').map((each) => kebab(each.trim()))
  for (const [i, each] of names.entries()) {
    if (!NAMES.includes(each)) throw new UsageError(`--${name}: there is no sampler ${JSON.stringify(each)}: ${hint(each)}`)
    if (names.indexOf(each) < i) throw new UsageError(`--${name}: ${each} stands there twice`)
  }
  return names.map(camel)
}

/** A row for a number: option `name` of generate(), or of the object that `of` is there. */
const row = (value, name, help, of) => ({ value, help, name, of, read: number((of ? PARTS[of] : SAMPLING)[name]) })

// Rows whose name is not theirs in generate() say so: { name, of: the object that it is a member of }.
const GENERATION = {
  'max-tokens': { value: 'N', help: 'end after N tokens (default: when the model ends the text)', read: integer(1) },
  temperature: row('T', 'temperature', 'how freely tokens are chosen; 0: always the most likely (default 0.8)'),
  'dynamic-range': row('R', 'range', 'temperature by the entropy: up to R less or more', 'dynamicTemperature'),
  'dynamic-exponent': row('E', 'exponent', 'how it grows with the entropy (default 1)', 'dynamicTemperature'),
  'top-k': row('K', 'topK', 'choose among the K most likely tokens, 0: all (default 40)'),
  'top-p': row('P', 'topP', 'choose among the tokens that together have probability P (default 0.95)'),
  'min-p': row('P', 'minP', 'choose among the tokens P times as likely as the best (default 0.05)'),
  'typical-p': row('P', 'typicalP', 'choose among the tokens nearest the entropy, of probability P'),
  'top-n-sigma': row('N', 'topNSigma', 'choose among logits within N standard deviations of the best'),
  'xtc-probability': row('P', 'probability', 'XTC: how often all likely tokens but one are dropped (default 0.5)', 'xtc'),
  'xtc-threshold': row('P', 'threshold', 'XTC: from which probability on a token is likely (default 0.1)', 'xtc'),
  'mirostat-tau': row('T', 'tau', 'mirostat 2.0: the surprise it aims at (default 5)', 'mirostat'),
  'mirostat-eta': row('E', 'eta', 'mirostat 2.0: how fast it learns (default 0.1)', 'mirostat'),
  'repeat-penalty': row('P', 'repeatPenalty', 'make tokens that were there less likely; 1: no'),
  'frequency-penalty': row('P', 'frequencyPenalty', 'the same, by how often they were there; 0: no'),
  'presence-penalty': row('P', 'presencePenalty', 'the same, by whether they were there; 0: no'),
  'penalty-last-n': row('N', 'penaltyLastN', 'tokens that these three look back at'),
  'dry-multiplier': row('M', 'multiplier', 'DRY: how much a repetition costs (default 0.8)', 'dry'),
  'dry-base': row('B', 'base', 'DRY: by how much more each token that makes it longer (default 1.75)', 'dry'),
  'dry-allowed-length': row('N', 'allowedLength', 'DRY: tokens that may be repeated (default 2)', 'dry'),
  'dry-last-n': row('N', 'penaltyLastN', 'DRY: tokens that it looks back at', 'dry'),
  'dry-breaker': { value: 'TEXT', help: 'DRY: what ends a repetition; may be given several times', name: 'sequenceBreakers', of: 'dry', read: text, multiple: true },
  samplers: { value: 'NAMES', help: 'the chain, in its order: such as top-k,top-p,temperature', read: samplers },
  seed: row('N', 'seed', 'the same seed gives the same text'),
  speculate: { value: 'HOW', help: "'lookup' (default) or 'off': guess on from the text's past; same text", read: howToSpeculate },
  draft: { value: 'FILE', help: 'a smaller model of the same vocabulary that guesses ahead; same text', read: text },
  stop: { value: 'TEXT', help: 'end before TEXT; may be given several times', read: text, multiple: true },
}

/** Options that contradict each other are told before a model is loaded, by their names on the command line. */
function check(values, options) {
  const named = (name) => {
    const flag = Object.keys(values).find((key) => (GENERATION[key].of ?? camel(key)) === name)
    return flag ? `--${flag}` : kebab(name)
  }
  try {
    nativeSampling(options)
  } catch (error) {
    if (error.name !== 'ChordError') throw error
    throw new UsageError(error.message.replace(' of generate()', '').replace(/'(\w+)(: \w+)?'/g, (_, name, value = '') => named(name) + value.replace(':', '')))
  }
}

/** The options of generate() that the command line names. */
function generateOptions(values) {
  const given = pick(values, Object.keys(GENERATION))
  const options = {}
  for (const [key, value] of Object.entries(given)) {
    const { of, name = camel(key) } = GENERATION[key]
    if (of) options[of] = { ...options[of], [name]: value }
    else options[name] = value
  }
  if (options.dynamicTemperature && options.dynamicTemperature.range === undefined) throw new UsageError('--dynamic-exponent: says nothing without --dynamic-range')
  check(given, options)
  return options
}

module.exports = { GENERATION, generateOptions }
