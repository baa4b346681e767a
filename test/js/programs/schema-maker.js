'use strict'

// Random JSON Schemas of what chord supports, and random values for schemas, made by reading the schema and nothing of chord.

/** A function that gives numbers in [0, 1), always the same for a seed. */
function random(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let z = Math.imul(state ^ (state >>> 15), state | 1)
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61)
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32
  }
}

const below = (next, n) => Math.floor(next() * n)
const pick = (next, list) => list[below(next, list.length)]
const chance = (next, p) => next() < p

const NAMES = ['a', 'b', 'ab', 'name', 'na"me', 'x\\y', 'Größe', '日本', 'line\n', '', 'id', '$ref', 'type']
const WORDS = ['', 'a', 'hello', 'ab12', 'é', '😀', 'a"b\\c', '\u0000\u001f\b\n', '日本語', 'x y z', 'A', '2024-02-29', '\u2028', '\u007f']

// Patterns with texts that match them.
const PATTERNS = {
  '^[a-z]+$': ['a', 'hello', 'zzzzzz'],
  '^(ab|c){2,3}$': ['abc', 'cc', 'ababab'],
  '^\\d{3}-\\d{4}$': ['555-1234'],
  'ab': ['ab', 'xxabyy', 'aab', 'abab', 'é"ab\n'],
  '^x': ['x', 'xyz', 'x"'],
  'z$': ['z', 'xyz', '"z'],
  '^[^a-c]{1,4}$': ['d', '"\\', 'é😀', '\n'],
  '^.{2,4}$': ['ab', '😀é"', '\\\\\\'],
  '^(a|b)?c|d$': ['ac', 'c', 'cxx', 'd', 'xxd'],
  '\\s': [' ', 'a\tb', '\u00a0'],
  '^\\w+(\\.\\w+)*$': ['a.b', 'a_1', 'x.y.z'],
  'a.*b.*c': ['abc', 'xaxbxcx', 'aabbcc'],
  '^[\\u00e0-\\u00ff]+$': ['é', 'àÿ'],
  '[0-9]{2}': ['12', 'a12b', '1123'],
}

const FORMATS = {
  date: ['2024-02-29', '1999-12-31', '2000-02-29', '2023-02-28', '0000-01-01'],
  time: ['23:59:59Z', '00:00:00.5+01:30', '12:34:56.789-11:00'],
  'date-time': ['2024-02-29T23:59:59Z', '2021-04-30T01:02:03.123456+02:00'],
  uuid: ['123e4567-e89b-12d3-a456-426614174000', 'FFFFFFFF-FFFF-4FFF-BFFF-FFFFFFFFFFFF'],
  email: ['a@b.c', "john.o'neil+tag@mail-1.example.org"],
  ipv4: ['0.0.0.0', '255.249.199.99', '10.1.0.42'],
}

function makeNumber(next, integer) {
  const schema = { type: integer ? 'integer' : 'number' }
  const bound = () => (integer ? below(next, 2000) - 1000 : (below(next, 20000) - 10000) / pick(next, [1, 10, 100, 1000]))
  const [low, high] = [bound(), bound()].sort((a, b) => a - b)
  if (chance(next, 0.4)) schema[chance(next, 0.3) ? 'exclusiveMinimum' : 'minimum'] = low
  if (chance(next, 0.4)) schema[chance(next, 0.3) ? 'exclusiveMaximum' : 'maximum'] = high + 1
  if (chance(next, 0.2)) schema.multipleOf = integer ? pick(next, [1, 2, 3, 5, 7, 10, 12, 60, 100]) : pick(next, [1, 3, 0.5, 0.25, 2.5])
  return schema
}

function makeString(next) {
  const schema = { type: 'string' }
  if (chance(next, 0.3)) return { ...schema, pattern: pick(next, Object.keys(PATTERNS)) }
  if (chance(next, 0.2)) return { ...schema, format: pick(next, Object.keys(FORMATS)) }
  if (chance(next, 0.4)) schema.minLength = below(next, 4)
  if (chance(next, 0.4)) schema.maxLength = 3 + below(next, 5)
  return schema
}

function makeArray(next, depth) {
  const schema = { type: 'array' }
  if (chance(next, 0.3)) schema.prefixItems = Array.from({ length: 1 + below(next, 3) }, () => makeSchema(next, depth + 1))
  if (chance(next, 0.7)) schema.items = chance(next, 0.1) ? false : makeSchema(next, depth + 1)
  if (chance(next, 0.3)) schema.minItems = below(next, 3)
  if (chance(next, 0.3)) schema.maxItems = 2 + below(next, 4)
  return schema
}

function makeObject(next, depth) {
  const names = NAMES.filter(() => chance(next, 0.3))
  const properties = Object.fromEntries(names.map((name) => [name, makeSchema(next, depth + 1)]))
  const schema = { type: 'object', properties, required: names.filter(() => chance(next, 0.5)) }
  if (chance(next, 0.2)) schema.additionalProperties = chance(next, 0.5) ? false : makeSchema(next, depth + 1)
  if (chance(next, 0.1)) schema.maxProperties = schema.required.length + below(next, 3)
  if (chance(next, 0.1)) schema.minProperties = below(next, Math.max(1, names.length))
  if (chance(next, 0.1)) schema.patternProperties = { '^p_': makeSchema(next, depth + 1) }
  return schema
}

/** A schema whose branches exclude each other by a constant. */
function makeVariants(next, depth) {
  const variants = ['circle', 'square', 'line'].map((kind) => ({
    type: 'object',
    properties: { kind: { const: kind }, size: makeSchema(next, depth + 1) },
    required: ['kind'],
    additionalProperties: false,
  }))
  return { oneOf: variants }
}

function makeSchema(next, depth) {
  const simple = [
    () => makeNumber(next, true),
    () => makeNumber(next, false),
    () => makeString(next),
    () => ({ type: pick(next, ['null', 'boolean']) }),
    () => ({ enum: Array.from({ length: 1 + below(next, 4) }, () => makeAny(next, 1)) }),
    () => ({ const: makeAny(next, 0) }),
    () => ({ type: ['string', 'null'], maxLength: 4 }),
  ]
  const nested = [
    () => makeObject(next, depth),
    () => makeObject(next, depth),
    () => makeArray(next, depth),
    () => ({ anyOf: [makeSchema(next, depth + 1), makeSchema(next, depth + 1)] }),
    () => ({ oneOf: [{ type: 'string', maxLength: 3 }, makeNumber(next, true), makeArray(next, depth + 1)] }),
    () => makeVariants(next, depth),
    () => ({ allOf: [makeObject(next, depth + 1), { type: 'object', properties: { extra: makeSchema(next, depth + 1) } }] }),
    () => ({ allOf: [{ type: 'integer', minimum: -5 }, makeNumber(next, false)] }),
    () => ({ allOf: [{ minLength: 2 }, makeString(next), { maxLength: 6 }] }),
  ]
  return pick(next, depth < 3 ? [...simple, ...nested, ...nested] : simple)()
}

/** Any JSON value. */
function makeAny(next, depth) {
  const kind = below(next, depth < 2 ? 7 : 5)
  if (kind === 0) return null
  if (kind === 1) return chance(next, 0.5)
  if (kind === 2) return below(next, 2000) - 1000
  if (kind === 3) return (below(next, 2000) - 1000) / 8
  if (kind === 4) return pick(next, WORDS)
  if (kind === 5) return Array.from({ length: below(next, 3) }, () => makeAny(next, depth + 1))
  return Object.fromEntries(NAMES.filter(() => chance(next, 0.15)).map((name) => [name, makeAny(next, depth + 1)]))
}

const resolve = (ref, whole) =>
  ref === '#' ? whole : ref.slice(2).split('/').reduce((at, part) => at[decodeURIComponent(part).replace(/~1/g, '/').replace(/~0/g, '~')], whole)

function numberFor(schema, next) {
  const low = schema.minimum ?? schema.exclusiveMinimum ?? (schema.maximum ?? schema.exclusiveMaximum ?? 50) - 100
  const high = schema.maximum ?? schema.exclusiveMaximum ?? low + 200
  const value = pick(next, [low, high, low + (high - low) * next()])
  const unit = schema.multipleOf ?? (schema.type === 'integer' ? 1 : 10 ** -below(next, 6))
  return Number((Math.round(value / unit) * unit).toFixed(6)) + 0
}

function stringFor(schema, next) {
  if (schema.pattern) return pick(next, PATTERNS[schema.pattern] ?? WORDS)
  if (schema.format) return pick(next, FORMATS[schema.format] ?? WORDS)
  let text = Array.from({ length: below(next, 5) }, () => pick(next, WORDS)).join('')
  const characters = () => [...text]
  if (schema.maxLength !== undefined) text = characters().slice(0, schema.maxLength).join('')
  while (characters().length < (schema.minLength ?? 0)) text += pick(next, ['x', 'é', '😀', '"'])
  return text
}

function arrayFor(schema, whole, next, depth) {
  const prefix = schema.prefixItems ?? (Array.isArray(schema.items) ? schema.items : [])
  const items = Array.isArray(schema.items) ? schema.additionalItems : schema.items
  const more = items === false || (items === undefined && prefix.length > 0) ? 0 : below(next, 4)
  const length = Math.min(schema.maxItems ?? 99, Math.max(schema.minItems ?? 0, below(next, prefix.length + 1) + more))
  return Array.from({ length }, (_, i) => makeValue(prefix[i] ?? items ?? true, whole, next, depth + 1))
}

function objectFor(schema, whole, next, depth) {
  const value = {}
  const required = new Set(schema.required ?? [])
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    if (required.has(name) || (depth < 6 && chance(next, 0.5))) value[name] = makeValue(property, whole, next, depth + 1)
  }
  for (const name of required) if (!(name in value)) value[name] = makeValue(schema.additionalProperties ?? true, whole, next, depth + 1)
  if (schema.patternProperties?.['^p_'] !== undefined && chance(next, 0.5)) value.p_1 = makeValue(schema.patternProperties['^p_'], whole, next, depth + 1)
  const open = schema.additionalProperties ?? (Object.keys(schema.properties ?? {}).length === 0 && required.size === 0 && !schema.patternProperties)
  if (open !== false && chance(next, 0.5)) value[pick(next, ['zz', 'n', 'ä', 'nam', 'names'])] = makeValue(open, whole, next, depth + 1)
  return value
}

/**
 * A value that is meant to be valid, in the order in which chord writes members; undefined where none was found. Of allOf it knows that of objects and of
 * simple keywords. The caller validates it.
 */
function makeValue(schema, whole, next, depth) {
  if (schema === true) return makeAny(next, 1)
  if (schema === false || depth > 12) return undefined
  if (schema.const !== undefined) return schema.const
  if (schema.enum) return pick(next, schema.enum)
  if (schema.$ref) return makeValue(resolve(schema.$ref, whole), whole, next, depth + 1)
  if (schema.allOf) return makeValue(merge([...schema.allOf, { ...schema, allOf: undefined }]), whole, next, depth + 1)
  const branches = schema.anyOf ?? schema.oneOf
  if (branches) {
    const rest = { ...schema, anyOf: undefined, oneOf: undefined }
    return makeValue(merge([rest, pick(next, branches)]), whole, next, depth + 1)
  }
  const type = Array.isArray(schema.type) ? pick(next, schema.type) : schema.type ?? impliedType(schema, next)
  if (type === 'null') return null
  if (type === 'boolean') return chance(next, 0.5)
  if (type === 'integer' || type === 'number') return numberFor({ ...schema, type }, next)
  if (type === 'string') return stringFor(schema, next)
  if (type === 'array') return arrayFor(schema, whole, next, depth)
  return objectFor(schema, whole, next, depth)
}

function impliedType(schema, next) {
  if (schema.properties || schema.required || schema.additionalProperties !== undefined || schema.patternProperties) return 'object'
  if (schema.items !== undefined || schema.prefixItems || schema.minItems || schema.maxItems) return 'array'
  if (schema.pattern || schema.format || schema.minLength || schema.maxLength) return 'string'
  if (schema.minimum !== undefined || schema.maximum !== undefined || schema.multipleOf) return 'number'
  return pick(next, ['null', 'boolean', 'integer', 'number', 'string', 'array', 'object'])
}

const WIDER = { minimum: Math.max, exclusiveMinimum: Math.max, maximum: Math.min, exclusiveMaximum: Math.min, minLength: Math.max, maxLength: Math.min }

function merge(list) {
  const all = {}
  for (const schema of list) {
    for (const [key, value] of Object.entries(schema)) {
      if (value === undefined) continue
      if (key === 'properties') all.properties = { ...all.properties, ...value }
      else if (key === 'required') all.required = [...(all.required ?? []), ...value]
      else if (key in WIDER && all[key] !== undefined) all[key] = WIDER[key](all[key], value)
      else if (key === 'type' && all.type === 'integer') continue
      else all[key] = value
    }
  }
  return all
}

module.exports = { makeSchema, makeValue, random }
