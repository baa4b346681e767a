'use strict'

const { answerResult, messageOf } = require('../chat/turn.js')
const { canRun, runCalls } = require('./definitions.js')

const MAX_ROUNDS = 8

const sum = (a, b) => (a ? Object.fromEntries(Object.keys(a).map((key) => [key, a[key] + b[key]])) : b)

/** Has the work stopped when the answer is cancelled, and says whether it was: { done } or { isCancelled: true }. */
async function untilCancelled(controls, signal, work) {
  const stop = new AbortController()
  const onAbort = () => stop.abort(signal.reason)
  signal?.addEventListener('abort', onAbort, { once: true })
  controls.onCancel(() => stop.abort())
  try {
    return { done: await work(stop.signal) }
  } catch (error) {
    if (!stop.signal.aborted) throw error
    return { isCancelled: true }
  } finally {
    signal?.removeEventListener('abort', onAbort)
    controls.onCancel(null)
  }
}

const toolResult = ({ toolCallId, name, content }) => ({ id: toolCallId, name, content })

/**
 * Has a conversation answered, runs the tools that the answer calls and goes on with their results, until an answer calls none or there
 * have been `maxRounds` of them. The result is that of the last answer, with the usage of all, the messages that have come
 * and the calls that nobody has answered; null if the first one was cancelled before it began.
 *
 * `ask(entries, offered)` has a round answered, `offered` being a promise of its ToolUse: { entries, said, warnings }, of which `entries` are those that were left; null if it was cancelled before.
 * `keep(entries)` takes what has been said for good.
 */
async function answerInRounds({ speaker, where, tools = [], toolChoice, parallelToolCalls = true, maxRounds = MAX_ROUNDS, entries, controls, signal, ask, keep }) {
  const messages = []
  let usage = null
  let last = null
  for (let round = 0; ; round++) {
    // What had to be called has been called.
    const choice = round === 0 || toolChoice === 'none' ? toolChoice : 'auto'
    const asked = await ask(entries, speaker.toolUse(where, entries, tools, { choice, isOne: !parallelToolCalls }))
    if (asked === null) return last && { ...last, finishReason: 'cancelled' }
    const { said, warnings } = asked
    usage = sum(usage, said.result.usage)
    const message = said.record === null && said.result.finishReason === 'cancelled' ? null : messageOf(said)
    const result = (toolCalls) => ({ ...answerResult(said, structuredClone(message)), usage, messages: structuredClone(messages), toolCalls, warnings })
    if (message === null) return result([])
    const answered = [...asked.entries, { message, record: said.record }]
    const isOver = said.toolCalls.length === 0 || said.result.finishReason !== 'stop' || round === maxRounds || !canRun(said.toolCalls, tools)
    if (isOver) {
      keep(answered)
      messages.push(message)
      return result(structuredClone(said.toolCalls))
    }
    const { done: results, isCancelled } = await untilCancelled(controls, signal, (stop) => runCalls(said.toolCalls, tools, stop))
    if (isCancelled) return { ...result(said.toolCalls), finishReason: 'cancelled' }
    for (const each of results) controls.emit({ type: 'toolResult', token: null, text: '', toolResult: toolResult(each) })
    messages.push(message, ...results)
    last = result([])
    entries = [...answered, ...results.map((each) => ({ message: each, record: null }))]
    keep(entries)
  }
}

module.exports = { answerInRounds }
