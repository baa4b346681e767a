'use strict'

// quantize() and `chord quantize`: models made in other types are loaded, measured and compared.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { test } = require('node:test')
const { ChordError, inspect, loadModel, quantize } = require('../..')
const { DEMO, STORIES, root, runNode, temporaryFolder, testWith } = require('./helpers.js')

const main = path.join(root, 'lib', 'cli', 'main.js')
const refused = (code, message) => (error) => error instanceof ChordError && error.code === code && message.test(error.message)

testWith(STORIES, 'a quantized model is loaded and nearly the same', async (t) => {
  const folder = temporaryFolder(t)
  const output = path.join(folder, 'stories-q8_0.gguf')
  const seen = []
  const result = await quantize(STORIES, output, { type: 'q8_0', threads: 2, onProgress: (progress) => seen.push(progress) })
  assert.deepEqual(fs.readdirSync(folder), ['stories-q8_0.gguf'])
  assert.equal(result.type, 'Q8_0')
  assert.equal(result.path, output)
  assert.equal(result.inputBytes, 260032 * 4)
  assert.equal(result.outputBytes, fs.statSync(output).size)
  assert.ok(result.peakBytes > 0 && result.peakBytes < 4e6)
  assert.ok(seen.length > 0)
  assert.deepEqual(seen.at(-1), { phase: 'weights', done: result.inputBytes, total: result.inputBytes })

  const [before, after] = [await inspect(STORIES), await inspect(output)]
  assert.deepEqual(after.tensors.map(({ name, shape }) => ({ name, shape })), before.tensors.map(({ name, shape }) => ({ name, shape })))
  assert.equal(after.metadata['general.file_type'], 7)
  for (const key of Object.keys(before.metadata)) {
    if (!['general.file_type', 'general.quantization_version'].includes(key)) assert.deepEqual(after.metadata[key], before.metadata[key], key)
  }
  const texts = []
  for (const file of [STORIES, output]) {
    const model = await loadModel(file, { context: 64 })
    texts.push((await model.generate('Once upon', { temperature: 0, maxTokens: 16 })).text)
    await model.close()
  }
  assert.equal(texts[1], texts[0])
})

testWith(STORIES, 'what is refused names itself and leaves nothing', async (t) => {
  const folder = temporaryFolder(t)
  const output = path.join(folder, 'out.gguf')
  await assert.rejects(quantize(STORIES, output), refused('INVALID_ARGUMENT', /'type' is missing/))
  await assert.rejects(quantize(STORIES, output, { type: 'Q4' }), refused('INVALID_ARGUMENT', /no type 'Q4'.*Q4_K_M/))
  await assert.rejects(quantize(STORIES, output, { type: 4 }), refused('INVALID_ARGUMENT', /expected a string/))
  await assert.rejects(quantize(STORIES, output, { type: 'Q8_0', thread: 1 }), refused('INVALID_ARGUMENT', /did you mean 'threads'/))
  await assert.rejects(quantize(STORIES, STORIES, { type: 'Q8_0' }), refused('INVALID_ARGUMENT', /another name/))
  await assert.rejects(quantize(path.join(folder, 'none.gguf'), output, { type: 'Q8_0' }), refused('FILE_NOT_FOUND', /none\.gguf/))
  await assert.rejects(quantize(STORIES, path.join(folder, 'no', 'out.gguf'), { type: 'Q8_0' }), refused('IO', /no.out\.gguf/))
  const broken = path.join(folder, 'broken.gguf')
  fs.copyFileSync(STORIES, broken)
  fs.truncateSync(broken, 900_000)
  await assert.rejects(quantize(broken, output, { type: 'Q8_0' }), refused('GGUF_TRUNCATED', /broken\.gguf/))
  assert.deepEqual(fs.readdirSync(folder), ['broken.gguf'])
})

testWith(DEMO, 'an abort ends it and leaves nothing; a quantized model wants to be asked for', async (t) => {
  const folder = temporaryFolder(t)
  const output = path.join(folder, 'out.gguf')
  await assert.rejects(quantize(DEMO, output, { type: 'Q4_K_M' }), refused('INVALID_ARGUMENT', /quantized already, to Q8_0/))
  const reason = new Error('enough')
  const stop = new AbortController()
  const onProgress = () => stop.abort(reason)
  await assert.rejects(quantize(DEMO, output, { type: 'Q6_K', threads: 1, requantize: true, signal: stop.signal, onProgress }), (error) => error === reason)
  await assert.rejects(quantize(DEMO, output, { type: 'Q6_K', requantize: true, signal: AbortSignal.abort(reason) }), (error) => error === reason)
  const failing = () => {
    throw reason
  }
  await assert.rejects(quantize(DEMO, output, { type: 'Q6_K', threads: 1, requantize: true, onProgress: failing }), (error) => error === reason)
  assert.deepEqual(fs.readdirSync(folder), [])
  const { outputBytes } = await quantize(new URL(`file://${DEMO}`), output, { type: 'Q4_0', requantize: true })
  assert.ok(outputBytes < fs.statSync(DEMO).size * 0.6)
})

testWith(STORIES, 'on the command line', async (t) => {
  const folder = temporaryFolder(t)
  const output = path.join(folder, 'out.gguf')
  const done = await runNode([main, 'quantize', STORIES, output, 'Q4_0'])
  assert.equal(done.code, 0, done.stderr)
  assert.match(done.stdout, /out\.gguf: Q4_0, \d+ KiB from 1016 KiB in /)
  const json = JSON.parse((await runNode([main, 'quantize', STORIES, output, 'F16', '--threads', '1', '--json'])).stdout)
  assert.equal(json.type, 'F16')
  assert.equal(json.outputBytes, fs.statSync(output).size)
  const wrong = await runNode([main, 'quantize', STORIES, STORIES, 'F16'])
  assert.equal(wrong.code, 1)
  assert.match(wrong.stderr, /another name.*INVALID_ARGUMENT/)
  assert.equal((await runNode([main, 'quantize', STORIES, output])).code, 2)
})

// As llama.cpp writes them, in both formats: rows of { name, sums }, all sums over `count` inputs.
function matrixFile(folder, format, rows, count = 4) {
  const file = path.join(folder, `matrix.${format}`)
  const u32 = (n) => Buffer.from(Uint32Array.of(n).buffer)
  const u64 = (n) => Buffer.from(BigUint64Array.of(BigInt(n)).buffer)
  const f32 = (numbers) => Buffer.from(Float32Array.from(numbers).buffer)
  if (format === 'dat') {
    const parts = rows.flatMap(({ name, sums }) => [u32(name.length), Buffer.from(name), u32(count), u32(sums.length), f32(sums)])
    fs.writeFileSync(file, Buffer.concat([u32(rows.length), ...parts, u32(9), u32(4), Buffer.from('text')]))
    return file
  }
  const string = (text) => Buffer.concat([u64(text.length), Buffer.from(text)])
  const tensors = rows.flatMap(({ name, sums }) => [{ name: `${name}.in_sum2`, data: f32(sums) }, { name: `${name}.counts`, data: f32([count]) }])
  let offset = 0
  const directory = tensors.map(({ name, data }) => {
    const row = Buffer.concat([string(name), u32(2), u64(data.length / 4), u64(1), u32(0), u64(offset)])
    offset += Math.ceil(data.length / 32) * 32
    return row
  })
  const head = Buffer.concat([Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(2), string('general.type'), u32(8), string('imatrix'), string('imatrix.chunk_count'), u32(4), u32(9), ...directory])
  const padded = (bytes) => Buffer.concat([bytes, Buffer.alloc((32 - (bytes.length % 32)) % 32)])
  fs.writeFileSync(file, Buffer.concat([padded(head), ...tensors.map(({ data }) => padded(data))]))
  return file
}

testWith(STORIES, 'an importance matrix: read in both formats, counted, told in the file', async (t) => {
  const folder = temporaryFolder(t)
  const output = path.join(folder, 'out.gguf')
  const matrices = (await inspect(STORIES)).tensors.filter(({ name }) => /^blk.*(attn_[qkv]|ffn_(up|down))\.weight$/.test(name))
  const rows = matrices.map(({ name, shape }) => ({ name, sums: Array.from({ length: shape.at(-1) }, (_, i) => 2 ** (i % 8)) }))
  const plain = await quantize(STORIES, output, { type: 'Q4_1' })
  assert.equal(plain.imatrix, undefined)
  const before = fs.readFileSync(output)
  const made = []
  for (const format of ['dat', 'gguf']) {
    const imatrix = matrixFile(folder, format, rows)
    const result = await quantize(STORIES, output, { type: 'Q4_1', imatrix: format === 'dat' ? imatrix : new URL(`file://${imatrix}`) })
    assert.equal(result.imatrix.weighted, rows.filter(({ sums }) => sums.length % 32 === 0).length) // the others take F16
    assert.ok(result.imatrix.unweighted > 0)
    const { metadata, tensors } = await inspect(output)
    assert.equal(metadata['quantize.imatrix.file'], `matrix.${format}`)
    assert.equal(metadata['quantize.imatrix.entries_count'], rows.length)
    assert.equal(metadata['quantize.imatrix.chunks_count'], 9)
    assert.equal(metadata['quantize.imatrix.dataset'], format === 'dat' ? 'text' : '')
    made.push(fs.readFileSync(output).subarray(-tensors.reduce((sum, { bytes }) => sum + bytes, 0)))
  }
  assert.deepEqual(made[1], made[0])
  assert.notDeepEqual(made[0], before.subarray(-made[0].length))
  const model = await loadModel(output, { context: 64 })
  assert.ok((await model.generate('Once upon', { temperature: 0, maxTokens: 4 })).text.length > 0)
  await model.close()
})

testWith(STORIES, 'an importance matrix that is none, or of another model, is refused by name', async (t) => {
  const folder = temporaryFolder(t)
  const output = path.join(folder, 'out.gguf')
  const wrong = (imatrix, code, message) => assert.rejects(quantize(STORIES, output, { type: 'Q4_0', imatrix }), refused(code, message))
  const short = [{ name: 'blk.0.attn_q.weight', sums: [1, 2, 3] }]
  await wrong(path.join(folder, 'none.dat'), 'FILE_NOT_FOUND', /none\.dat/)
  await wrong(STORIES, 'GGUF_METADATA', /not an importance matrix/)
  await wrong(7, 'INVALID_ARGUMENT', /importance matrix/)
  await wrong(matrixFile(folder, 'dat', [{ name: 'blk.99.attn_q.weight', sums: [1] }]), 'INVALID_ARGUMENT', /another model: none of its 1/)
  for (const format of ['dat', 'gguf']) await wrong(matrixFile(folder, format, short), 'INVALID_ARGUMENT', /another model: it has 3 sums for the tensor 'blk\.0\.attn_q\.weight'/)
  const cut = matrixFile(folder, 'dat', short)
  fs.truncateSync(cut, 40)
  await wrong(cut, 'GGUF_TRUNCATED', /matrix\.dat/)
  assert.ok(!fs.existsSync(output))
})

testWith(STORIES, 'an importance matrix on the command line', async (t) => {
  const folder = temporaryFolder(t)
  const output = path.join(folder, 'out.gguf')
  const width = (await inspect(STORIES)).tensors.find(({ name }) => name === 'blk.0.attn_q.weight').shape.at(-1)
  const imatrix = matrixFile(folder, 'gguf', [{ name: 'blk.0.attn_q.weight', sums: new Array(width).fill(1) }])
  const done = await runNode([main, 'quantize', STORIES, output, 'Q5_1', '--imatrix', imatrix])
  assert.equal(done.code, 0, done.stderr)
  assert.match(done.stdout, /\n1 tensor weighed by importance, \d+ not: the matrix does not know them\n$/)
  const none = await runNode([main, 'quantize', STORIES, output, 'Q8_0', '--imatrix', imatrix])
  assert.match(none.stdout, /no tensor of Q8_0 takes importances/)
  const wrong = await runNode([main, 'quantize', STORIES, output, 'Q5_1', '--imatrix', STORIES])
  assert.equal(wrong.code, 1)
  assert.match(wrong.stderr, /not an importance matrix.*GGUF_METADATA/)
})

testWith(DEMO, 'a process that is stopped removes what it began', { skip: process.platform === 'win32' && 'no signals there' }, async (t) => {
  const folder = temporaryFolder(t)
  const args = [main, 'quantize', DEMO, path.join(folder, 'out.gguf'), 'Q5_K_M', '--requantize', '--threads', '1']
  const during = (child) => {
    const look = setInterval(() => {
      if (fs.readdirSync(folder).length === 0) return
      clearInterval(look)
      child.kill('SIGINT')
    }, 2)
    child.on('close', () => clearInterval(look))
  }
  const { code, stderr } = await runNode(args, { during })
  assert.equal(code, 130, stderr)
  assert.match(stderr, /nothing is left/)
  assert.deepEqual(fs.readdirSync(folder), [])
})

test('a worker that ends in the middle leaves nothing', { skip: !fs.existsSync(DEMO) && 'no demo model' }, async (t) => {
  const folder = temporaryFolder(t)
  const program = `
    const { Worker, isMainThread, workerData } = require('node:worker_threads')
    const { quantize } = require(${JSON.stringify(root)})
    quantize(${JSON.stringify(DEMO)}, ${JSON.stringify(path.join(folder, 'out.gguf'))}, {
      type: 'Q5_K_M', requantize: true, threads: 1, onProgress: () => process.exit(7) })`
  const worker = `const { Worker } = require('node:worker_threads')
    new Worker(${JSON.stringify(program)}, { eval: true }).on('exit', (code) => process.exit(code))`
  const { code, stderr } = await runNode(['-e', worker])
  assert.equal(code, 7, stderr)
  assert.deepEqual(fs.readdirSync(folder), [])
  assert.equal((await runNode(['-e', program])).code, 7)
  assert.deepEqual(fs.readdirSync(folder), [], 'also when it is the process that ends')
})
