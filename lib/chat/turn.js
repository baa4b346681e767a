'use strict'

// One answer: the prompt of a conversation, and what is said to it.

const { ChordError } = require('../errors.js')
const { formatOf } = require('../tools/formats.js')
const { protocolOf } = require('../tools/template.js')
const { FORM, ToolUse } = require('../tools/use.js')
const { ChatTemplate, chooseTemplate } = require('./template.js')
const { findBlock, isOpen, splitterOf } = require('./reasoning.js')
const { assemble, recordOf } = require('./tokens.js')

const PARSED = 'the chat template changes the words of messages, so that what looks like a control token in them became one'

/**
 * A way to speak with a model: its template, and the marks of reasoning.
 *
 * `host`, what chats need of a Model: { info, tokenizer, templates, openSession(), restoreSession(), generate(tokens, options), assertOpen() }.
 */
class Speaker {
  #host
  #block
  #spoken = null // promise of what tools need to know

  constructor(host, { template, preferred } = {}) {
    this.#host = host
    this.template = new ChatTemplate(host.tokenizer, chooseTemplate(host.templates, host.tokenizer, template, preferred))
    this.#block = this.#blockOf(findBlock(this.template.text))
  }

  #blockOf(block) {
    if (!block) return null
    const hidden = (mark) => {
      const tokens = this.#host.tokenizer.tokenize(mark, { special: true, bos: false })
      return tokens.length === 1 && this.#host.tokenizer.detokenize(tokens) === '' ? tokens[0] : null
    }
    return { ...block, openToken: hidden(block.open), closeToken: hidden(block.close) }
  }

  /**
   * How `tools` are used by an answer in a conversation. `where` is for messages, `choice` the option
   * toolChoice, `isOne` to have one call in an answer.
   */
  async toolUse(where, entries, tools = [], { choice, isOne } = {}) {
    const hasCalls = entries.some(({ message }) => message.toolCalls?.length > 0 || message.toolCallId !== undefined)
    if (tools.length === 0 && !hasCalls && !formatOf(this.template.text).isWhole) return new ToolUse(where, null, { tools, choice })
    this.#spoken ??= protocolOf(async (messages, definitions) => (await this.template.render(messages, { tools: definitions })).text, this.template.text)
    return new ToolUse(where, await this.#spoken, { tools, choice, isOne }, this.#host.tokenizer)
  }

  /** { text, tokens, warnings } of entries { message, record }; `render` are the options of ChatTemplate.render(). */
  async prompt(entries, render, use) {
    const { messages, tools } = use.shape(entries.map(({ message }) => message))
    const rendered = await this.template.render(messages, { ...render, tools })
    const records = entries.flatMap(({ record }) => record ?? [])
    const tokens = await assemble(this.#host.tokenizer, rendered, records)
    return { text: rendered.text, tokens, warnings: rendered.isParsed ? [PARSED] : [] }
  }

  /** prompt(), which must leave room for an answer: else CONTEXT_FULL. */
  async fittingPrompt(entries, render, use) {
    const prompt = await this.prompt(entries, render, use)
    if (prompt.tokens.length >= this.#host.info.context) throw this.contextFull(prompt.tokens.length)
    return prompt
  }

  contextFull(n) {
    return new ChordError(
      `the conversation has ${n} tokens, and the context of ${this.#host.info.context} has no room for an answer to it: take messages back, begin anew, ` +
        "load the model with a larger `context`, or make the chat with overflow: 'shift', which forgets its oldest turns",
      { code: 'CONTEXT_FULL' },
    )
  }

  /**
   * Has `generate(tokens, options)` answer a prompt, and emits the events. { result, text, reasoning, toolCalls, record }: `result` is that of
   * the generation, `reasoning` undefined where there was none.
   */
  async answer(prompt, generate, options, { emit, onCancel }, use) {
    const stop = [...this.template.stop, ...[options.stop ?? []].flat()]
    const { signal, ...rest } = options // the answer's own
    const form = use.grammar(this.#block, isOpen(this.#block, prompt.text))
    const generation = generate(prompt.tokens, { ...rest, ...(stop.length > 0 && { stop }), ...(form && { [FORM]: form }) })
    const splitter = use.splitter(splitterOf(this.#block, prompt.text))
    const said = { text: '', reasoning: undefined, toolCalls: [] }
    const take = (event) => {
      if (event.type === 'toolCall') said.toolCalls.push(event.toolCall)
      else said[event.type] = (said[event.type] ?? '') + event.text
      emit(event)
    }
    onCancel(() => generation.cancel())
    try {
      for await (const event of generation.events()) splitter.push(event).forEach(take)
    } catch (error) {
      throw form ? await use.located(error) : error
    }
    splitter.end().forEach(take)
    const result = await generation
    onCancel(null)
    const record = result.tokens.length > 0 ? recordOf(prompt, result.tokens) : null
    return { result, text: said.text, reasoning: said.reasoning?.trim(), toolCalls: said.toolCalls, record }
  }
}

/** What an answer resolves with. */
function answerResult({ result, text, reasoning, toolCalls }, message, more) {
  const finishReason = toolCalls.length > 0 && result.finishReason === 'stop' ? 'toolCalls' : result.finishReason
  return { ...result, finishReason, text, ...(reasoning === undefined ? {} : { reasoning }), message, ...more }
}

/** The message of what was said. */
const messageOf = ({ text, reasoning, toolCalls }) => ({
  role: 'assistant',
  content: text,
  ...(reasoning === undefined ? {} : { reasoning }),
  ...(toolCalls.length === 0 ? {} : { toolCalls }),
})

module.exports = { Speaker, answerResult, messageOf }
