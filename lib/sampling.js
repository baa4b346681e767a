'use strict'

// How the next token is chosen: the samplers of the chain, their options, and what the addon takes of them.

const v = require('./validate.js')

// In the order of the chain where none is given: the options of each, with the values that leave it without effect.
const SAMPLERS = {
  penalties: { repeatPenalty: 1, frequencyPenalty: 0, presencePenalty: 0, penaltyLastN: 0 },
  dry: { dry: undefined },
  topNSigma: { topNSigma: 0 },
  temperature: { temperature: 1, dynamicTemperature: undefined },
  topK: { topK: 0 },
  typicalP: { typicalP: 1 },
  topP: { topP: 1 },
  minP: { minP: 0 },
  xtc: { xtc: undefined },
  mirostat: { mirostat: undefined },
}
const NAMES = Object.keys(SAMPLERS)
const BESIDE_MIROSTAT = ['penalties', 'dry', 'temperature', 'mirostat']

const BREAKERS = ['\n', ':', '"', '*']

/** The names of a chain, each at most once. */
function samplers(name, value) {
  if (!Array.isArray(value)) throw v.invalidOption(name, 'an array of names of samplers', value)
  value.forEach((sampler, i) => {
    if (!NAMES.includes(sampler)) {
      const meant = typeof sampler === 'string' ? v.closest(sampler, NAMES) : undefined
      throw v.invalidOption(`${name}[${i}]`, meant ? `'${meant}'` : `one of ${NAMES.join(', ')}`, sampler)
    }
    if (value.indexOf(sampler) < i) throw v.invalid(`${name}[${i}]: '${sampler}' stands there twice`)
  })
  return [...value]
}

// Of the options that are objects.
const PARTS = {
  dynamicTemperature: { range: v.number({ least: 0 }), exponent: v.number({ above: 0 }) },
  xtc: { probability: v.number({ least: 0, most: 1 }), threshold: v.number({ above: 0, most: 0.5 }) },
  mirostat: { tau: v.number({ above: 0 }), eta: v.number({ above: 0 }) },
  dry: {
    multiplier: v.number({ least: 0 }),
    base: v.number({ least: 1 }),
    allowedLength: v.integer({ least: 1, most: 2 ** 31 - 1 }),
    penaltyLastN: v.integer({ least: 0, most: 2 ** 31 - 1 }),
    sequenceBreakers: v.strings,
  },
}
const part = (name) => v.objectSchema(name, PARTS[name])

/** The options of a generation that decide on the next token. */
const SAMPLING = {
  temperature: v.number({ least: 0 }),
  dynamicTemperature: part('dynamicTemperature'),
  topK: v.integer({ least: 0, most: 2 ** 31 }),
  topP: v.number({ above: 0, most: 1 }),
  minP: v.number({ least: 0, most: 1 }),
  typicalP: v.number({ above: 0, most: 1 }),
  topNSigma: v.number({ least: 0 }),
  xtc: part('xtc'),
  mirostat: part('mirostat'),
  repeatPenalty: v.number({ above: 0 }),
  frequencyPenalty: v.number(),
  presencePenalty: v.number(),
  penaltyLastN: v.integer({ least: 0, most: 2 ** 31 - 1 }),
  dry: part('dry'),
  samplers,
  seed: v.integer({ least: 0 }),
}

const option = (name) => `option '${name}' of generate()`

const contradict = (a, b) => v.invalid(`options '${a}' and '${b}' of generate() contradict each other`)

/** The sampler that an option belongs to, or undefined. */
const samplerOf = (name) => NAMES.find((sampler) => name in SAMPLERS[sampler])

function checkSamplers(given) {
  for (const name of Object.keys(given)) {
    const sampler = samplerOf(name)
    if (sampler && !given.samplers.includes(sampler)) throw v.invalid(`${option(name)}: '${sampler}' is not among the option 'samplers'`)
  }
}

function checkMirostat(given) {
  for (const name of Object.keys(given)) {
    const sampler = samplerOf(name)
    if (sampler && !BESIDE_MIROSTAT.includes(sampler) && given[name] !== SAMPLERS[sampler][name]) throw contradict('mirostat', name)
  }
  const other = given.samplers?.find((sampler) => !BESIDE_MIROSTAT.includes(sampler))
  if (other) throw v.invalid(`option 'samplers' of generate(): '${other}' and the option 'mirostat' contradict each other`)
  if (given.temperature === 0) throw v.invalid("options 'mirostat' and 'temperature' of generate(): mirostat needs a temperature above 0, got 0")
}

/** What the addon takes of the checked options of a generation: those of SAMPLING, as far as they are given. */
function nativeSampling({ dynamicTemperature, xtc, mirostat, dry, ...given }) {
  const native = { ...given }
  const all = { ...given, ...(dynamicTemperature && { dynamicTemperature }), ...(xtc && { xtc }), ...(mirostat && { mirostat }), ...(dry && { dry }) }
  if (given.samplers) checkSamplers(all)
  if (mirostat) checkMirostat(all)
  if (dynamicTemperature) {
    const { range, exponent = 1 } = dynamicTemperature
    if (range === undefined) throw v.invalid(`${option('dynamicTemperature')}: 'range' is missing`)
    if (range > 0 && given.temperature === 0) throw contradict('dynamicTemperature', 'temperature: 0')
    Object.assign(native, { dynamicRange: range, dynamicExponent: exponent })
  }
  if (xtc) Object.assign(native, { xtcProbability: xtc.probability ?? 0.5, xtcThreshold: xtc.threshold ?? 0.1 })
  if (mirostat) Object.assign(native, { topK: 0, topP: 1, minP: 0, mirostatTau: mirostat.tau ?? 5, mirostatEta: mirostat.eta ?? 0.1 })
  if (dry) {
    const { multiplier = 0.8, base = 1.75, allowedLength = 2, penaltyLastN, sequenceBreakers = BREAKERS } = dry
    Object.assign(native, { dryMultiplier: multiplier, dryBase: base, dryAllowedLength: allowedLength, dryLastN: penaltyLastN, dryBreakers: sequenceBreakers })
  }
  return native
}

/** With a sampler in JavaScript: an error for the first option that would be of no effect. */
function checkNoSampling(given) {
  const name = Object.keys(SAMPLING).find((key) => given[key] !== undefined)
  if (name) throw contradict('sample', name)
}

module.exports = { PARTS, SAMPLERS, SAMPLING, checkNoSampling, nativeSampling }
