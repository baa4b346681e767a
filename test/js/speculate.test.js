'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const { after, before, describe } = require('node:test')
const { loadModel } = require('../..')
const { STORIES, testWith } = require('./helpers.js')

const SENTENCE = 'Once upon a time, there was a little girl named Lily. She loved to play outside in the sunshine. '
const ALWAYS = { always: true }

const collect = async (stream) => {
  const pieces = []
  for await (const piece of stream) pieces.push(piece)
  return pieces
}

describe('speculate', () => {
  let stories
  before(async () => {
    if (fs.existsSync(STORIES)) stories = await loadModel(STORIES)
  })
  after(() => stories?.close())

  testWith(STORIES, 'changes nothing of a text, its tokens and log-probabilities', async () => {
    for (const [i, options] of [
      { temperature: 0 },
      { temperature: 0, repeatPenalty: 1.1 },
      { temperature: 0.7, seed: 1 },
      { temperature: 1, seed: 2, frequencyPenalty: 0.3, presencePenalty: 0.2 },
      { temperature: 1.2, seed: 3, topK: 0, topP: 1, minP: 0 },
    ].entries()) {
      const all = { ...options, maxTokens: 120, logprobs: 2 }
      const prompt = i % 2 === 0 ? SENTENCE + SENTENCE : ''
      const { timings: ignored, speculation: none, ...plain } = await stories.generate(prompt, { ...all, speculate: false })
      assert.deepEqual(none, { guessedTokens: 0, acceptedTokens: 0, draftedTokens: 0, acceptedDraftTokens: 0 })
      for (const speculate of ['lookup', { guesses: 1, ...ALWAYS }, { guesses: 4, ...ALWAYS }, ALWAYS]) {
        const generation = stories.generate(prompt, { ...all, speculate })
        const { timings: other, speculation, ...result } = await generation
        assert.deepEqual(result, plain)
        assert.equal((await collect(generation)).join(''), plain.text)
        assert.ok(speculation.acceptedTokens <= speculation.guessedTokens)
        if (speculate === ALWAYS) assert.ok(speculation.guessedTokens > 0)
      }
    }
  })

  testWith(STORIES, 'several texts at once are what each is alone', async () => {
    const options = (i) => ({ temperature: i % 2, seed: i, maxTokens: 60 + i })
    const alone = []
    for (let i = 0; i < 5; i++) alone.push((await stories.generate(SENTENCE.repeat(i), { ...options(i), speculate: false })).tokens)
    const together = await Promise.all(alone.map((_, i) => stories.generate(SENTENCE.repeat(i), { ...options(i), speculate: ALWAYS })))
    assert.deepEqual(together.map(({ tokens }) => tokens), alone)
  })

  testWith(STORIES, 'guesses that come true save steps, and stats() counts them', async () => {
    const counted = async (speculate) => {
      const before = stories.stats().work
      const { speculation } = await stories.generate(SENTENCE + SENTENCE, { temperature: 0, frequencyPenalty: -1, maxTokens: 100, ignoreEos: true, speculate })
      const { work } = stories.stats()
      assert.equal(work.guessedTokens - before.guessedTokens, speculation.guessedTokens)
      assert.equal(work.acceptedTokens - before.acceptedTokens, speculation.acceptedTokens)
      assert.equal(work.generatedTokens - before.generatedTokens, 99)
      return { steps: work.steps - before.steps, accepted: speculation.acceptedTokens }
    }
    const plain = await counted(false)
    const ahead = await counted(ALWAYS)
    assert.ok(ahead.accepted > 10, `${ahead.accepted} guesses came true`)
    assert.equal(ahead.steps, plain.steps - ahead.accepted)
  })

  testWith(STORIES, 'is checked', () => {
    for (const [speculate, expected] of [
      [true, /'speculate'.*false, 'lookup' or an object, got true/],
      ['draft', /'speculate'/],
      [{ guesses: 16 }, /'guesses'.*from 1 to 15, got 16/],
      [{ guess: 2 }, /did you mean 'guesses'/],
    ]) {
      assert.throws(() => stories.generate('', { speculate }), (error) => error.code === 'INVALID_ARGUMENT' && expected.test(error.message))
    }
  })
})
