'use strict'

// Opening files: models, plans, inspection, tokenizers, and what is said about files that are none.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { test } = require('node:test')
const { pathToFileURL } = require('node:url')
const chord = require('../..')
const { MALFORMED, RANDOM, STORIES, VOCABULARY, runNode, temporaryFolder, testWith } = require('./helpers.js')

const { ChordError, inspect, loadModel, loadTokenizer, plan, systemInfo } = chord

testWith(STORIES, 'a model tells what it is', async () => {
  const model = await loadModel(STORIES, { threads: 1 })
  const { tokenizer, cpu, ...info } = model.info
  assert.deepEqual(info, {
    path: STORIES,
    architecture: 'llama',
    name: 'stories260K',
    quantization: 'F32',
    parameters: 260032,
    fileBytes: fs.statSync(STORIES).size,
    context: 512,
    contextTrained: 512,
    vocabulary: 512,
    layers: 5,
    embedding: 64,
    feedForward: 172,
    heads: 8,
    headsKv: 4,
    encoder: false,
    pooling: 'last',
    mode: 'mapped',
    threads: 1,
  })
  assert.ok(systemInfo().tiers.includes(cpu))
  assert.equal(tokenizer.bos, 1)
  assert.equal(tokenizer.eos, 2)
  assert.equal(tokenizer.addBos, true)
  assert.equal(tokenizer.vocabulary, 512)
  assert.equal(tokenizer.infill, null)
  assert.throws(() => {
    model.info.layers = 3
  }, TypeError)
  await model.close()
})

testWith(STORIES, 'a path may be a file: URL', async () => {
  const model = await loadModel(pathToFileURL(STORIES))
  assert.equal(model.info.path, STORIES)
  await model.close()
  await assert.rejects(loadModel(new URL('https://example.org/model.gguf')), { code: 'INVALID_ARGUMENT', message: /file: URL/ })
})

testWith(STORIES, 'the context can be chosen', async () => {
  const model = await loadModel(STORIES, { context: 100 })
  assert.equal(model.info.context, 100)
  assert.equal(model.info.contextTrained, 512)
  assert.throws(() => model.generate(new Array(101).fill(5)), { name: 'ChordError', code: 'CONTEXT_FULL', message: /101.*100/ })
  const { finishReason, usage } = await model.generate(new Array(60).fill(5), { ignoreEos: true })
  assert.equal(finishReason, 'length')
  assert.ok(Math.abs(usage.promptTokens + usage.completionTokens - 100) <= 1, JSON.stringify(usage))
  await model.close()
})

testWith(STORIES, 'loading reports progress, in order and before it resolves', async () => {
  const news = []
  const model = await loadModel(STORIES, { onProgress: (progress) => news.push(progress) })
  const n = news.length
  assert.ok(n > 0)
  for (const { phase, done, total } of news) {
    assert.ok(['header', 'tokenizer', 'weights'].includes(phase), phase)
    assert.ok(done >= 0 && done <= total, `${done} of ${total}`)
  }
  await new Promise((resolve) => setTimeout(resolve, 20))
  assert.equal(news.length, n)
  await model.close()
})

testWith(STORIES, 'an abort stops the loading with the reason of its signal', async () => {
  const reason = new Error('no longer wanted')
  await assert.rejects(loadModel(STORIES, { signal: AbortSignal.abort(reason) }), reason)
  for (let i = 0; i < 10; i++) {
    const controller = new AbortController()
    const loading = loadModel(STORIES, { signal: controller.signal })
    controller.abort(reason)
    await assert.rejects(loading, reason)
  }
})

testWith(STORIES, 'a memory ceiling too low is refused with the number that would do', async () => {
  await assert.rejects(loadModel(STORIES, { memory: 4096 }), (error) => {
    assert.ok(error instanceof ChordError)
    assert.equal(error.code, 'MEMORY_BUDGET')
    assert.match(error.message, /\d/)
    return true
  })
  const model = await loadModel(STORIES, { memory: '64MiB' })
  const { memory } = model.stats()
  assert.equal(memory.budgetBytes, 64 * 1024 * 1024)
  await model.generate('Once', { maxTokens: 50 })
  assert.ok(model.stats().memory.peakBytes <= memory.budgetBytes)
  await model.close()
})

testWith(STORIES, 'files that are no models', async (t) => {
  const folder = temporaryFolder(t)
  const empty = path.join(folder, 'empty.gguf')
  const text = path.join(folder, 'text.gguf')
  const cut = path.join(folder, 'cut.gguf')
  const whole = fs.readFileSync(STORIES)
  fs.writeFileSync(empty, '')
  fs.writeFileSync(text, 'this is a text and no model, however long it may be')
  fs.writeFileSync(cut, whole.subarray(0, whole.length - 100))
  const cases = [
    [path.join(folder, 'absent.gguf'), 'FILE_NOT_FOUND', /absent\.gguf/],
    [folder, 'IO', /directory/],
    [text, 'NOT_GGUF', /text\.gguf/],
    [cut, 'GGUF_TRUNCATED', /cut\.gguf/],
  ]
  for (const open of [loadModel, plan, inspect, loadTokenizer]) {
    for (const [file, code, message] of cases) {
      if (code === 'GGUF_TRUNCATED' && (open === inspect || open === loadTokenizer)) continue // tensors are not their business
      await assert.rejects(open(file), (error) => {
        assert.ok(error instanceof ChordError, `${open.name}: ${error}`)
        assert.equal(error.code, code, `${open.name} ${file}: ${error.message}`)
        assert.match(error.message, message)
        assert.match(error.stack, new RegExp(`async ${open.name}|load\\.test`), 'the stack leads to the caller')
        return true
      })
    }
    await assert.rejects(open(empty), { name: 'ChordError', code: /^(NOT_GGUF|GGUF_TRUNCATED)$/ })
  }
})

testWith(MALFORMED, 'malformed files are refused, every one', async () => {
  let n = 0
  for (const name of fs.readdirSync(MALFORMED)) {
    const file = path.join(MALFORMED, name)
    if (!name.endsWith('.gguf')) continue
    await assert.rejects(loadModel(file), (error) => error instanceof ChordError && error.code !== 'INVALID_ARGUMENT', name)
    await inspect(file).catch((error) => assert.ok(error instanceof ChordError, `${name}: ${error}`))
    n++
  }
  assert.ok(n > 100)
})

testWith(STORIES, 'a plan tells what loading will take', async () => {
  const made = await plan(STORIES, { context: 256, threads: 2 })
  assert.equal(made.architecture, 'llama')
  assert.equal(made.mode, 'mapped')
  assert.equal(made.context, 256)
  assert.equal(made.contextTrained, 512)
  assert.equal(made.threads, 2)
  assert.equal(made.weightsBytes, 260032 * 4)
  assert.ok(made.weightsBytesPerToken > 0 && made.weightsBytesPerToken <= made.weightsBytes)
  assert.equal(made.kvBytesPerToken, 5 * 2 * 4 * 8 * 2, 'layers x (K, V) x KV heads x head size x f16')
  assert.equal(made.kvBytes, 256 * made.kvBytesPerToken)
  assert.equal(made.fits, true)
  assert.ok(made.readBandwidth > 1e7)
  assert.equal(made.secondsPerToken, made.weightsBytesPerToken / made.readBandwidth)
  assert.equal(made.tokensPerSecond, 1 / made.secondsPerToken)
  const atEnd = (bytes) => made.secondsPerToken + bytes / made.readBandwidth
  const { f16, q8_0: q8 } = made.kv
  const pinnedBytes = made.weightsBytesPerToken
  assert.deepEqual(f16, { bytesPerToken: made.kvBytesPerToken, bytes: made.kvBytes, fits: true, pinnedBytes, secondsPerToken: atEnd(made.kvBytes) })
  assert.deepEqual(q8, { bytesPerToken: 5 * 2 * 4 * (8 + 2), bytes: 256 * q8.bytesPerToken, fits: true, pinnedBytes, secondsPerToken: atEnd(q8.bytes) })
  assert.deepEqual((await plan(STORIES, { context: 256, kv: { type: 'q8_0' } })).kvBytes, q8.bytes)
  assert.ok(Array.isArray(made.warnings))
  assert.equal((await plan(STORIES, { memory: '1GiB' })).memoryBytes, 2 ** 30)
})

testWith(STORIES, 'inspection shows metadata and tensors', async () => {
  const info = await inspect(STORIES)
  assert.equal(info.version, 3)
  assert.equal(info.parameters, 260032)
  assert.deepEqual(info.parts, [{ path: STORIES, bytes: fs.statSync(STORIES).size }])
  assert.equal(info.bytes, fs.statSync(STORIES).size)
  assert.equal(info.metadata['general.name'], 'stories260K')
  assert.equal(info.metadata['llama.block_count'], 5)
  assert.equal(info.metadataTypes['llama.block_count'], 'uint32')
  assert.equal(info.metadataTypes['tokenizer.ggml.tokens'], 'string[]')
  assert.deepEqual(info.metadata['tokenizer.ggml.tokens'].slice(0, 4), ['<unk>', '<s>', '</s>', '<0x00>'])
  assert.equal(info.metadata['tokenizer.ggml.scores'].length, 512)
  const embedding = info.tensors.find(({ name }) => name === 'token_embd.weight')
  assert.equal(embedding.type, 'F32')
  assert.deepEqual(embedding.shape, [512, 64])
  assert.equal(embedding.bytes, 512 * 64 * 4)
  const bytes = fs.readFileSync(STORIES)
  const model = await loadModel(STORIES)
  const { data, shape, type, name } = await model.tensor('token_embd.weight')
  assert.deepEqual({ type, shape, name }, { type: 'F32', shape: [512, 64], name: 'token_embd.weight' })
  assert.equal(data[77], bytes.readFloatLE(embedding.offset + 4 * 77))
  await assert.rejects(model.tensor('no.such.tensor'), { code: 'NOT_FOUND', message: /no\.such\.tensor/ })
  await model.close()
})

testWith(VOCABULARY, 'long arrays of the metadata come whole, and the event loop goes on meanwhile', async () => {
  let ticks = 0
  const timer = setInterval(() => ticks++, 1)
  const { metadata, tensors } = await inspect(VOCABULARY)
  clearInterval(timer)
  assert.equal(metadata['tokenizer.ggml.tokens'].length, 151936)
  assert.equal(metadata['tokenizer.ggml.tokens'][0], '!')
  assert.equal(typeof metadata['tokenizer.ggml.tokens'].at(-1), 'string')
  assert.deepEqual(tensors, [])
  assert.ok(ticks > 3, `${ticks} ticks`)
})

testWith(VOCABULARY, 'a tokenizer without weights', async () => {
  const tokenizer = await loadTokenizer(VOCABULARY)
  assert.equal(tokenizer.info.vocabulary, 151936)
  assert.equal(tokenizer.info.pretokenizer, 'qwen2')
  for (const text of ['Hello, world!', 'naïve café — 東京 🙂\n\ttab', '']) assert.equal(tokenizer.detokenize(tokenizer.tokenize(text)), text)
  assert.deepEqual(tokenizer.tokenize('<|endoftext|>', { special: true }), [151643])
  assert.ok(tokenizer.tokenize('<|endoftext|>').length > 1)
  assert.equal(tokenizer.detokenize([151643]), '')
  assert.equal(tokenizer.detokenize([151643], { special: true }), '<|endoftext|>')
  assert.equal(tokenizer.detokenize(tokenizer.tokenize('a lone \ud800 surrogate')), 'a lone \ufffd surrogate')
  await assert.rejects(loadModel(VOCABULARY), { name: 'ChordError' })
})

testWith([STORIES, RANDOM], 'BOS: as the metadata says, or as asked', async () => {
  for (const file of [STORIES, RANDOM]) {
    const model = await loadModel(file)
    const ids = model.tokenize('Once upon a time')
    assert.equal(ids[0], 1)
    assert.deepEqual(model.tokenize('Once upon a time', { bos: false }), ids.slice(1))
    assert.deepEqual(model.tokenize('Once upon a time', { bos: true }), ids)
    assert.equal(model.detokenize(ids), 'Once upon a time')
    await model.close()
  }
})

test('CommonJS and ESM export the same', async () => {
  const esm = await import('../../lib/index.mjs')
  assert.deepEqual(Object.keys(esm).sort(), Object.keys(chord).sort())
  for (const name of Object.keys(esm)) assert.equal(esm[name], chord[name])
})

testWith(STORIES, 'an ESM program streams', async () => {
  const program = `
    import { loadModel } from './lib/index.mjs'
    const model = await loadModel(process.argv[1])
    for await (const text of model.generate('', { temperature: 0, maxTokens: 8 })) process.stdout.write(text)
    await model.close()`
  const { code, stdout, stderr } = await runNode(['--input-type=module', '-e', program, STORIES])
  assert.equal(code, 0, stderr)
  assert.equal(stdout, 'Once upon a time, there was a')
})

test('a missing addon is reported with the command that builds it', async () => {
  const { code, stderr } = await runNode(['-e', "require('./lib')"], { env: { CHORD_BINDING: '/nowhere/chord.node' } })
  assert.equal(code, 1)
  assert.match(stderr, /BINDING_NOT_FOUND/)
  assert.match(stderr, /\/nowhere\/chord\.node/)
  assert.match(stderr, /npm run build/)
})

test('only chord makes its objects', () => {
  for (const Class of [chord.Model, chord.Generation, chord.Tokenizer]) assert.throws(() => new Class(), TypeError)
})
