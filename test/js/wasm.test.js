'use strict'

// Host functions for WebAssembly guests: what guests assembled from WAT get is the file's bytes, and nothing else of their memory changes.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const v8 = require('node:v8')
const { after, before, test } = require('node:test')
const { DEMO, sleep, temporaryFolder, testWith } = require('./helpers.js')
const { ChordError, inspect, loadModel, wasmCodes } = require('../..')

// Node.js before 24 has 64-bit memories behind this flag; one that knows neither says so by the module not being valid.
v8.setFlagsFromString('--experimental-wasm-memory64')

const PAGE = 65536
const GIB = 2 ** 30
const { CLOSED, IO, RANGE, TOO_SMALL } = wasmCodes

let wabt
let model
let bytes // of the file
let info
before(async () => {
  wabt = await require('wabt')()
  if (!fs.existsSync(DEMO)) return
  model = await loadModel(DEMO)
  info = await inspect(DEMO)
  bytes = fs.readFileSync(DEMO)
})
after(() => model?.close())

function assemble(wat) {
  return wabt.parseWat('guest.wat', wat, { memory64: true, threads: true }).toBinary({}).buffer
}

/**
 * A guest that hands its arguments on, with pointers and sizes of type `word`. `memory`: 'imported', 'shared' (and imported), or the number
 * of pages of its own.
 */
function guestWat(word, memory) {
  const index = word === 'i64' ? 'i64' : ''
  return `(module
    ${memory === 'imported' ? `(import "env" "memory" (memory ${index} 1))` : ''}
    ${memory === 'shared' ? `(import "env" "memory" (memory ${index} 1 4096 shared))` : ''}
    (import "env" "memory64_load_layer" (func $load (param i32 ${word} ${word}) (result i32)))
    (import "env" "memory64_read" (func $read (param i64 ${word} ${word}) (result i32)))
    (import "env" "memory64_layer_bytes" (func $bytes (param i32) (result i64)))
    (import "env" "memory64_is_enabled" (func $enabled (result i32)))
    (import "env" "memory64_stats" (func $stats (result i64)))
    ${typeof memory === 'number' ? `(memory $m (export "memory") ${index} ${memory})` : ''}
    (func (export "load") (param i32 ${word} ${word}) (result i32) (call $load (local.get 0) (local.get 1) (local.get 2)))
    (func (export "read") (param i64 ${word} ${word}) (result i32) (call $read (local.get 0) (local.get 1) (local.get 2)))
    (func (export "bytes") (param i32) (result i64) (call $bytes (local.get 0)))
    (func (export "enabled") (result i32) (call $enabled))
    (func (export "stats") (result i64) (call $stats))
    (func (export "grow") (param ${word}) (result ${word}) (memory.grow (local.get 0)))
    (func (export "readAndGrow") (param $pages ${word}) (result i32)
      (drop (call $read (i64.const 0) (${word}.const 0) (${word}.const 4)))
      (drop (memory.grow (local.get $pages)))
      (call $read (i64.const 0) (${word}.mul (local.get $pages) (${word}.const ${PAGE})) (${word}.const 4))))`
}

/** A guest with its own memory, of `pages`, for a model (default: the one of all tests). */
async function guest(pages, { of = model, word = 'i32' } = {}) {
  let exported
  const env = of.wasmImports({ memory: () => exported.memory })
  ;({ exports: exported } = (await WebAssembly.instantiate(assemble(guestWat(word, pages)), { env })).instance)
  const number = word === 'i64' ? BigInt : Number
  return {
    ...exported,
    load: (layer, pointer, max) => exported.load(layer, number(pointer), number(max)),
    read: (offset, pointer, size) => exported.read(BigInt(offset), number(pointer), number(size)),
    at: (pointer, size) => Buffer.from(exported.memory.buffer, pointer, size),
  }
}

const pagesFor = (n) => Math.ceil(n / PAGE) + 1

/** A layer as the types describe it, made from the file. */
function layerOf({ tensors }, file, layer) {
  const pieces = []
  let size = 0
  for (const tensor of tensors.filter(({ name }) => name.startsWith(`blk.${layer}.`))) {
    const gap = (32 - (size % 32)) % 32
    pieces.push(Buffer.alloc(gap), file.subarray(tensor.offset, tensor.offset + tensor.bytes))
    size += gap + tensor.bytes
  }
  return Buffer.concat(pieces)
}

testWith(DEMO, 'memory64_read gives the bytes of the file, and touches no others', async () => {
  const g = await guest(pagesFor(bytes.length + 64))
  assert.equal(g.read(0, 32, bytes.length), bytes.length)
  assert.ok(g.at(32, bytes.length).equals(bytes))
  assert.ok(g.at(0, 32).equals(Buffer.alloc(32)))
  assert.ok(g.at(32 + bytes.length, 32).equals(Buffer.alloc(32)))

  let random = 1
  const below = (n) => (random = (random * 48271) % 2147483647) % n
  for (let i = 0; i < 300; i++) {
    const size = below(i % 3 ? 300 : 200_000)
    const offset = below(bytes.length - size + 1)
    const pointer = below(PAGE)
    g.at(0, PAGE + size + 1).fill(0xa5)
    assert.equal(g.read(offset, pointer, size), size)
    assert.ok(g.at(pointer, size).equals(bytes.subarray(offset, offset + size)), `${size} bytes at ${offset} to ${pointer}`)
    assert.ok(g.at(0, pointer).every((byte) => byte === 0xa5) && g.at(pointer + size, 1)[0] === 0xa5)
  }
  assert.equal(g.read(bytes.length, 0, 0), 0)
  assert.equal(g.stats(), 302n)
})

testWith(DEMO, 'memory64_load_layer gives every layer as documented', async () => {
  const g = await guest(64)
  for (let layer = 0; layer < model.info.layers; layer++) {
    const expected = layerOf(info, bytes, layer)
    assert.equal(g.bytes(layer), BigInt(expected.length))
    const pointer = 7 * layer
    g.at(0, pointer + expected.length + 1).fill(0xa5)
    assert.equal(g.load(layer, pointer, expected.length), expected.length)
    assert.ok(g.at(pointer, expected.length).equals(expected), `layer ${layer}`)
    assert.ok(g.at(0, pointer).every((byte) => byte === 0xa5) && g.at(pointer + expected.length, 1)[0] === 0xa5)
    const first = info.tensors.find(({ name }) => name.startsWith(`blk.${layer}.`)).offset
    assert.ok(expected.equals(bytes.subarray(first, first + expected.length)), 'the tensors of this file are neighbours')
  }
  assert.equal(g.enabled(), 1)
  assert.equal(g.stats(), BigInt(model.info.layers))
})

testWith(DEMO, 'what is out of range gets its code and leaves the memory as it was', async () => {
  const g = await guest(64)
  const end = 64 * PAGE
  const n = bytes.length
  const size = Number(g.bytes(0))
  g.at(0, end).fill(0x5a)
  const cases = [
    [() => g.read(n - 3, 0, 4), RANGE],
    [() => g.read(n, 0, 1), RANGE],
    [() => g.read(n + 1, 0, 0), RANGE],
    [() => g.read(-1n, 0, 1), RANGE], // 2^64 - 1
    [() => g.read(2n ** 63n, 0, 1), RANGE],
    [() => g.read(2n ** 53n + 1n, 0, 1), RANGE],
    [() => g.read(0, end - 3, 4), RANGE],
    [() => g.read(0, end, 1), RANGE],
    [() => g.read(0, end + 1, 0), RANGE],
    [() => g.read(0, -4, 4), RANGE], // 2^32 - 4
    [() => g.read(0, -4, 8), RANGE],
    [() => g.read(0, 0, -1), RANGE],
    [() => g.read(0, 0, 2 ** 31), RANGE],
    [() => g.load(model.info.layers, 0, end), RANGE],
    [() => g.load(-1, 0, end), RANGE],
    [() => g.load(0, 0, size - 1), TOO_SMALL],
    [() => g.load(0, 0, 0), TOO_SMALL],
    [() => g.load(0, end - size + 1, size), RANGE],
    [() => g.load(0, end - size + 1, -1), RANGE],
    [() => Number(g.bytes(model.info.layers)), RANGE],
    [() => Number(g.bytes(-1)), RANGE],
  ]
  for (const [call, code] of cases) assert.equal(call(), code, String(call))
  assert.ok(g.at(0, end).every((byte) => byte === 0x5a))
  assert.equal(g.stats(), 0n)
  assert.equal(g.load(0, end - size, -1), size, 'a guest may say that it has all the room there is')
  assert.equal(g.read(0, end, 0), 0)
})

testWith(DEMO, 'a memory that grows is the one that is written to', async () => {
  const magic = 'GGUF'
  for (const word of ['i32', 'i64']) {
    if (word === 'i64' && !hasMemory64()) continue
    const g = await guest(1, { word })
    assert.equal(g.read(0, 2 * PAGE, 4), RANGE)
    const old = g.memory.buffer
    g.grow(word === 'i64' ? 2n : 2)
    assert.equal(old.byteLength, 0)
    assert.equal(g.read(0, 2 * PAGE, 4), 4)
    assert.equal(String(g.at(2 * PAGE, 4)), magic)
    assert.equal(g.readAndGrow(word === 'i64' ? 5n : 5), 4)
    assert.equal(String(g.at(5 * PAGE, 4)), magic)
  }
})

testWith(DEMO, 'an imported memory, and a shared one', async () => {
  const shared = new WebAssembly.Memory({ initial: 1, maximum: 4096, shared: true })
  const memories = { imported: new WebAssembly.Memory({ initial: 1 }), shared }
  for (const [kind, memory] of Object.entries(memories)) {
    const env = { memory, ...model.wasmImports({ memory }) }
    const { exports: g } = (await WebAssembly.instantiate(assemble(guestWat('i32', kind)), { env })).instance
    assert.equal(g.read(0n, PAGE, bytes.length), RANGE)
    memory.grow(pagesFor(bytes.length))
    assert.equal(g.read(0n, PAGE, bytes.length), bytes.length, kind)
    assert.ok(Buffer.from(memory.buffer, PAGE, bytes.length).equals(bytes), kind)
  }
})

const hasMemory64 = () => WebAssembly.validate(assemble('(module (memory i64 1))'))
function testMemory64(name, body) {
  testWith(DEMO, name, async (t) => {
    if (!hasMemory64()) return t.skip(`Node.js ${process.version} has no 64-bit memories`)
    return body(t)
  })
}

testMemory64('a guest with a 64-bit memory', async () => {
  const g = await guest(pagesFor(bytes.length + 64), { word: 'i64' })
  assert.equal(g.read(5, 64, bytes.length - 5), bytes.length - 5)
  assert.ok(g.at(64, bytes.length - 5).equals(bytes.subarray(5)))
  const expected = layerOf(info, bytes, 1)
  assert.equal(g.load(1, 3, expected.length), expected.length)
  assert.ok(g.at(3, expected.length).equals(expected))
  assert.equal(g.read(0, -1n, 1), RANGE)
  assert.equal(g.read(0, 2n ** 63n, 1), RANGE)
  assert.equal(g.read(0, 0, 2n ** 32n + 4n), RANGE)
  assert.equal(g.load(0, 2n ** 64n - 16n, 2n ** 63n), RANGE)
  assert.equal(g.load(0, 0, 1), TOO_SMALL)
})

testMemory64('pointers beyond 4 GiB', async (t) => {
  let g
  try {
    g = await guest(4 * GIB / PAGE + 64, { word: 'i64' })
  } catch (error) {
    return t.skip(`no memory of more than 4 GiB here: ${error.message}`)
  }
  const pointer = 4 * GIB - 10
  assert.equal(g.read(0, pointer, 1000), 1000)
  assert.ok(g.at(pointer, 1000).equals(bytes.subarray(0, 1000)))
  assert.ok(g.at(0, 1000).equals(Buffer.alloc(1000)))
  const expected = layerOf(info, bytes, 0)
  assert.equal(g.load(0, 4 * GIB + 100, 2n ** 40n), expected.length)
  assert.ok(g.at(4 * GIB + 100, expected.length).equals(expected))
})

/**
 * A copy of the model in which the last tensor of the last layer, and all behind it, lie `gap` bytes further back, in a file with a hole.
 * Returns that tensor, at its new place.
 */
function writeSparse(file, gap) {
  const first = info.tensors.filter(({ name }) => name.startsWith('blk.')).at(-1)
  const copy = Buffer.from(bytes)
  for (const { name } of info.tensors.filter(({ offset }) => offset >= first.offset)) {
    const dimensions = copy.indexOf(name, 0, 'utf8') + name.length
    const place = dimensions + 4 + 8 * copy.readUInt32LE(dimensions) + 4 // behind the dimensions and the type
    copy.writeBigUInt64LE(copy.readBigUInt64LE(place) + BigInt(gap), place)
  }
  const fd = fs.openSync(file, 'w')
  fs.writeSync(fd, copy, 0, first.offset, 0)
  fs.writeSync(fd, copy, first.offset, copy.length - first.offset, first.offset + gap)
  fs.closeSync(fd)
  return { ...first, offset: first.offset + gap }
}

testWith(DEMO, 'offsets beyond 4 GiB', async (t) => {
  const file = path.join(temporaryFolder(t), 'sparse.gguf')
  const gap = 5 * GIB
  const { name, offset, bytes: size } = writeSparse(file, gap)
  assert.equal((await inspect(file)).tensors.find((tensor) => tensor.name === name).offset, offset)
  const sparse = await loadModel(file)
  t.after(() => sparse.close())
  const g = await guest(64, { of: sparse })
  const behind = bytes.subarray(offset - gap)
  assert.equal(g.read(offset, 1, behind.length), behind.length)
  assert.ok(g.at(1, behind.length).equals(behind))
  assert.equal(g.read(offset - 100, 0, 200), 200)
  assert.ok(g.at(0, 200).equals(Buffer.concat([Buffer.alloc(100), behind.subarray(0, 100)])))
  g.at(0, 200).fill(1)
  assert.equal(g.read(4 * GIB - 100, 0, 200), 200) // across the border, in the hole
  assert.ok(g.at(0, 200).equals(Buffer.alloc(200)))
  assert.equal(g.read(gap + bytes.length, 0, 1), RANGE)

  const layer = model.info.layers - 1
  const expected = layerOf(info, bytes, layer)
  assert.ok(name.startsWith(`blk.${layer}.`) && expected.subarray(-size).equals(behind.subarray(0, size)))
  assert.equal(g.load(layer, 0, -1), expected.length)
  assert.ok(g.at(0, expected.length).equals(expected))

  const options = { maxTokens: 8, temperature: 0 }
  assert.deepEqual((await sparse.generate('The prince', options)).tokens, (await model.generate('The prince', options)).tokens)
})

testWith(DEMO, 'a guest reads while the model generates', async () => {
  const options = { maxTokens: 60, temperature: 0 }
  const alone = await model.generate('The prince', options)
  const g = await guest(pagesFor(bytes.length))
  const generation = model.generate('The prince', options)
  let reads = 0
  for await (const _ of generation) {
    assert.equal(g.read(0, 0, bytes.length), bytes.length)
    assert.ok(g.at(0, bytes.length).equals(bytes))
    g.at(0, bytes.length).fill(0)
    reads++
  }
  assert.ok(reads > 5)
  assert.deepEqual((await generation).tokens, alone.tokens)
})

testWith(DEMO, 'a paged model, in as little memory as will do', async (t) => {
  const floor = await loadModel(DEMO, { cache: { mode: 'paged' }, context: 64, memory: '1MiB' }).catch(({ message }) => message)
  const [, least] = /llow at least ([\d.]+) MiB/.exec(floor)
  const memory = Math.ceil(Number(least) * 2 ** 20)
  for (const policy of ['pin', 'lru']) {
    const paged = await loadModel(DEMO, { cache: { mode: 'paged', policy }, context: 64, memory })
    t.after(() => paged.close())
    assert.equal(paged.info.mode, 'paged')
    const g = await guest(pagesFor(bytes.length), { of: paged })
    const whole = () => {
      g.at(0, bytes.length).fill(0)
      return g.read(0, 0, bytes.length) === bytes.length && g.at(0, bytes.length).equals(bytes)
    }
    assert.ok(whole(), 'before any tile is in memory')
    const options = { maxTokens: 30, temperature: 0 }
    const generation = paged.generate('The prince', options)
    for await (const _ of generation) assert.ok(whole(), 'while tiles come and go')
    assert.deepEqual((await generation).tokens, (await model.generate('The prince', options)).tokens)
    const expected = layerOf(info, bytes, 2)
    assert.equal(g.load(2, 5, -1), expected.length)
    assert.ok(g.at(5, expected.length).equals(expected))
    assert.ok(paged.stats().memory.peakBytes <= memory)
  }
})

testWith(DEMO, 'a closed model', async () => {
  const closing = await loadModel(DEMO)
  const g = await guest(64, { of: closing })
  assert.equal(g.read(0, 0, 4), 4)
  const closed = closing.close()
  for (let i = 0; i < 2; i++) {
    assert.equal(g.enabled(), 0)
    assert.equal(g.read(0, 0, 4), CLOSED)
    assert.equal(g.read(-1n, 0, 4), CLOSED)
    assert.equal(g.load(0, 0, -1), CLOSED)
    assert.equal(g.bytes(0), BigInt(CLOSED))
    assert.equal(g.stats(), 1n)
    await closed
  }
  assert.throws(() => closing.wasmImports({ memory: g.memory }), { code: 'CLOSED' })
})

testWith(DEMO, 'a file that was truncated under the model', async (t) => {
  const file = path.join(temporaryFolder(t), 'short.gguf')
  fs.copyFileSync(DEMO, file)
  const cut = await loadModel(file)
  t.after(() => cut.close())
  const g = await guest(64, { of: cut })
  assert.equal(g.load(0, 0, -1), Number(g.bytes(0)))
  await sleep(5)
  fs.truncateSync(file, 1000)
  assert.equal(g.load(0, 0, -1), IO)
  assert.equal(g.read(bytes.length - 8, 0, 8), IO)
  assert.equal(g.stats(), 1n)
  assert.equal(g.enabled(), 1)
})

testWith(DEMO, 'arguments from JavaScript', () => {
  const memory = new WebAssembly.Memory({ initial: 64 })
  const imports = model.wasmImports({ memory })
  assert.equal(imports.memory64_read(0, 0n, 4), 4)
  assert.equal(Buffer.from(memory.buffer, 0, 4).toString(), 'GGUF')
  for (const wrong of [0.5, NaN, undefined, Infinity, -(2 ** 40)]) {
    assert.equal(imports.memory64_read(wrong, 0, 4), RANGE)
    assert.equal(imports.memory64_read(0, wrong, 4), RANGE)
    assert.equal(imports.memory64_read(0, 0, wrong), RANGE)
    assert.equal(imports.memory64_load_layer(wrong, 0, 4), RANGE)
    assert.equal(imports.memory64_load_layer(0, wrong, -1), RANGE)
    assert.equal(imports.memory64_load_layer(0, 0, wrong), TOO_SMALL)
    assert.equal(imports.memory64_layer_bytes(wrong), BigInt(RANGE))
  }
  assert.throws(() => model.wasmImports(), { code: 'INVALID_ARGUMENT', message: /'memory' is missing/ })
  assert.throws(() => model.wasmImports({}), { code: 'INVALID_ARGUMENT', message: /'memory' is missing/ })
  assert.throws(() => model.wasmImports({ memory: 5 }), { code: 'INVALID_ARGUMENT', message: /a WebAssembly.Memory, or a function that returns it, got 5/ })
  assert.throws(() => model.wasmImports({ memory, extra: 1 }), { code: 'INVALID_ARGUMENT', message: /unknown option 'extra'/ })
  const early = model.wasmImports({ memory: () => undefined })
  assert.throws(() => early.memory64_read(0, 0, 4), (error) => error instanceof ChordError && /got undefined/.test(error.message))
})

test('the codes are constants', () => {
  assert.deepEqual(wasmCodes, { CLOSED: -1, RANGE: -2, TOO_SMALL: -3, IO: -4 })
  assert.ok(Object.isFrozen(wasmCodes))
})
