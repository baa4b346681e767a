#!/usr/bin/env node
// What the machine can do, and what of it chord reaches: `node bench/bench.mjs --help`.

import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const require = createRequire(import.meta.url)
const { chordEngine } = require('./engines.js')
const { FOLDER, modelFile, promptOf, settlePageCache, titleOf } = require('./models.js')
const { integer, main, text } = require('./options.js')
const { benchPrograms, measureMachine } = require('./programs.js')
const { report } = require('./report/machine.js')
const { costOf } = require('./report/statistics.js')

const DEMO = fileURLToPath(new URL('../models/demo.gguf', import.meta.url))
const MADE = 'llama-1.1b-Q4_K_M' // larger than most caches, small enough to be made in seconds
const PROMPTS = [128, 512]
const CONTEXT = 2048 // tokens of attention, of the prompt and before a generated one
const COLUMNS = [1, 4] // of matvec: one sequence, four at once

async function measureKernels({ tier, threads, quick }, note) {
  const program = await benchPrograms(['bench_kernels', 'bench_gemm', 'bench_attention'])
  const { systemInfo } = require('..')
  const name = tier ?? systemInfo().tier
  const effort = ['--tier', name, '--rounds', quick ? 1 : 3, '--seconds', quick ? 0.05 : 0.1, '--json']
  const result = { tier: name, threads, matvec: {}, operations: [], gemm: null, attention: null }
  for (const columns of COLUMNS) {
    note(`matvec, ${columns} column${columns > 1 ? 's' : ''}`)
    const { matvec, operations } = await program('bench_kernels', [...effort, '--threads', threads, '--columns', columns])
    result.matvec[columns] = matvec.filter((m) => m.type !== '')
    result.operations = operations
  }
  note('GEMM')
  result.gemm = await program('bench_gemm', [...effort, '--columns', PROMPTS.join(',')])
  note('attention')
  const { peak, prompt, decode } = await program('bench_attention', [...effort.slice(0, -1), '--threads', threads, '--tokens', CONTEXT, '--json'])
  // A tier that takes over another's attention reports it by that name.
  result.attention = { peak: Object.values(peak)[0], tokens: CONTEXT, prompt, decode }
  return result
}

async function measureModel(file, { threads, tokens, rounds }, note) {
  const { inspect, plan } = require('..')
  const [inspected, planned] = [await inspect(file), await plan(file, { threads })]
  const engine = chordEngine(threads)
  note(`${path.basename(file)}: reading the file`)
  await settlePageCache(file)
  await engine.start()
  const { tier, quantization } = await engine.load(file)
  try {
    const model = { title: titleOf(file, quantization), file, tier, bytes: inspected.bytes, cost: costOf(inspected, planned), decode: [], prefill: {} }
    const prompts = PROMPTS.filter((n) => n + tokens <= planned.context)
    for (const n of prompts) model.prefill[n] = []
    for (let round = 0; round <= rounds; round++) {
      note(`${path.basename(file)}: ${round === 0 ? 'warming up' : `round ${round} of ${rounds}`}`)
      const { decode } = await engine.generate(promptOf(8, round), tokens)
      if (round > 0) model.decode.push(decode)
      for (const n of prompts) {
        const { prefill } = await engine.generate(promptOf(n, round), 1)
        if (round > 0) model.prefill[n].push(prefill)
      }
    }
    return model
  } finally {
    await engine.close()
  }
}

async function run(values, words, terminal) {
  const { quick, models: folder } = values
  const threads = values.threads ?? os.availableParallelism?.() ?? os.cpus().length
  const settings = { quick, threads, tier: values.tier, tokens: quick ? 16 : 64, rounds: values.rounds ?? (quick ? 1 : 3) }
  if (values.tier) process.env.CHORD_CPU = values.tier
  const note = (line) => terminal.progress(line)
  note('the machine')
  const result = { probe: await measureMachine({ threads, quick }), kernels: null, models: [] }
  const withKernels = values.kernels || words.length === 0
  if (withKernels) result.kernels = await measureKernels(settings, note)
  const wanted = words.length ? words : [...(fs.existsSync(DEMO) ? [DEMO] : []), MADE]
  for (const word of wanted) result.models.push(await measureModel(await modelFile(word, { folder, note }), settings, note))
  terminal.clear()
  await (values.json ? terminal.json(result) : terminal.write(report(result)))
}

await main({
  synopsis: 'npm run bench -- [MODEL.gguf | GEOMETRY-MIX ...]',
  about:
    'Measures the machine, the kernels, and the demo model and a made one of 0.67 GB; with models, the machine and those models.\n' +
    'A name such as llama2-7b-Q4_K_M stands for a model of random weights, made when it is missing.',
  options: {
    quick: { help: 'one round each: less than a minute' },
    kernels: { help: 'the kernels also where models are named' },
    models: { read: text, value: 'FOLDER', help: 'of models that are made', initial: FOLDER },
    rounds: { read: integer(1), value: 'N', help: 'of models, that count; default 3' },
    threads: { read: integer(1), value: 'N', help: 'default: one per processor' },
    tier: { read: text, value: 'NAME', help: 'of the kernels, as CHORD_CPU names it; default: the best' },
    json: { help: 'one JSON object on standard output' },
  },
  run,
})
