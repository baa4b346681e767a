'use strict'

// The models of a benchmark: files, or names GEOMETRY-MIX of models of random weights, which are made where they are missing.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { execFileSync } = require('node:child_process')
const { GEOMETRIES, MIXES, makeModel } = require('./make-model.js')

const FOLDER = path.resolve(__dirname, '..', 'build', 'bench-models')

/** The models whose speed chord is held to. */
const TABLE = [
  ...['Q4_K_M', 'Q4_0', 'Q8_0', 'Q5_K_M', 'Q6_K', 'F16'].map((mix) => `llama-1.1b-${mix}`),
  'llama2-7b-Q4_K_M',
  'qwen2-0.5b-Q4_0',
  'qwen3-0.6b-Q4_K_M',
]

/** { geometry, mix } of a name such as llama-1.1b-Q4_K_M, or null. */
function madeName(name) {
  const mix = MIXES.find((m) => name.endsWith(`-${m}`) && GEOMETRIES.includes(name.slice(0, -m.length - 1)))
  return mix ? { geometry: name.slice(0, -mix.length - 1), mix } : null
}

/** The file of a word of the command line; a model that has to be made goes to `folder`. note(line) tells the progress. */
async function modelFile(word, { folder = FOLDER, note = () => {} } = {}) {
  if (fs.existsSync(word)) return path.resolve(word)
  const made = madeName(word)
  if (made === null) throw new Error(`${word}: no such file, and no name of a model that can be made, such as llama-1.1b-Q4_K_M`)
  const file = path.resolve(folder, `${word}.gguf`)
  if (fs.existsSync(file)) return file
  fs.mkdirSync(folder, { recursive: true })
  const percent = ({ done, total }) => Math.floor((100 * done) / total)
  await makeModel({ ...made, out: file, onProgress: (p) => note(`making ${file}: ${percent(p)} % of ${(p.total / 1e9).toFixed(2)} GB`) })
  return file
}

/**
 * Has a model's file in the page cache the way that lets processors read it fastest. A file that was written, or read through a
 * plain read(), lies there in small pages, and 2 to 6 % of the speed goes into address translation. So it is dropped from the
 * cache and read again through chord's mapping, which asks for huge pages; every process that maps the file then shares them.
 * false: the file is larger than what memory has free, and stays as it is.
 */
async function settlePageCache(file) {
  if (fs.statSync(file).size > 0.9 * os.freemem()) return false
  if (process.platform === 'linux') {
    const fd = fs.openSync(file, 'r')
    fs.fdatasyncSync(fd) // pages that are not yet on the disk cannot be dropped
    fs.closeSync(fd)
    // posix_fadvise(POSIX_FADV_DONTNEED) on the whole file
    execFileSync('dd', [`if=${file}`, 'of=/dev/null', 'iflag=nocache', 'count=0', 'status=none'])
  }
  const model = await require('..').loadModel(file)
  try {
    await model.preload()
  } finally {
    await model.close()
  }
  return true
}

/** Token ids that every vocabulary has; each round has its own, so that no engine can reuse the one before. */
function promptOf(n, round) {
  let state = 12345 + round
  return Array.from({ length: n }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return 3 + ((state >>> 8) % 250)
  })
}

/** 'llama-1.1b Q4_K_M' of .../llama-1.1b-Q4_K_M.gguf; the quantization is added where the name does not tell it. */
function titleOf(file, quantization) {
  const name = path.basename(file, '.gguf')
  return `${name.endsWith(`-${quantization}`) ? name.slice(0, -quantization.length - 1) : name} ${quantization}`
}

module.exports = { FOLDER, TABLE, madeName, modelFile, promptOf, settlePageCache, titleOf }
