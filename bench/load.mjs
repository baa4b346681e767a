// How long loadModel takes and what it holds besides the mapping: `node bench/load.mjs MODEL.gguf [--rounds 9] [--json]`
// The first round may read the header from disk; the figures are medians of the others. /proc tells memory on Linux only.

import fs from 'node:fs'
import { createRequire } from 'node:module'
import { parseArgs } from 'node:util'

const { loadModel } = createRequire(import.meta.url)('..')

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '9' }, json: { type: 'boolean', default: false } },
})
if (positionals.length !== 1) {
  console.error('usage: node bench/load.mjs MODEL.gguf [--rounds 9] [--json]')
  process.exit(2)
}

const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1]

// Memory of this process that no file backs, in bytes.
function anonymousBytes() {
  const line = /^RssAnon:\s+(\d+) kB/m.exec(fs.existsSync('/proc/self/status') ? fs.readFileSync('/proc/self/status', 'utf8') : '')
  return line ? Number(line[1]) * 1024 : null
}

const before = anonymousBytes()
const rounds = []
for (let round = 0; round <= Number(values.rounds); round++) {
  const start = performance.now()
  const model = await loadModel(positionals[0])
  const ms = performance.now() - start
  const anonymous = anonymousBytes()
  rounds.push({ ms, heldBytes: model.stats().memory.heldBytes, grownBytes: anonymous === null ? null : anonymous - before })
  await model.close()
}
const counted = rounds.slice(1)
const result = {
  file: positionals[0],
  fileBytes: fs.statSync(positionals[0]).size,
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
