'use strict'

// The arithmetic of measurements: what is printed of several rounds, and what the machine allows at most.

const { median } = require('../../lib/cli/format.js')

/** { median, least, most } of numbers. */
const spread = (numbers) => ({ median: median(numbers), least: Math.min(...numbers), most: Math.max(...numbers) })

/** The spread of a[i] / b[i]: what was measured in one round is compared with what was measured in the same round. */
const ratioSpread = (a, b) => spread(a.map((x, i) => x / b[i]))

/**
 * What the machine gives to a tier of kernels, from what bench_machine printed: { tier, threads, cpu, readBandwidth (bytes per
 * second), quantized and float (products with such weights): { instruction, rate (operations per second) } or null }, all
 * threads together.
 */
function yardsticks(probe, tier) {
  const of = (wanted) => {
    const found = probe.measured.find((m) => m.threads === probe.threads && wanted(m))
    return found && found.rate > 0 ? { instruction: found.instruction, rate: found.rate } : null
  }
  const instructions = probe.tiers.find((t) => t.tier === tier) ?? { quantized: '', float: '' }
  const by = (instruction) => (m) => m.kind !== 'read' && m.instruction === instruction
  return {
    tier,
    threads: probe.threads,
    cpu: probe.cpu,
    readBandwidth: of((m) => m.kind === 'read').rate,
    quantized: of(by(instructions.quantized)),
    float: of(by(instructions.float)),
  }
}

const FLOAT_TYPES = ['F32', 'F16', 'BF16']

/**
 * What a model costs, from inspect() and plan(): bytes of weights that a token reads, bytes of keys and values per token of
 * context, and the multiplications and additions with weights: of a prompt's token in the layers, and of the logits, which the
 * last token alone needs. Attention and the like are left out.
 */
function costOf(inspected, planned) {
  const layers = { quantized: 0, float: 0 }
  const matrices = inspected.tensors.filter((t) => t.shape.length === 2)
  const count = (into, t) => (into[FLOAT_TYPES.includes(t.type) ? 'float' : 'quantized'] += 2 * t.shape[0] * t.shape[1])
  for (const t of matrices) if (t.name.startsWith('blk.')) count(layers, t)
  const logits = { quantized: 0, float: 0 }
  const output = matrices.find((t) => t.name === 'output.weight') ?? matrices.find((t) => t.name === 'token_embd.weight')
  if (output) count(logits, output)
  return { bytesPerToken: planned.weightsBytesPerToken, kvBytesPerToken: planned.kvBytesPerToken, layers, logits }
}

/** Seconds that a token takes at least, with so many tokens of context: everything is read once. */
const decodeFloor = (cost, machine, context = 0) => (cost.bytesPerToken + context * cost.kvBytesPerToken) / machine.readBandwidth

/** Seconds that a prompt of n tokens takes at least, by the peaks of arithmetic or by reading; null where no peak is known. */
function prefillFloor(cost, machine, n) {
  let seconds = 0
  for (const kind of ['quantized', 'float']) {
    const operations = n * cost.layers[kind] + cost.logits[kind]
    if (operations > 0 && machine[kind] === null) return null
    if (operations > 0) seconds += operations / machine[kind].rate
  }
  return Math.max(seconds, decodeFloor(cost, machine))
}

/**
 * Cores' worth of work that `threads` threads can do at most on `processors` processors of which `spinners` are shared, half and
 * half, with a busy loop of the same priority.
 */
function idealCores(threads, processors, spinners) {
  const free = Math.max(0, processors - spinners)
  return threads <= free ? threads : free + (Math.min(threads, processors) - free) / 2
}

module.exports = { costOf, decodeFloor, idealCores, prefillFloor, ratioSpread, spread, yardsticks }
