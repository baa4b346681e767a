'use strict'

// chord and node-llama-cpp behind one interface, each in a process of its own: started as `node engines.js NAME THREADS [FOLDER]`
// by startEngine(), this file answers requests. Only one engine is asked at any time.

const fs = require('node:fs')
const path = require('node:path')
const { serve, startChild } = require('./model/child.js')
const { openOracle } = require('./model/oracle.js')

/**
 * Memory of this process in MiB: resident, the highest that was, what no file backs, and what of the mapped files lies in huge
 * pages. null where the system does not tell.
 */
function memory() {
  const read = (file) => {
    try {
      return fs.readFileSync(`/proc/self/${file}`, 'utf8')
    } catch {
      return ''
    }
  }
  const status = read('status')
  const mib = (text, key) => {
    const found = new RegExp(`^${key}:\\s+(\\d+) kB$`, 'm').exec(text)
    return found ? Number(found[1]) / 1024 : null
  }
  return {
    residentMib: mib(status, 'VmRSS') ?? process.memoryUsage().rss / 2 ** 20,
    highestMib: mib(status, 'VmHWM'),
    anonymousMib: mib(status, 'RssAnon'),
    hugeMib: mib(read('smaps_rollup'), 'FilePmdMapped'),
  }
}

// Tokens per second of several streams together, while all of them generate: from the last first token to the first last one.
// times[i]: when stream i gave its tokens, in milliseconds.
function togetherPerSecond(times) {
  const from = Math.max(...times.map((of) => of[0]))
  const to = Math.min(...times.map((of) => of.at(-1)))
  const n = times.flat().filter((t) => t > from && t <= to).length
  return (n / (to - from)) * 1000
}

async function timesOf(stream, n) {
  const times = []
  for await (const _ of stream) {
    times.push(performance.now())
    if (times.length === n) break
  }
  if (times.length < n) throw new Error(`generated ${times.length} tokens of ${n}`)
  return times
}

// An engine: start() loads it, load(file) the model. generate(ids, n) -> { prefill, decode }, tokens per second of the prompt and
// of the n tokens after it, from the first to the last. together(prompts, n) -> tokens per second of all of them at once.

function chordEngine(threads) {
  const endless = { ignoreEos: true, temperature: 0, speculate: false }
  let chord
  let model
  return {
    async start() {
      chord = require('..')
      return { version: require('../package.json').version }
    },
    async load(file) {
      model = await chord.loadModel(file, { threads })
      return { tier: model.info.cpu, quantization: model.info.quantization }
    },
    async generate(ids, n) {
      const { tokens, timings } = await model.generate(ids, { ...endless, maxTokens: n })
      if (tokens.length !== n) throw new Error(`generated ${tokens.length} tokens of ${n}`)
      return { prefill: timings.promptPerSecond, decode: timings.completionPerSecond }
    },
    async together(prompts, n) {
      const streams = prompts.map((ids) => model.generate(ids, { ...endless, maxTokens: n }).events())
      return togetherPerSecond(await Promise.all(streams.map((stream) => timesOf(stream, n))))
    },
    close: () => model.close(),
  }
}

function oracleEngine(threads, folder) {
  let llama
  let model
  let context // of one sequence, kept while it is large enough and not needlessly large
  let contextSize = 0
  const options = { temperature: 0, yieldEogToken: true }

  async function contextOf(tokens) {
    if (context === undefined || contextSize < tokens || contextSize > 4 * tokens) {
      await context?.dispose()
      contextSize = tokens
      context = await model.createContext({ contextSize, batchSize: 512, threads })
    }
    return context
  }
  return {
    async start() {
      llama = await openOracle(folder)
      const file = path.join(folder, 'node_modules', 'node-llama-cpp', 'package.json')
      return { version: JSON.parse(fs.readFileSync(file, 'utf8')).version }
    },
    async load(file) {
      model = await llama.loadModel({ modelPath: file })
      return {}
    },
    async generate(ids, n) {
      const sequence = (await contextOf(Math.max(1024, ids.length + n))).getSequence()
      const began = performance.now()
      await sequence.evaluateWithoutGeneratingNewTokens(ids.slice(0, -1))
      const prefilled = performance.now()
      const times = await timesOf(sequence.evaluate([ids.at(-1)], options), n)
      sequence.dispose()
      return {
        prefill: ((ids.length - 1) / (prefilled - began)) * 1000,
        decode: n > 1 ? ((n - 1) / (times.at(-1) - times[0])) * 1000 : null,
      }
    },
    async together(prompts, n) {
      const shared = await model.createContext({
        sequences: prompts.length,
        contextSize: Math.max(...prompts.map((ids) => ids.length)) + n,
        batchSize: 512,
        threads,
      })
      const streams = prompts.map((ids) => shared.getSequence().evaluate(ids, options))
      const rate = togetherPerSecond(await Promise.all(streams.map((stream) => timesOf(stream, n))))
      await shared.dispose()
      return rate
    },
    close: () => model.dispose(),
  }
}

/** A process with the engine 'chord' or 'oracle'; `folder` is where node-llama-cpp is installed. */
function startEngine(name, threads, folder) {
  const child = startChild(name, __filename, [name, String(threads), ...(folder ? [folder] : [])])
  return {
    /** -> { version, tier?, quantization?, startMs, loadMs, memory } */
    load: (file) => child.call({ load: file }),
    /** As the engine's, and cores: seconds of processor time per second. */
    generate: (ids, n) => child.call({ generate: ids, n }),
    together: (prompts, n) => child.call({ together: prompts, n }),
    memory: () => child.call({}),
    stop: () => child.stop(),
  }
}

function serveEngine(name, threads, folder) {
  const engine = name === 'chord' ? chordEngine(threads) : oracleEngine(threads, folder)
  const timed = async (work) => {
    const began = performance.now()
    const result = await work()
    return [performance.now() - began, result]
  }
  serve(async ({ load, generate, together, n }) => {
    if (generate !== undefined) {
      const cpu = process.cpuUsage()
      const [ms, rates] = await timed(() => engine.generate(generate, n))
      const { user, system } = process.cpuUsage(cpu)
      return { ...rates, cores: (user + system) / 1000 / ms }
    }
    if (together !== undefined) return engine.together(together, n)
    if (load === undefined) return memory()
    const [startMs, started] = await timed(() => engine.start())
    const [loadMs, loaded] = await timed(() => engine.load(load))
    return { ...started, ...loaded, startMs, loadMs, memory: memory() }
  })
}

if (require.main === module) serveEngine(process.argv[2], Number(process.argv[3]), process.argv[4])

module.exports = { chordEngine, startEngine, togetherPerSecond }
