'use strict'

const assert = require('node:assert/strict')
const { loadModel } = require('../..')
const { STORIES, testWith } = require('./helpers.js')

testWith(STORIES, 'prompts at once that begin alike are computed once there, and each text is what it is alone', async (t) => {
  const model = await loadModel(STORIES)
  t.after(() => model.close())
  const beginning = 'Once upon a time, there was a little girl named Lily. She loved to play outside in the sunshine. '.repeat(4)
  const endings = ['Then', 'One day', 'Her mother', 'But a bird']
  const options = (i) => ({ temperature: 1, seed: i, maxTokens: 40, logprobs: 1 })
  const alone = []
  for (const [i, ending] of endings.entries()) alone.push(await model.generate(beginning + ending, options(i)))
  const before = model.stats().work
  assert.equal(before.reusedTokens, 0)
  const together = await Promise.all(endings.map((ending, i) => model.generate(beginning + ending, options(i))))
  const { work } = model.stats()
  for (const [i, { text, tokens, logprobs }] of together.entries()) {
    assert.deepEqual({ text, tokens, logprobs }, { text: alone[i].text, tokens: alone[i].tokens, logprobs: alone[i].logprobs })
  }
  assert.equal(together.reduce((sum, { usage }) => sum + usage.reusedTokens, 0), work.reusedTokens)
  const common = Math.floor((model.tokenize(beginning).length - 1) / 64) * 64
  assert.ok(common >= 64)
  assert.ok(work.reusedTokens >= (endings.length - 1) * common)
  assert.equal(work.promptTokens - before.promptTokens + work.reusedTokens, together.reduce((sum, { usage }) => sum + usage.promptTokens, 0))
})
