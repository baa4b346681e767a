'use strict'

// A WebAssembly guest that goes through a whole model layer by layer, in a memory of its own that only has room for one: the bytes come by
// host functions, out of the model's weight store. The guest adds them up, as a checksum.
//
//   node examples/wasm.js [MODEL.gguf]
//
// The guest is assembled by wabt, a development dependency: run `npm install` once.

const path = require('node:path')
const { loadModel } = require('..')

const [file = path.join(__dirname, '..', 'models', 'demo.gguf')] = process.argv.slice(2)

const GUEST = `(module
  (import "env" "memory64_layer_bytes" (func $layer_bytes (param i32) (result i64)))
  (import "env" "memory64_load_layer" (func $load_layer (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)

  ;; The sum of all bytes of a layer, or a negative code.
  (func (export "sum") (param $layer i32) (result i64)
    (local $size i64) (local $code i32) (local $at i32) (local $sum i64)
    (local.set $size (call $layer_bytes (local.get $layer)))
    (if (i64.lt_s (local.get $size) (i64.const 0)) (then (return (local.get $size))))
    (if (i64.lt_s (i64.extend_i32_u (i32.mul (memory.size) (i32.const 65536))) (local.get $size))
      (then (drop (memory.grow (i32.wrap_i64 (i64.shr_u (i64.add (local.get $size) (i64.const 65535)) (i64.const 16)))))))
    (local.set $code (call $load_layer (local.get $layer) (i32.const 0) (i32.wrap_i64 (local.get $size))))
    (if (i32.lt_s (local.get $code) (i32.const 0)) (then (return (i64.extend_i32_s (local.get $code)))))
    (loop $more
      (local.set $sum (i64.add (local.get $sum) (i64.load8_u (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $at) (local.get $code))))
    (local.get $sum)))`

async function main() {
  const wabt = await require('wabt')()
  const model = await loadModel(file)
  let guest // its memory is its own, so it is there only once the guest is
  const imports = model.wasmImports({ memory: () => guest.memory })
  const { instance } = await WebAssembly.instantiate(wabt.parseWat('guest.wat', GUEST).toBinary({}).buffer, { env: imports })
  guest = instance.exports
  for (let layer = 0; layer < model.info.layers; layer++) {
    const sum = guest.sum(layer)
    if (sum < 0) throw new Error(`layer ${layer}: code ${sum}`)
    console.log(`layer ${layer}: ${imports.memory64_layer_bytes(layer)} bytes, sum ${sum}`)
  }
  console.log(`${imports.memory64_stats()} reads by a guest of ${guest.memory.buffer.byteLength / 65536} pages`)
  await model.close()
}

main().catch((error) => {
  console.error(`${error.message} (${error.code})`)
  process.exitCode = 1
})
