#!/usr/bin/env node
// Speed and memory of chord and node-llama-cpp side by side, on the same files and the same token ids: `node bench/peer.mjs --help`.
//
// Each engine has a process of its own, loads the model once and then answers rounds in turn, one engine first in one round, the
// other in the next; only one of them works at any time. The first round warms both up and does not count. Ratios are chord /
// node-llama-cpp, per round. How the file comes to lie in the page cache, and why: settlePageCache() in bench/models.js.

import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const { startEngine } = require('./engines.js')
const { FOLDER, TABLE, modelFile, promptOf, settlePageCache, titleOf } = require('./models.js')
const { UsageError, integer, main, text } = require('./options.js')
const { measureMachine } = require('./programs.js')
const { markdown, markdownRows, merge, report } = require('./report/peer.js')
const { picture } = require('./report/picture.js')
const { costOf } = require('./report/statistics.js')
const { ensureAddon } = require('../tools/build.js')

const SHORT = [128, 512] // tokens of the prompts
const SHORT_PROMPT = 32 // of the generations that run at once
const WARM_UP_TOKENS = 4

// What a round measures: { what, n, run(engine, round, tokens) -> { what it is: tokens per second } }.
function tasksOf({ tokens, sequences }) {
  const prompts = SHORT.map((n, i) => ({
    keys: i === 0 ? [['decode', n], ['prefill', n]] : [['prefill', n]],
    run: (engine, round, nTokens) => engine.generate(promptOf(n, round), i === 0 ? nTokens : 1),
    tokens,
  }))
  if (sequences < 2) return prompts
  const together = {
    keys: [['together', sequences]],
    run: async (engine, round, nTokens) => {
      const ids = Array.from({ length: sequences }, (_, i) => promptOf(SHORT_PROMPT, 100 * round + i))
      return { together: await engine.together(ids, nTokens) }
    },
    tokens,
  }
  return [...prompts, together]
}

const contextTask = ({ tokens }, context) => ({
  keys: [['context', context]],
  run: async (engine, round, nTokens) => ({ context: (await engine.generate(promptOf(context - tokens, 1000 + round), nTokens)).decode }),
  tokens,
})

async function rounds(tasks, engines, n, { warmUp, note }) {
  const measures = tasks.flatMap((task) => task.keys.map(([what, size]) => ({ what, n: size, chord: [], oracle: [] })))
  const names = Object.keys(engines)
  for (let round = warmUp ? 0 : 1; round <= n; round++) {
    let at = 0
    for (const task of tasks) {
      for (const name of round % 2 ? names : [...names].reverse()) {
        note(`${round === 0 ? 'warming up' : `round ${round} of ${n}`}: ${name}, ${task.keys.map(([what, size]) => `${what} ${size}`).join(' and ')}`)
        const rates = await task.run(engines[name], round, round === 0 ? WARM_UP_TOKENS : task.tokens)
        if (round > 0) task.keys.forEach(([what], i) => measures[at + i][name].push(rates[what]))
      }
      at += task.keys.length
    }
  }
  return measures
}

async function measureModel(file, settings, oracle, note) {
  const { inspect, plan } = require('..') // here, for --from needs no addon
  const [inspected, planned] = [await inspect(file), await plan(file, { threads: settings.threads })]
  const progress = (line) => note(`${path.basename(file)}: ${line}`)
  progress('reading the file')
  const settled = await settlePageCache(file)
  const engines = {}
  const model = { title: '', bytes: inspected.bytes, settled, tier: '', cost: costOf(inspected, planned), engines: {}, measures: [] }
  const versions = {}
  try {
    for (const name of ['chord', 'oracle']) {
      progress(`${name} loads`)
      engines[name] = startEngine(name, name === 'chord' ? settings.threads : settings.oracleThreads, oracle)
      const { version, tier, quantization, startMs, loadMs } = await engines[name].load(file)
      versions[name] = version
      if (name === 'chord') Object.assign(model, { tier, title: titleOf(file, quantization) })
      model.engines[name] = { startMs, loadMs, memory: null }
    }
    model.measures = await rounds(tasksOf(settings), engines, settings.rounds, { warmUp: true, note: progress })
    for (const [name, engine] of Object.entries(engines)) model.engines[name].memory = await engine.memory()
    if (settings.context && planned.contextTrained >= settings.context) {
      const [long] = await rounds([contextTask(settings, settings.context)], engines, settings.contextRounds, { warmUp: false, note: progress })
      model.measures.splice(1, 0, long)
    } else if (settings.context) {
      progress(`no generation at ${settings.context} tokens: the model was made for ${planned.contextTrained}`)
    }
  } finally {
    await Promise.all(Object.values(engines).map((engine) => engine.stop()))
  }
  return { model, versions }
}

async function measure(values, words, terminal) {
  const { oracle, models: folder } = values
  if (!oracle) throw new UsageError('--oracle: the folder in which node-llama-cpp is installed')
  const settings = {
    threads: values.threads ?? os.availableParallelism?.() ?? os.cpus().length,
    tokens: values.tokens,
    rounds: values.rounds,
    sequences: values.sequences,
    context: values.context ?? 0,
    contextRounds: values['context-rounds'],
  }
  settings.oracleThreads = values['oracle-threads'] ?? settings.threads
  const note = (line) => terminal.progress(line)
  await ensureAddon()
  const files = []
  for (const word of words.length ? words : TABLE) files.push(await modelFile(word, { folder, note }))
  const result = { settings, versions: {}, probe: null, models: [] }
  note('the machine')
  try {
    result.probe = await measureMachine({ threads: settings.threads })
  } catch (error) {
    terminal.note(`no floor, for the machine could not be measured: ${error.message}`)
  }
  for (const file of files) {
    const { model, versions } = await measureModel(file, settings, oracle, note)
    result.models.push(model)
    result.versions = versions
  }
  terminal.clear()
  return result
}

async function run(values, words, terminal) {
  const saved = values.from?.map((file) => JSON.parse(fs.readFileSync(file, 'utf8')))
  const result = saved ? merge(saved) : await measure(values, words, terminal)
  if (values.save) fs.writeFileSync(values.save, `${JSON.stringify(result, null, 1)}\n`)
  if (values.svg) fs.writeFileSync(values.svg, picture(result))
  const shown = values.rows ? markdownRows : values.markdown ? markdown : report
  await (values.json ? terminal.json(result) : terminal.write(shown(result)))
}

await main({
  synopsis: 'npm run bench:peer -- --oracle FOLDER [MODEL.gguf | GEOMETRY-MIX ...]',
  about:
    'Measures chord and node-llama-cpp in turn on the same models. A name such as llama-1.1b-Q4_K_M stands for a model of random\n' +
    `weights, made when it is missing. Without models: ${TABLE.join(', ')}.`,
  options: {
    oracle: { read: text, value: 'FOLDER', help: 'where node-llama-cpp is installed' },
    models: { read: text, value: 'FOLDER', help: 'of models that are made', initial: FOLDER },
    tokens: { read: integer(2), value: 'N', help: 'to generate', initial: 32 },
    rounds: { read: integer(1), value: 'N', help: 'that count', initial: 3 },
    sequences: { read: integer(1), value: 'N', help: 'generations at once; 1: not measured', initial: 4 },
    context: { read: integer(64), value: 'N', help: 'also generation at the end of so many tokens' },
    'context-rounds': { read: integer(1), value: 'N', help: 'of that', initial: 1 },
    threads: { read: integer(1), value: 'N', help: 'of both engines; default: one per processor' },
    'oracle-threads': { read: integer(1), value: 'N', help: 'of node-llama-cpp' },
    markdown: { help: "the README's table" },
    rows: { help: 'a table of Markdown with one row per model' },
    svg: { read: text, value: 'FILE', help: 'also draws both engines against the floor' },
    json: { help: 'one JSON object on standard output' },
    save: { read: text, value: 'FILE', help: 'also writes that object to a file' },
    from: { read: text, value: 'FILE', multiple: true, help: 'shows what was saved, of several files together, and measures nothing' },
  },
  run,
})
