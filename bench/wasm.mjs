// How fast a WebAssembly guest gets model bytes, beside a plain copy of as many: `node bench/wasm.mjs --help`.
// The bytes of a mapped model are in memory when the measuring begins; with --memory the model is paged, in so much, and what it pins is
// read beforehand. The ways take turns; the figures are medians. Needs the development dependencies.

import fs from 'node:fs'
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const { loadModel } = require('..')
const { integer, modelCommand, text } = require('./options.js')
const { median } = require('../lib/cli/format.js')

const { values, file } = modelCommand({
  synopsis: 'npm run bench:wasm -- MODEL.gguf',
  about: "Reads a model's bytes into a WebAssembly guest, beside a plain copy of as many.",
  options: {
    megabytes: { read: integer(1), value: 'N', help: 'to move', initial: 200 },
    memory: { read: text, value: 'SIZE', help: 'pages the model, in so much' },
    rounds: { read: integer(1), value: 'N', help: 'that count', initial: 9 },
    json: { help: 'one JSON object on standard output' },
  },
})
const size = Math.min(values.megabytes * 1e6, 2 ** 31 - 1)
if (fs.statSync(file).size < size && !fs.existsSync(file.replace('-00001-of-', '-00002-of-'))) {
  console.error(`${file} has fewer than ${size} bytes`)
  process.exit(2)
}

const PIECE = 65536

// read(n, piece): n bytes from the start of the model to address 0 on, `piece` at a time.
// layers(n): the layers one behind the other until the next would pass n bytes; how many bytes that were.
const WAT = `(module
  (import "env" "memory" (memory 1))
  (import "env" "memory64_read" (func $read (param i64 i32 i32) (result i32)))
  (import "env" "memory64_load_layer" (func $load (param i32 i32 i32) (result i32)))
  (func (export "read") (param $n i32) (param $piece i32) (result i32)
    (local $at i32) (local $size i32)
    (loop $more
      (local.set $size (i32.sub (local.get $n) (local.get $at)))
      (if (i32.gt_u (local.get $size) (local.get $piece)) (then (local.set $size (local.get $piece))))
      (if (i32.ne (call $read (i64.extend_i32_u (local.get $at)) (local.get $at) (local.get $size)) (local.get $size))
        (then (return (i32.const -1))))
      (local.set $at (i32.add (local.get $at) (local.get $size)))
      (br_if $more (i32.lt_u (local.get $at) (local.get $n))))
    (local.get $at))
  (func (export "layers") (param $n i32) (result i32)
    (local $at i32) (local $layer i32) (local $got i32)
    (loop $more
      (local.set $got (call $load (local.get $layer) (local.get $at) (i32.sub (local.get $n) (local.get $at))))
      (if (i32.gt_s (local.get $got) (i32.const 0))
        (then
          (local.set $at (i32.add (local.get $at) (local.get $got)))
          (local.set $layer (i32.add (local.get $layer) (i32.const 1)))
          (br $more))))
    (local.get $at)))`

const wabt = await require('wabt')()
const { memory: budget } = values
const model = await loadModel(file, budget === undefined ? {} : { memory: budget, cache: { mode: 'paged' } })
if (budget !== undefined) await model.preload()
const memory = new WebAssembly.Memory({ initial: Math.ceil(size / 65536) })
const env = { memory, ...model.wasmImports({ memory }) }
const { instance } = await WebAssembly.instantiate(wabt.parseWat('guest.wat', WAT).toBinary({}).buffer, { env })
const guest = instance.exports
const target = new Uint8Array(memory.buffer, 0, size)
const source = new Uint8Array(size).fill(1)

const ways = {
  copy: () => {
    target.set(source)
    return size
  },
  copyPieces: () => {
    for (let at = 0; at < size; at += PIECE) target.set(source.subarray(at, at + PIECE), at)
    return size
  },
  read: () => guest.read(size, size),
  pieces: () => guest.read(size, PIECE),
  layers: () => guest.layers(size),
}
const seconds = Object.fromEntries(Object.keys(ways).map((name) => [name, []]))
const moved = {}
for (let round = -1; round < values.rounds; round++) {
  for (const [name, run] of Object.entries(ways)) {
    const start = performance.now()
    moved[name] = run()
    if (round >= 0) seconds[name].push((performance.now() - start) / 1000)
  }
}
await model.close()

const rate = (name) => moved[name] / median(seconds[name])
const result = {
  file,
  bytes: size,
  bytesPerSecond: Object.fromEntries(Object.keys(ways).map((name) => [name, rate(name)])),
  ofCopy: Object.fromEntries(Object.keys(ways).map((name) => [name, rate(name) / rate('copy')])),
}
const LABELS = {
  copy: 'a copy within memory',
  copyPieces: 'in pieces of 64 KiB',
  read: 'one read',
  pieces: 'reads of 64 KiB',
  layers: 'layer by layer',
}
if (values.json) console.log(JSON.stringify(result))
else {
  console.log(`${result.file}: ${(moved.read / 1e6).toFixed(0)} MB into a guest's memory`)
  for (const name of Object.keys(ways)) {
    const { [name]: perSecond } = result.bytesPerSecond
    console.log(`  ${LABELS[name].padEnd(22)}${(perSecond / 1e9).toFixed(2)} GB/s  ${result.ofCopy[name].toFixed(2)} of the copy`)
  }
}
