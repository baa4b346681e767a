'use strict'

// The chat template of a model: which one it is, and what it makes of messages.

const { ChordError } = require('../errors.js')
const { invalid } = require('../validate.js')
const { renderer } = require('./renderer.js')

const CHATML = `{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}`

const PLAIN = `{% for message in messages %}
{%- if message.role == 'system' %}{{ message.content + '\\n\\n' }}
{%- elif message.role == 'user' %}{{ 'User: ' + message.content + '\\n' }}
{%- else %}{{ 'Assistant: ' + (message.content | trim) + '\\n' }}
{%- endif %}{% endfor %}
{%- if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}`

const isOneToken = (tokenizer, text) => tokenizer.tokenize(text, { special: true, bos: false }).length === 1
const nameOf = (tokenizer, id) => (id === null ? '' : tokenizer.detokenize([id], { special: true }))

/** For a file without one: { text, stop }. `stop` ends answers of a model that knows no end of a turn. */
const fallbackFor = (tokenizer) =>
  isOneToken(tokenizer, '<|im_start|>') && isOneToken(tokenizer, '<|im_end|>') ? { text: CHATML, stop: [] } : { text: PLAIN, stop: ['\nUser:'] }

/**
 * What `wanted` names among the templates of a file (a Map of texts by name, '' being the default): { name, source, text, stop }. `wanted` is
 * a name, the text of a template, or undefined; then `preferred` is taken if there is one of that name.
 */
function chooseTemplate(templates, tokenizer, wanted, preferred) {
  if (wanted !== undefined && /[{\n]/.test(wanted)) return { name: null, source: 'option', text: wanted, stop: [] }
  const name = wanted === undefined ? (templates.has(preferred) ? preferred : '') : wanted === 'default' ? '' : wanted
  if (templates.has(name)) return { name: name === '' ? 'default' : name, source: 'file', text: templates.get(name), stop: [] }
  if (wanted !== undefined) {
    const there = [...templates.keys()].map((key) => `'${key === '' ? 'default' : key}'`)
    throw invalid(`option 'template': the model's file has no chat template '${wanted}': there ${there.length === 0 ? 'is none' : `${there.length === 1 ? 'is' : 'are'} ${there.join(', ')}`}`)
  }
  return { name: null, source: 'fallback', ...fallbackFor(tokenizer) }
}

// ---- Marks ------------------------------------------------------------------------------------------------------------

const NAMES = new Set(['role', 'type', 'id', 'tool_call_id'])

/** A copy in which `change` has been applied to every string but those that are no text of anyone's. */
function mapTexts(value, change) {
  if (typeof value === 'string') return change(value)
  if (Array.isArray(value)) return value.map((item) => mapTexts(item, change))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, NAMES.has(key) ? item : mapTexts(item, change)]))
}

function textsOf(value) {
  const found = []
  mapTexts(value, (text) => (found.push(text), text))
  return found
}

/** A character of the private use area that occurs nowhere in `texts`. */
function unusedMark(texts) {
  for (let code = 0xe000; code < 0xf900; code++) {
    const mark = String.fromCharCode(code)
    if (!texts.some((text) => text.includes(mark))) return mark
  }
  return null
}

/** A mark between any two characters that are no blanks, and behind the last: so blanks at the ends can still be taken away. */
const marked = (mark) => (text) => text.replace(/\S(?=\S|\s*$)/gu, (character) => character + mark)

/** The text without its marks, and where they were: offsets of UTF-16 units. */
function unmark(text, mark) {
  const parts = text.split(mark)
  const cuts = []
  let at = 0
  for (const part of parts.slice(0, -1)) {
    at += part.length
    if (cuts.at(-1) !== at) cuts.push(at)
  }
  return { text: parts.join(''), cuts }
}

// ---- Rendering --------------------------------------------------------------------------------------------------------

/** As templates know it: the reasoning of an answer goes by the name that most of them use. */
function toTemplate({ reasoning, ...message }) {
  return reasoning === undefined ? message : { ...message, reasoning_content: reasoning, thinking: reasoning }
}

/**
 * What stands for tools or documents where there are none: templates that ask whether they are `none` mean what Python passes then; those that
 * just go through them get an empty list; to all others they are undefined.
 */
function absent(source, name) {
  const has = (pattern) => new RegExp(pattern.replaceAll('NAME', name), 'i').test(source)
  if (has('\\bNAME\\s+is\\s+(not\\s+)?defined\\b')) return {}
  if (has('\\bNAME\\s+is\\s+(not\\s+)?none\\b|\\bNAME\\s*[!=]=\\s*none\\b')) return { [name]: null }
  return has('\\b(if|and|or|not)\\s+\\(?NAME\\b') ? {} : { [name]: [] }
}

class ChatTemplate {
  #tokenizer
  #choice
  #special

  /** `tokenizer`: a model's; `choice`: of chooseTemplate(). */
  constructor(tokenizer, choice) {
    const { bos, eos, unknown, padding } = tokenizer.info
    this.#tokenizer = tokenizer
    this.#choice = choice
    this.#special = {
      bos_token: nameOf(tokenizer, bos),
      eos_token: nameOf(tokenizer, eos),
      unk_token: nameOf(tokenizer, unknown),
      pad_token: nameOf(tokenizer, padding),
    }
  }

  get info() {
    const { name, source, text } = this.#choice
    return { name, source, text }
  }

  get text() {
    return this.#choice.text
  }

  /** What ends an answer, where the model has no token for it. */
  get stop() {
    return this.#choice.stop
  }

  /**
   * { text, cuts, isParsed }: no special token may reach across one of `cuts` (offsets in `text`), so that what messages say stays
   * text. `isParsed`: the template changes the messages' words so much that this could not be had; what looks like a control token in them is one.
   * `tools` and `documents` are as templates take them; `variables` are more of them.
   */
  async render(messages, { addGenerationPrompt = true, tools, documents, variables } = {}) {
    const { text: source } = this.#choice
    const words = { messages: messages.map(toTemplate), ...(documents ? { documents } : absent(source, 'documents')) }
    const rest = { ...this.#special, add_generation_prompt: addGenerationPrompt, ...(tools ? { tools } : absent(source, 'tools')), ...variables }
    const text = await renderer.render(source, { ...words, ...rest })
    if (!(await this.#holdsControls(words))) return { text, cuts: [], isParsed: false }
    const mark = unusedMark([text, ...textsOf(words)])
    const again = mark === null ? null : await renderer.render(source, { ...mapTexts(words, marked(mark)), ...rest }).catch(notOfTemplate)
    const found = again === null ? null : unmark(again, mark)
    return found?.text === text ? { text, cuts: found.cuts, isParsed: false } : { text, cuts: [], isParsed: true }
  }

  /** Whether control tokens are written out in the words of messages; also across two texts that a template may join. */
  async #holdsControls(words) {
    const texts = textsOf(words)
    const seams = texts.slice(1).map((text, i) => texts[i].slice(-SEAM) + text.slice(0, SEAM))
    for (const text of [...texts, seams.join('\n')]) {
      if (await this.#tokenizer.holdsControls(text)) return true
    }
    return false
  }
}

const SEAM = 64

function notOfTemplate(error) {
  if (error instanceof ChordError && error.code === 'CHAT_TEMPLATE') return null
  throw error
}

module.exports = { ChatTemplate, chooseTemplate }
