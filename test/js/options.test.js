'use strict'

// Every option and argument: what is taken, and what is said about what is not.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const { after, before, test } = require('node:test')
const { DEMO, STORIES, testWith } = require('./helpers.js')
const { inspect, loadModel, loadTokenizer, plan } = require('../..')

let model
before(async () => {
  if (fs.existsSync(STORIES)) model = await loadModel(STORIES)
})
after(() => model?.close())

/** The message names the option and what came. */
function refused(pattern) {
  return (error) => {
    assert.equal(error.name, 'ChordError')
    assert.equal(error.code, 'INVALID_ARGUMENT', error.message)
    assert.match(error.message, pattern)
    return true
  }
}

const BAD_LOAD = [
  [{ memory: 0 }, /'memory' of loadModel\(\).*got 0/],
  [{ memory: -5 }, /'memory'.*got -5/],
  [{ memory: 'lots' }, /'memory'.*'2GiB'.*got "lots" \(string\)/],
  [{ memory: '5 XB' }, /'memory'.*got "5 XB"/],
  [{ memory: true }, /'memory'.*got true/],
  [{ context: 0 }, /'context'.*integer from 1.*got 0/],
  [{ context: 1.5 }, /'context'.*got 1\.5/],
  [{ context: '512' }, /'context'.*got "512" \(string\)/],
  [{ threads: 0 }, /'threads'.*got 0/],
  [{ threads: NaN }, /'threads'.*got NaN/],
  [{ cache: 'mapped' }, /'cache'.*an object.*got "mapped"/],
  [{ cache: { mode: 'fast' } }, /'mode' of cache.*'auto' or 'mapped' or 'paged'.*got "fast"/],
  [{ cache: { policy: 'fifo' } }, /'policy' of cache.*'auto' or 'pin' or 'lru' or 'expert'.*got "fifo"/],
  [{ cache: { size: 1 } }, /unknown option 'size' of cache/],
  [{ kv: { type: 'f32' } }, /'type' of kv.*'f16' or 'q8_0'.*got "f32"/],
  [{ signal: {} }, /'signal'.*AbortSignal.*got an object/],
  [{ onProgress: 'log' }, /'onProgress'.*function.*got "log"/],
  [{ tread: 2 }, /unknown option 'tread' of loadModel\(\): did you mean 'threads'\?/],
  [{ on_progress: 2 }, /did you mean 'onProgress'\?/],
  [{ somethingElse: 2 }, /unknown option 'somethingElse'.*there are memory, context/],
  ['options', /the options of loadModel\(\): expected an object, got "options"/],
  [null, /expected an object, got null/],
  [[], /expected an object, got \[\]/],
]

testWith(STORIES, 'options of loadModel and plan', async () => {
  for (const [options, pattern] of BAD_LOAD) {
    await assert.rejects(loadModel(STORIES, options), refused(pattern), JSON.stringify(options))
    await assert.rejects(plan(STORIES, options), { code: 'INVALID_ARGUMENT' }, JSON.stringify(options))
  }
  const good = { memory: '1 GiB', context: 64, threads: 1, cache: { mode: 'mapped', policy: 'auto' }, kv: { type: 'f16' }, onProgress: undefined }
  await (await loadModel(STORIES, good)).close()
  for (const memory of ['auto', 1e9, '1GB', '1.5GiB', '900M', '0.5 tb']) await (await loadModel(STORIES, { memory })).close()
  for (const mode of ['auto', 'mapped', 'paged']) for (const policy of ['auto', 'pin', 'lru', 'expert']) await (await loadModel(STORIES, { cache: { mode, policy } })).close()
  await (await loadModel(STORIES, {})).close()
})

test('paths', async () => {
  for (const open of [loadModel, plan, inspect, loadTokenizer]) {
    for (const [path, pattern] of [
      [undefined, /path: expected the path of a GGUF file, got undefined/],
      ['', /path.*got "" \(string\)/],
      [42, /got 42/],
      [{ path: 'x' }, /got an object/],
      ['a\0b', /U\+0000/],
    ]) {
      await assert.rejects(open(path), refused(pattern), `${open.name} ${path}`)
    }
  }
})

const BAD_GENERATE = [
  [{ maxTokens: 0 }, /'maxTokens' of generate\(\).*at least 1, got 0/],
  [{ maxTokens: '5' }, /'maxTokens'.*got "5" \(string\)/],
  [{ ignoreEos: 1 }, /'ignoreEos'.*true or false, got 1/],
  [{ temperature: -1 }, /'temperature'.*at least 0, got -1/],
  [{ temperature: 'hot' }, /'temperature'.*number.*got "hot" \(string\)/],
  [{ temperature: Infinity }, /'temperature'.*got Infinity/],
  [{ topK: 1.5 }, /'topK'.*integer.*got 1\.5/],
  [{ topK: -1 }, /'topK'.*got -1/],
  [{ topP: 0 }, /'topP'.*above 0, at most 1, got 0/],
  [{ topP: 1.1 }, /'topP'.*got 1\.1/],
  [{ minP: 2 }, /'minP'.*from 0 to 1, got 2/],
  [{ typicalP: 0 }, /'typicalP'.*got 0/],
  [{ repeatPenalty: 0 }, /'repeatPenalty'.*above 0, got 0/],
  [{ frequencyPenalty: '1' }, /'frequencyPenalty'.*got "1"/],
  [{ presencePenalty: NaN }, /'presencePenalty'.*got NaN/],
  [{ penaltyLastN: -1 }, /'penaltyLastN'.*got -1/],
  [{ seed: -1 }, /'seed'.*got -1/],
  [{ seed: 1.5 }, /'seed'.*got 1\.5/],
  [{ seed: 5n }, /'seed'.*got 5n \(bigint\)/],
  [{ stop: [''] }, /'stop' of generate\(\)\[0\].*not empty, got ""/],
  [{ stop: ['a', 5] }, /\[1\].*got 5/],
  [{ stop: 5 }, /'stop'.*string or an array of strings, got 5/],
  [{ logitBias: [1] }, /'logitBias'.*object or a Map.*got an array of 1/],
  [{ logitBias: { a: 1 } }, /'logitBias'.*token id, got "a"/],
  [{ logitBias: { 5: 'x' } }, /'logitBias'.*\[5\].*got "x"/],
  [{ logitBias: { 5: Infinity } }, /\[5\].*got Infinity/],
  [{ logitBias: { 512: 1 } }, /'logitBias'.*from 0 to 511.*got 512/],
  [{ logprobs: 65 }, /'logprobs'.*from 0 to 64, got 65/],
  [{ logprobs: true }, /'logprobs'.*got true/],
  [{ signal: 'x' }, /'signal'.*AbortSignal, got "x"/],
  [{ max_tokens: 5 }, /unknown option 'max_tokens' of generate\(\): did you mean 'maxTokens'\?/],
  [{ tempature: 5 }, /did you mean 'temperature'\?/],
  [{ quux: {} }, /unknown option 'quux' of generate\(\): there are maxTokens/],
]

testWith(STORIES, 'options of generate', async () => {
  for (const [options, pattern] of BAD_GENERATE) assert.throws(() => model.generate('x', options), refused(pattern), JSON.stringify(Object.keys(options)))
  const everything = {
    maxTokens: 3, ignoreEos: true, temperature: 0.5, topK: 20, topP: 0.9, minP: 0.1, typicalP: 0.9, repeatPenalty: 1.1, frequencyPenalty: -0.5,
    presencePenalty: 0.5, penaltyLastN: 10, seed: 2 ** 53 - 1, stop: ['zzz'], logitBias: { 5: -3 }, logprobs: 64, signal: new AbortController().signal,
  }
  const { tokens, logprobs } = await model.generate('Once', everything)
  assert.equal(tokens.length, 3)
  assert.equal(logprobs[0].top.length, 64)
  assert.equal((await model.generate('Once', { maxTokens: 1, temperature: undefined })).tokens.length, 1)
})

testWith(STORIES, 'prompts and token ids', async () => {
  for (const [prompt, pattern] of [
    [undefined, /prompt: expected a string or an array of token ids or of messages, got undefined/],
    [null, /got null/],
    [5, /got 5/],
    [{}, /got an object/],
    [[], /prompt: expected at least one token/],
    [[1, 'a'], /prompt\[1\].*got "a"/],
    [[1, 512], /prompt\[1\]: expected a token id \(an integer from 0 to 511\), got 512/],
    [[-1], /prompt\[0\].*got -1/],
    [[1.5], /got 1\.5/],
    [Float32Array.of(0.5), /prompt\[0\].*got 0\.5/],
    [new Array(3), /prompt\[0\].*got undefined/],
  ]) {
    assert.throws(() => model.generate(prompt), refused(pattern))
  }
  await assert.rejects(model.evaluate('text'), refused(/tokens: expected an array of token ids/))
  await assert.rejects(model.evaluate([]), refused(/at least one/))
  assert.throws(() => model.detokenize([512]), refused(/tokens\[0\].*got 512/))
  assert.throws(() => model.detokenize('abc'), refused(/tokens/))
  assert.throws(() => model.tokenize(5), refused(/text: expected a string, got 5/))
  assert.equal(model.detokenize([]), '')
})

testWith(STORIES, 'options of the other calls', async () => {
  assert.throws(() => model.tokenize('x', { bos: 1 }), refused(/'bos' of tokenize\(\).*got 1/))
  assert.throws(() => model.tokenize('x', { specials: true }), refused(/did you mean 'special'\?/))
  assert.throws(() => model.detokenize([1], { special: 'yes' }), refused(/'special' of detokenize\(\)/))
  await assert.rejects(model.evaluate([1], { signal: 1 }), refused(/'signal' of evaluate\(\)/))
  await assert.rejects(model.perplexity(5), refused(/text: expected a string/))
  await assert.rejects(model.perplexity('x', { context: 3 }), refused(/'context' of perplexity\(\).*at least 4, got 3/))
  await assert.rejects(model.perplexity('x', { context: 4096 }), refused(/'context' of perplexity\(\).*512.*4096/))
  await assert.rejects(model.perplexity('x', { context: 64, stride: 64 }), refused(/'stride' of perplexity\(\).*64/))
  await assert.rejects(model.tensor(5), refused(/name: expected a string/))
  await assert.rejects(model.tensor('x', { sig: 1 }), refused(/unknown option 'sig' of tensor\(\)/))
  await assert.rejects(model.preload({ onProgress: 1 }), refused(/'onProgress' of preload\(\)/))
})

testWith(DEMO, 'ceilings of single uses of memory', async () => {
  const model = await loadModel(DEMO, { memory: { total: '1GiB', weights: '4MiB', kv: '2MiB', scratch: 32e6 }, context: 128 })
  const { regions, memory } = model.stats()
  assert.equal(model.info.mode, 'paged')
  assert.equal(memory.budgetBytes, 2 ** 30)
  assert.deepEqual([regions.weights.ceilingBytes, regions.kv.ceilingBytes, regions.scratch.ceilingBytes], [4 * 2 ** 20, 2 * 2 ** 20, 32e6])
  assert.ok(regions.weights.heldBytes <= 4 * 2 ** 20)
  await model.generate('The prince', { maxTokens: 20 })
  assert.ok(model.stats().regions.weights.heldBytes <= 4 * 2 ** 20)
  await model.close()
  const free = await loadModel(DEMO, { memory: { kv: '4MiB' } })
  assert.equal(free.info.mode, 'mapped')
  assert.equal(free.stats().regions.weights.ceilingBytes, null)
  await free.close()
  const refused = (memory, message, code = 'MEMORY_BUDGET') => assert.rejects(loadModel(DEMO, { memory }), { code, message })
  await refused({ weights: '64KiB' }, /memory\.weights allows\b.*Allow at least [\d.]+ MiB$/)
  await refused({ kv: 1000 }, /memory\.kv allows 0\.0 MiB\. Allow at least [\d.]+ MiB$/)
  await refused({ scratch: '1MiB' }, /memory\.scratch allows 1\.0 MiB\. Allow at least [\d.]+ MiB$/)
  await refused({ weight: 5 }, /unknown option 'weight' of memory: did you mean 'weights'\?/, 'INVALID_ARGUMENT')
  await refused({ kv: -1 }, /option 'kv' of memory: expected bytes/, 'INVALID_ARGUMENT')
  await refused({ kv: 'auto' }, /option 'kv' of memory: expected bytes/, 'INVALID_ARGUMENT')
})
