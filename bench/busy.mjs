#!/usr/bin/env node
// What is left of the speed when a busy loop of the same priority wants one of the processors: `node bench/busy.mjs --help`.
//
// Ideal is an equal share: the loop and one thread halve a processor, the other threads have one each. The loop runs in the same
// session as the engines, for Linux may share processors by session first (autogroup), and bound to no processor. Rounds
// alternate between alone and beside the loop.

import { spawn } from 'node:child_process'
import os from 'node:os'
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const { ensureAddon } = require('../tools/build.js')
const { table, figure } = require('../lib/cli/format.js')
const { startEngine } = require('./engines.js')
const { FOLDER, modelFile, promptOf, settlePageCache } = require('./models.js')
const { UsageError, integer, main, text } = require('./options.js')
const { idealCores, ratioSpread, spread } = require('./report/statistics.js')

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

async function besideLoops(n, work) {
  const loops = Array.from({ length: n }, () => spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }))
  const end = () => loops.forEach((loop) => loop.kill('SIGKILL'))
  process.once('exit', end)
  try {
    await sleep(500) // until the loops have started, and the scheduler has seen what they are
    return await work()
  } finally {
    process.off('exit', end)
    end()
    await Promise.all(loops.map((loop) => new Promise((resolve) => (loop.exitCode ?? loop.signalCode) !== null ? resolve() : loop.once('exit', resolve))))
  }
}

async function measure(values, words, note) {
  if (words.length > 1) throw new UsageError('one model at a time')
  const { oracle, rounds, tokens, prompt, loops } = values
  const processors = os.availableParallelism?.() ?? os.cpus().length
  const threads = values.threads ?? processors
  await ensureAddon()
  const file = await modelFile(words[0] ?? 'llama-1.1b-Q4_K_M', { folder: values.models, note })
  await settlePageCache(file)
  const engines = {}
  const measured = {}
  try {
    for (const name of oracle ? ['chord', 'oracle'] : ['chord']) {
      note(`${name} loads`)
      engines[name] = startEngine(name, threads, oracle)
      await engines[name].load(file)
      measured[name] = { alone: [], beside: [] }
    }
    for (let round = 0; round <= rounds; round++) {
      for (const [name, engine] of Object.entries(engines)) {
        note(`${round === 0 ? 'warming up' : `round ${round} of ${rounds}`}: ${name}`)
        const work = () => engine.generate(promptOf(prompt, round), tokens)
        const alone = await work()
        const beside = await besideLoops(loops, work)
        if (round === 0) continue
        measured[name].alone.push(alone)
        measured[name].beside.push(beside)
      }
    }
  } finally {
    await Promise.all(Object.values(engines).map((engine) => engine.stop()))
  }
  const ideal = idealCores(threads, processors, loops) / Math.min(threads, processors)
  const result = { file, processors, threads, loops, prompt, tokens, ideal, engines: {} }
  for (const [name, { alone, beside }] of Object.entries(measured)) {
    const of = (list, what) => list.map((x) => x[what])
    result.engines[name] = { coresAlone: spread(of(alone, 'cores')), coresBeside: spread(of(beside, 'cores')) }
    for (const what of ['decode', 'prefill']) {
      const kept = ratioSpread(of(beside, what), of(alone, what))
      const ofIdeal = Object.fromEntries(Object.entries(kept).map(([key, x]) => [key, x / ideal]))
      result.engines[name][what] = { alone: spread(of(alone, what)), beside: spread(of(beside, what)), kept, ofIdeal }
    }
  }
  return result
}

function report({ file, processors, threads, loops, prompt, tokens, ideal, engines }) {
  const range = ({ median, least, most }) => `${figure(median)} [${figure(least)} - ${figure(most)}]`
  const rows = [['', 'alone', 'beside', 'kept', 'of ideal']]
  for (const [name, engine] of Object.entries(engines)) {
    for (const what of ['decode', 'prefill']) {
      const { alone, beside, kept, ofIdeal } = engine[what]
      rows.push([`${name === 'oracle' ? 'node-llama-cpp' : name}, ${what}, tokens/s`, range(alone), range(beside), range(kept), range(ofIdeal)])
    }
    rows.push(['  cores that it used', range(engine.coresAlone), range(engine.coresBeside), '', ''])
  }
  return (
    `${file}: ${threads} threads on ${processors} processors beside ${loops} busy loop${loops > 1 ? 's' : ''}, prompt ${prompt}, ${tokens} tokens; ` +
    `ideal is ${ideal.toFixed(2)} of the speed alone\n${table(rows, { right: [1, 2, 3, 4], indent: '  ' })}`
  )
}

await main({
  synopsis: 'npm run bench:busy -- [MODEL.gguf | GEOMETRY-MIX] [--oracle FOLDER]',
  about: 'Measures a model alone and beside a busy loop.',
  options: {
    oracle: { read: text, value: 'FOLDER', help: 'where node-llama-cpp is installed, to measure it as well' },
    models: { read: text, value: 'FOLDER', help: 'of models that are made', initial: FOLDER },
    loops: { read: integer(1), value: 'N', help: 'busy loops', initial: 1 },
    prompt: { read: integer(2), value: 'N', help: 'tokens of the prompt', initial: 128 },
    tokens: { read: integer(2), value: 'N', help: 'to generate', initial: 32 },
    rounds: { read: integer(1), value: 'N', help: 'that count', initial: 5 },
    threads: { read: integer(1), value: 'N', help: 'default: one per processor' },
    json: { help: 'one JSON object on standard output' },
  },
  async run(values, words, terminal) {
    const result = await measure(values, words, (line) => terminal.progress(line))
    terminal.clear()
    await (values.json ? terminal.json(result) : terminal.write(report(result)))
  },
})
