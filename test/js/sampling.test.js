'use strict'

// Samplers beyond top-k and top-p, their order, and a sampler in JavaScript.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const { after, before, describe } = require('node:test')
const { setTimeout: later } = require('node:timers/promises')
const { STORIES, testWith } = require('./helpers.js')
const { ChordError, loadModel } = require('../..')

const PROMPT = 'Once upon a time'
const GREEDY = { temperature: 0, maxTokens: 24 }

let stories
before(async () => {
  if (fs.existsSync(STORIES)) stories = await loadModel(STORIES)
})
after(() => stories?.close())

const best = (logits) => logits.indexOf(logits.reduce((a, b) => Math.max(a, b)))

/** A check for assert.throws and assert.rejects. */
const refused = (pattern) => (error) => {
  assert.ok(error instanceof ChordError, String(error))
  assert.equal(error.code, 'INVALID_ARGUMENT')
  assert.match(error.message, pattern)
  return true
}

describe('the chain', () => {
  testWith(STORIES, 'samplers that are on change the text, the same seed gives the same one', async () => {
    const plain = { maxTokens: 40, seed: 3, temperature: 1.2 }
    const { tokens } = await stories.generate(PROMPT, plain)
    for (const options of [
      { xtc: { probability: 1, threshold: 0.05 } },
      { dry: { multiplier: 4, allowedLength: 1, sequenceBreakers: [] } },
      { mirostat: { tau: 2 } },
      { dynamicTemperature: { range: 1.2, exponent: 0.5 } },
      { topNSigma: 0.01 },
      { samplers: ['temperature'] },
      { samplers: ['topP', 'temperature'] },
    ]) {
      const [one, two] = await Promise.all([stories.generate(PROMPT, { ...plain, ...options }), stories.generate(PROMPT, { ...plain, ...options })])
      assert.deepEqual(one.tokens, two.tokens)
      assert.notDeepEqual(one.tokens, tokens, JSON.stringify(options))
    }
    const everything = ['penalties', 'dry', 'topNSigma', 'temperature', 'topK', 'typicalP', 'topP', 'minP', 'xtc', 'mirostat']
    const off = { dynamicTemperature: { range: 0 }, topNSigma: 0, xtc: { probability: 0 }, dry: { multiplier: 0 }, samplers: everything }
    assert.deepEqual((await stories.generate(PROMPT, { ...plain, ...off })).tokens, tokens)
  })

  testWith(STORIES, 'XTC of certainty never takes the likeliest of several likely tokens', async () => {
    const { logprobs } = await stories.generate(PROMPT, { maxTokens: 60, seed: 1, xtc: { probability: 1, threshold: 0.2 }, logprobs: 2, samplers: ['xtc'] })
    let likely = 0
    for (const { token, top } of logprobs) {
      if (top[1].logprob < Math.log(0.2)) continue
      likely++
      assert.notEqual(token, top[0].token)
    }
    assert.ok(likely > 5)
  })

  testWith(STORIES, 'DRY ends a loop', async () => {
    const prompt = 'The cat sat. The cat sat. The cat sat. The cat'
    const next = stories.tokenize(`${prompt} sat`)[stories.tokenize(prompt).length]
    const options = { temperature: 0, maxTokens: 1, logitBias: { [next]: 8 } }
    assert.deepEqual((await stories.generate(prompt, options)).tokens, [next])
    assert.notDeepEqual((await stories.generate(prompt, { ...options, dry: { multiplier: 8 } })).tokens, [next])
    // A passage that a breaker interrupts is shorter than what is allowed.
    assert.deepEqual((await stories.generate(prompt, { ...options, dry: { multiplier: 8, sequenceBreakers: 'cat' } })).tokens, [next])
  })

  testWith(STORIES, 'what contradicts itself is refused by name', () => {
    for (const [options, pattern] of [
      [{ samplers: 'topK' }, /'samplers'.*an array of names.*got "topK"/],
      [{ samplers: ['topQ'] }, /'samplers' of generate\(\)\[0\].*expected '\w+', got "topQ"/],
      [{ samplers: ['topK', 'minP', 'topK'] }, /\[2\]: 'topK' stands there twice/],
      [{ samplers: [5] }, /\[0\].*one of penalties, dry.*got 5/],
      [{ samplers: ['topK'], topP: 0.9 }, /'topP'.*not among the option 'samplers'/],
      [{ samplers: ['topK'], dynamicTemperature: { range: 1 } }, /'temperature' is not among/],
      [{ mirostat: {}, topK: 3 }, /'mirostat' and 'topK'.*contradict/],
      [{ mirostat: {}, xtc: {} }, /'mirostat' and 'xtc'.*contradict/],
      [{ mirostat: {}, samplers: ['temperature', 'topP', 'mirostat'] }, /'topP' and the option 'mirostat' contradict/],
      [{ mirostat: {}, temperature: 0 }, /mirostat needs a temperature above 0/],
      [{ mirostat: { tau: 0 } }, /'tau' of mirostat.*above 0, got 0/],
      [{ xtc: { threshold: 0.6 } }, /'threshold' of xtc.*at most 0\.5, got 0\.6/],
      [{ dynamicTemperature: {} }, /'range' is missing/],
      [{ dynamicTemperature: { range: 1 }, temperature: 0 }, /contradict/],
      [{ dry: { breakers: [] } }, /unknown option 'breakers' of dry: did you mean 'sequenceBreakers'|unknown option 'breakers' of dry: there are/],
      [{ dry: { allowedLength: 0 } }, /'allowedLength' of dry.*got 0/],
      [{ sample: best, topK: 3 }, /'sample' and 'topK'.*contradict/],
      [{ sample: best, seed: 3 }, /'sample' and 'seed'.*contradict/],
      [{ sample: 'best' }, /'sample'.*a function, got "best"/],
    ]) {
      assert.throws(() => stories.generate('x', options), refused(pattern), JSON.stringify(options))
    }
    stories.generate('x', { mirostat: {}, topK: 0, topP: 1, minP: 0 }).cancel()
  })
})

describe('a sampler in JavaScript', () => {
  testWith(STORIES, 'gives the text of its rule, at once or later, beside others', async () => {
    const states = []
    const sync = (logits, state) => {
      states.push({ ...state, tokens: [...state.tokens], isCopy: logits.buffer.byteLength === 4 * logits.length })
      return best(logits)
    }
    const [expected, ...others] = await Promise.all([
      stories.generate(PROMPT, { ...GREEDY, logprobs: 2 }),
      stories.generate(PROMPT, { sample: sync, maxTokens: 24, logprobs: 2 }),
      stories.generate(PROMPT, { sample: async (logits) => (await later(2), best(logits)), maxTokens: 24 }),
      stories.generate(PROMPT, GREEDY),
      stories.session().generate(PROMPT, { sample: best, maxTokens: 24 }),
    ])
    for (const { text, tokens, finishReason } of others) {
      assert.equal(text, expected.text)
      assert.deepEqual(tokens, expected.tokens)
      assert.equal(finishReason, 'length')
    }
    assert.deepEqual(others[0].logprobs, expected.logprobs)
    const prompt = stories.tokenize(PROMPT)
    states.forEach((state, step) => {
      assert.deepEqual(state, { tokens: [...prompt, ...expected.tokens.slice(0, step)], promptTokens: prompt.length, step, isCopy: true })
    })
    assert.equal(states.length, 24)
  })

  testWith(STORIES, 'sees bias and bans, may end the text, and stop strings still end it', async () => {
    const { eos } = stories.info.tokenizer
    const seen = []
    const sample = (logits, { step }) => {
      seen.push(logits[5], logits[eos])
      return step < 2 ? best(logits) : eos
    }
    const ended = await stories.generate(PROMPT, { sample, logitBias: { 5: -Infinity } })
    assert.equal(ended.finishReason, 'stop')
    assert.equal(ended.tokens.length, 2)
    assert.equal(seen[0], -Infinity)
    assert.notEqual(seen[1], -Infinity)
    await assert.rejects(async () => stories.generate(PROMPT, { sample: () => eos, ignoreEos: true }), refused(/token \d+ can't be chosen: its logit is -inf/))
    const { text, finishReason } = await stories.generate(PROMPT, { sample: best, stop: 'girl' })
    assert.match(text, /little $/)
    assert.equal(finishReason, 'stop')
  })

  testWith(STORIES, 'what it throws, and ids that are none, reject the generation', async () => {
    const mine = new Error('mine')
    const fail = () => {
      throw mine
    }
    for (const sample of [fail, async () => fail(), async (logits, { step }) => (step < 3 ? best(logits) : fail())]) {
      const generation = stories.generate(PROMPT, { sample })
      await assert.rejects(async () => generation, (error) => error === mine)
      await assert.rejects(async () => {
        for await (const text of generation) assert.equal(typeof text, 'string')
      }, (error) => error === mine)
    }
    for (const [answer, pattern] of [[-1, /got -1/], [512, /an integer from 0 to 511.*got 512/], [1.5, /got 1\.5/], [NaN, /got NaN/], [undefined, /got undefined/], ['5', /got "5"/]]) {
      await assert.rejects(async () => stories.generate(PROMPT, { sample: () => answer }), refused(pattern))
    }
  })

  testWith(STORIES, 'a generation that waits is cancelled, aborted and closed, and costs nothing', async () => {
    const never = () => new Promise(() => {})
    const cancelled = stories.generate(PROMPT, { sample: never })
    await later(30)
    cancelled.cancel()
    assert.equal((await cancelled).finishReason, 'cancelled')

    const controller = new AbortController()
    const aborted = stories.generate(PROMPT, { sample: never, signal: controller.signal })
    await later(30)
    controller.abort(new Error('enough'))
    await assert.rejects(async () => aborted, /enough/)

    const session = stories.session()
    const inSession = session.generate(PROMPT, { sample: never })
    await later(30)
    await session.close()
    assert.equal((await inSession).finishReason, 'cancelled')

    const model = await loadModel(STORIES)
    let answer
    const asked = new Promise((resolve) => {
      answer = model.generate(PROMPT, { sample: () => (resolve(), never()) })
    })
    await asked
    const before = process.cpuUsage()
    await later(200)
    const { user, system } = process.cpuUsage(before)
    assert.ok(user + system < 100_000, `waiting took ${user + system} us of the processor`)
    // Others come and go meanwhile.
    assert.equal((await model.generate(PROMPT, GREEDY)).tokens.length, 24)
    await model.close()
    assert.equal((await answer).finishReason, 'cancelled')
  })

  testWith(STORIES, 'an answer that comes too late is of no effect', async () => {
    let answer
    const generation = stories.generate(PROMPT, { sample: () => new Promise((resolve) => (answer = resolve)) })
    while (!answer) await later(5)
    generation.cancel()
    assert.equal((await generation).finishReason, 'cancelled')
    answer(5)
    await later(10)
    assert.equal((await stories.generate(PROMPT, GREEDY)).tokens.length, 24)
  })
})
