'use strict'

const readline = require('node:readline')
const { LOAD_OPTIONS, UsageError, loadOptions, pick, text } = require('./command.js')
const { figure, printable, seconds } = require('./format.js')
const { DEMO } = require('./run.js')
const { GENERATION, generateOptions } = require('./sampling.js')

const HELP = `/help         this list
/undo         takes back the last message and its answer
/again        has the last message answered anew
/reset        begins anew, with the same system prompt
/save FILE    saves the conversation, for chord chat --restore FILE
/exit         ends, as Ctrl-D does; Ctrl-C stops an answer
A line that ends in \\ goes on in the next one.`

const DIM = '\x1b[2m'
const PLAIN = '\x1b[0m'

function summary({ usage, timings, finishReason, warnings, droppedMessages }) {
  return [
    `${usage.promptTokens} prompt tokens, ${usage.reusedTokens} of them reused${timings ? `, in ${seconds(timings.promptMs / 1000)}` : ''}`,
    `${usage.completionTokens} tokens${timings ? ` in ${seconds(timings.completionMs / 1000)} (${figure(timings.completionPerSecond)}/s)` : ''}`,
    finishReason,
    ...(droppedMessages > 0 ? [`${droppedMessages} messages forgotten`] : []),
    ...warnings,
  ].join(', ')
}

/** A conversation on the terminal, or with a program: with `json` an object for each answer. */
class Talk {
  constructor(chat, terminal, { values, options, isTerminal }) {
    this.chat = chat
    this.terminal = terminal
    this.json = Boolean(values.json)
    this.stats = Boolean(values.stats)
    this.options = options
    this.isTerminal = isTerminal
    this.answer = null
    this.nSystem = chat.messages.findIndex(({ role }) => role !== 'system')
    if (this.nSystem < 0) this.nSystem = chat.messages.length
  }

  /** Stops the answer under way. False: there was none. */
  stop() {
    this.answer?.cancel()
    return this.answer !== null
  }

  async say(message) {
    this.answer = this.chat.send(message, this.options)
    try {
      if (!this.json) await this.#write(this.answer)
      const result = await this.answer
      if (this.json) await this.terminal.json(result)
      if (this.stats || result.warnings.length > 0) this.terminal.note(summary(result))
    } catch (error) {
      // The conversation is as it was before; who talks may try something else.
      if (!this.isTerminal || error.name !== 'ChordError') throw error
      this.terminal.note(`${error.message} (${error.code})`)
    } finally {
      this.answer = null
    }
  }

  async #write(answer) {
    let dim = false
    let isFirst = true
    for await (const event of answer.events()) {
      let { text: piece } = event
      if (piece === '' || (event.type === 'reasoning' && !this.isTerminal)) continue
      if (this.isTerminal && (event.type === 'reasoning') !== dim) {
        dim = !dim
        piece = dim ? DIM + piece : `${PLAIN}\n\n${piece}`
      }
      await this.terminal.write(isFirst ? piece.trimStart() : piece)
      isFirst &&= piece.trim() === ''
    }
    await this.terminal.write(dim ? `${PLAIN}\n` : '\n')
  }

  /** A line that begins with a slash. False: the conversation is over. */
  async command(line) {
    const [name, ...words] = line.trim().split(/\s+/)
    const rest = words.join(' ')
    if (name === '/exit' || name === '/quit') return false
    if (name === '/undo') this.#undo()
    else if (name === '/again') await this.#again()
    else if (name === '/reset') this.chat.messages = this.chat.messages.slice(0, this.nSystem)
    else if (name === '/save' && rest !== '') await this.#save(rest)
    else this.terminal.note(name === '/help' ? HELP : `${printable(name)}: not a command; /help names them`)
    return true
  }

  #undo() {
    if (this.chat.messages.length > this.nSystem) this.chat.rewind()
    else this.terminal.note('there is nothing to take back')
  }

  async #again() {
    if (this.chat.messages.length <= this.nSystem) {
      this.terminal.note('there is nothing to answer')
      return
    }
    const [message] = this.chat.rewind()
    await this.say(message)
  }

  async #save(file) {
    try {
      await this.chat.save(file)
      this.terminal.note(`saved in ${printable(file)}`)
    } catch (error) {
      this.terminal.note(`${error.message} (${error.code})`)
    }
  }
}

async function openChat(model, values) {
  const { system, template, restore, shift } = values
  const overflow = shift ? { overflow: 'shift' } : {}
  const chosen = template !== undefined ? { template } : {}
  if (restore === undefined) return model.chat({ ...(system !== undefined ? { system } : {}), ...chosen, ...overflow })
  if (system !== undefined) throw new UsageError('--system: a restored conversation has its own')
  return model.restoreChat(restore, { ...chosen, ...overflow })
}

async function converse(talk, input, values) {
  const { isTerminal, terminal } = talk
  const lines = readline.createInterface({ input, output: isTerminal ? process.stdout : undefined, terminal: isTerminal, prompt: '> ' })
  let asked = false
  const onInterrupt = () => {
    if (talk.stop()) return
    if (asked || !isTerminal) lines.close()
    else if (lines.line === '') terminal.note('\nCtrl-C again, or Ctrl-D, ends the conversation')
    asked = lines.line === ''
    if (isTerminal && !lines.closed) {
      lines.write(null, { ctrl: true, name: 'u' })
      lines.prompt()
    }
  }
  lines.on('SIGINT', onInterrupt)
  process.on('SIGINT', onInterrupt)
  try {
    if (isTerminal) lines.prompt()
    let begun = ''
    for await (const line of lines) {
      asked = false
      const whole = begun + line
      begun = whole.endsWith('\\') && !values.json ? `${whole.slice(0, -1)}\n` : ''
      if (begun === '' && whole.trim() !== '') {
        if (!(whole.startsWith('/') && !values.json)) await talk.say(whole)
        else if (!(await talk.command(whole))) break
      }
      if (isTerminal) lines.prompt()
    }
  } finally {
    process.off('SIGINT', onInterrupt)
    lines.close()
  }
}

async function run(values, [file, ...words], terminal) {
  const { loadModel } = require('../index.js')
  const { draft: draftFile, ...options } = generateOptions(values)
  const draft = draftFile ? await loadModel(draftFile, pick(values, ['threads'])) : undefined
  const model = await loadModel(file ?? DEMO, { ...loadOptions(values), draft })
  try {
    const chat = await openChat(model, values)
    const isTerminal = Boolean(process.stdin.isTTY && process.stdout.isTTY && !values.json)
    const talk = new Talk(chat, terminal, { values, options: file ? options : { maxTokens: 100, ...options }, isTerminal })
    if (chat.template.source === 'fallback') terminal.note("this model's file has no chat template: a simple one of chord takes its place")
    if (isTerminal) terminal.note('/help names the commands')
    if (words.length > 0) {
      const onInterrupt = () => talk.stop()
      process.on('SIGINT', onInterrupt)
      await talk.say(words.join(' '))
      process.off('SIGINT', onInterrupt)
    } else {
      await converse(talk, process.stdin, values)
    }
  } finally {
    await model.close()
    await draft?.close()
  }
}

module.exports = {
  name: 'chat',
  words: '[MODEL] [MESSAGE]',
  counts: { least: 0, most: Infinity },
  summary: 'A conversation, line by line; with MESSAGE, one answer. The demo model has little to say.',
  options: {
    system: { value: 'TEXT', help: 'the system prompt', read: text },
    template: { value: 'NAME', help: "one of the file's chat templates, or a text in Jinja (default: the file's)", read: text },
    restore: { value: 'FILE', help: 'goes on with a conversation that /save has saved', read: text },
    shift: { help: 'forget the oldest turns when the context is full' },
    ...GENERATION,
    ...LOAD_OPTIONS,
    stats: { help: 'tokens and speed of each answer, on standard error' },
  },
  run,
}
