'use strict'

// Host functions for WebAssembly guests: model bytes into the guest's memory, while the guest waits.

const { isAnyArrayBuffer } = require('node:util/types')
const binding = require('./binding.js')
const v = require('./validate.js')

/** What a host function returns instead of a number of bytes. The types say when. */
const wasmCodes = Object.freeze({ CLOSED: -1, RANGE: -2, TOO_SMALL: -3, IO: -4 })

const MOST = 2 ** 31 - 1 // bytes that a result of type i32 can tell

/** An i32 or i64 of a guest as the unsigned number that it means; NaN for what is no integer. */
function unsigned(value) {
  if (typeof value === 'bigint') return Number(BigInt.asUintN(64, value))
  if (!Number.isInteger(value) || value < -(2 ** 31)) return NaN
  return value < 0 ? value + 2 ** 32 : value
}

/** The guest's memory as it is now: growing it gives it another buffer, and may happen between any two calls. */
function bufferOf(memory) {
  const given = typeof memory === 'function' ? memory() : memory
  if (isAnyArrayBuffer(given?.buffer)) return given.buffer
  throw v.invalidOption("option 'memory' of wasmImports()", 'a function that returns a WebAssembly.Memory', given)
}

/** Bytes at .. at + size - 1 of a buffer; null if they are not all inside. */
function span(buffer, at, size) {
  return at >= 0 && at + size <= buffer.byteLength ? new Uint8Array(buffer, at, size) : null
}

/**
 * The host functions of an open model, for guests whose memory is `memory` or what that function returns.
 * `model`: { handle, fileBytes, isOpen() }.
 */
function makeWasmImports({ handle, fileBytes, isOpen }, memory) {
  let reads = 0n

  /** The result of `read()`; what it throws, as a code. */
  function coded(read) {
    if (!isOpen()) return wasmCodes.CLOSED
    try {
      return read()
    } catch (error) {
      if (error.code === 'NOT_FOUND') return wasmCodes.RANGE
      if (error.code === 'IO' || error.code === 'FILE_CHANGED') return wasmCodes.IO
      throw error
    }
  }

  function layerBytes(layer) {
    return layer < 2 ** 32 ? binding.layerBytes(handle, layer) : wasmCodes.RANGE
  }

  return {
    memory64_load_layer(layer, pointer, max) {
      const index = unsigned(layer)
      return coded(() => {
        const n = layerBytes(index)
        if (n < 0 || n > MOST) return wasmCodes.RANGE
        if (!(n <= unsigned(max))) return wasmCodes.TOO_SMALL
        const target = span(bufferOf(memory), unsigned(pointer), n)
        if (!target) return wasmCodes.RANGE
        binding.readLayer(handle, index, target)
        reads++
        return n
      })
    },

    memory64_read(offset, pointer, size) {
      const from = unsigned(offset)
      const n = unsigned(size)
      return coded(() => {
        const target = n <= MOST && from + n <= fileBytes ? span(bufferOf(memory), unsigned(pointer), n) : null
        if (!target) return wasmCodes.RANGE
        binding.readBytes(handle, from, target)
        reads++
        return n
      })
    },

    memory64_layer_bytes: (layer) => BigInt(coded(() => layerBytes(unsigned(layer)))),
    memory64_is_enabled: () => (isOpen() ? 1 : 0),
    memory64_stats: () => reads,
  }
}

module.exports = { makeWasmImports, wasmCodes }
