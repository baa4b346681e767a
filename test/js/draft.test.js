'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const { after, before, describe } = require('node:test')
const { loadModel } = require('../..')
const { DEMO, LONG_CONTEXT, RANDOM, STORIES, openModel, testWith } = require('./helpers.js')

const SENTENCE = 'Once upon a time, there was a little girl named Lily. She loved to play outside in the sunshine. '
const ALWAYS = { lookup: false, always: true }
const TEXTS = [
  { temperature: 0 },
  { temperature: 0.7, seed: 1 },
  { temperature: 1, seed: 2, frequencyPenalty: 0.3, presencePenalty: 0.2 },
  { temperature: 1.2, seed: 3, topK: 0, topP: 1, minP: 0 },
]

describe('draft', () => {
  let stories
  let draft
  before(async () => {
    if (!fs.existsSync(STORIES)) return
    stories = await loadModel(STORIES)
    draft = await loadModel(STORIES)
  })
  after(async () => {
    await stories?.close()
    await draft?.close()
  })

  testWith(STORIES, 'changes nothing of a text, its tokens and log-probabilities', async () => {
    for (const options of TEXTS) {
      const all = { ...options, maxTokens: 100, logprobs: 2 }
      // Even itself as a draft does no harm: without speculation nobody asks.
      const { timings: ignored, speculation: none, ...plain } = await stories.generate(SENTENCE, { ...all, speculate: false, draft: stories })
      assert.equal(none.guessedTokens, 0)
      for (const speculate of [undefined, ALWAYS, { guesses: 3, ...ALWAYS }]) {
        const { timings: other, speculation, ...result } = await stories.generate(SENTENCE, { ...all, speculate, draft })
        assert.deepEqual(result, plain)
        assert.ok(speculation.draftedTokens <= speculation.guessedTokens && speculation.acceptedDraftTokens <= speculation.draftedTokens)
        if (speculate) assert.ok(speculation.draftedTokens > 50)
      }
    }
  })

  testWith(STORIES, 'saves steps, and stats() counts its guesses', async () => {
    const prior = stories.stats().work
    const { speculation } = await stories.generate(SENTENCE, { temperature: 0, maxTokens: 100, ignoreEos: true, speculate: ALWAYS, draft })
    const { work } = stories.stats()
    assert.equal(work.draftedTokens - prior.draftedTokens, speculation.draftedTokens)
    assert.equal(work.acceptedDraftTokens - prior.acceptedDraftTokens, speculation.acceptedDraftTokens)
    assert.ok(speculation.acceptedDraftTokens > 85)
    assert.ok(work.steps - prior.steps < 15)
    assert.equal(draft.stats().regions.kv.heldBytes, 0)
  })

  testWith(STORIES, 'of loadModel() serves all generations and sessions but those that say otherwise', async (t) => {
    const model = await loadModel(STORIES, { draft })
    t.after(() => model.close())
    const options = { temperature: 0, maxTokens: 20, speculate: ALWAYS }
    assert.ok((await model.generate(SENTENCE, options)).speculation.draftedTokens > 0)
    assert.equal((await model.generate(SENTENCE, { ...options, draft: false })).speculation.draftedTokens, 0)
    const session = model.session()
    assert.ok((await session.generate(SENTENCE, options)).speculation.draftedTokens > 0)
    await session.close()
  })

  testWith(STORIES, 'may be closed while it drafts, and by then drafts for nobody', async (t) => {
    const closing = await loadModel(STORIES)
    const model = await loadModel(STORIES, { draft: closing })
    t.after(() => model.close())
    const options = { temperature: 0, maxTokens: 150, ignoreEos: true, speculate: { guesses: 2, ...ALWAYS } }
    const { tokens } = await stories.generate(SENTENCE, { ...options, speculate: false })
    const generations = [stories.generate(SENTENCE, { ...options, draft: closing }), model.generate(SENTENCE, options)]
    for await (const _ of generations[0]) {
      await closing.close()
    }
    for (const generation of generations) assert.deepEqual((await generation).tokens, tokens)
    assert.throws(() => stories.generate('', { draft: closing }), { code: 'CLOSED' })
    assert.equal((await model.generate(SENTENCE, options)).speculation.draftedTokens, 0)
  })

  testWith(STORIES, 'may write texts itself, beside those of several models, each the draft of the other', async (t) => {
    const models = await Promise.all([0, 1, 2].map(() => loadModel(STORIES)))
    t.after(() => Promise.all(models.map((model) => model.close())))
    const alone = []
    for (const options of TEXTS) alone.push((await stories.generate(SENTENCE, { ...options, maxTokens: 60, speculate: false })).tokens)
    const started = models.flatMap((model, i) =>
      TEXTS.map((options) => model.generate(SENTENCE, { ...options, maxTokens: 60, speculate: ALWAYS, draft: models[(i + 1) % 3] })),
    )
    const texts = await Promise.all(started)
    texts.forEach(({ tokens }, i) => assert.deepEqual(tokens, alone[i % TEXTS.length]))
  })

  testWith(STORIES, 'cancelling gives back what it holds', async (t) => {
    const model = await openModel(t, STORIES, { context: LONG_CONTEXT })
    const generation = model.generate(SENTENCE, { temperature: 0, ignoreEos: true, speculate: { guesses: 1, ...ALWAYS }, draft })
    let n = 0
    for await (const _ of generation) if (++n === 10) generation.cancel()
    assert.equal((await generation).finishReason, 'cancelled')
    assert.equal(draft.stats().regions.kv.heldBytes, 0)
  })

  testWith([STORIES, RANDOM, DEMO], 'with another vocabulary is refused, with the difference', async (t) => {
    for (const [file, difference] of [
      [RANDOM, /another vocabulary: its token \d+ is '.*', the model's '.*'|another vocabulary: 32000 tokens, the model 512/],
      [DEMO, /another tokenizer, 'gpt2' where the model has 'llama'/],
    ]) {
      const other = await loadModel(file)
      t.after(() => other.close())
      const expected = (error) => error.code === 'INVALID_ARGUMENT' && difference.test(error.message)
      assert.throws(() => stories.generate('', { draft: other }), expected)
      await assert.rejects(loadModel(STORIES, { draft: other }), expected)
    }
    assert.throws(() => stories.generate('', { draft: stories }), /can't draft for itself/)
  })

  testWith(STORIES, 'is checked', async () => {
    for (const given of [true, 'small.gguf', {}, null]) {
      assert.throws(() => stories.generate('', { draft: given }), (error) => error.code === 'INVALID_ARGUMENT' && /'draft' of generate\(\): expected a Model/.test(error.message))
      await assert.rejects(loadModel(STORIES, { draft: given }), /'draft' of loadModel\(\): expected a Model/)
    }
  })
})
