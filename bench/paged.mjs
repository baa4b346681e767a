// A model in less memory than it takes, beside what its plan promises and what the disk gives:
// `node bench/paged.mjs --help`.
//
// Arms: `resident`, mapped with all memory of the machine; `pin` and `lru`, paged within each memory; `mapped`, mapped within it. Each
// runs in a process of its own, in turn, the file's page cache dropped before. Where the system lets us (control groups, version 1 or 2, as root) each
// process but the resident one gets a limit from outside: the memory, what bare Node holds, and 32 MiB. Before and after each run,
// bench_disk measures the disk by direct reads. Rounds take all memories and arms in turn; medians follow. Linux only.

import { execFileSync, spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const require = createRequire(import.meta.url)
const { loadModel, plan } = require('..')
const { size } = require('../lib/validate.js')
const { UsageError, integer, main, text } = require('./options.js')
const { benchPrograms } = require('./programs.js')
const { median } = require('../lib/cli/format.js')

const ARMS = ['resident', 'pin', 'lru', 'mapped']
const PROMPT = 'The river was wide and slow, and on its bank'
const SLACK = 32 * 2 ** 20
const PROBE_MB = 1024
let program // (name, args) -> what a bench program printed
const mib = (n) => (n / 2 ** 20).toFixed(0)

// ---- The process that is measured --------------------------------------------------------------------------------------------

const processFigure = (name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(fs.readFileSync('/proc/self/status', 'utf8'))?.[1] ?? 0) * 1024
const bytesRead = () => Number(/^read_bytes: (\d+)/m.exec(fs.readFileSync('/proc/self/io', 'utf8'))[1])

async function child({ file, tokens, context, memory, cache, waitsForLimit }) {
  if (waitsForLimit) await new Promise((resolve) => process.stdin.once('data', resolve))
  process.stdin.destroy()
  const nodeBytes = processFigure('VmHWM')
  const begin = performance.now()
  const model = await loadModel(file, { memory, context, cache })
  const loadSeconds = (performance.now() - begin) / 1000
  const times = []
  const ids = []
  let steady
  let at = performance.now()
  for await (const { token } of model.generate(PROMPT, { maxTokens: tokens, temperature: 0, ignoreEos: true, speculate: false }).events()) {
    const now = performance.now()
    times.push((now - at) / 1000)
    ids.push(token)
    at = now
    if (ids.length === 2) steady = { read: bytesRead(), stats: model.stats(), ids: ids.length }
  }
  const { paging, memory: held } = model.stats()
  const n = ids.length - steady.ids
  const hitBytes = paging ? paging.hitBytes - steady.stats.paging.hitBytes : 0
  const usedBytes = paging ? hitBytes + paging.missBytes - steady.stats.paging.missBytes : 0
  const result = {
    mode: model.info.mode,
    loadSeconds,
    firstSeconds: times[0],
    seconds: median(times.slice(2)),
    ids,
    readPerToken: (bytesRead() - steady.read) / n,
    hitShare: paging ? hitBytes / usedBytes : null,
    pinnedShare: paging ? paging.pinnedBytes / paging.stepBytes : null,
    streamedBytes: paging ? paging.stepBytes - paging.pinnedBytes : null,
    nodeBytes,
    peakBytes: processFigure('VmHWM'),
    heldBytes: held.peakBytes,
  }
  await model.close()
  process.stdout.write(JSON.stringify(result))
}

// ---- Around it ---------------------------------------------------------------------------------------------------------------

const dropCache = (file) => execFileSync('dd', [`if=${file}`, 'iflag=nocache', 'count=0', 'status=none'])
const cachedBytes = (file) => Number(execFileSync('fincore', ['--bytes', '--noheadings', '--output', 'RES', file], { encoding: 'utf8' }))

/** Bytes per second that direct reads get, spread over the file as those of tiles are. */
async function probeDisk(file) {
  const { bytes, seconds } = await program('bench_disk', [file, '--mb', PROBE_MB])
  return bytes / seconds
}

/** A control group with a limit, or null where there are none to be had. */
function makeGroup(bytes) {
  const versions = [
    { root: '/sys/fs/cgroup/memory', limit: 'memory.limit_in_bytes', peak: 'memory.max_usage_in_bytes' },
    { root: '/sys/fs/cgroup', limit: 'memory.max', peak: 'memory.peak' },
  ]
  for (const { root, limit, peak } of versions) {
    const folder = path.join(root, `chord-bench-${process.pid}`)
    try {
      fs.mkdirSync(folder)
      fs.writeFileSync(path.join(folder, limit), String(bytes))
      return { folder, peak: path.join(folder, peak) }
    } catch {
      if (fs.existsSync(folder)) fs.rmdirSync(folder)
    }
  }
  return null
}

async function runArm(arm, memory, limit, { file, tokens, context }) {
  const cache = arm === 'resident' ? { mode: 'auto' } : arm === 'mapped' ? { mode: 'mapped' } : { mode: 'paged', policy: arm }
  const options = {
    file, cache, tokens, context, waitsForLimit: true,
    memory: arm === 'resident' ? 'auto' : memory,
  }
  dropCache(file)
  const bandwidthBefore = await probeDisk(file)
  const before = cachedBytes(file)
  const group = arm === 'resident' ? null : makeGroup(limit)
  const running = spawn(process.execPath, [fileURLToPath(import.meta.url), '--child', JSON.stringify(options)], { stdio: ['pipe', 'pipe', 'inherit'] })
  if (group) fs.writeFileSync(path.join(group.folder, 'cgroup.procs'), String(running.pid))
  running.stdin.end('go')
  let out = ''
  running.stdout.setEncoding('utf8').on('data', (chunk) => (out += chunk))
  const signal = await new Promise((resolve) => running.on('close', (code, signal) => resolve(signal)))
  const groupPeakBytes = group && fs.existsSync(group.peak) ? Number(fs.readFileSync(group.peak, 'utf8')) : null
  if (group) fs.rmdirSync(group.folder)
  const cacheGrowth = cachedBytes(file) - before
  const bandwidth = (bandwidthBefore + (await probeDisk(file))) / 2
  if (out === '') return { arm, memory, bandwidth, died: signal ?? 'without a word', limited: group !== null }
  return { arm, memory, bandwidth, limited: group !== null, cacheGrowth, groupPeakBytes, ...JSON.parse(out) }
}

function row(result, resident) {
  const name = result.arm === 'resident' ? 'resident' : `${result.arm} ${mib(result.memory)} MiB`
  if (result.died) return `${name.padEnd(18)} died (${result.died})\n`
  const parts = [`${result.seconds.toFixed(3)} s/token`, `disk ${(result.bandwidth / 1e9).toFixed(2)} GB/s`, `${(result.readPerToken / 1e9).toFixed(3)} GB/token`]
  if (result.streamedBytes !== null) {
    const floor = Math.max(resident?.seconds ?? 0, result.streamedBytes / result.bandwidth)
    parts.push(`${(result.seconds / floor).toFixed(2)} of its floor`, `hits ${(100 * result.hitShare).toFixed(1)} %, pinned ${(100 * result.pinnedShare).toFixed(1)} %`)
  }
  if (result.planned) parts.push(`plan ${result.planned.secondsPerToken.toFixed(3)} s at ${(result.planned.diskBandwidth / 1e9).toFixed(2)} GB/s`)
  const beyond = result.peakBytes - result.nodeBytes - result.memory
  if (result.arm !== 'resident') parts.push(`peak ${mib(result.peakBytes)} MiB (${beyond > 0 ? '+' : ''}${mib(beyond)} to memory and Node)`)
  if (result.arm !== 'resident') parts.push(`page cache +${mib(result.cacheGrowth)} MiB`)
  if (resident) parts.push(String(result.ids) === String(resident.ids) ? 'same tokens' : 'OTHER TOKENS')
  return `${name.padEnd(18)} ${parts.join(', ')}${result.arm === 'resident' || result.limited ? '' : ', no limit from outside'}\n`
}

/** Medians of a memory's rounds, and how many times as long as `pin` the other arms took. */
function summary(memory, results) {
  const secondsOf = (arm) => median(results.filter((r) => r.memory === memory && r.arm === arm && !r.died).map((r) => r.seconds))
  const arms = [...new Set(results.filter((r) => r.memory === memory).map((r) => r.arm))]
  const pin = secondsOf('pin')
  const parts = arms.map((arm) => {
    const seconds = secondsOf(arm)
    if (seconds === undefined) return `${arm} died`
    return `${arm} ${seconds.toFixed(3)} s/token${arm === 'pin' || pin === undefined ? '' : ` (${(seconds / pin).toFixed(2)} x)`}`
  })
  return `${`${mib(memory)} MiB, medians`.padEnd(18)} ${parts.join(', ')}\n`
}

async function run({ memory, arms: wanted, tokens, rounds, context, json }, words, terminal) {
  const arms = wanted.split(',')
  const memories = memory.split(',').filter(Boolean).map((each) => size('--memory', each))
  if (words.length !== 1) throw new UsageError('which model? One file')
  if (arms.some((arm) => !ARMS.includes(arm))) throw new UsageError(`--arms: of ${ARMS.join(', ')}, got ${wanted}`)
  if (memories.length === 0 && arms.some((arm) => arm !== 'resident')) throw new UsageError('--memory: in how much? Such as 1GiB,2GiB')
  const settings = { file: words[0], tokens, context }
  program = await benchPrograms(['bench_disk'])
  const bare = spawnSync(process.execPath, ['-e', "console.log(/VmHWM:\\s+(\\d+)/.exec(require('fs').readFileSync('/proc/self/status', 'utf8'))[1])"], { encoding: 'utf8' })
  const nodeBytes = Number(bare.stdout) * 1024
  const results = []
  let resident
  const keep = async (result) => {
    results.push(result)
    if (!json) await terminal.write(row(result, resident))
  }
  if (arms.includes('resident')) await keep((resident = await runArm('resident', undefined, undefined, settings)))
  for (let round = 0; round < rounds; round++) {
    for (const bytes of memories) {
      for (const arm of arms.filter((each) => each !== 'resident')) {
        const result = await runArm(arm, bytes, bytes + nodeBytes + SLACK, settings)
        const planned = arm === 'pin' ? await plan(settings.file, { memory: bytes, context, cache: { mode: 'paged', policy: arm } }) : undefined
        await keep({ ...result, planned })
      }
    }
  }
  if (json) await terminal.json(results)
  else if (rounds > 1) for (const bytes of memories) await terminal.write(summary(bytes, results))
}

if (process.argv[2] === '--child') {
  await child(JSON.parse(process.argv[3]))
} else {
  await main({
    synopsis: 'npm run bench:paged -- MODEL.gguf --memory 1GiB,2GiB',
    about: 'Generates with a model in less memory than it takes, beside what its plan promises and what the disk gives. Linux only.',
    options: {
      memory: { read: text, value: 'LIST', help: 'how much each time', initial: '' },
      arms: { read: text, value: 'LIST', help: 'which', initial: ARMS.join(',') },
      tokens: { read: integer(4), value: 'N', help: 'to generate', initial: 12 },
      rounds: { read: integer(1), value: 'N', help: 'over all memories and arms', initial: 1 },
      context: { read: integer(64), value: 'N', help: 'tokens', initial: 1024 },
      json: { help: 'one JSON array on standard output' },
    },
    run,
  })
}
