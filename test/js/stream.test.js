'use strict'

// A generation as a stream and a promise: readers, cancellation, signals, the event loop beside it.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const { after, before } = require('node:test')
const { LONG_CONTEXT, STORIES, sleep, testWith } = require('./helpers.js')
const { loadModel } = require('../..')

const LONG = { temperature: 0, ignoreEos: true } // until the context is full

const collect = async (stream) => {
  const all = []
  for await (const item of stream) all.push(item)
  return all
}

let model
before(async () => {
  if (fs.existsSync(STORIES)) model = await loadModel(STORIES, { context: LONG_CONTEXT })
})
after(() => model?.close())

testWith(STORIES, 'the pieces together are the text', async () => {
  const generation = model.generate('Once', { temperature: 0, maxTokens: 50 })
  const pieces = await collect(generation)
  const { text, tokens } = await generation
  assert.ok(pieces.length > 20)
  assert.ok(pieces.every((piece) => typeof piece === 'string' && piece !== ''))
  assert.equal(pieces.join(''), text)
  const events = await collect(generation.events())
  assert.deepEqual(events.map(({ token }) => token), tokens)
  assert.equal(events.map((event) => event.text).join(''), text)
})

testWith(STORIES, 'text comes while it is generated', async () => {
  const generation = model.generate('Once', LONG)
  const reader = generation[Symbol.asyncIterator]()
  assert.equal((await reader.next()).done, false)
  let settled = false
  generation.then(() => (settled = true))
  await sleep(0)
  assert.equal(settled, false)
  assert.ok(model.stats().work.running > 0)
  await reader.return()
  assert.equal((await generation).finishReason, 'cancelled')
})

testWith(STORIES, 'the work begins with the call, and text that is not read yet is kept', async () => {
  const generation = model.generate('Once', { temperature: 0, maxTokens: 30 })
  while (model.stats().work.running > 0) await sleep(1)
  await sleep(5)
  assert.equal((await collect(generation)).join(''), (await generation).text)
})

testWith(STORIES, 'every reader starts at the beginning', async () => {
  const generation = model.generate('Once', { temperature: 0, maxTokens: 40 })
  const [a, b, c] = await Promise.all([collect(generation), collect(generation), collect(generation.readable)])
  assert.deepEqual(b, a)
  assert.deepEqual(c, a)
  assert.deepEqual(await collect(generation), a)
  assert.equal(generation.readable, generation.readable)
})

testWith(STORIES, 'then, catch and finally are those of a promise', async () => {
  const generation = model.generate('Once', { maxTokens: 3 })
  assert.equal(await generation.then(({ tokens }) => tokens.length), 3)
  let ran = false
  const result = await generation.finally(() => (ran = true))
  assert.ok(ran)
  assert.equal(await generation.catch(() => null), result, 'the same result each time')
  assert.equal(await Promise.race([generation]), result)
  assert.equal(String(generation), '[object Generation]')
})

testWith(STORIES, 'break cancels', async () => {
  const generation = model.generate('Once', LONG)
  let n = 0
  for await (const text of generation) if (++n === 5) break
  const { finishReason, tokens, text } = await generation
  assert.equal(finishReason, 'cancelled')
  assert.ok(tokens.length >= 5, `${tokens.length} tokens`)
  assert.equal((await collect(generation)).join(''), text)
  assert.equal(model.stats().work.running, 0)
})

testWith(STORIES, 'a throw in the loop cancels', async () => {
  const generation = model.generate('Once', LONG)
  const mine = new Error('mine')
  await assert.rejects(async () => {
    for await (const text of generation) throw mine
  }, mine)
  assert.equal((await generation).finishReason, 'cancelled')
})

testWith(STORIES, 'cancel() resolves with what there is: at once, in the prompt, in the text, after the end', async () => {
  const early = model.generate('Once', LONG)
  early.cancel()
  assert.equal((await early).finishReason, 'cancelled') // how many tokens come is up to the scheduler

  const inPrompt = model.generate(new Array(500).fill(5), LONG)
  inPrompt.cancel()
  assert.equal((await inPrompt).finishReason, 'cancelled')

  const later = model.generate('Once', LONG)
  await later[Symbol.asyncIterator]().next()
  later.cancel()
  later.cancel()
  assert.equal((await later).finishReason, 'cancelled')
  assert.ok((await later).tokens.length > 0)

  const done = model.generate('Once', { maxTokens: 2 })
  await done
  done.cancel()
  assert.equal((await done).finishReason, 'length')
})

testWith(STORIES, 'to cancel one generation leaves the others alone', async () => {
  const expected = await model.generate('The', { temperature: 0, maxTokens: 60 })
  const others = [1, 2, 3].map(() => model.generate('The', { temperature: 0, maxTokens: 60 }))
  const victim = model.generate('Once', LONG)
  await victim[Symbol.asyncIterator]().next()
  victim.cancel()
  for (const { text } of await Promise.all(others)) assert.equal(text, expected.text)
})

testWith(STORIES, 'a signal rejects promise and stream with its reason', async () => {
  const reason = new Error('enough')
  const aborted = model.generate('Once', { signal: AbortSignal.abort(reason) })
  await assert.rejects(aborted, reason)
  await assert.rejects(collect(aborted), reason)

  const controller = new AbortController()
  const generation = model.generate('Once', { ...LONG, signal: controller.signal })
  let n = 0
  await assert.rejects(async () => {
    for await (const text of generation) if (++n === 3) controller.abort()
  }, { name: 'AbortError' })
  await assert.rejects(generation, { name: 'AbortError' })
  await assert.rejects(collect(generation.events()), { name: 'AbortError' })

  await assert.rejects(model.generate('Once', { ...LONG, signal: AbortSignal.timeout(5) }), { name: 'TimeoutError' })
  const late = new AbortController()
  const { text } = await model.generate('Once', { maxTokens: 2, signal: late.signal })
  late.abort()
  assert.equal(typeof text, 'string')
})

testWith(STORIES, 'evaluate, perplexity, tensor and preload heed their signals', async () => {
  const reason = new Error('enough')
  const tokens = new Array(500).fill(7)
  const calls = [
    (signal) => model.evaluate(tokens, { signal }),
    (signal) => model.perplexity('Once upon a time there was a girl. '.repeat(240), { signal }),
    (signal) => model.tensor('token_embd.weight', { signal }),
    (signal) => model.preload({ signal }),
  ]
  for (const call of calls) {
    await assert.rejects(call(AbortSignal.abort(reason)), reason, String(call))
  }
  for (const call of calls.slice(0, 2)) {
    const controller = new AbortController()
    const promise = call(controller.signal)
    controller.abort(reason)
    await assert.rejects(promise, reason, String(call))
  }
  while (model.stats().work.running > 0) await sleep(1)
})

testWith(STORIES, 'a long prompt is tokenized beside the event loop, with the same result', async () => {
  const own = await loadModel(STORIES, { context: 4096 })
  const prompt = 'Once upon a time, there was a girl. '.repeat(240)
  const expected = await own.generate(own.tokenize(prompt), { temperature: 0, maxTokens: 5 })
  const generation = own.generate(prompt, { temperature: 0, maxTokens: 5 })
  assert.deepEqual((await generation).tokens, expected.tokens)
  assert.equal((await collect(generation)).join(''), expected.text)

  const early = own.generate(prompt, LONG)
  early.cancel()
  assert.equal((await early).finishReason, 'cancelled')
  assert.equal((await early).tokens.length, 0)
  const reason = new Error('enough')
  const controller = new AbortController()
  const aborted = own.generate(prompt, { signal: controller.signal })
  controller.abort(reason)
  await assert.rejects(aborted, reason)
  await assert.rejects(own.generate(prompt.repeat(4)), { code: 'CONTEXT_FULL', message: /4096/ })
  const last = own.generate(prompt, LONG)
  await own.close()
  assert.equal((await last).finishReason, 'cancelled')
})

testWith(STORIES, 'an error that nobody awaits is no unhandled rejection', async () => {
  const seen = []
  const listen = (error) => seen.push(error)
  process.on('unhandledRejection', listen)
  model.generate('Once', { signal: AbortSignal.abort() })
  model.generate('Once', { ...LONG, signal: AbortSignal.timeout(2) })
  await sleep(40)
  process.off('unhandledRejection', listen)
  assert.deepEqual(seen, [])
})

testWith(STORIES, 'a web stream: read, cancel', async () => {
  const generation = model.generate('Once', LONG)
  const reader = generation.readable.getReader()
  const { value, done } = await reader.read()
  assert.equal(done, false)
  assert.equal(typeof value, 'string')
  await reader.cancel()
  assert.equal((await generation).finishReason, 'cancelled')

  const controller = new AbortController()
  const aborted = model.generate('Once', { ...LONG, signal: controller.signal })
  const failing = aborted.readable.getReader()
  await failing.read()
  controller.abort()
  await assert.rejects(async () => {
    while (!(await failing.read()).done);
  }, { name: 'AbortError' })
})

testWith(STORIES, 'timers and promises run while texts are generated', async () => {
  let ticks = 0
  const timer = setInterval(() => ticks++, 1)
  await Promise.all(Array.from({ length: 4 }, () => model.generate('Once', LONG)))
  clearInterval(timer)
  assert.ok(ticks >= 5, `${ticks} ticks`) // 2000 tokens: many slices. How late the ticks are is a matter of the benchmarks.
})

testWith(STORIES, 'more generations at once than threads in the pool of Node', async () => {
  const results = await Promise.all(Array.from({ length: 40 }, (_, i) => model.generate('Once', { seed: i, maxTokens: 10, ignoreEos: true })))
  assert.ok(results.every(({ tokens }) => tokens.length === 10))
  const content = await Promise.all([model.generate('Once', LONG), fs.promises.readFile(__filename)])
  assert.ok(content[1].length > 0)
})
