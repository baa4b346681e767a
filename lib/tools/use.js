'use strict'

const { ChordError } = require('../errors.js')
const { compileGrammar } = require('../grammar.js')
const { choose } = require('./definitions.js')
const { formOf, free, mark, maybe, oneOf, seq } = require('./grammar.js')
const { CallSplitter } = require('./splitter.js')
const { callId, shape } = require('./template.js')

// The special tokens that forms are made of.
const MARKS = [
  '<tool_call>', '</tool_call>', '<arg_key>', '</arg_key>', '<arg_value>', '</arg_value>', '[TOOL_CALLS]', '[ARGS]', '[CALL_ID]', '<|tool_call|>', '<|python_tag|>',
  '<|channel|>', '<|message|>', '<|constrain|>', '<|start|>', '<|end|>', '<｜tool▁calls▁begin｜>', '<｜tool▁calls▁end｜>', '<｜tool▁call▁begin｜>', '<｜tool▁call▁end｜>',
  '<｜tool▁sep｜>', '<|tool_calls_section_begin|>', '<|tool_calls_section_end|>', '<|tool_call_begin|>', '<|tool_call_argument_begin|>', '<|tool_call_end|>',
]

/** The option of a generation that holds the grammar of its text: no caller's, so it is a symbol. */
const FORM = Symbol('form')

const known = new WeakMap() // tokenizer -> Map of mark -> id or null

/** The id of a mark that is a token of the vocabulary and shows no text, or null. */
function hiddenToken(tokenizer, mark) {
  if (!known.has(tokenizer)) known.set(tokenizer, new Map())
  const ids = known.get(tokenizer)
  if (!ids.has(mark)) {
    const tokens = tokenizer.tokenize(mark, { special: true, bos: false })
    ids.set(mark, tokens.length === 1 && tokenizer.detokenize(tokens) === '' ? tokens[0] : null)
  }
  return ids.get(mark)
}

/** The grammar of an answer of a model that may think before: `isOpen` if it is already at it. Calls in its thoughts are none. */
function afterThought(answer, { open, close }, isOpen) {
  const thought = seq(free([open, close]), mark(close), maybe('\n'), maybe('\n'), answer)
  return isOpen ? thought : oneOf([answer, seq(maybe('\n'), mark(open), thought)])
}

/** How the tools of one answer are offered, called and read. */
class ToolUse {
  #protocol
  #tokenizer
  #tools
  #isOne
  #chosen // { callable, calls }, or null
  #ids = new Set() // of the calls in the conversation

  /** `protocol`: of protocolOf(), or null where there are no tools; `tools` and `choice`: as definitions.js checks them; `isOne`: one call in an answer. */
  constructor(where, protocol, { tools, choice, isOne = false }, tokenizer) {
    this.#protocol = protocol
    this.#tokenizer = tokenizer
    this.#tools = tools
    this.#isOne = isOne
    this.#chosen = choose(where, tools, choice)
  }

  /** { messages, tools }: the conversation as the template takes it, and the definitions that it is given. */
  shape(messages) {
    this.#ids = new Set(messages.flatMap(({ toolCalls = [] }) => toolCalls.map(({ id }) => id)))
    return this.#protocol ? shape(this.#protocol, messages, this.#tools) : { messages }
  }

  /** The grammar of an answer, as JSON; null if it is free. `block`: the marks of reasoning, or null; `isOpen`: it has begun. */
  grammar(block, isOpen) {
    if (!this.#chosen) return null
    const { format } = this.#protocol
    const thinks = block && !format.isWhole
    const { callable, calls } = this.#chosen
    const answer = format.answer(callable, { calls, isOne: this.#isOne, without: thinks ? [block.open, block.close] : [] })
    return JSON.stringify(formOf(thinks ? afterThought(answer, block, isOpen) : answer, (text) => hiddenToken(this.#tokenizer, text)))
  }

  /** An error of the grammar, as one that names the tool whose parameters it is about. */
  async located(error) {
    if (error.code !== 'INVALID_ARGUMENT' || !/^schema\b/.test(error.message)) return error
    for (const { name, parameters } of this.#chosen.callable) {
      const own = await compileGrammar('form', JSON.stringify({ rules: [], root: { schema: parameters } })).catch((reason) => reason)
      if (own.message === error.message) return new ChordError(`tool '${name}', parameters: ${error.message}`, { code: error.code, cause: error })
    }
    return error
  }

  /** For a call of `name`; `given`: of the model's text, if it has one. */
  #newId(name, given) {
    if (given !== undefined && !this.#ids.has(given)) {
      this.#ids.add(given)
      return given
    }
    let n = this.#ids.size
    while (this.#ids.has(callId(this.#protocol.format, n, name))) n++
    const id = callId(this.#protocol.format, n, name)
    this.#ids.add(id)
    return id
  }

  /** The reader of an answer to what was last shaped; `inner`: that of reasoning. */
  splitter(inner) {
    if (!this.#protocol) return inner
    const { format } = this.#protocol
    const marks = new Map(MARKS.map((text) => [hiddenToken(this.#tokenizer, text), text]).filter(([token]) => token !== null))
    return new CallSplitter({ format, tools: this.#tools, marks, inner, idOf: (...call) => this.#newId(...call) })
  }
}

module.exports = { FORM, ToolUse }
