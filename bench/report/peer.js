'use strict'

// What bench/peer.mjs measured, as a table for people and as a table of Markdown. A result:
//   { settings: { threads, oracleThreads, tokens, rounds }, versions: { chord, oracle }, probe,
//     models: [{ title, bytes, settled, tier, cost, engines: { chord, oracle }: { startMs, loadMs, memory }, measures }] }
// A measure is { what, n, chord: [...], oracle: [...] }, tokens per second, one number per round:
//   decode     after a prompt of n tokens      context    the same, at the end of a long context of n tokens
//   prefill    a prompt of n tokens            together   n sequences at once, the sum of their tokens

const { figure, table } = require('../../lib/cli/format.js')
const { decodeFloor, prefillFloor, ratioSpread, spread, yardsticks } = require('./statistics.js')

const NAMES = {
  decode: () => 'generation',
  context: ({ n }) => `generation at ${n} tokens`,
  prefill: ({ n }) => `prompt of ${n}`,
  together: ({ n }) => `${n} generations at once`,
}

const yardsticksOf = (result, model) => (result.probe ? yardsticks(result.probe, model.tier) : null)

/** Tokens per second that the machine allows at most; null where that is not known. */
function floorRate({ what, n }, cost, machine) {
  if (machine === null) return null
  if (what === 'prefill') {
    const seconds = prefillFloor(cost, machine, n)
    return seconds === null ? null : n / seconds
  }
  if (what === 'context') return 1 / decodeFloor(cost, machine, n)
  return (what === 'together' ? n : 1) / decodeFloor(cost, machine)
}

/** A measure in the figures that are shown: { label, what, n, chord, oracle, ratio: spreads; floor: tokens per second, share }. */
function summary(measure, model, machine) {
  const chord = spread(measure.chord)
  const floor = floorRate(measure, model.cost, machine)
  return {
    label: NAMES[measure.what](measure),
    what: measure.what,
    n: measure.n,
    chord,
    oracle: spread(measure.oracle),
    ratio: ratioSpread(measure.chord, measure.oracle),
    floor,
    share: floor === null ? null : chord.median / floor,
  }
}

const summaries = (result, model) => model.measures.map((measure) => summary(measure, model, yardsticksOf(result, model)))

const range = ({ median, least, most }) => `${figure(median)} [${figure(least)} - ${figure(most)}]`
const times = ({ median, least, most }) => `${median.toFixed(2)} x [${least.toFixed(2)} - ${most.toFixed(2)}]`
const percent = (share) => (share === null ? '-' : `${Math.round(100 * share)} %`)
const mib = (x) => (x === null || x === undefined ? '-' : x.toFixed(0))

/** 'two' of 2, for sentences. */
const inWords = (n) => ['no', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten', 'eleven', 'twelve'][n] ?? String(n)

function machineLine(result) {
  const tiers = [...new Set(result.models.map((model) => model.tier))]
  return tiers
    .map((tier) => {
      const machine = yardsticks(result.probe, tier)
      const peak = (kind) => (machine[kind] ? `${figure(machine[kind].rate / 1e9)} GOPS by ${machine[kind].instruction}` : 'an unknown peak')
      return `${machine.cpu}, tier ${tier}: reads ${figure(machine.readBandwidth / 1e9)} GB/s, products with quantized weights ${peak('quantized')}, with floats ${peak('float')}.`
    })
    .join('\n')
}

function threadsLine({ settings, versions }) {
  const same = settings.threads === settings.oracleThreads
  const threads = same ? `${settings.threads} threads each` : `${settings.threads} threads, node-llama-cpp ${settings.oracleThreads}`
  return `chord ${versions.chord}, node-llama-cpp ${versions.oracle}, ${threads}`
}

/** For people: one table per model. */
function report(result) {
  const parts = result.models.map((model) => {
    const rows = [['', 'chord', 'node-llama-cpp', 'ratio', 'floor', 'of floor']]
    for (const s of summaries(result, model)) {
      rows.push([`${s.label}, tokens/s`, range(s.chord), range(s.oracle), times(s.ratio), s.floor === null ? '-' : figure(s.floor), percent(s.share)])
    }
    const { chord, oracle } = model.engines
    const add = (label, cell, ratio = '') => rows.push([label, cell(chord), cell(oracle), ratio, '', ''])
    add('start of the engine, ms', (e) => figure(e.startMs))
    add('load of the model, ms', (e) => figure(e.loadMs))
    add('resident, MiB', (e) => mib(e.memory.residentMib))
    add('  of it no file backs', (e) => mib(e.memory.anonymousMib))
    add('  of it the file in huge pages', (e) => mib(e.memory.hugeMib))
    add('highest resident, MiB', (e) => mib(e.memory.highestMib))
    const cache = model.settled ? 'in the page cache' : 'larger than free memory'
    return `${model.title}, ${(model.bytes / 1e9).toFixed(2)} GB, ${cache}, tier ${model.tier}\n${table(rows, { right: [1, 2, 3, 4, 5], indent: '  ' })}`
  })
  const head = `${threadsLine(result)}; medians of ${result.settings.rounds} rounds in turn [least - most]\n`
  return `${head}${result.probe ? `${machineLine(result)}\n` : ''}\n${parts.join('\n')}`
}

/** One row of Markdown per model: chord's rate of generation with its share of the floor, and the ratios. */
function markdownRows(result) {
  const columns = result.models.length === 0 ? [] : summaries(result, result.models[0])
  const lines = [
    `| | GB | chord, tokens/s | of the floor | ${columns.map((s) => `${s.label}, ratio`).join(' | ')} |`,
    `|---|--:|--:|--:|${columns.map(() => '--:|').join('')}`,
  ]
  for (const model of result.models) {
    const rows = summaries(result, model)
    const { chord, share } = rows.find((s) => s.what === 'decode')
    const cells = [model.title, (model.bytes / 1e9).toFixed(2), figure(chord.median), percent(share), ...rows.map((s) => times(s.ratio))]
    lines.push(`| ${cells.join(' | ')} |`)
  }
  const machine = result.probe ? ` ${machineLine(result).replace(/\n/g, ' ')}` : ''
  return `${lines.join('\n')}\n\n${threadsLine(result)}; medians of ${inWords(result.settings.rounds)} rounds in turn.${machine}\n`
}

/** The table that the README shows. */
function markdown(result) {
  const lines = [
    '| | | chord | node-llama-cpp | ratio [range] | of the floor |',
    '|---|---|--:|--:|--:|--:|',
  ]
  const row = (...cells) => lines.push(`| ${cells.join(' | ')} |`.replace(/\| +(?=\|)/g, '| '))
  for (const model of result.models) {
    let title = model.title
    for (const s of summaries(result, model)) {
      row(title, s.label, figure(s.chord.median), figure(s.oracle.median), times(s.ratio), percent(s.share))
      title = ''
    }
    const { chord, oracle } = model.engines
    row('', 'loading, ms', figure(chord.loadMs), figure(oracle.loadMs), '', '')
    if (chord.memory.anonymousMib !== null) row('', 'memory besides the file, MiB', mib(chord.memory.anonymousMib), mib(oracle.memory.anonymousMib), '', '')
  }
  const floors = result.probe
    ? `The floor is what the machine needs at least: for a generated token, to read every weight once; for a prompt, all products of its weights at the peak. ${machineLine(result).replace(/\n/g, ' ')}`
    : 'The floor was not measured.'
  const who = `${threadsLine(result)}; tokens per second, medians of ${inWords(result.settings.rounds)} rounds in turn.`
  return `${lines.join('\n')}\n\n${who} ${floors}\n`
}

/** Several results of the same machine as one: the models of all, everything else of the last. */
function merge(results) {
  const models = new Map(results.flatMap((result) => result.models.map((model) => [model.title, model])))
  return { ...results.at(-1), models: [...models.values()] }
}

module.exports = { floorRate, markdown, markdownRows, merge, report, summaries, summary }
