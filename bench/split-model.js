#!/usr/bin/env node
'use strict'

// Splits a GGUF model into several files, as tools that publish large models do:
//
//   node bench/split-model.js MODEL.gguf --files 3 [--interleave] [--out STEM] [--json]
//
// writes STEM-00001-of-00003.gguf and so on (STEM: the model's name without .gguf). The first holds the metadata, each a run of tensors with
// about the same number of bytes.
//
// With --interleave tensors go to all files in turn, so that each file has its share of every layer. A paged model reads weights in the
// order of their use, a few dozen MiB ahead: files on several disks (moved there, with symbolic links in their place) are then
// read at the same time, where runs would be read one after the other.

const fs = require('node:fs/promises')
const path = require('node:path')
const { inspect } = require('..')
const { writeAtomically } = require('./make-model.js')
const { encodeHeader, encodePair, readHeader } = require('./model/gguf.js')
const { UsageError, integer, main, text } = require('./options.js')

const CHUNK_BYTES = 4 << 20
const MOST = 1024 // files that chord reads

/** Tensors in runs, one per file, each ending where its share of the bytes ends, none empty. */
function share(tensors, files) {
  const total = tensors.reduce((sum, { bytes }) => sum + bytes, 0)
  const runs = Array.from({ length: files }, () => [])
  let done = 0
  for (const [i, tensor] of tensors.entries()) {
    const middle = Math.floor(((done + tensor.bytes / 2) / total) * files)
    // Every file before this one has a tensor, and one is left for every file behind it.
    const filled = runs.findLastIndex((run) => run.length > 0)
    const least = Math.max(filled, files - (tensors.length - i))
    runs[Math.min(Math.max(middle, least), filled + 1)].push(tensor)
    done += tensor.bytes
  }
  return runs
}

/** Tensors dealt out: each to the file that has the fewest bytes of its layer so far, or else the fewest at all. */
function deal(tensors, files) {
  const piles = Array.from({ length: files }, () => ({ run: [], bytes: 0, ofLayer: 0 }))
  let layer
  for (const [i, tensor] of tensors.entries()) {
    const [itsLayer] = /^(blk\.\d+\.)?/.exec(tensor.name)
    if (itsLayer !== layer) for (const pile of piles) pile.ofLayer = 0
    layer = itsLayer
    const mustFill = tensors.length - i <= piles.filter(({ run }) => run.length === 0).length
    const fitting = piles.filter(({ run }) => !mustFill || run.length === 0)
    const pile = fitting.reduce((a, b) => (b.ofLayer < a.ofLayer || (b.ofLayer === a.ofLayer && b.bytes < a.bytes) ? b : a))
    pile.run.push(tensor)
    pile.bytes += tensor.bytes
    pile.ofLayer += tensor.bytes
  }
  return piles.map(({ run }) => run)
}

/** Returns the paths of the files. */
async function splitModel(file, { files, interleave = false, out = file.replace(/\.gguf$/, '') }) {
  const { pairs, tensors: entries } = await readHeader(file)
  if (pairs.some(({ key }) => key === 'split.count' || key === 'general.alignment')) {
    throw new Error(`${file}: is a part of a split model, or has an alignment of its own; neither can be split`)
  }
  const places = new Map((await inspect(file)).tensors.map(({ name, offset, bytes }) => [name, { place: offset, bytes }]))
  const tensors = entries.map((entry) => ({ ...entry, ...places.get(entry.name) }))
  if (!(files >= 1 && files <= Math.min(MOST, tensors.length))) {
    throw new Error(`${file}: ${files} files of ${tensors.length} tensors; from 1 to ${Math.min(MOST, tensors.length)} are possible`)
  }
  const source = await fs.open(file)
  const paths = []
  try {
    for (const [number, run] of (interleave ? deal : share)(tensors, files).entries()) {
      const split = [
        encodePair('split.no', 'u16', number),
        encodePair('split.count', 'u16', files),
        encodePair('split.tensors.count', 'i32', tensors.length),
      ]
      const { header, bytes } = encodeHeader([...(number === 0 ? pairs.map((pair) => pair.bytes) : []), ...split], run)
      const part = `${out}-${String(number + 1).padStart(5, '0')}-of-${String(files).padStart(5, '0')}.gguf`
      await writeAtomically(part, bytes, async (handle) => {
        await handle.write(header, 0, header.length, 0)
        for (const tensor of run) await copy(source, tensor.place, handle, header.length + tensor.offset, tensor.bytes)
        await handle.truncate(bytes)
      })
      paths.push(part)
    }
  } finally {
    await source.close()
  }
  return paths
}

async function copy(source, from, target, to, bytes) {
  const chunk = Buffer.allocUnsafe(Math.min(bytes, CHUNK_BYTES))
  for (let done = 0; done < bytes; ) {
    const { bytesRead } = await source.read(chunk, 0, Math.min(chunk.length, bytes - done), from + done)
    if (bytesRead === 0) throw new Error('the file ended while it was copied')
    for (let written = 0; written < bytesRead; ) {
      written += (await target.write(chunk, written, bytesRead - written, to + done + written)).bytesWritten
    }
    done += bytesRead
  }
}

const COMMAND = {
  synopsis: 'node bench/split-model.js MODEL.gguf --files N [--interleave] [--out STEM] [--json]',
  about: 'Splits a GGUF model into N files, STEM-00001-of-0000N.gguf and so on.',
  options: {
    files: { read: integer(1), value: 'N', help: 'how many files' },
    interleave: { help: 'every file gets its share of every layer' },
    out: { read: text, value: 'STEM', help: "their names' beginning; default: the model's" },
    json: { help: 'print the paths as JSON' },
  },
  async run({ files, interleave, out, json }, [file, ...more]) {
    if (file === undefined || more.length > 0 || files === undefined) throw new UsageError('one MODEL and --files are needed')
    const paths = await splitModel(path.resolve(file), { files, interleave, out: out && path.resolve(out) })
    process.stdout.write(json ? `${JSON.stringify(paths)}\n` : paths.map((name) => `${name}\n`).join(''))
  },
}

if (require.main === module) main(COMMAND)

module.exports = { splitModel }
