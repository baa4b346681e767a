'use strict'

// How reasoning is told from the answer, piece by piece; of the module itself, since no model says what a test would like to hear.

const assert = require('node:assert/strict')
const { test } = require('node:test')
const { findBlock, splitterOf } = require('../../lib/chat/reasoning.js')

const BLOCK = { ...findBlock('... </think> ...'), openToken: null, closeToken: null }

function split(block, prompt, pieces) {
  const splitter = splitterOf(block, prompt)
  const events = pieces.flatMap(([token, text]) => splitter.push({ token, text }))
  assert.deepEqual(events.filter(({ token }) => token !== null).map(({ token }) => token), pieces.map(([token]) => token), 'one event for each token')
  events.push(...splitter.end())
  const of = (type) => events.filter((event) => event.type === type).map(({ text }) => text).join('')
  return { reasoning: of('reasoning'), text: of('text') }
}

/** Every way to cut a text into two or three pieces. */
function* cuts(text) {
  for (let i = 0; i <= text.length; i++) {
    for (let k = i; k <= text.length; k++) yield [text.slice(0, i), text.slice(i, k), text.slice(k)].map((piece, n) => [n, piece])
  }
}

test('a block at the beginning is reasoning, however the text comes in pieces', () => {
  assert.equal(findBlock('{{ messages }}'), null)
  for (const pieces of cuts('\n<think>\nIs 1 < 2? </thin\n</think>\n\nYes <think>.')) {
    assert.deepEqual(split(BLOCK, 'assistant\n', pieces), { reasoning: '\nIs 1 < 2? </thin\n', text: 'Yes <think>.' })
  }
  for (const pieces of cuts('Hm.</think>Yes.')) {
    assert.deepEqual(split(BLOCK, 'assistant\n<think>\n', pieces), { reasoning: 'Hm.', text: 'Yes.' })
  }
})

test('without a block all is text, and a block that is not closed is reasoning', () => {
  for (const pieces of cuts(' <thin air')) assert.deepEqual(split(BLOCK, 'assistant\n', pieces), { reasoning: '', text: ' <thin air' })
  for (const pieces of cuts('<think>so </thi')) assert.deepEqual(split(BLOCK, '', pieces), { reasoning: 'so </thi', text: '' })
  for (const pieces of cuts('a<think>b</think>')) assert.deepEqual(split(null, '', pieces), { reasoning: '', text: 'a<think>b</think>' })
  assert.deepEqual(split(BLOCK, '<think>\n\n</think>\n\n', [[1, 'Hi']]), { reasoning: '', text: 'Hi' })
})

test('marks that show no text count as tokens', () => {
  const block = { ...findBlock('[THINK] [/THINK]'), openToken: 7, closeToken: 8 }
  assert.deepEqual(split(block, '', [[7, ''], [1, 'Hm.'], [8, ''], [2, ' Yes.']]), { reasoning: 'Hm.', text: 'Yes.' })
  assert.deepEqual(split(block, '', [[1, 'Yes'], [7, ''], [2, '.']]), { reasoning: '', text: 'Yes.' })
})
