'use strict'

// What bench/bench.mjs measured, as tables for people. A result:
//   { probe (of bench_machine), kernels: null or { tier, threads, matvec: { 1: [...], 4: [...] }, operations, gemm (of bench_gemm),
//     attention: { peak, tokens, prompt, decode (of bench_attention) } },
//     models: [{ title, tier, bytes, cost, decode: [...], prefill: { 128: [...], 512: [...] } }] }, rates in tokens per second.

const { figure, table } = require('../../lib/cli/format.js')
const { decodeFloor, prefillFloor, spread, yardsticks } = require('./statistics.js')

const giga = (rate) => figure(rate / 1e9)
const percent = (share) => (share === null ? '-' : `${Math.round(100 * share)} %`)
const range = ({ median, least, most }) => `${figure(median)} [${figure(least)} - ${figure(most)}]`

function machineTable({ cpu, threads, cacheBytes, bufferBytes, measured }) {
  const rows = [['', '1 thread', ...(threads > 1 ? [`${threads} threads`] : [])]]
  const rate = (kind, instruction, n) => measured.find((m) => m.kind === kind && m.instruction === instruction && m.threads === n)
  const names = [...new Map(measured.map((m) => [`${m.kind} ${m.instruction}`, m])).values()]
  for (const { kind, instruction } of names) {
    const unit = kind === 'read' ? 'GB/s' : 'GOPS'
    const cells = [1, ...(threads > 1 ? [threads] : [])].map((n) => `${giga(rate(kind, instruction, n).rate)} ${unit}`)
    rows.push([kind === 'read' ? 'memory, read' : `${kind}, ${instruction}`, ...cells])
  }
  const mib = (bytes) => `${Math.round(bytes / 2 ** 20)} MiB`
  return `${cpu}, ${threads} threads, ${mib(cacheBytes)} of cache; memory read in ${mib(bufferBytes)}\n${table(rows, { right: [1, 2], indent: '  ' })}`
}

function kernelTable({ tier, threads, matvec, gemm }) {
  const columns = Object.keys(matvec)
  const counts = [...new Set(gemm.gemm.map((g) => g.columns))]
  const rows = [['', ...columns.map((n) => `matvec x ${n}, GB/s`), ...counts.map((n) => `GEMM x ${n}, GOPS`)]]
  for (const { type } of matvec[columns[0]]) {
    const streams = columns.map((n) => {
      const { gbps, share } = matvec[n].find((m) => m.type === type)
      return `${figure(gbps)} ${percent(share).padStart(5)}`
    })
    const products = counts.map((n) => {
      const { gops, share } = gemm.gemm.find((g) => g.type === type && g.columns === n)
      return `${figure(gops)} ${percent(share).padStart(5)}`
    })
    rows.push([type, ...streams, ...products])
  }
  const right = rows[0].map((_, i) => i).slice(1)
  return (
    `kernels of tier ${tier}: matvec by ${threads} threads from memory, with its share of the read bandwidth; GEMM by one thread, with its share of the\n` +
    `peak: ${figure(gemm.quantized.gops)} GOPS (${gemm.quantized.instruction}) for quantized types, ${figure(gemm.float.gops)} (${gemm.float.instruction}) for float types\n` +
    table(rows, { right, indent: '  ' })
  )
}

function attentionTable({ threads, attention: { peak, tokens, prompt, decode } }) {
  const rows = [['', 'query heads', 'from memory, GB/s', 'GFLOPS', 'of the peak']]
  for (const { kv, queries, gbps, share, gflops, peakShare } of decode) {
    rows.push([`generation, KV ${kv}`, queries, `${figure(gbps)} ${percent(share).padStart(5)}`, figure(gflops), percent(peakShare)])
  }
  for (const { kv, headDim, queries, gflops, share } of prompt) {
    rows.push([`prompt, KV ${kv}, heads of ${headDim}`, queries, '', figure(gflops), percent(share)])
  }
  return (
    `attention over ${tokens} tokens; query heads that share a KV head. Generation by ${threads} threads with its share of the read bandwidth; prompts by\n` +
    `one thread, data in cache. Peak: ${figure(peak.gflops1)} GFLOPS by one thread, ${figure(peak.gflops)} by ${threads} (${peak.instruction})\n` +
    table(rows.map((cells) => cells.map(String)), { right: [1, 2, 3, 4], indent: '  ' })
  )
}

function operationTable(operations) {
  const rows = operations.map(({ operation, ns }) => [operation, `${figure(ns / 1000)} us`])
  return `other operations, one thread, data in cache\n${table(rows, { right: [1], indent: '  ' })}`
}

/** The figures of a model: rows { label, rate (spread of tokens per second), work, share, floor (tokens per second) }. */
function modelFigures(model, machine) {
  const decodeRate = spread(model.decode)
  const floor = 1 / decodeFloor(model.cost, machine)
  const figures = [
    { label: 'generation', rate: decodeRate, work: `${giga(decodeRate.median * model.cost.bytesPerToken)} GB/s`, floor, share: decodeRate.median / floor },
  ]
  for (const [n, rates] of Object.entries(model.prefill)) {
    const rate = spread(rates)
    const seconds = prefillFloor(model.cost, machine, Number(n))
    const perToken = (cost) => cost.quantized + cost.float
    const operations = perToken(model.cost.layers) + perToken(model.cost.logits) / Number(n)
    const most = seconds === null ? null : Number(n) / seconds
    figures.push({ label: `prompt of ${n}`, rate, work: `${giga(rate.median * operations)} GOPS`, floor: most, share: most === null ? null : rate.median / most })
  }
  return figures
}

function modelTable(model, probe) {
  const rows = [['', 'tokens/s', 'work', 'floor, tokens/s', 'of floor']]
  for (const { label, rate, work, floor, share } of modelFigures(model, yardsticks(probe, model.tier))) {
    rows.push([label, range(rate), work, floor === null ? '-' : figure(floor), percent(share)])
  }
  return `${model.title}, ${(model.bytes / 1e9).toFixed(2)} GB, tier ${model.tier}\n${table(rows, { right: [1, 2, 3, 4], indent: '  ' })}`
}

function report({ probe, kernels, models }) {
  const parts = [machineTable(probe)]
  if (kernels) parts.push(kernelTable(kernels))
  if (kernels?.attention) parts.push(attentionTable(kernels))
  if (kernels?.operations?.length) parts.push(operationTable(kernels.operations))
  for (const model of models) parts.push(modelTable(model, probe))
  if (models.length) {
    parts.push(
      'The floor is what the machine needs at least: for a generated token, to read every weight once; for a prompt, all products with\n' +
        'weights at the peak. A model that fits the cache can be faster than memory.\n',
    )
  }
  return parts.join('\n')
}

module.exports = { modelFigures, report }
