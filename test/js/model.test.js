'use strict'

// The rest of a model: evaluation, perplexity, tensors, preloading, figures, closing.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const { after, before } = require('node:test')
const { LONG_CONTEXT, STORIES, TEXT, sleep, testWith } = require('./helpers.js')
const { loadModel } = require('../..')

const SAMPLE = 'Once upon a time, there was a little girl named Lily. She loved to play outside. One day, her mom said, "Come here." '

let model
before(async () => {
  if (fs.existsSync(STORIES)) model = await loadModel(STORIES)
})
after(() => model?.close())

function negativeLogLikelihood(logits, token) {
  const max = logits.reduce((a, b) => Math.max(a, b), -Infinity)
  return max + Math.log(logits.reduce((sum, x) => sum + Math.exp(x - max), 0)) - logits[token]
}

testWith(STORIES, 'evaluate gives numbers of its own, the same each time', async () => {
  const tokens = model.tokenize(SAMPLE)
  const [a, b] = await Promise.all([model.evaluate(tokens), model.evaluate(Uint32Array.from(tokens))])
  assert.ok(a instanceof Float32Array)
  assert.deepEqual(a, b)
  assert.notEqual(a.buffer, b.buffer)
  assert.ok(a.every(Number.isFinite))
  assert.notDeepEqual(await model.evaluate(tokens.slice(0, -1)), a)
})

testWith(STORIES, 'perplexity is what the logits say', async () => {
  const tokens = model.tokenize(SAMPLE)
  const n = tokens.length
  const first = Math.floor(n / 2) + 1
  let nll = 0
  for (let i = first; i < n; i++) nll += negativeLogLikelihood(await model.evaluate(tokens.slice(0, i)), tokens[i])
  const expected = Math.exp(nll / (n - first))
  const result = await model.perplexity(SAMPLE)
  assert.equal(result.tokens, n - first)
  assert.equal(result.windows, 1)
  // Both come from the same logits; only the sums are rounded differently.
  assert.ok(Math.abs(result.perplexity / expected - 1) < 1e-5, `${result.perplexity}, expected ${expected}`)
})

testWith(STORIES, 'perplexity in windows: side by side, and with a stride', async () => {
  const tokens = model.tokenize(SAMPLE.repeat(4))
  const context = 32
  const score = async (from, first) => {
    const window = tokens.slice(from, from + context)
    window[0] = 1 // BOS begins each
    let nll = 0
    for (let i = first; i < context; i++) nll += negativeLogLikelihood(await model.evaluate(window.slice(0, i)), window[i])
    return nll
  }
  const sideBySide = await model.perplexity(SAMPLE.repeat(4), { context })
  const windows = Math.floor(tokens.length / context)
  assert.equal(sideBySide.windows, windows)
  assert.equal(sideBySide.tokens, windows * 15)
  let nll = 0
  for (let i = 0; i < windows; i++) nll += await score(i * context, 17)
  assert.ok(Math.abs(sideBySide.perplexity / Math.exp(nll / sideBySide.tokens) - 1) < 1e-5)

  const stride = 8
  const strided = await model.perplexity(SAMPLE.repeat(4), { context, stride })
  const strides = Math.floor((tokens.length - context) / stride) + 1
  assert.equal(strided.windows, strides)
  assert.equal(strided.tokens, strides * stride)
  nll = 0
  for (let i = 0; i < strides; i++) nll += await score(i * stride, context - stride)
  assert.ok(Math.abs(strided.perplexity / Math.exp(nll / strided.tokens) - 1) < 1e-5)
})

testWith(STORIES, 'perplexity reports progress, and tells a text from noise', async () => {
  const news = []
  const story = await model.perplexity(SAMPLE.repeat(20), { context: 64, onProgress: (p) => news.push(p) })
  assert.deepEqual(news.map(({ done }) => done), Array.from({ length: story.windows }, (_, i) => i + 1))
  assert.equal(news.at(-1).perplexity, story.perplexity)
  assert.ok(news.every(({ total, phase }) => total === story.windows && phase === 'perplexity'))
  const noise = await model.perplexity(SAMPLE.repeat(20).split(' ').reverse().join('q '), { context: 64 })
  assert.ok(story.perplexity > 1 && story.perplexity * 5 < noise.perplexity, `${story.perplexity} and ${noise.perplexity}`)
  await assert.rejects(model.perplexity(''), { code: 'INVALID_ARGUMENT', message: /at least 3 tokens.*got 1/ })
  const mine = new Error('mine')
  await assert.rejects(model.perplexity(SAMPLE.repeat(20), { onProgress: () => { throw mine } }), mine)
})

testWith([STORIES, TEXT], 'a long text is tokenized beside the event loop', async () => {
  const text = fs.readFileSync(TEXT, 'utf8').slice(0, 1_000_000)
  let ticks = 0
  const timer = setInterval(() => ticks++, 1)
  const controller = new AbortController()
  const measuring = model.perplexity(text, { signal: controller.signal, onProgress: () => controller.abort() })
  await assert.rejects(measuring, { name: 'AbortError' })
  clearInterval(timer)
  assert.ok(ticks > 0)
})

testWith(STORIES, 'tensors are read beside a generation', async () => {
  const generation = model.generate('Once', { temperature: 0, maxTokens: 100 })
  const [a, b, norm] = await Promise.all([
    model.tensor('blk.0.ffn_down.weight'),
    model.tensor('blk.0.ffn_down.weight'),
    model.tensor('output_norm.weight'),
  ])
  assert.deepEqual(a.shape, [64, 172])
  assert.equal(a.data.length, 64 * 172)
  assert.deepEqual(a.data, b.data)
  assert.deepEqual(norm.shape, [64])
  assert.ok(a.data.every(Number.isFinite) && new Set(a.data).size > 1000)
  assert.equal((await generation).tokens.length, 100)
})

testWith(STORIES, 'preloading brings all weights in', async () => {
  model.clearCache()
  const news = []
  await model.preload({ onProgress: (p) => news.push(p) })
  assert.ok(news.length > 0)
  assert.equal(news.at(-1).done, news.at(-1).total)
  const { residentBytes, mappedBytes } = model.stats().regions.weights
  assert.ok(mappedBytes > 0)
  if (residentBytes !== null) assert.ok(residentBytes > 0 && residentBytes <= mappedBytes)
  assert.equal((await model.generate('', { temperature: 0, maxTokens: 1 })).tokens[0], 403)
})

testWith(STORIES, 'figures count what is done', async () => {
  const own = await loadModel(STORIES, { context: LONG_CONTEXT })
  const before = own.stats()
  assert.equal(before.work.steps, 0)
  assert.equal(before.regions.kv.heldBytes, 0)
  const generation = own.generate('Once upon a time', { temperature: 0, ignoreEos: true })
  await generation[Symbol.asyncIterator]().next()
  const during = own.stats()
  assert.equal(during.work.running, 1)
  assert.ok(during.regions.kv.heldBytes > 0 && during.regions.kv.blocks > 0)
  generation.cancel()
  const { usage } = await generation
  const { work, memory, regions } = own.stats()
  assert.equal(work.running, 0)
  assert.equal(work.promptTokens, usage.promptTokens)
  assert.ok(Math.abs(work.generatedTokens - usage.completionTokens) <= 1)
  assert.ok(work.steps + work.acceptedTokens >= usage.completionTokens && work.weightBytesUsed > 0 && work.computeSeconds > 0)
  assert.ok(work.decodeThreads >= 1 && work.decodeThreads <= own.info.threads && work.prefetchBytes >= 1024)
  assert.ok(memory.heldBytes <= memory.peakBytes && memory.peakBytes <= memory.budgetBytes)
  assert.equal(memory.heldBytes, Object.values(regions).reduce((sum, { heldBytes }) => sum + heldBytes, 0))
  await own.close()
})

testWith(STORIES, 'close cancels what runs, waits for it, and may be called again', async () => {
  const own = await loadModel(STORIES, { context: LONG_CONTEXT })
  const generations = [1, 2, 3].map(() => own.generate('Once', { ignoreEos: true }))
  await generations[0][Symbol.asyncIterator]().next()
  const perplexity = own.perplexity(SAMPLE.repeat(200))
  const evaluation = own.evaluate(new Array(500).fill(9))
  const tensor = own.tensor('token_embd.weight')
  const pending = [perplexity, evaluation].map((promise) => promise.then(() => 'done', (error) => error.code))
  const closing = own.close()
  assert.equal(own.close(), closing)
  for (const { finishReason } of await Promise.all(generations)) assert.equal(finishReason, 'cancelled')
  assert.equal((await tensor).data.length, 512 * 64)
  await closing
  for (const outcome of await Promise.all(pending)) assert.ok(['CLOSED', 'done'].includes(outcome), outcome)
  await own.close()
})

testWith(STORIES, 'after close every call says so', async () => {
  const own = await loadModel(STORIES)
  await own.close()
  const closed = { name: 'ChordError', code: 'CLOSED', message: /closed/ }
  assert.throws(() => own.generate('x'), closed)
  assert.throws(() => own.tokenize('x'), closed)
  assert.throws(() => own.detokenize([1]), closed)
  assert.throws(() => own.clearCache(), closed)
  assert.throws(() => own.stats(), closed)
  await assert.rejects(own.evaluate([1]), closed)
  await assert.rejects(own.perplexity(SAMPLE), closed)
  await assert.rejects(own.tensor('output_norm.weight'), closed)
  await assert.rejects(own.preload(), closed)
  assert.equal(own.info.layers, 5, 'what it was is still known')
})

testWith(STORIES, 'a model is disposed of', async () => {
  const own = await loadModel(STORIES)
  assert.equal(typeof Symbol.asyncDispose, 'symbol')
  await own[Symbol.asyncDispose]()
  assert.throws(() => own.stats(), { code: 'CLOSED' })
})

testWith(STORIES, 'two models share nothing', async () => {
  const [a, b] = await Promise.all([loadModel(STORIES), loadModel(STORIES)])
  const alone = await a.generate('Once', { temperature: 0, maxTokens: 50 })
  const [first, second] = await Promise.all([
    a.generate('Once', { temperature: 0, maxTokens: 50 }),
    b.generate('Once', { temperature: 0, maxTokens: 50 }),
  ])
  assert.equal(first.text, alone.text)
  assert.equal(second.text, alone.text)
  await a.close()
  assert.equal((await b.generate('Once', { temperature: 0, maxTokens: 50 })).text, alone.text)
  await b.close()
  await sleep(0)
})
