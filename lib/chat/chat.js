'use strict'

const { isDeepStrictEqual } = require('node:util')
const { ChordError } = require('../errors.js')
const { CHAT, GENERATE, MESSAGES, TOOLS } = require('../options.js')
const { choose } = require('../tools/definitions.js')
const { answerInRounds } = require('../tools/rounds.js')
const v = require('../validate.js')
const { startAnswer } = require('./answer.js')
const { checkMessages, messagesToSend, plain } = require('./messages.js')
const { readNote, writeNote } = require('./note.js')
const { Speaker } = require('./turn.js')

const SECRET = Symbol('chord')
const ANSWER_SHARE = 4 // of the context, one in so many is left for an answer when turns are dropped

const NO_USAGE = { promptTokens: 0, reusedTokens: 0, completionTokens: 0 }
const cancelledBefore = { text: '', tokens: [], finishReason: 'cancelled', usage: NO_USAGE, message: null, messages: [], toolCalls: [], warnings: [] }

/** A conversation with a model. From model.chat(). */
class Chat {
  #host
  #speaker
  #options // { overflow, render: { documents, variables } }
  #session = null
  #entries // [{ message, record }]
  #tail = Promise.resolve() // of what was begun last
  #running = 0
  #answer = null // under way
  #closing = null

  constructor(secret, host, { speaker, options, entries, session = null }) {
    if (secret !== SECRET) throw new TypeError('a Chat is made by model.chat()')
    this.#host = host
    this.#speaker = speaker
    this.#options = options
    this.#entries = entries
    this.#session = session
  }

  get template() {
    return this.#speaker.template.info
  }

  get messages() {
    return this.#entries.map(({ message }) => structuredClone(message))
  }

  set messages(value) {
    this.#assertAtRest()
    const list = checkMessages('messages', value)
    // An answer keeps the tokens it was given in, as long as all before it is the same; that is for its record to see.
    this.#entries = list.map((message, i) => (isDeepStrictEqual(message, this.#entries[i]?.message) ? this.#entries[i] : { message, record: null }))
  }

  send(content, options) {
    this.#assertOpen()
    const added = messagesToSend(content).map((message) => ({ message, record: null }))
    const { signal, ...checked } = v.options('send()', options, { ...GENERATE, ...TOOLS })
    const tools = { ...this.#options.tools, ...toolOptions(checked) }
    checkToolOptions('send()', tools, checked)
    const answer = startAnswer((controls) => this.#inTurn(() => this.#say(added, tools, withoutTools(options), controls, answer)), signal)
    return answer
  }

  render() {
    this.#assertOpen()
    return this.#inTurn(async () => {
      const use = await this.#speaker.toolUse('chat()', this.#entries, this.#options.tools.tools)
      return (await this.#speaker.prompt(this.#entries, this.#options.render, use)).text
    })
  }

  rewind(turns = 1) {
    this.#assertAtRest()
    v.integer({ least: 1 })('turns', turns)
    const starts = turnStarts(this.#entries)
    if (turns > starts.length) throw v.invalid(`turns: expected at most ${starts.length}, as many as the chat has, got ${turns}`)
    return this.#entries.splice(starts[starts.length - turns]).map(({ message }) => message)
  }

  fork() {
    this.#assertOpen()
    return this.#inTurn(async () => {
      const session = this.#session && (await this.#session.fork())
      return new Chat(SECRET, this.#host, { speaker: this.#speaker, options: this.#options, entries: [...this.#entries], session })
    })
  }

  save(path, options) {
    this.#assertOpen()
    return this.#inTurn(async () => {
      this.#session ??= this.#host.openSession()
      await this.#session.saveWith(writeNote({ template: this.#speaker.template.info, options: this.#options, entries: this.#entries }), path, options)
    })
  }

  close() {
    this.#closing ??= (async () => {
      this.#answer?.cancel()
      await this.#session?.close()
    })()
    return this.#closing
  }

  [Symbol.asyncDispose]() {
    return this.close()
  }

  async #say(added, tools, options, controls, answer) {
    if (controls.isCancelled()) return { ...cancelledBefore, droppedMessages: 0 }
    this.#answer = answer
    let droppedMessages = 0
    try {
      const before = [...this.#entries, ...added]
      if (before.length === 0) throw v.invalid('message: expected a text or messages, for the chat has none to answer yet')
      const ask = async (given, offered) => {
        const fitting = offered.then(async (use) => ({ use, ...(await this.#fit(given, options, use)) }))
        const fitted = await unlessCancelled(fitting, controls)
        if (fitted === null) return null
        const { use, prompt, entries } = fitted
        this.#assertOpen()
        this.#session ??= this.#host.openSession()
        droppedMessages += given.length - entries.length
        return { entries, warnings: prompt.warnings, said: await this.#speaker.answer(prompt, (...how) => this.#session.generate(...how), options, controls, use) }
      }
      const keep = (entries) => (this.#entries = entries)
      const { signal } = options
      const said = await answerInRounds({ ...tools, where: 'send()', speaker: this.#speaker, entries: before, controls, signal, ask, keep })
      return said ? { ...said, droppedMessages } : { ...cancelledBefore, droppedMessages }
    } finally {
      this.#answer = null
    }
  }

  /** The prompt of `entries`, without their oldest turns if they are too long and that is wished. */
  async #fit(entries, { maxTokens = Infinity }, use) {
    const { render, overflow } = this.#options
    if (overflow !== 'shift') return { prompt: await this.#speaker.fittingPrompt(entries, render, use), entries }
    const { context } = this.#host.info
    const room = context - Math.min(maxTokens, Math.floor(context / ANSWER_SHARE))
    const whole = await this.#speaker.prompt(entries, render, use)
    if (whole.tokens.length <= room) return { prompt: whole, entries }
    const head = entries.findIndex(({ message }) => message.role !== 'system')
    const starts = turnStarts(entries)
    const without = (n) => [...entries.slice(0, head), ...entries.slice(starts[n])]
    let least = 1
    let most = starts.length - 1
    while (least < most) {
      const middle = (least + most) >> 1
      const { tokens } = await this.#speaker.prompt(without(middle), render, use)
      if (tokens.length <= room) most = middle
      else least = middle + 1
    }
    const kept = most < 1 ? entries : without(most)
    return { prompt: await this.#speaker.fittingPrompt(kept, render, use), entries: kept }
  }

  /** Runs `work` when all that was begun before has ended. */
  #inTurn(work) {
    this.#running++
    const done = this.#tail.then(async () => {
      try {
        this.#assertOpen()
        return await work()
      } finally {
        this.#running--
      }
    })
    this.#tail = done.catch(() => {})
    return done
  }

  #assertAtRest() {
    this.#assertOpen()
    if (this.#running > 0) throw new ChordError('the chat is answering: wait until that has ended, or fork the chat', { code: 'BUSY' })
  }

  #assertOpen() {
    this.#host.assertOpen()
    if (this.#closing) throw new ChordError('the chat has been closed', { code: 'CLOSED' })
  }
}

/** What `promise` gives, or null as soon as the answer is cancelled: nothing waits for a template that takes its time. */
async function unlessCancelled(promise, { onCancel, isCancelled }) {
  promise.catch(() => {})
  const cancelled = new Promise((resolve) => onCancel(() => resolve(null)))
  const got = await Promise.race([promise, cancelled])
  return isCancelled() ? null : got
}

/** Where the turns begin: each with a message of the user that follows none. */
function turnStarts(entries) {
  const isUser = (i) => entries[i]?.message.role === 'user'
  return entries.map((_, i) => i).filter((i) => isUser(i) && !isUser(i - 1))
}

function renderOptions({ documents, variables }) {
  return { documents: documents && plain('documents', documents), variables: variables && plain('variables', variables) }
}

const TOOL_OPTIONS = Object.keys(TOOLS)

/** Of checked options, those about tools that are given. */
const toolOptions = (checked) => Object.fromEntries(Object.entries(checked).filter(([key]) => TOOL_OPTIONS.includes(key)))

const withoutTools = (options = {}) => Object.fromEntries(Object.entries(options).filter(([key]) => !TOOL_OPTIONS.includes(key)))

function checkToolOptions(where, { tools = [], toolChoice }, checked) {
  const mayCall = choose(where, tools, toolChoice) !== null
  const other = ['grammar', 'schema'].find((name) => checked[name] !== undefined)
  if (mayCall && other) throw v.invalid(`option '${other}' of ${where}: it can't be had together with tools, whose calls are of another grammar; toolChoice: 'none' keeps them out`)
}

/** The template that a model has for tools, where it has one. */
const preferredFor = ({ tools = [] }) => (tools.length > 0 ? 'tool_use' : undefined)

/** model.chat(options). */
function startChat(host, given) {
  const { system, messages = [], template, overflow, ...rest } = v.options('chat()', given, CHAT)
  const all = system === undefined ? messages : [{ role: 'system', content: system }, ...messages]
  const options = { overflow, tools: toolOptions(rest), render: renderOptions(rest) }
  const speaker = new Speaker(host, { template, preferred: preferredFor(rest) })
  return new Chat(SECRET, host, { speaker, options, entries: all.map((message) => ({ message, record: null })) })
}

/** model.restoreChat(): of what a file held. `given` may choose anew what the chat would have as it was saved. */
async function restoreChat(host, file, { session, note }, { template, overflow, ...rest }) {
  try {
    const { options, entries, ...saved } = readNote(file, note, host.info.vocabulary)
    const speaker = new Speaker(host, { template: template ?? saved.template, preferred: preferredFor(rest) })
    const more = { tools: toolOptions(rest), ...(overflow ? { overflow } : {}) }
    return new Chat(SECRET, host, { speaker, options: { ...options, ...more }, entries, session })
  } catch (error) {
    await session.close()
    throw error
  }
}

/** model.generate(messages, options): an answer, and nothing of it is kept. */
function answerMessages(host, messages, given) {
  const entries = checkMessages('prompt', messages).map((message) => ({ message, record: null }))
  const checked = v.options('generate()', given, { ...GENERATE, ...MESSAGES, ...TOOLS })
  const { template, documents, variables, ...options } = withoutTools(given)
  const { signal } = checked
  checkToolOptions('generate()', checked, checked)
  const speaker = new Speaker(host, { template, preferred: preferredFor(checked) })
  return startAnswer(async (controls) => {
    // What the next round begins with is kept; without rounds there is none.
    const session = checked.tools?.some(({ run }) => run) ? host.openSession() : null
    const generate = session ? (...how) => session.generate(...how) : host.generate
    const ask = async (given, offered) => {
      const fitting = offered.then(async (use) => ({ use, prompt: await speaker.fittingPrompt(given, renderOptions(checked), use) }))
      const fitted = await unlessCancelled(fitting, controls)
      if (fitted === null) return null
      const { use, prompt } = fitted
      return { entries: given, warnings: prompt.warnings, said: await speaker.answer(prompt, generate, options, controls, use) }
    }
    try {
      const how = { ...toolOptions(checked), where: 'generate()', speaker, entries, controls, signal, ask, keep: () => {} }
      return (await answerInRounds(how)) ?? cancelledBefore
    } finally {
      await session?.close()
    }
  }, signal)
}

module.exports = { Chat, answerMessages, restoreChat, startChat }
