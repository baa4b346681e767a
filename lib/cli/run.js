'use strict'

const fs = require('node:fs')
const path = require('node:path')
const { LOAD_OPTIONS, UsageError, loadOptions, pick } = require('./command.js')
const { bytes, figure, gigabytesPerSecond, seconds } = require('./format.js')
const { GENERATION, generateOptions } = require('./sampling.js')

const DEMO = path.resolve(__dirname, '..', '..', 'models', 'demo.gguf')
const DEMO_TOKENS = 200

function summary({ usage, timings, speculation, finishReason }, model) {
  const { memory, paging, work } = model.stats()
  return [
    `${usage.promptTokens} prompt tokens in ${seconds(timings.promptMs / 1000)} (${figure(timings.promptPerSecond)}/s)`,
    `${usage.completionTokens} tokens in ${seconds(timings.completionMs / 1000)} (${figure(timings.completionPerSecond)}/s)`,
    ...(speculation.guessedTokens > 0 ? [`${speculation.acceptedTokens} of ${speculation.guessedTokens} guesses came true`] : []),
    ...(speculation.draftedTokens > 0 ? [`${speculation.acceptedDraftTokens} of ${speculation.draftedTokens} of the draft model`] : []),
    finishReason,
    `peak ${bytes(memory.peakBytes)}${paging ? '' : ' beside the weights'}`,
    ...(paging ? [`${bytes(paging.readBytes)} read at ${gigabytesPerSecond(paging.readBandwidth)}`, `waited ${seconds(work.stallSeconds)} for them`] : []),
  ].join(', ')
}

const LIVE_MS = 250

/** A line about the work under way: tokens per second, and for a paged model how fast weights come and how long was waited for them. */
class Live {
  #model
  #terminal
  #timer
  #before

  constructor(model, terminal) {
    this.#model = model
    this.#terminal = terminal
    this.#before = this.#now()
    this.#timer = setInterval(() => this.#draw(), LIVE_MS)
  }

  #now() {
    const { work, paging, memory } = this.#model.stats()
    return { at: performance.now() / 1000, work, paging, memory }
  }

  #draw() {
    const now = this.#now()
    const before = this.#before
    const span = now.at - before.at
    const tokens = now.work.promptTokens + now.work.generatedTokens
    if (tokens === before.work.promptTokens + before.work.generatedTokens && span < 5) return
    const parts = [
      `${now.work.promptTokens} + ${now.work.generatedTokens} tokens`,
      `${figure((now.work.generatedTokens - before.work.generatedTokens) / span)} tokens/s`,
    ]
    if (now.paging) {
      const stall = now.work.stallSeconds - before.work.stallSeconds
      const used = stall + now.work.computeSeconds - before.work.computeSeconds
      parts.push(`${gigabytesPerSecond((now.paging.readBytes - before.paging.readBytes) / span)} from disk`)
      parts.push(`stall ${used > 0 ? Math.round((stall / used) * 100) : 0} %`)
    }
    parts.push(bytes(now.memory.heldBytes))
    this.#terminal.status(parts.join(', '))
    this.#before = now
  }

  end() {
    clearInterval(this.#timer)
    this.#terminal.endStatus()
  }
}

async function run(values, [file, prompt = ''], terminal) {
  const { loadModel } = require('../index.js')
  if (!file && !fs.existsSync(DEMO)) {
    throw new UsageError('no model given, and this package has no demo model (models/demo.gguf): chord run MODEL.gguf [PROMPT]')
  }
  const given = generateOptions(values)
  const { draft: draftFile, ...options } = file ? given : { maxTokens: DEMO_TOKENS, ...given }

  let stoppedAt = 0
  const draft = draftFile ? await loadModel(draftFile, pick(values, ['threads'])) : undefined
  const model = await loadModel(file ?? DEMO, { ...loadOptions(values), draft })
  const generation = model.generate(prompt, options)
  // A terminal and a parent such as npm may both pass on the same Ctrl-C; one that comes later means it.
  const onInterrupt = () => {
    if (stoppedAt > 0 && performance.now() - stoppedAt > 500) process.exit(130)
    stoppedAt ||= performance.now()
    generation.cancel()
  }
  process.on('SIGINT', onInterrupt).on('SIGTERM', onInterrupt)
  const live = values.stats ? new Live(model, terminal) : undefined
  try {
    if (!values.json) {
      if (prompt !== '') await terminal.write(prompt)
      for await (const piece of generation) await terminal.write(piece)
    }
    const result = await generation
    live?.end()
    if (values.json) await terminal.json({ model: model.info.path, prompt, ...result })
    else await terminal.write('\n')
    if (values.stats || stoppedAt > 0) terminal.note(summary(result, model))
  } finally {
    live?.end()
    // After a stop they stay: a second Ctrl-C on its way must not kill a process that is ending by itself.
    if (stoppedAt === 0) process.off('SIGINT', onInterrupt).off('SIGTERM', onInterrupt)
    await model.close()
    await draft?.close()
  }
  return stoppedAt > 0 ? 130 : 0
}

module.exports = {
  name: 'run',
  words: '[MODEL] [PROMPT]',
  counts: { least: 0, most: 2 },
  summary: 'Continues a text. Without a model, the demo model of the package writes.',
  options: { ...GENERATION, ...LOAD_OPTIONS, stats: { help: 'tokens, speed and memory, on standard error' } },
  run,
  DEMO,
}
