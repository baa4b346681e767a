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

/** `count` letters and digits. */
const alphanumeric = (count) => ({ kind: 'repeat', part: { kind: 'class', ranges: ['09', 'AZ', 'az'] }, least: count, most: count })

const digits = { kind: 'repeat', part: { kind: 'class', ranges: ['09'] }, least: 1, most: 9 }

/** A special token, by its text. Where the vocabulary has it as a token like any other, that text. */
const mark = (text) => ({ kind: 'mark', text })

/**
 * Any text in which none of `without` occurs; with `atStart`, that does not begin with one of them (after white space). It may end
 * within one. Special tokens do not occur in it.
 */
const free = (without, { atStart = false } = {}) => ({ kind: 'free', without, atStart })

// What String.prototype.trim() removes.
const SPACE = [[9, 13], [32, 32], [0xa0, 0xa0], [0x1680, 0x1680], [0x2000, 0x200a], [0x2028, 0x2029], [0x202f, 0x202f], [0x205f, 0x205f], [0x3000, 0x3000], [0xfeff, 0xfeff]]

const point = (c) => c.codePointAt(0)
const anyOf = (characters) => ({ class: characters.map((c) => [point(c), point(c)]) })

/**
 * The form of a grammar: { rules, root } of parts that are a string (the text), { seq: [...] }, { any: [...] },
 * { repeat: [part, least, most or null] }, { class: [[first, last], ...] } and { except: [...] } of code points, { schema },
 * { token: id } and { rule: index }. `tokenOf(text)` is the id of the special token that is written so, or null.
 */
function formOf(grammar, tokenOf) {
  const rules = []
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
      case 'mark': {
        const token = tokenOf(part.text)
        return token === null ? part.text : { token }
      }
      case 'free':
        return freeForm(part)
    }
  }

  const freeForm = ({ without, atStart }) => {
    const key = JSON.stringify([atStart, without])
    if (!freeRules.has(key)) freeRules.set(key, (atStart ? textThatDoesNotBegin : textWithout)(without, rules))
    return { rule: freeRules.get(key) }
  }

  const root = form(grammar)
  return { rules, root }
}

/** The prefixes of `words` as states: { next: Map of character -> state, isWord, suffix: the state of the longest proper suffix }. */
function prefixes(words) {
  const states = [{ next: new Map(), isWord: false, suffix: 0 }]
  for (const word of words) {
    let at = 0
    for (const c of word) {
      if (!states[at].next.has(c)) {
        states[at].next.set(c, states.length)
        states.push({ next: new Map(), isWord: false, suffix: 0 })
      }
      at = states[at].next.get(c)
    }
    states[at].isWord = true
  }
  return states
}

/** Adds a rule for each state, of a text that may end there or go on by any of `ways`: [form of a character, state]. Returns the first. */
function automaton(rules, n, ways) {
  const first = rules.length
  for (let state = 0; state < n; state++) {
    rules.push({ any: ['', ...ways(state).map(([character, to]) => ({ seq: [character, { rule: first + to }] }))] })
  }
  return first
}

/** Texts in which none of `words` occurs: what was read last is a state, the longest prefix of a word that it ends with. */
function textWithout(words, rules) {
  const states = prefixes(words)
  const alphabet = [...new Set(words.join(''))]
  const step = (state, c) => states[state].next.get(c) ?? (state === 0 ? 0 : step(states[state].suffix, c))
  for (const queue = [0]; queue.length > 0; ) {
    const state = queue.shift()
    for (const [c, to] of states[state].next) {
      states[to].suffix = state === 0 ? 0 : step(states[state].suffix, c)
      states[to].isWord ||= states[states[to].suffix].isWord
      queue.push(to)
    }
  }
  return automaton(rules, states.length, (state) => {
    const byTarget = new Map()
    for (const c of alphabet) {
      const to = step(state, c)
      if (!states[to].isWord) byTarget.set(to, [...(byTarget.get(to) ?? []), c])
    }
    return [[{ except: anyOf(alphabet).class }, 0], ...[...byTarget].map(([to, characters]) => [anyOf(characters), to])]
  })
}

/** Texts that, after white space, do not begin with one of `words`, which begin with none. */
function textThatDoesNotBegin(words, rules) {
  const states = prefixes(words)
  const anything = states.length
  return automaton(rules, states.length + 1, (state) => {
    if (state === anything) return [[{ except: [] }, anything]]
    const inside = [...states[state].next]
    const known = anyOf(inside.map(([c]) => c)).class
    const on = inside.filter(([, to]) => !states[to].isWord).map(([c, to]) => [anyOf([c]), to])
    return state === 0 ? [...on, [{ class: SPACE }, 0], [{ except: [...known, ...SPACE] }, anything]] : [...on, [{ except: known }, anything]]
  })
}

module.exports = { alphanumeric, digits, formOf, free, json, list, many, mark, maybe, oneOf, seq }
