'use strict'

// Generations held to a grammar: what they write, how they end, and that all else stays as it is.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const { after, before, describe } = require('node:test')
const { STORIES, testWith } = require('./helpers.js')
const { loadModel } = require('../..')

const JSON_TEXT = `
root ::= object
object ::= "{" ws (pair ("," ws pair)*)? "}"   # at most as long as the model likes
pair ::= string ":" ws value
value ::= object | string | number | "true" | "false" |
  "null" | "[" ws (value ("," ws value){0,9})? "]"
string ::= "\\"" [^"\\\\\\x00-\\x1f]{0,20} "\\""
number ::= "-"? ("0" | [1-9] [0-9]{0,5}) ("." [0-9]{1,3})?
ws ::= " "?
`
// Ends by itself soon, so that whole texts come of it.
const PERSON = 'root ::= "{\\"name\\": \\"" [A-Za-z ]{1,12} "\\", \\"age\\": " [1-9] [0-9]? "}"'

let stories
before(async () => {
  if (fs.existsSync(STORIES)) stories = await loadModel(STORIES, { context: 256 })
})
after(() => stories?.close())

const rejects = (generation, code, message) => assert.rejects(async () => generation, (error) => error.code === code && message.test(error.message))

describe('texts of a grammar', () => {
  testWith(STORIES, 'a whole text ends by itself, and is one of the grammar', async () => {
    for (const options of [{ temperature: 0 }, ...Array.from({ length: 12 }, (_, seed) => ({ seed, temperature: 1.5, topK: seed % 3 ? 40 : 0, minP: 0 }))]) {
      const { text, finishReason } = await stories.generate('Her name was', { grammar: PERSON, ...options })
      assert.equal(finishReason, 'stop')
      const { name, age } = JSON.parse(text)
      assert.match(name, /^[A-Za-z ]{1,12}$/)
      assert.ok(age >= 1 && age < 100)
    }
  })

  testWith(STORIES, 'a text that is cut by maxTokens says so', async () => {
    for (let maxTokens = 1; maxTokens < 12; maxTokens += 3) {
      const { text, finishReason, tokens } = await stories.generate('', { grammar: PERSON, temperature: 0, maxTokens })
      assert.equal(finishReason, 'length')
      assert.equal(tokens.length, maxTokens)
      assert.ok('{"name": "'.startsWith(text) || text.startsWith('{"name": "'))
    }
  })

  testWith(STORIES, 'random JSON that ended parses', async () => {
    let ended = 0
    const texts = await Promise.all(
      Array.from({ length: 16 }, (_, seed) => stories.generate('', { grammar: JSON_TEXT, seed, temperature: 3, topK: 0, topP: 1, minP: 0, maxTokens: 80 })),
    )
    for (const { text, finishReason } of texts) {
      if (finishReason !== 'stop') continue
      JSON.parse(text)
      ended++
    }
    assert.ok(ended > 0, 'some text ended')
  })

  testWith(STORIES, 'one text alone, the empty text, and a choice', async () => {
    assert.deepEqual(await stories.generate('', { grammar: 'root ::= "yes, of course"' }).then(({ text, finishReason }) => [text, finishReason]), ['yes, of course', 'stop'])
    assert.deepEqual(await stories.generate('', { grammar: 'root ::= ""' }).then(({ text, finishReason }) => [text, finishReason]), ['', 'stop'])
    const { text } = await stories.generate('', { grammar: 'root ::= "ja" | "nein" | "日本語" | "\\U0001F600"', seed: 1 })
    assert.ok(['ja', 'nein', '日本語', '😀'].includes(text), text)
  })

  testWith(STORIES, 'a grammar that allows everything changes nothing', async () => {
    for (const options of [{ temperature: 0 }, { seed: 3 }, { seed: 3, topK: 0 }]) {
      const free = await stories.generate('Once', { ...options, maxTokens: 60, logprobs: 2 })
      const held = await stories.generate('Once', { ...options, maxTokens: 60, logprobs: 2, grammar: 'root ::= .*' })
      assert.deepEqual(held.tokens, free.tokens)
      assert.deepEqual(held.logprobs, free.logprobs)
      assert.equal(held.finishReason, free.finishReason)
    }
  })
})

describe('with everything else', () => {
  const options = { grammar: JSON_TEXT, temperature: 0.9, maxTokens: 60 }

  testWith(STORIES, 'guesses change nothing', async () => {
    for (let seed = 0; seed < 4; seed++) {
      const alone = await stories.generate('{"a": 1, "a": 1, "a": 1, ', { ...options, seed, speculate: false })
      const guessed = await stories.generate('{"a": 1, "a": 1, "a": 1, ', { ...options, seed, speculate: { always: true } })
      assert.equal(guessed.text, alone.text)
      assert.deepEqual(guessed.tokens, alone.tokens)
    }
  })

  testWith(STORIES, 'generations of one batch keep to their own grammars', async () => {
    const grammars = [JSON_TEXT, PERSON, 'root ::= [a-f]{40,60}', undefined]
    const run = (seed) => stories.generate('Once', { grammar: grammars[seed % 4], seed, maxTokens: 50 })
    const alone = []
    for (let seed = 0; seed < 8; seed++) alone.push((await run(seed)).text)
    const together = await Promise.all(Array.from({ length: 8 }, (_, seed) => run(seed)))
    assert.deepEqual(together.map(({ text }) => text), alone)
    assert.match(alone[2], /^[a-f]{0,60}$/)
  })

  testWith(STORIES, 'bias, penalties, stop strings, sessions, a custom sampler', async () => {
    const comma = (await stories.generate('', { grammar: 'root ::= ","', temperature: 0 })).tokens[0]
    const biased = await stories.generate('', { grammar: 'root ::= ("a" | ","){8}', temperature: 0, logitBias: { [comma]: 1000 } })
    assert.equal(biased.text, ',,,,,,,,')
    const penalized = await stories.generate('', { grammar: 'root ::= [a-z]{30}', temperature: 0, repeatPenalty: 1.5, frequencyPenalty: 1 })
    assert.match(penalized.text, /^[a-z]{30}$/)
    const stopped = await stories.generate('', { grammar: PERSON, stop: 'name', temperature: 0 })
    assert.deepEqual([stopped.text, stopped.finishReason], ['{"', 'stop'])
    const session = stories.session()
    const first = await session.generate('Tim', { grammar: PERSON, temperature: 0 })
    const again = await session.generate([...session.tokens, ...stories.tokenize(' and', { bos: false })], { grammar: PERSON, temperature: 0 })
    for (const { text } of [first, again]) JSON.parse(text)
    await session.close()
    const sampled = await stories.generate('', { grammar: PERSON, sample: (logits) => logits.indexOf(Math.max(...logits)) })
    const greedy = await stories.generate('', { grammar: PERSON, temperature: 0 })
    assert.equal(sampled.text, greedy.text)
  })
})

describe('errors', () => {
  testWith(STORIES, 'of the grammar: code, line and column', async () => {
    await rejects(stories.generate('', { grammar: 'root ::= "a"\n  b ::= [x' }), 'INVALID_ARGUMENT', /line 2, column 9: this class has no closing bracket/)
    await rejects(stories.generate('', { grammar: 'root ::= item' }), 'INVALID_ARGUMENT', /line 1, column 10: this rule is not defined/)
    await rejects(stories.generate('', { grammar: 'root ::= root "a" | "b"' }), 'INVALID_ARGUMENT', /'root' is left-recursive/)
    await rejects(stories.generate('', { grammar: 'start ::= "a"' }), 'INVALID_ARGUMENT', /no rule 'root'/)
    assert.throws(() => stories.generate('', { grammar: 5 }), { code: 'INVALID_ARGUMENT', message: /'grammar'/ })
  })

  testWith(STORIES, 'where nothing can be chosen', async () => {
    const ids = [...Array(stories.info.vocabulary).keys()]
    const logitBias = new Map(ids.map((id) => [id, -Infinity]))
    await rejects(stories.generate('', { grammar: PERSON, logitBias }), 'INVALID_ARGUMENT', /the grammar, the logit bias and the vocabulary together leave none/)
  })

  testWith(STORIES, 'where there are too many ways to read the text', async () => {
    const grammar = 'root ::= (([a-z ]{1,300}){1,300}){1,300} "!"'
    await rejects(stories.generate('Once', { grammar, temperature: 0, maxTokens: 200 }), 'INVALID_ARGUMENT', /too ambiguous/)
  })
})
