'use strict'

const { isDeepStrictEqual } = require('node:util')
const { ChordError } = require('../errors.js')
const { CHAT, GENERATE, MESSAGES } = require('../options.js')
const v = require('../validate.js')
const { startAnswer } = require('./answer.js')
const { checkMessages, messagesToSend, plain } = require('./messages.js')
const { readNote, writeNote } = require('./note.js')
const { Speaker, answerResult, messageOf } = require('./turn.js')

const SECRET = Symbol('chord')
const ANSWER_SHARE = 4 // of the context, one in so many is left for an answer when turns are dropped

const cancelledBefore = { tokens: [], finishReason: 'cancelled', usage: { promptTokens: 0, reusedTokens: 0, completionTokens: 0 } }

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
    const { signal } = v.options('send()', options, GENERATE)
    const answer = startAnswer((controls) => this.#inTurn(() => this.#say(added, options ?? {}, controls, answer)), signal)
    return answer
  }

  render() {
    this.#assertOpen()
    return this.#inTurn(async () => {
      const messages = this.#entries.map(({ message }) => message)
      return (await this.#speaker.template.render(messages, this.#options.render)).text
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

  async #say(added, options, controls, answer) {
    if (controls.isCancelled()) return { ...cancelledBefore, text: '', message: null, warnings: [], droppedMessages: 0 }
    this.#answer = answer
    try {
      const before = [...this.#entries, ...added]
      if (before.length === 0) throw v.invalid('message: expected a text or messages, for the chat has none to answer yet')
      const fitted = await unlessCancelled(this.#fit(before, options), controls)
      if (fitted === null) return { ...cancelledBefore, text: '', message: null, warnings: [], droppedMessages: 0 }
      const { prompt, entries } = fitted
      this.#assertOpen()
      this.#session ??= this.#host.openSession()
      const said = await this.#speaker.answer(prompt, (tokens, native) => this.#session.generate(tokens, native), options, controls)
      const more = { warnings: prompt.warnings, droppedMessages: before.length - entries.length }
      if (said.record === null && said.result.finishReason === 'cancelled') return answerResult(said, null, more)
      const message = messageOf(said)
      this.#entries = [...entries, { message, record: said.record }]
      return answerResult(said, structuredClone(message), more)
    } finally {
      this.#answer = null
    }
  }

  /** The prompt of `entries`, without their oldest turns if they are too long and that is wished. */
  async #fit(entries, { maxTokens = Infinity }) {
    const { render, overflow } = this.#options
    if (overflow !== 'shift') return { prompt: await this.#speaker.fittingPrompt(entries, render), entries }
    const { context } = this.#host.info
    const room = context - Math.min(maxTokens, Math.floor(context / ANSWER_SHARE))
    const whole = await this.#speaker.prompt(entries, render)
    if (whole.tokens.length <= room) return { prompt: whole, entries }
    const head = entries.findIndex(({ message }) => message.role !== 'system')
    const starts = turnStarts(entries)
    const without = (n) => [...entries.slice(0, head), ...entries.slice(starts[n])]
    let least = 1
    let most = starts.length - 1
    while (least < most) {
      const middle = (least + most) >> 1
      const { tokens } = await this.#speaker.prompt(without(middle), render)
      if (tokens.length <= room) most = middle
      else least = middle + 1
    }
    const kept = most < 1 ? entries : without(most)
    return { prompt: await this.#speaker.fittingPrompt(kept, render), entries: kept }
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

/** model.chat(options). */
function startChat(host, given) {
  const { system, messages = [], template, overflow, ...rest } = v.options('chat()', given, CHAT)
  const all = system === undefined ? messages : [{ role: 'system', content: system }, ...messages]
  const options = { overflow, render: renderOptions(rest) }
  return new Chat(SECRET, host, { speaker: new Speaker(host, { template }), options, entries: all.map((message) => ({ message, record: null })) })
}

/** model.restoreChat(): of what a file held. `given` may choose anew what the chat would have as it was saved. */
async function restoreChat(host, file, { session, note }, { template, overflow }) {
  try {
    const { options, entries, ...saved } = readNote(file, note, host.info.vocabulary)
    const speaker = new Speaker(host, { template: template ?? saved.template })
    return new Chat(SECRET, host, { speaker, options: { ...options, ...(overflow ? { overflow } : {}) }, entries, session })
  } catch (error) {
    await session.close()
    throw error
  }
}

/** model.generate(messages, options): an answer, and nothing of it is kept. */
function answerMessages(host, messages, given) {
  const entries = checkMessages('prompt', messages).map((message) => ({ message, record: null }))
  const { template, documents, variables, ...generate } = given ?? {}
  const checked = v.options('generate()', given, { ...GENERATE, ...MESSAGES })
  const speaker = new Speaker(host, checked)
  return startAnswer(async (controls) => {
    const prompt = await unlessCancelled(speaker.fittingPrompt(entries, renderOptions(checked)), controls)
    if (prompt === null) return { ...cancelledBefore, text: '', message: null, warnings: [] }
    const said = await speaker.answer(prompt, host.generate, generate, controls)
    return answerResult(said, messageOf(said), { warnings: prompt.warnings })
  }, checked.signal)
}

module.exports = { Chat, answerMessages, restoreChat, startChat }
