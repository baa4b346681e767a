'use strict'

// Models in less memory than they take, through the public API.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { ChordError, loadModel, plan } = require('../..')
const { DEMO, runNode, temporaryFolder, testWith } = require('./helpers.js')

const OPTIONS = { context: 256, threads: 2 }
const PROMPT = 'Once upon a time there was a king who'
const GREEDY = { temperature: 0, maxTokens: 24, ignoreEos: true }

/** The least memory with which the demo model opens, as the errors say it. */
async function findFloor(options) {
  let memory = 2 ** 20
  for (let i = 0; i < 4; i++) {
    try {
      await (await loadModel(DEMO, { ...options, memory })).close()
      return memory
    } catch (error) {
      assert.equal(error.code, 'MEMORY_BUDGET')
      memory = Math.ceil(Number(/at least ([\d.]+) MiB/.exec(error.message)[1]) * 2 ** 20)
    }
  }
  assert.fail('the memory that errors promise to suffice does not')
}

testWith(DEMO, 'any memory above the least gives the same text', async () => {
  const mapped = await loadModel(DEMO, OPTIONS)
  assert.equal(mapped.info.mode, 'mapped')
  assert.equal(mapped.stats().paging, null)
  const { text } = await mapped.generate(PROMPT, GREEDY)
  await mapped.close()
  const floor = await findFloor({ ...OPTIONS, cache: { mode: 'paged' } })
  for (const policy of ['pin', 'lru']) {
    for (const memory of [floor, floor + 1e6, floor + 3e6, '64MiB']) {
      const model = await loadModel(DEMO, { ...OPTIONS, memory, cache: { mode: 'paged', policy } })
      assert.equal(model.info.mode, 'paged')
      assert.equal((await model.generate(PROMPT, GREEDY)).text, text)
      const { memory: held, paging, mode } = model.stats()
      assert.equal(mode, 'paged')
      assert.equal(paging.policy, policy)
      assert.ok(held.peakBytes <= held.budgetBytes, `${held.peakBytes} of ${held.budgetBytes}`)
      await model.close()
    }
  }
})

testWith(DEMO, 'figures of a paged model', async () => {
  const memory = (await findFloor({ ...OPTIONS, cache: { mode: 'paged' } })) + 2e6
  const planned = await plan(DEMO, { ...OPTIONS, memory, cache: { mode: 'paged' } })
  const model = await loadModel(DEMO, { ...OPTIONS, memory, cache: { mode: 'paged' } })
  await model.generate(PROMPT, GREEDY)
  const before = model.stats()
  await model.generate(PROMPT, GREEDY)
  const { paging, layers, work } = model.stats()
  const steps = work.steps - before.work.steps
  assert.equal(paging.hits + paging.misses - before.paging.hits - before.paging.misses, steps * paging.tiles)
  assert.equal(paging.hitBytes + paging.missBytes - before.paging.hitBytes - before.paging.missBytes, steps * paging.stepBytes)
  assert.equal(paging.stepBytes, planned.weightsBytesPerToken)
  assert.ok(paging.pinnedBytes > 0 && paging.pinnedTiles <= paging.tiles)
  assert.ok(paging.readBytes > 0 && paging.readSeconds > 0 && paging.readBandwidth > 0 && work.stallSeconds >= 0 && work.computeSeconds > 0)
  assert.equal(layers.length, planned.layers + 1)
  for (const name of ['hits', 'misses', 'hitBytes', 'missBytes', 'evictions', 'readBytes']) {
    assert.equal(layers.reduce((sum, layer) => sum + layer[name], 0), paging[name], name)
  }
  assert.ok(layers.every(({ computeSeconds, stallSeconds }) => computeSeconds > 0 && stallSeconds >= 0))

  assert.equal(planned.mode, 'paged')
  assert.equal(planned.layerBytes.length, planned.layers + 1)
  assert.equal(planned.layerBytes.reduce((sum, { stepBytes }) => sum + stepBytes, 0), planned.weightsBytesPerToken)
  assert.equal(planned.layerBytes.reduce((sum, { pinnedBytes }) => sum + pinnedBytes, 0), planned.pinnedBytes)
  assert.ok(planned.diskBandwidth > 0 && planned.ringBytes > 0)
  const reading = (planned.weightsBytesPerToken - planned.pinnedBytes) / planned.diskBandwidth
  assert.equal(planned.secondsPerToken, Math.max(reading, planned.weightsBytesPerToken / planned.readBandwidth))
  // A smaller cache leaves more memory to weights.
  const { f16, q8_0: q8 } = planned.kv
  assert.ok(f16.pinnedBytes <= planned.pinnedBytes && q8.pinnedBytes >= f16.pinnedBytes && q8.bytes < 0.7 * f16.bytes)
  assert.ok(f16.fits && q8.fits && q8.secondsPerToken <= f16.secondsPerToken && f16.secondsPerToken > planned.secondsPerToken)
  await model.close()
})

testWith(DEMO, 'preloading reads what stays; tensors are read on demand', async () => {
  const mapped = await loadModel(DEMO, OPTIONS)
  const model = await loadModel(DEMO, { ...OPTIONS, cache: { mode: 'paged' }, memory: '32MiB' })
  const news = []
  await model.preload({ onProgress: (p) => news.push(p) })
  assert.equal(news.at(-1).done, news.at(-1).total)
  assert.ok(model.stats().paging.readBytes >= news.at(-1).total)
  const { readBytes } = model.stats().paging
  await model.generate(PROMPT, GREEDY)
  assert.equal(model.stats().paging.readBytes, readBytes, 'nothing is read twice where all stays')
  const running = model.generate(PROMPT, { ...GREEDY, maxTokens: 100 })
  await running[Symbol.asyncIterator]().next()
  model.clearCache()
  for (const name of ['token_embd.weight', 'blk.0.ffn_down.weight', 'output_norm.weight']) {
    assert.deepEqual(await model.tensor(name), await mapped.tensor(name))
  }
  assert.equal((await running).tokens.length, 100)
  assert.ok(model.stats().paging.readBytes > readBytes)
  const aborted = new AbortController()
  aborted.abort()
  await assert.rejects(model.preload({ signal: aborted.signal }), { name: 'AbortError' })
  await model.close()
  await mapped.close()
})

testWith(DEMO, 'a file that becomes shorter fails what runs on it, and nothing else', async (t) => {
  const file = path.join(temporaryFolder(t), 'model.gguf')
  fs.copyFileSync(DEMO, file)
  const memory = (await findFloor({ ...OPTIONS, cache: { mode: 'paged' } })) + 1e6
  const model = await loadModel(file, { ...OPTIONS, memory, cache: { mode: 'paged' } })
  const running = model.generate(PROMPT, { ...GREEDY, maxTokens: 200 })
  const text = running[Symbol.asyncIterator]()
  await text.next()
  fs.truncateSync(file, 1_000_000)
  await assert.rejects(running, (error) => error instanceof ChordError && ['IO', 'FILE_CHANGED'].includes(error.code))
  await assert.rejects(Promise.resolve(model.generate(PROMPT, GREEDY)), { code: 'FILE_CHANGED' })
  await model.close()
  const other = await loadModel(DEMO, { ...OPTIONS, memory, cache: { mode: 'paged' } })
  assert.equal((await other.generate(PROMPT, GREEDY)).tokens.length, GREEDY.maxTokens)
  await other.close()
})

testWith(DEMO, 'a file that another takes the place of is read on', async (t) => {
  const folder = temporaryFolder(t)
  const file = path.join(folder, 'model.gguf')
  fs.copyFileSync(DEMO, file)
  const memory = (await findFloor({ ...OPTIONS, cache: { mode: 'paged' } })) + 1e6
  const model = await loadModel(file, { ...OPTIONS, memory, cache: { mode: 'paged' } })
  const { text } = await model.generate(PROMPT, GREEDY)
  fs.writeFileSync(path.join(folder, 'new'), Buffer.alloc(5000))
  fs.renameSync(path.join(folder, 'new'), file)
  assert.equal((await model.generate(PROMPT, GREEDY)).text, text)
  await model.close()
})

testWith(DEMO, 'the command line draws layers and tells what is read', async () => {
  const drawn = await runNode(['lib/cli/main.js', 'plan', DEMO, '--mode', 'paged', '--memory', '12MiB', '--context', '256'])
  assert.match(drawn.stdout, /layer 0 +[█·]+ +[\d.]+ [KM]iB +of [\d.]+ [KM]iB/)
  assert.match(drawn.stdout, /output +[█·]+/)
  const ran = await runNode(['lib/cli/main.js', 'run', DEMO, 'Once', '--mode', 'paged', '--policy', 'pin', '--memory', '12MiB', '--context', '256', '--max-tokens', '20', '--stats'])
  assert.match(ran.stderr, /MiB read at [\d.]+ GB\/s, waited [\d.]+ [mu]?s for them/)
  assert.equal(ran.code, 0)
  const refused = await runNode(['lib/cli/main.js', 'run', DEMO, '--mode', 'swapped'])
  assert.equal(refused.code, 2)
})
