#!/usr/bin/env node
// Hit rates of the expert cache beside Belady's: `node bench/experts.mjs --help`.
//
// Without a trace the routes are simulated: scores of an expert are the sum of its popularity, its liking for the topic, which changes
// every 200 tokens, a part that drifts from token to token, and noise; the experts with the largest scores are used. With --record the
// routes are a model's own. Belady's choice, which knows the future, is what no policy can beat.

import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const { build } = require('../tools/build.js')
const { table } = require('../lib/cli/format.js')
const { UsageError, integer, main, text } = require('./options.js')

const SHARES = [3, 5, 6.25, 10, 20, 40, 60]
const TOPIC_TOKENS = 200
const KINDS = {
  local: { layers: 24, experts: 128, used: 8, popularity: 0.55, topic: 0.75, drift: 1, keep: 0.9, noise: 0.55 },
  flat: { layers: 24, experts: 256, used: 8, popularity: 0.35, topic: 0.35, drift: 1, keep: 0.6, noise: 1 },
  few: { layers: 24, experts: 8, used: 2, popularity: 0.3, topic: 0.4, drift: 1, keep: 0.6, noise: 1 },
}

/** A function that draws from a normal distribution, the same numbers for the same seed. */
function normalFrom(seed) {
  let state = seed >>> 0
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), 1 | state)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296
  }
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform())
}

/** Routes of `tokens` tokens: { layers, experts, used, steps }, steps one list of experts for each layer of each token. */
function simulate(kind, tokens, seed) {
  const { layers, experts, used, popularity, topic, drift, keep, noise } = kind
  const normal = normalFrom(seed)
  const fresh = () => Array.from({ length: layers }, () => Float64Array.from({ length: experts }, normal))
  const popular = fresh()
  const drifting = fresh()
  const change = Math.sqrt(1 - keep * keep)
  let liked
  const steps = []
  for (let token = 0; token < tokens; token++) {
    if (token % TOPIC_TOKENS === 0) liked = fresh()
    for (let layer = 0; layer < layers; layer++) {
      const scores = drifting[layer].map((x, e) => {
        drifting[layer][e] = keep * x + change * normal()
        return popularity * popular[layer][e] + topic * liked[layer][e] + drift * drifting[layer][e] + noise * normal()
      })
      const order = Array.from(scores.keys()).sort((a, b) => scores[b] - scores[a])
      steps.push(order.slice(0, used))
    }
  }
  return { layers, experts, used, steps }
}

function readTrace(file) {
  const [head, ...lines] = fs.readFileSync(file, 'utf8').trim().split('\n')
  const [layers, experts, used] = head.split(' ').map(Number)
  if (![layers, experts, used].every((n) => n > 0)) throw new UsageError(`${file} is no trace of routes`)
  return { layers, experts, used, steps: lines.map((line) => line.split(' ').map(Number)) }
}

const writeTrace = (file, { layers, experts, used, steps }) =>
  fs.writeFileSync(file, [`${layers} ${experts} ${used}`, ...steps.map((step) => step.join(' '))].join('\n') + '\n')

/** Hits of who knows the future: what is used furthest from now goes. A missed expert must come in. */
function belady({ layers, experts, steps }, frames) {
  const uses = steps.flatMap((step, i) => step.map((e) => (i % layers) * experts + e))
  const next = new Float64Array(uses.length)
  const seen = new Float64Array(layers * experts).fill(Infinity)
  for (let i = uses.length - 1; i >= 0; i--) {
    next[i] = seen[uses[i]]
    seen[uses[i]] = i
  }
  const kept = new Map() // expert -> its next use
  let hits = 0
  for (const [i, use] of uses.entries()) {
    if (kept.has(use)) hits++
    else if (kept.size >= frames) {
      let victim
      let furthest = -1
      for (const [expert, at] of kept)
        if (at > furthest) {
          victim = expert
          furthest = at
        }
      kept.delete(victim)
    }
    kept.set(use, next[i])
  }
  return hits
}

async function program() {
  const folder = await build({ tests: true, targets: ['chord', 'bench_experts'] })
  return (args) => {
    const { status, stdout, stderr } = spawnSync(path.join(folder, 'bench_experts'), args.map(String), { encoding: 'utf8', maxBuffer: 1 << 28 })
    if (status !== 0) throw new Error(stderr.trim() || `bench_experts ended with ${status}`)
    return stdout
  }
}

async function measure(values, words, note) {
  if (words.length > 0) throw new UsageError(`${words[0]}: no word is expected`)
  const { trace: file, record, memory, kind, tokens, seed } = values
  if (!Object.hasOwn(KINDS, kind)) throw new UsageError(`--kind: one of ${Object.keys(KINDS).join(', ')}`)
  const run = await program()
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'chord-experts-'))
  try {
    const replayed = file !== undefined && record === undefined ? file : path.join(folder, 'trace')
    if (record !== undefined) {
      note(`${record} generates ${tokens} tokens`)
      fs.writeFileSync(replayed, run(['record', record, memory, seed, tokens]))
      if (file !== undefined) fs.copyFileSync(replayed, file)
    } else if (file === undefined) writeTrace(replayed, simulate(KINDS[kind], tokens, seed))
    const trace = readTrace(replayed)
    const all = trace.layers * trace.experts
    const frames = SHARES.map((share) => Math.max(trace.layers, Math.floor((share * all) / 100)))
    const { uses, rows } = JSON.parse(run(['replay', replayed, ...frames]))
    const { layers, experts, used } = trace
    return {
      layers,
      experts,
      used,
      tokens: trace.steps.length / layers,
      cyclePercent: (100 * used) / experts,
      rows: rows.map((row, i) => {
        note(`Belady, ${SHARES[i]} %`)
        const percent = (hits) => (100 * hits) / uses
        return { share: SHARES[i], frames: row.frames, predicted: percent(row.predicted), lru: percent(row.lru), belady: percent(belady(trace, row.frames)) }
      }),
    }
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

function report({ layers, experts, used, tokens, cyclePercent, rows }) {
  const cells = rows.map((r) => [`${r.share} %`, String(r.frames), ...[r.predicted, r.lru, r.belady].map((x) => x.toFixed(1))])
  return (
    `${layers} layers, ${used} of ${experts} experts, ${tokens} tokens; one token uses ${cyclePercent.toFixed(2)} % of the experts. Hits in percent.\n` +
    table([['share', 'frames', 'predicted', 'lru', 'Belady'], ...cells], { right: [0, 1, 2, 3, 4], indent: '  ' })
  )
}

await main({
  synopsis: 'npm run bench:experts -- [OPTION ...]',
  about: 'Hit rates of the expert cache: predicted next use, least recently used, and Belady, for frames for 3 to 60 % of all experts.',
  options: {
    kind: { value: 'NAME', help: `simulated routes: ${Object.keys(KINDS).join(', ')}`, read: text, initial: 'local' },
    tokens: { value: 'N', help: 'tokens to simulate or to record', read: integer(1), initial: 500 },
    seed: { value: 'N', help: 'of the simulation, or of sampling', read: integer(0), initial: 1 },
    record: { value: 'MODEL', help: 'records the routes of a model that generates', read: text },
    memory: { value: 'MIB', help: 'memory for it', read: integer(64), initial: 8192 },
    trace: { value: 'FILE', help: 'a trace to replay, or where to keep the recorded one', read: text },
    json: { help: 'one JSON object on standard output' },
  },
  async run(values, words, terminal) {
    const result = await measure(values, words, (line) => terminal.progress(line))
    terminal.clear()
    await (values.json ? terminal.json(result) : terminal.write(report(result)))
  },
})
