'use strict'

// The option `tools`, and what becomes of calls.

const { plain } = require('../chat/messages.js')
const v = require('../validate.js')

const NAME = /^[A-Za-z0-9_.-]{1,64}$/
const CHOICES = ['auto', 'required', 'none']

const TOOL = { description: v.string, parameters, run: v.callback }

function parameters(name, value) {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
  if (!isObject || (value.type !== undefined && value.type !== 'object')) throw v.invalidOption(name, "a JSON Schema of the type 'object'", value)
  // No parameters are no arguments; as a schema it would be any.
  const isEmpty = Object.keys(value.properties ?? {}).length === 0 && Object.keys(value).every((key) => ['type', 'properties', 'description'].includes(key))
  return { type: 'object', properties: {}, ...(isEmpty && { additionalProperties: false }), ...plain(name, value) }
}

/** Checks the option `tools`: [{ name, description, parameters, run }]. */
function tools(name, value) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw v.invalidOption(name, 'an object of tools by their names', value)
  return Object.entries(value).map(([tool, definition]) => {
    if (!NAME.test(tool)) throw v.invalidOption(`${name}, name`, 'a name of up to 64 letters, digits, _, - and .', tool)
    const checked = v.objectSchema(`tool '${tool}'`, TOOL)(`${name}.${tool}`, definition)
    return { name: tool, description: '', parameters: parameters('', {}), ...checked }
  })
}

/** Checks the option `toolChoice`. */
function toolChoice(name, value) {
  if (CHOICES.includes(value)) return value
  if (typeof value !== 'object' || value === null || typeof value.name !== 'string') {
    throw v.invalidOption(name, "'auto', 'required', 'none' or { name } of a tool", value)
  }
  return value
}

/** The tools that may be called by `choice`, and whether one must be: { callable, calls: 'may' | 'must' }; null if none may. */
function choose(where, list, choice = 'auto') {
  if (typeof choice === 'object') {
    const named = list.find(({ name }) => name === choice.name)
    if (!named) throw v.invalid(`option 'toolChoice' of ${where}: there is no tool '${choice.name}'; there are ${list.map(({ name }) => name).join(', ') || 'none'}`)
    return { callable: [named], calls: 'must' }
  }
  if (choice === 'required' && list.length === 0) throw v.invalid(`option 'toolChoice' of ${where}: there are no tools to call`)
  if (choice === 'none' || list.length === 0) return null
  return { callable: list, calls: choice === 'required' ? 'must' : 'may' }
}

/** What a tool returned, as the model reads it. */
const contentOf = (value) => (typeof value === 'string' ? value : (JSON.stringify(value) ?? 'null'))

const errorContent = (error) => JSON.stringify({ error: error instanceof Error ? error.message : String(error) })

/** Whether all of these calls can be answered by running them. */
const canRun = (calls, list) => calls.every(({ name }) => list.find((tool) => tool.name === name)?.run)

/**
 * Runs calls side by side: the messages of the role 'tool' that answer them, in their order. What a tool throws is its answer; only an abort
 * rejects, with the signal's reason.
 */
async function runCalls(calls, list, signal = new AbortController().signal) {
  const answer = async (call) => {
    const { run } = list.find(({ name }) => name === call.name)
    const toolCall = structuredClone(call)
    try {
      return contentOf(await run(toolCall.arguments, { signal, toolCall }))
    } catch (error) {
      return errorContent(error)
    }
  }
  let onAbort
  const aborted = new Promise((_, reject) => {
    onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
  })
  try {
    signal.throwIfAborted()
    const contents = await Promise.race([Promise.all(calls.map(answer)), aborted])
    return calls.map(({ id, name }, i) => ({ role: 'tool', toolCallId: id, name, content: contents[i] }))
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

module.exports = { canRun, choose, runCalls, toolChoice, tools }
