'use strict'

// The grammar of an answer, as formats.js puts it together: strings are themselves, the other parts are made by these functions, and
// formOf() turns the whole into what the addon compiles.

/** One after the other. */
const seq = (...parts) => ({ kind: 'seq', parts })

/** One of them. */
const oneOf = (parts) => ({ kind: 'oneOf', parts })

/** The part, or nothing. */
const maybe = (part) => ({ kind: 'repeat', part, least: 0, most: 1 })

/** The part any number of times, none included. */
const many = (part) => ({ kind: 'repeat', part, least: 0, most: null })

/** One or more, with `separator` between them. */
const list = (part, separator = '') => seq(part, many(seq(separator, part)))

/** JSON that a schema describes. */
const json = (schema) => ({ kind: 'json', schema })

/** JSON of the member `name` of objects that `schema` describes. `end`, which is to follow, does not occur in it. */
const member = (schema, name, end) => ({ kind: 'member', schema, name, end })

/** The same of a string as it is, without quotes and escapes, or of null: it ends where `end` begins, which does not begin within itself. */
const textMember = (schema, name, end) => ({ kind: 'textMember', schema, name, end })

/** `count` letters and digits. */
const alphanumeric = (count) => ({ kind: 'repeat', part: { kind: 'class', ranges: ['09', 'AZ', 'az'] }, least: count, most: count })

const digits = { kind: 'repeat', part: { kind: 'class', ranges: ['09'] }, least: 1, most: 9 }

/** A special token, by its text. Where the vocabulary has it as a token like any other, that text. */
const mark = (text) => ({ kind: 'mark', text })

/**
 * Any text in which none of `without` occurs, and that does not begin with one of `notAtStart` (after white space). It may end within
 * one. Special tokens do not occur in it.
 */
const free = (without, notAtStart = []) => ({ kind: 'free', without, notAtStart })

// What String.prototype.trim() removes.
const SPACE = [[9, 13], [32, 32], [0xa0, 0xa0], [0x1680, 0x1680], [0x2000, 0x200a], [0x2028, 0x2029], [0x202f, 0x202f], [0x205f, 0x205f], [0x3000, 0x3000], [0xfeff, 0xfeff]]

const point = (c) => c.codePointAt(0)
const anyOf = (characters) => ({ class: characters.map((c) => [point(c), point(c)]) })

/**
 * The form of a grammar: { rules, schemas, root } of parts that are a string (the text), { seq: [...] }, { any: [...] },
 * { repeat: [part, least, most or null] }, { class: [[first, last], ...] } and { except: [...] } of code points, { schema },
 * { member: [index of a schema, name] }, where a third element is the end of a text, { without: [part, text] }, { token: id } and
 * { rule: index }. `tokenOf(text)` is the id of the special token that is written so, or null.
 */
function formOf(grammar, tokenOf) {
  const rules = []
  const schemas = [] // of members
  const freeRules = new Map() // of equal texts

  const form = (part) => {
    if (typeof part === 'string') return part
    switch (part.kind) {
      case 'seq':
        return { seq: part.parts.map(form) }
      case 'oneOf':
        return { any: part.parts.map(form) }
      case 'repeat':
        return { repeat: [form(part.part), part.least, part.most] }
      case 'class':
        return { class: part.ranges.map(([first, last]) => [point(first), point(last)]) }
      case 'json':
        return { schema: part.schema }
      case 'member':
        return { without: [{ member: [schemaIndex(part.schema), part.name] }, part.end] }
      case 'textMember':
        return { member: [schemaIndex(part.schema), part.name, part.end] }
      case 'mark': {
        const token = tokenOf(part.text)
        return token === null ? part.text : { token }
      }
      case 'free':
        return freeForm(part)
    }
  }

  const schemaIndex = (schema) => {
    const known = schemas.indexOf(schema)
    return known >= 0 ? known : schemas.push(schema) - 1
  }

  const freeForm = ({ without, notAtStart }) => {
    const key = JSON.stringify([without, notAtStart])
    if (!freeRules.has(key)) freeRules.set(key, addFree(rules, without, notAtStart))
    return { rule: freeRules.get(key) }
  }

  const root = form(grammar)
  return { rules, schemas, root }
}

/** The prefixes of `words` as states: { prefix, next: Map of character -> state, isWord }, the first one empty. */
function prefixes(words) {
  const states = [{ prefix: '', next: new Map(), isWord: false }]
  for (const word of words) {
    let at = 0
    for (const c of word) {
      if (!states[at].next.has(c)) {
        states[at].next.set(c, states.length)
        states.push({ prefix: states[at].prefix + c, next: new Map(), isWord: false })
      }
      at = states[at].next.get(c)
    }
    states[at].isWord = true
  }
  return states
}

/**
 * Adds rules for free(without, notAtStart), one for each state of an automaton: of a text that may end there or go on with a character and
 * another state. Returns the first. What was read last is a state, the longest prefix of a word that it ends with; before that, states
 * are prefixes of what may not stand at the start.
 */
function addFree(rules, without, notAtStart) {
  const words = prefixes(without)
  const starts = prefixes(notAtStart)
  const first = rules.length
  const firstInside = first + (notAtStart.length > 0 ? starts.length : 0)
  const stateOf = (text) => words.reduce((best, { prefix }, state) => (text.endsWith(prefix) && prefix.length > words[best].prefix.length ? state : best), 0)
  const isForbidden = (text) => without.some((word) => text.endsWith(word))
  const alphabet = [...new Set(without.join(''))]
  const inside = (text) => ({ rule: firstInside + stateOf(text) })

  /** A text that has come as far as `prefix` and goes on anyhow, but for `others`, which are dealt with. */
  const goOn = (prefix, others) => {
    const known = others.flatMap((set) => set.class)
    const isKnown = (c) => known.some(([from, to]) => point(c) >= from && point(c) <= to)
    const byTarget = new Map()
    for (const c of alphabet) {
      if (isKnown(c) || isForbidden(prefix + c)) continue
      const state = stateOf(prefix + c)
      byTarget.set(state, [...(byTarget.get(state) ?? []), c])
    }
    const any = { seq: [{ except: [...known, ...anyOf(alphabet).class] }, inside('')] }
    return [any, ...[...byTarget].map(([state, characters]) => ({ seq: [anyOf(characters), { rule: firstInside + state }] }))]
  }

  if (notAtStart.length > 0) {
    for (const [state, { prefix, next }] of starts.entries()) {
      const on = [...next].filter(([, to]) => !starts[to].isWord && !isForbidden(starts[to].prefix)).map(([c, to]) => ({ seq: [anyOf([c]), { rule: first + to }] }))
      const blank = state === 0 ? [{ class: SPACE }] : []
      rules.push({ any: ['', ...on, ...blank.map((set) => ({ seq: [set, { rule: first }] })), ...goOn(prefix, [anyOf([...next.keys()]), ...blank])] })
    }
  }
  for (const { prefix } of words) rules.push({ any: ['', ...goOn(prefix, [])] })
  return first
}

module.exports = { alphanumeric, digits, formOf, free, json, list, many, mark, maybe, member, oneOf, seq, textMember }
