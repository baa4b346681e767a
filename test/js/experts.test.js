'use strict'

// A mixture of experts in less memory than it takes, through the public API.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { after, before, test } = require('node:test')
const { inspect, loadModel } = require('../..')
const { makeModel } = require('../../bench/make-model.js')

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
