// How long loadModel takes and what it holds besides the mapping: `node bench/load.mjs --help`.
// The first round may read the header from disk; the figures are medians of the others. /proc tells memory on Linux only.

import fs from 'node:fs'
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const { loadModel } = require('..')
const { integer, modelCommand } = require('./options.js')
const { median } = require('../lib/cli/format.js')

const { values, file } = modelCommand({
  synopsis: 'node bench/load.mjs MODEL.gguf',
  about: 'Loads a model again and again: milliseconds, and memory besides the mapping.',
  options: { rounds: { read: integer(1), value: 'N', help: 'that count', initial: 9 }, json: { help: 'one JSON object on standard output' } },
})

// Memory of this process that no file backs, in bytes.
function anonymousBytes() {
  const line = /^RssAnon:\s+(\d+) kB/m.exec(fs.existsSync('/proc/self/status') ? fs.readFileSync('/proc/self/status', 'utf8') : '')
  return line ? Number(line[1]) * 1024 : null
}

const before = anonymousBytes()
const rounds = []
for (let round = 0; round <= values.rounds; round++) {
  const start = performance.now()
  const model = await loadModel(file)
  const ms = performance.now() - start
  const anonymous = anonymousBytes()
  rounds.push({ ms, heldBytes: model.stats().memory.heldBytes, grownBytes: anonymous === null ? null : anonymous - before })
  await model.close()
}
const counted = rounds.slice(1)
const result = {
  file,
  fileBytes: fs.statSync(file).size,
  loadMs: median(counted.map((r) => r.ms)),
  leastMs: Math.min(...counted.map((r) => r.ms)),
  mostMs: Math.max(...counted.map((r) => r.ms)),
  heldBytes: median(counted.map((r) => r.heldBytes)),
  grownBytes: before === null ? null : Math.max(...counted.map((r) => r.grownBytes)),
}
const mib = (bytes) => (bytes / 2 ** 20).toFixed(1)
if (values.json) console.log(JSON.stringify(result))
else {
  console.log(`${result.file} (${(result.fileBytes / 1e9).toFixed(2)} GB)`)
  console.log(`  loadModel        ${result.loadMs.toFixed(1)} ms (${result.leastMs.toFixed(1)} to ${result.mostMs.toFixed(1)})`)
  console.log(`  chord holds      ${mib(result.heldBytes)} MiB besides the mapping`)
  if (result.grownBytes !== null) console.log(`  process grew by  ${mib(result.grownBytes)} MiB of its own memory at most`)
}
