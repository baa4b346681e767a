'use strict'

// The thread that renders chat templates. A template comes with a model file: it may loop, recurse or grow without end. Loops end with
// the thread (renderer.js keeps the time), recursion with its stack, growth at the limits here and at the thread's memory.
//
// In: { id, source, context, now }. Out: { ready: true } once, then { id, text } or { id, kind: 'syntax' | 'refused' | 'failed', message }.

const { parentPort, workerData } = require('node:worker_threads')
const { Environment, Interpreter, parse, tokenize } = require('@huggingface/jinja')
const { strftime } = require('./strftime.js')

const { maxChars, charsPerInput, maxItems } = workerData
const PARSED = 16 // templates that are kept

class Refusal extends Error {}

class BoundedInterpreter extends Interpreter {
  #most

  constructor(environment, most) {
    super(environment)
    this.#most = most
  }

  evaluate(statement, environment) {
    const value = super.evaluate(statement, environment)
    if (value.type === 'StringValue' && value.value.length > this.#most) throw new Error(`a text grew beyond ${this.#most} characters`)
    if (value.type === 'ArrayValue' && value.value.length > maxItems) throw new Error(`a list grew beyond ${maxItems} items`)
    return value
  }
}

function range(start, stop, step = 1) {
  const [from, to] = stop === undefined ? [0, start] : [start, stop]
  const n = Math.max(0, Math.ceil((to - from) / step))
  if (!(n <= maxItems)) throw new Error(`range(): expected at most ${maxItems} items, got ${n}`)
  return Array.from({ length: n }, (_, i) => from + i * step)
}

const globals = (now) => ({
  true: true, True: true, false: false, False: false, none: null, None: null,
  range,
  strftime_now: (format) => strftime(new Date(now), String(format)),
  raise_exception(message) {
    throw new Refusal(String(message))
  },
})

const parsed = new Map()

function program(source) {
  let made = parsed.get(source)
  if (!made) {
    made = parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }))
    if (parsed.size >= PARSED) parsed.delete(parsed.keys().next().value)
    parsed.set(source, made)
  }
  return made
}

function render({ source, context, now }) {
  let made
  try {
    made = program(source)
  } catch ({ message }) {
    return { kind: 'syntax', message }
  }
  try {
    const environment = new Environment()
    for (const [name, value] of Object.entries({ ...globals(now), ...context })) environment.set(name, value)
    const most = maxChars + charsPerInput * JSON.stringify(context).length
    return { text: new BoundedInterpreter(environment, most).run(made).value }
  } catch (error) {
    return { kind: error instanceof Refusal ? 'refused' : 'failed', message: error.message }
  }
}

parentPort.on('message', ({ id, ...job }) => parentPort.postMessage({ id, ...render(job) }))
parentPort.postMessage({ ready: true })
