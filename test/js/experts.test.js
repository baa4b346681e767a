'use strict'

// A mixture of experts in less memory than it takes, through the public API.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { after, before, test } = require('node:test')
const { ChordError, inspect, loadModel, plan } = require('../..')
const { makeModel } = require('../../bench/make-model.js')
const { runNode } = require('./helpers.js')

const OPTIONS = { context: 256, threads: 2 }
const LESS = { ...OPTIONS, memory: '16MiB', cache: { mode: 'paged' } } // of 27 MB
const GREEDY = { temperature: 0, maxTokens: 30, ignoreEos: true }
const PROMPT = Array.from({ length: 100 }, (_, i) => 3 + ((i * 37) % 500))

let folder
let file
let mapped
before(async () => {
  folder = fs.mkdtempSync(path.join(require('node:os').tmpdir(), 'chord-experts-'))
  file = path.join(folder, 'experts.gguf')
  await makeModel({ geometry: 'tiny-qwen3moe', mix: 'Q8_0', out: file })
  mapped = await loadModel(file, OPTIONS)
})
after(async () => {
  await mapped?.close()
  fs.rmSync(folder, { recursive: true, force: true })
})

const isExperts = ({ name }) => /_exps\.weight$/.test(name)

test('experts come and go, the text stays', async () => {
  const { tokens } = await mapped.generate(PROMPT, GREEDY)
  for (const policy of ['expert', 'lru']) {
    const model = await loadModel(file, { ...LESS, cache: { mode: 'paged', policy } })
    const { tokens: paged } = await model.generate(PROMPT, GREEDY)
    const { memory, paging } = model.stats()
    await model.close()
    assert.deepEqual(paged, tokens)
    assert.ok(memory.peakBytes <= memory.budgetBytes)
    assert.ok(paging.evictions > 0)
  }
})

test('a prompt reads each expert once at most', async () => {
  const { tensors } = await inspect(file)
  const all = tensors.filter(isExperts).reduce((sum, { bytes }) => sum + bytes, 0)
  const model = await loadModel(file, LESS)
  await model.generate(PROMPT, { ...GREEDY, maxTokens: 1 })
  for (let i = 0; i < 3; i++) {
    const before = model.stats().paging
    await model.evaluate(PROMPT.map((token) => token + i + 1))
    const { missBytes } = model.stats().paging
    assert.ok(missBytes > before.missBytes && missBytes - before.missBytes <= all, `${missBytes - before.missBytes} of ${all}`)
  }
  await model.close()
})

test('tensors and bytes of experts, while they are used', async () => {
  const { tensors } = await inspect(file)
  const whole = fs.readFileSync(file)
  const model = await loadModel(file, LESS)
  const memory = new WebAssembly.Memory({ initial: 256 })
  const { memory64_read: read } = model.wasmImports({ memory })
  const check = async ({ name, offset, bytes }) => {
    const got = await model.tensor(name)
    assert.deepEqual(got, await mapped.tensor(name))
    const from = offset + (bytes >> 1) - 1000 // amid an expert
    assert.equal(read(from, 8, 300_000), 300_000)
    assert.ok(Buffer.from(memory.buffer, 8, 300_000).equals(whole.subarray(from, from + 300_000)), name)
  }
  const experts = tensors.filter(isExperts)
  assert.equal(experts.length, 12)
  await check(experts[0]) // before any expert is in memory
  const generation = model.generate(PROMPT, { ...GREEDY, maxTokens: experts.length })
  let i = 0
  for await (const _ of generation.events()) await check(experts[i++])
  assert.equal(i, experts.length)
  assert.deepEqual((await generation).tokens, (await mapped.generate(PROMPT, GREEDY)).tokens.slice(0, i))
  const { peakBytes, budgetBytes } = model.stats().memory
  assert.ok(peakBytes <= budgetBytes)
  await model.close()
})

test('a plan says how often experts will be found', async () => {
  const recorded = path.join(folder, 'routes')
  const tokens = Array.from({ length: 8 }, (_, token) => Array.from({ length: 4 }, (_, layer) => [0, 5, 9, 20 + ((token + layer) % 2)].join(' ')))
  fs.writeFileSync(recorded, `4 32 4\n${tokens.flat().join('\n')}\n1 2 3 4\n`)
  const plans = {}
  for (const routes of [undefined, 'scattered', 'repeating', { file: recorded }]) {
    const planned = await plan(file, { ...LESS, routes })
    const { experts, pinnedBytes, weightsBytesPerToken, readBandwidth, diskBandwidth } = planned
    const { tensors } = await inspect(file)
    assert.equal(experts.bytesPerToken, tensors.filter(isExperts).reduce((sum, { bytes }) => sum + bytes, 0) / 8)
    assert.equal(experts.routes, routes === undefined ? 'scattered' : (routes.file ?? routes))
    assert.ok(experts.memoryBytes > 0 && experts.memoryBytes < 16 * 2 ** 20)
    const others = weightsBytesPerToken - experts.bytesPerToken
    const absent = experts.bytesPerToken * (1 - experts.hitShare)
    assert.ok(Math.abs(weightsBytesPerToken - absent - pinnedBytes) <= 4, 'all else is pinned')
    const seconds = Math.max(others / readBandwidth, 4 / diskBandwidth) + Math.max(experts.bytesPerToken / readBandwidth, absent / experts.diskBandwidth)
    assert.ok(Math.abs(planned.secondsPerToken - seconds) < 1e-6)
    plans[experts.routes] = experts.hitShare
  }
  assert.ok(plans.scattered > 0.2 && plans.repeating > plans.scattered + 0.1, JSON.stringify(plans))
  assert.equal(plans[recorded], 1, 'four or five experts of each layer, over and over')
  assert.equal((await plan(file, OPTIONS)).experts, null)
  const drawn = await runNode(['lib/cli/main.js', 'plan', file, '--mode', 'paged', '--memory', '16MiB', '--context', '256', '--routes', recorded])
  assert.equal(drawn.code, 0, drawn.stderr)
  assert.match(drawn.stdout, /100 % of experts' uses find them in memory/)
  const refused = (text, message) => {
    fs.writeFileSync(recorded, text)
    return assert.rejects(plan(file, { ...LESS, routes: { file: recorded } }), (error) => error instanceof ChordError && message.test(error.message))
  }
  await refused('', /holds no routes/)
  await refused('4 32\n', /holds no routes/)
  await refused('4 32 4\n1 2 3 32\n1 2 3 4\n1 2 3 4\n1 2 3 4\n', /line 2: expected 4 experts below 32/)
  await refused('4 32 2\n1 2\n1 2\n1 2\n1 2\n', /use 2 of 32 experts; this one has 4 layers that use 4 of 32/)
  await refused('4 32 4\n1 2 3 4\n1 2 3 4\n1 2 3 4\n1 2 3 4\n', /routes of one token/)
  await assert.rejects(plan(file, { ...LESS, routes: { file: path.join(folder, 'none') } }), { code: 'IO' })
  await assert.rejects(plan(file, { ...LESS, routes: 'some' }), /'routes' of plan.*'scattered', 'repeating' or \{ file \}, got "some"/)
})

test('routes of a model whose first layers have no experts', async () => {
  const dense = path.join(folder, 'dense-first.gguf')
  const recorded = path.join(folder, 'routes')
  await makeModel({ geometry: 'tiny-deepseek', mix: 'Q8_0', out: dense }) // 2 of 8 experts in all of its 4 layers but the first
  const options = { ...LESS, memory: '10MiB', routes: { file: recorded } }
  const write = (layers, line) =>
    fs.writeFileSync(recorded, [`${layers} 8 2`, ...Array.from({ length: 40 * layers }, (_, i) => line(Math.floor(i / layers)))].join('\n'))
  write(3, (token) => `${(2 * token) % 8} ${(2 * token + 1) % 8}`) // all 24 in turn
  const { mode, experts } = await plan(dense, options)
  assert.equal(mode, 'paged')
  assert.ok(experts.hitShare < 1, `${experts.hitShare}`)
  write(3, () => '1 2')
  assert.equal((await plan(dense, options)).experts.hitShare, 1)
  write(4, () => '1 2')
  await assert.rejects(plan(dense, options), /of a model with 4 layers that use 2 of 8 experts; this one has 3 layers that use 2 of 8/)
})

test('what a plan expects of scattered routes comes about', async () => {
  const planned = await plan(file, LESS)
  const model = await loadModel(file, LESS)
  await model.generate(PROMPT, { temperature: 1, seed: 3, maxTokens: 60, ignoreEos: true, speculate: false })
  const before = model.stats().paging
  await model.generate([3, 4], { temperature: 1, seed: 4, maxTokens: 100, ignoreEos: true, speculate: false })
  const { missBytes } = model.stats().paging
  await model.close()
  const hitShare = 1 - (missBytes - before.missBytes) / 100 / planned.experts.bytesPerToken
  assert.ok(Math.abs(hitShare - planned.experts.hitShare) < 0.12, `${hitShare}, expected ${planned.experts.hitShare}`)
})
