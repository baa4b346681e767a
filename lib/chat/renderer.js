'use strict'

// Renders templates in a thread of their own, one after another: started by the first, ended when a template does not, or when there has
// been none for a while.

const path = require('node:path')
const { Worker } = require('node:worker_threads')
const { ChordError } = require('../errors.js')

const LIMITS = {
  startMs: 30_000, // until the thread runs; a busy machine takes its time
  renderMs: 1000,
  idleMs: 60_000,
  maxChars: 1 << 20, // of any text in a template, beside
  charsPerInput: 8, // so many for each character of messages and variables
  maxItems: 100_000,
  maxSource: 1 << 20,
  heapMb: 192,
}

const fail = (message, cause) => new ChordError(message, { code: 'CHAT_TEMPLATE', cause })

const SAID = {
  syntax: (message) => `the chat template is not one that chord reads: ${message}`,
  refused: (message) => `the chat template refuses these messages: ${message}`,
  failed: (message) => `the chat template failed: ${message}`,
}

const LOST = {
  ERR_WORKER_OUT_OF_MEMORY: `the chat template took more than ${LIMITS.heapMb} MiB`,
  MODULE_NOT_FOUND: 'chat templates need the package @huggingface/jinja, which is not here: run `npm install`',
}

class Renderer {
  #worker = null
  #ready = false
  #jobs = [] // the first one is under way
  #timer = null
  #n = 0

  /** The text of the Jinja template `source` with these variables: plain data only. */
  render(source, context) {
    if (source.length > LIMITS.maxSource) {
      return Promise.reject(fail(`the chat template has more than ${LIMITS.maxSource} characters, the most that chord takes`))
    }
    return new Promise((resolve, reject) => {
      this.#jobs.push({ id: ++this.#n, source, context, resolve, reject })
      if (this.#jobs.length === 1) this.#begin()
    })
  }

  #begin() {
    const worker = (this.#worker ??= this.#start())
    const { id, source, context } = this.#jobs[0]
    worker.ref()
    try {
      worker.postMessage({ id, source, context, now: Date.now() })
    } catch (error) {
      this.#end((job) => job.reject(new ChordError(`a chat template takes plain data only: ${error.message}`, { code: 'INVALID_ARGUMENT', cause: error })))
      return
    }
    this.#watch()
  }

  #start() {
    const worker = new Worker(path.join(__dirname, 'worker.js'), {
      execArgv: [],
      workerData: { maxChars: LIMITS.maxChars, charsPerInput: LIMITS.charsPerInput, maxItems: LIMITS.maxItems },
      resourceLimits: { maxOldGenerationSizeMb: LIMITS.heapMb, maxYoungGenerationSizeMb: 16, stackSizeMb: 2 },
    })
    this.#ready = false
    worker.on('message', (answer) => worker === this.#worker && this.#hear(answer))
    worker.on('error', (error) => worker === this.#worker && this.#lose(error))
    worker.on('exit', () => worker === this.#worker && this.#lose())
    return worker
  }

  #watch() {
    clearTimeout(this.#timer)
    const ms = this.#ready ? LIMITS.renderMs : LIMITS.startMs
    const what = this.#ready ? `the chat template did not end within ${ms} ms` : `the thread for chat templates did not start within ${ms} ms`
    this.#timer = setTimeout(() => this.#drop(fail(what)), ms)
  }

  #hear({ ready, id, text, kind, message }) {
    if (ready) {
      this.#ready = true
      if (this.#jobs.length > 0) this.#watch()
    } else if (this.#jobs[0]?.id === id) {
      this.#end((job) => (kind ? job.reject(fail(SAID[kind](message))) : job.resolve(text)))
    }
  }

  #lose(error) {
    this.#drop(fail(LOST[error?.code] ?? `the thread for chat templates ended: ${error?.message ?? 'it was stopped'}`, error))
  }

  #drop(error) {
    const worker = this.#worker
    this.#worker = null
    worker?.terminate()
    if (this.#jobs.length > 0) this.#end((job) => job.reject(error))
  }

  #end(settle) {
    clearTimeout(this.#timer)
    settle(this.#jobs.shift())
    if (this.#jobs.length > 0) {
      this.#begin()
      return
    }
    this.#worker?.unref()
    this.#timer = setTimeout(() => this.#drop(), LIMITS.idleMs).unref()
  }
}

const renderer = new Renderer()

module.exports = { LIMITS, renderer }
