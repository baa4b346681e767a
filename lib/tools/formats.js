'use strict'

const { alphanumeric, digits, free, json, list, many, mark, maybe, member, oneOf, seq, textMember } = require('./grammar.js')
const { parsed } = require('./scanner.js')

/*
 * The forms in which models write calls, a row each:
 *
 *   name                 of the row
 *   shows(template)      whether the text of a chat template shows this form; the first row that it does is taken
 *   answer(tools, how)   the grammar of a whole answer (grammar.js). how.calls: 'may' be, or 'must' be there and at once; how.isOne: of these there
 *                        is one; how.without: texts that free text does not hold besides
 *   read(scanner, tools) the answer as events (scanner.js)
 *   write(calls)         calls as a model writes them: for templates that take definitions of tools and no calls
 *   isWhole              the form is of every answer, also of one that calls nothing
 *   id(n, name)          of the n-th call of a conversation. Default: nine letters and digits, which every template takes
 *
 * A tool is { name, parameters }, a call { id, name, arguments }.
 */

const quoted = JSON.stringify

/** Any of the calls, one or as many as the model likes. */
const calls = (ways, separator, how) => (how.isOne ? oneOf(ways) : list(oneOf(ways), separator))

/** Free text, and at its end calls, which `begin` begins. */
const textThenCalls = (begin, all, how) => (how.calls === 'must' ? all : seq(free([begin, ...how.without]), maybe(all)))

const object = (value) => typeof value === 'object' && value !== null && !Array.isArray(value)

/** The events of calls { name, arguments } or { name, parameters }; false if a value is none. */
function takeCalls(scanner, values) {
  if (!Array.isArray(values) || values.length === 0) return false
  if (!values.every((value) => object(value) && typeof value.name === 'string')) return false
  for (const { name, id, arguments: args, parameters } of values) scanner.call(name, args ?? parameters ?? {}, id)
  return true
}

/** <tool_call>{"name": ..., "arguments": ...}</tool_call>: Hermes, Qwen 2.5 and 3, SmolLM3. */
const hermes = {
  name: 'hermes',
  shows: (template) => template.includes('<tool_call>') && !template.includes('<function=') && !template.includes('<arg_key>'),
  answer(tools, how) {
    const begin = mark('<tool_call>')
    const call = ({ name, parameters }) => seq(begin, `\n{"name": ${quoted(name)}, "arguments": `, json(parameters), '}\n', mark('</tool_call>'))
    return textThenCalls('<tool_call>', calls(tools.map(call), '\n', how), how)
  },
  *read(scanner) {
    for (let trim = true; yield* scanner.text('text', ['<tool_call>'], { trim }); trim = 'end') {
      const value = yield* scanner.json()
      yield* scanner.space()
      if (!(yield* scanner.accept('</tool_call>')) || !takeCalls(scanner, [value])) scanner.noCall()
    }
  },
  write: (calls) => calls.map(({ name, arguments: args }) => `<tool_call>\n{"name": ${quoted(name)}, "arguments": ${quoted(args)}}\n</tool_call>`).join('\n'),
}

const MOST_SCHEMAS = 500

/** What `$ref` points to within the schema `root`, or undefined. */
function target(ref, root) {
  if (!/^#(?:\/|$)/.test(ref)) return undefined
  try {
    const names = decodeURIComponent(ref).split('/').slice(1)
    return names.reduce((at, name) => at?.[name.replaceAll('~1', '/').replaceAll('~0', '~')], root)
  } catch {
    return undefined // it is no URI
  }
}

const typeOf = (value) => (value === null ? 'null' : typeof value)

/** The types that a schema within `root` takes, as far as it says; undefined if it does not. `known`: those of schemas on the way here. */
function typesOf(schema, root, known = new Map()) {
  if (!object(schema) || known.has(schema) || known.size > MOST_SCHEMAS) return known.get(schema)
  known.set(schema, undefined)
  const { type, $ref: ref, enum: values, allOf, anyOf, oneOf: branches } = schema
  const inner = (part) => typesOf(part, root, known)
  const ofAny = (parts) => {
    const each = Array.isArray(parts) ? parts.map(inner) : [undefined]
    return each.every(Boolean) ? each.flat() : undefined
  }
  const said = [
    type === undefined ? undefined : [type].flat(),
    Array.isArray(values) ? values.map(typeOf) : undefined,
    'const' in schema ? [typeOf(schema.const)] : undefined,
    typeof ref === 'string' ? inner(target(ref, root)) : undefined,
    ...(Array.isArray(allOf) ? allOf.map(inner) : []),
    ofAny(anyOf),
    ofAny(branches),
  ].filter(Boolean)
  if (said.length > 0) known.set(schema, said.reduce((types, others) => types.filter((each) => others.includes(each))))
  return known.get(schema)
}

/** Whether these are strings, and nothing else but perhaps null: such arguments are written without quotes in the forms that have a tag for each. */
const areText = (types) => types !== undefined && types.includes('string') && types.every((type) => type === 'string' || type === 'null')

const WORDS = { True: true, False: false, None: null }

/** The argument `key` of a tool as a tag holds it. */
function argument(text, tool, key) {
  const { properties = {} } = tool?.parameters ?? {}
  const types = Object.hasOwn(properties, key) ? typesOf(properties[key], tool.parameters) : undefined
  if (areText(types)) return text === 'null' && types.includes('null') ? null : text
  if (Object.hasOwn(WORDS, text.trim())) return WORDS[text.trim()]
  const value = parsed(text)
  return value === undefined ? text : value
}

/** The grammar of the argument `key` and of what closes its tag, whose text begins with `until`. */
const argumentForm = (parameters, key, until, end = until) =>
  seq((areText(typesOf(parameters.properties[key], parameters)) ? textMember : member)(parameters, key, until), end)

/** The parameters of a tool in their order, those that are not required at will. */
function argumentsForm(parameters, form) {
  const required = new Set(parameters.required)
  const parts = Object.keys(parameters.properties ?? {}).map((key) => {
    const part = form(key)
    return required.has(key) ? part : maybe(part)
  })
  return seq(...parts)
}

const toolOf = (tools, name) => tools.find((tool) => tool.name === name)

/** <tool_call><function=name><parameter=key>value</parameter></function></tool_call>: Qwen3-Coder, Qwen 3.5. */
const tags = {
  name: 'tags',
  shows: (template) => template.includes('<function=') && template.includes('<parameter='),
  answer(tools, how) {
    const call = ({ name, parameters }) =>
      seq(
        mark('<tool_call>'), `\n<function=${name}>\n`,
        argumentsForm(parameters, (key) => seq(`<parameter=${key}>\n`, argumentForm(parameters, key, '\n</parameter>'), '\n')),
        '</function>\n', mark('</tool_call>'),
      )
    return textThenCalls('<tool_call>', calls(tools.map(call), '\n', how), how)
  },
  *read(scanner, tools) {
    for (let trim = true; yield* scanner.text('text', ['<tool_call>'], { trim }); trim = 'end') {
      yield* scanner.space()
      const name = (yield* scanner.accept('<function=')) && (yield* scanner.upTo('>'))
      const args = {}
      for (;;) {
        yield* scanner.space()
        if (!(yield* scanner.accept('<parameter='))) break
        const key = yield* scanner.upTo('>\n')
        const value = yield* scanner.upTo('\n</parameter>')
        if (value !== null) args[key] = argument(value, toolOf(tools, name), key)
      }
      const isWhole = yield* scanner.accept('</function>')
      yield* scanner.space()
      if (name && isWhole && (yield* scanner.accept('</tool_call>'))) scanner.call(name, args)
      else scanner.noCall()
    }
  },
  write(calls) {
    const text = (value) => (typeof value === 'string' ? value : quoted(value))
    const part = ([key, value]) => `<parameter=${key}>\n${text(value)}\n</parameter>\n`
    const call = ({ name, arguments: args }) => `<tool_call>\n<function=${name}>\n${Object.entries(args).map(part).join('')}</function>\n</tool_call>`
    return calls.map(call).join('\n')
  },
}

/** <tool_call>name<arg_key>key</arg_key><arg_value>value</arg_value></tool_call>: GLM. */
const pairs = {
  name: 'pairs',
  shows: (template) => template.includes('<arg_key>') && template.includes('<arg_value>'),
  answer(tools, how) {
    const close = mark('</tool_call>')
    const end = '</arg_value>'
    const call = ({ name, parameters }) =>
      seq(
        mark('<tool_call>'), name, maybe('\n'),
        argumentsForm(parameters, (key) =>
          seq(mark('<arg_key>'), key, mark('</arg_key>'), maybe('\n'), mark('<arg_value>'), argumentForm(parameters, key, end, mark(end)), maybe('\n')),
        ),
        close,
      )
    return textThenCalls('<tool_call>', calls(tools.map(call), maybe('\n'), how), how)
  },
  *read(scanner, tools) {
    for (let trim = true; yield* scanner.text('text', ['<tool_call>'], { trim }); trim = 'end') {
      const name = (yield* scanner.before('<arg_key>', '</tool_call>'))?.trim()
      const args = {}
      for (;;) {
        yield* scanner.space()
        if (!(yield* scanner.accept('<arg_key>'))) break
        const key = yield* scanner.upTo('</arg_key>')
        yield* scanner.space()
        yield* scanner.accept('<arg_value>')
        const value = yield* scanner.upTo('</arg_value>')
        if (value !== null) args[key.trim()] = argument(value, toolOf(tools, name), key.trim())
      }
      if (name && (yield* scanner.accept('</tool_call>'))) scanner.call(name, args)
      else scanner.noCall()
    }
  },
  write(calls) {
    const text = (value) => (typeof value === 'string' ? value : quoted(value))
    const part = ([key, value]) => `<arg_key>${key}</arg_key><arg_value>${text(value)}</arg_value>`
    return calls.map(({ name, arguments: args }) => `<tool_call>${name}${Object.entries(args).map(part).join('')}</tool_call>`).join('\n')
  },
}

/** [TOOL_CALLS][{"name": ..., "arguments": ...}, ...]: Mistral, Nemo. `begin` is the token; Granite 3 has another one. */
const listed = (name, begin, shows) => ({
  name,
  shows,
  answer(tools, how) {
    const id = seq(', "id": "', alphanumeric(9), '"')
    const call = ({ name: tool, parameters }) => seq(`{"name": ${quoted(tool)}, "arguments": `, json(parameters), maybe(id), '}')
    const all = seq(mark(begin), maybe(' '), '[', calls(tools.map(call), ', ', how), ']')
    return textThenCalls(begin, all, how)
  },
  *read(scanner) {
    for (let trim = true; yield* scanner.text('text', [begin], { trim }); trim = 'end') {
      if (!takeCalls(scanner, yield* scanner.json())) scanner.noCall()
    }
  },
  write: (calls) => `${begin}[${calls.map(({ name: tool, arguments: args }) => `{"name": ${quoted(tool)}, "arguments": ${quoted(args)}}`).join(', ')}]`,
})

const mistralList = listed('mistral', '[TOOL_CALLS]', (template) => template.includes('[TOOL_CALLS]'))
const granite = listed('granite', '<|tool_call|>', (template) => template.includes('<|tool_call|>'))

/** [TOOL_CALLS]name[ARGS]{...}: Mistral from Small 3.2, Magistral and Devstral on. */
const mistral = {
  name: 'mistral-args',
  shows: (template) => template.includes('[TOOL_CALLS]') && template.includes('[ARGS]'),
  answer(tools, how) {
    const id = seq(mark('[CALL_ID]'), alphanumeric(9))
    const call = ({ name, parameters }) => seq(mark('[TOOL_CALLS]'), name, maybe(id), mark('[ARGS]'), json(parameters))
    return textThenCalls('[TOOL_CALLS]', calls(tools.map(call), '', how), how)
  },
  *read(scanner) {
    for (let trim = true; yield* scanner.text('text', ['[TOOL_CALLS]'], { trim }); trim = 'end') {
      const [name, id] = ((yield* scanner.upTo('[ARGS]')) ?? '').split('[CALL_ID]')
      const args = yield* scanner.json()
      if (name && object(args)) scanner.call(name.trim(), args, id?.trim())
      else scanner.noCall()
    }
  },
  write: (calls) => calls.map(({ name, arguments: args }) => `[TOOL_CALLS]${name}[ARGS]${quoted(args)}`).join(''),
}

/** {"name": ..., "parameters": ...} as the whole answer: Llama 3. One call in an answer, as its templates take it. */
const llama = {
  name: 'llama3',
  shows: (template) => template.includes('<|python_tag|>') || template.includes('{"name": function name, "parameters"'),
  answer(tools, how) {
    const call = ({ name, parameters }) => seq(`{"name": ${quoted(name)}, "parameters": `, json(parameters), '}')
    const all = seq(maybe(mark('<|python_tag|>')), oneOf(tools.map(call)))
    return how.calls === 'must' ? all : oneOf([free(how.without, ['{"name"', '<|python_tag|>']), all])
  },
  *read(scanner) {
    scanner.begin()
    yield* scanner.space()
    yield* scanner.accept('<|python_tag|>')
    yield* scanner.space()
    const isCall = (yield* scanner.comes('{"name"')) && takeCalls(scanner, [yield* scanner.json()])
    if (!isCall) scanner.noCall()
    yield* scanner.text('text', [], { trim: isCall && 'end' })
  },
  write: ([{ name, arguments: args }]) => `{"name": ${quoted(name)}, "parameters": ${quoted(args)}}`,
}

/**
 * Messages in channels: gpt-oss. `analysis` is reasoning, `final` the text, calls are messages of the channel `commentary` to a function;
 * one in an answer, which it ends.
 */
const harmony = {
  name: 'harmony',
  isWhole: true,
  shows: (template) => template.includes('<|channel|>') && template.includes('<|message|>'),
  answer(tools, how) {
    const channel = (name) => seq(mark('<|channel|>'), name)
    const message = mark('<|message|>')
    const next = seq(mark('<|end|>'), mark('<|start|>'), 'assistant')
    const text = free(['<|channel|>', '<|message|>', '<|start|>', '<|end|>', '<|return|>', '<|call|>'])
    const analysis = seq(channel('analysis'), message, text, next)
    const preamble = seq(channel('commentary'), message, text, next)
    const form = oneOf([seq(' ', mark('<|constrain|>'), 'json'), ' json', ''])
    const call = ({ name, parameters }) => {
      const to = ` to=functions.${name}`
      return seq(oneOf([seq(channel('commentary'), to), seq(to, channel('commentary'))]), form, message, json(parameters))
    }
    const all = oneOf(tools.map(call))
    if (how.calls === 'must') return seq(maybe(analysis), all)
    return seq(many(oneOf([analysis, preamble])), oneOf([seq(channel('final'), message, text), all]))
  },
  *read(scanner) {
    for (;;) {
      scanner.begin()
      const header = yield* scanner.upTo('<|message|>')
      if (header === null) return
      const [, name] = /to=functions\.([^\s<]+)/.exec(header) ?? []
      if (name) {
        const args = yield* scanner.json()
        if (object(args)) scanner.call(name, args)
        else scanner.noCall()
        return
      }
      const type = /<\|channel\|>\s*analysis/.test(header) ? 'reasoning' : 'text'
      if (!(yield* scanner.text(type, ['<|end|>', '<|return|>', '<|call|>']))) return
    }
  },
  write: ([{ name, arguments: args }]) => `<|channel|>commentary to=functions.${name} <|constrain|>json<|message|>${quoted(args)}`,
}

/** DeepSeek: V3 and R1 fence the arguments, V3.1 has them as they are. */
const deepseek = ({ name, shows, before, between, after }) => {
  const [begin, end] = ['<｜tool▁calls▁begin｜>', '<｜tool▁calls▁end｜>']
  const [open, separator, close] = ['<｜tool▁call▁begin｜>', '<｜tool▁sep｜>', '<｜tool▁call▁end｜>']
  const head = before === '' ? [mark(open)] : [mark(open), before, mark(separator)]
  const middle = before === '' ? [mark(separator)] : [between]
  return {
    name,
    shows,
    answer(tools, how) {
      const call = ({ name: tool, parameters }) => seq(...head, tool, ...middle, json(parameters), after, mark(close))
      return textThenCalls(begin, seq(mark(begin), calls(tools.map(call), maybe('\n'), how), mark(end)), how)
    },
    *read(scanner) {
      for (let trim = true; yield* scanner.text('text', [begin], { trim }); trim = 'end') {
        while ((yield* scanner.space()), yield* scanner.accept(open)) {
          const type = before === '' ? '' : yield* scanner.upTo(separator)
          const tool = yield* scanner.upTo(before === '' ? separator : between)
          const args = type === null || tool === null ? undefined : yield* scanner.json()
          const isWhole = args !== undefined && (yield* scanner.upTo(close)) !== null
          if (isWhole && object(args)) scanner.call(tool.trim(), args)
          else scanner.noCall()
        }
        yield* scanner.accept(end)
      }
    },
    write(calls) {
      const [first, second] = before === '' ? [open, separator] : [`${open}${before}${separator}`, between]
      const call = ({ name: tool, arguments: args }) => `${first}${tool}${second}${quoted(args)}${after}${close}`
      return `${begin}${calls.map(call).join(before === '' ? '' : '\n')}${end}`
    },
  }
}

const showsDeepseek = (template) => template.includes('<｜tool▁calls▁begin｜>')
const deepseekFenced = deepseek({
  name: 'deepseek', before: 'function', between: '\n```json\n', after: '\n```',
  shows: (template) => showsDeepseek(template) && template.includes('```json'),
})
const deepseekPlain = deepseek({ name: 'deepseek-v3.1', before: '', between: '', after: '', shows: showsDeepseek })

/** <|tool_call_begin|>functions.name:0<|tool_call_argument_begin|>{...}<|tool_call_end|> in a section: Kimi K2. */
const kimi = {
  name: 'kimi',
  shows: (template) => template.includes('<|tool_calls_section_begin|>'),
  answer(tools, how) {
    const call = ({ name, parameters }) =>
      seq(mark('<|tool_call_begin|>'), `functions.${name}:`, digits, mark('<|tool_call_argument_begin|>'), json(parameters), mark('<|tool_call_end|>'))
    const all = seq(mark('<|tool_calls_section_begin|>'), calls(tools.map(call), '', how), mark('<|tool_calls_section_end|>'))
    return textThenCalls('<|tool_calls_section_begin|>', all, how)
  },
  *read(scanner) {
    for (let trim = true; yield* scanner.text('text', ['<|tool_calls_section_begin|>'], { trim }); trim = 'end') {
      while ((yield* scanner.space()), yield* scanner.accept('<|tool_call_begin|>')) {
        const id = yield* scanner.upTo('<|tool_call_argument_begin|>')
        const args = id === null ? undefined : yield* scanner.json()
        const [, name] = /^(?:functions\.)?(.+?)(?::\d+)?$/.exec((id ?? '').trim()) ?? []
        yield* scanner.space()
        if (name && object(args) && (yield* scanner.accept('<|tool_call_end|>'))) scanner.call(name, args, id.trim())
        else scanner.noCall()
      }
      yield* scanner.accept('<|tool_calls_section_end|>')
    }
  },
  write(calls) {
    const call = ({ name, arguments: args }, i) =>
      `<|tool_call_begin|>functions.${name}:${i}<|tool_call_argument_begin|>${quoted(args)}<|tool_call_end|>`
    return `<|tool_calls_section_begin|>${calls.map(call).join('')}<|tool_calls_section_end|>`
  },
  id: (n, name) => `functions.${name}:${n}`,
}

/** {"tool_calls": [{"name": ..., "arguments": ...}]} as the whole answer: for templates that know nothing of tools. */
const generic = {
  name: 'json',
  shows: () => true,
  answer(tools, how) {
    const call = ({ name, parameters }) => seq(`{"name": ${quoted(name)}, "arguments": `, json(parameters), '}')
    const all = seq('{"tool_calls": [', calls(tools.map(call), ', ', how), ']}')
    return how.calls === 'must' ? all : oneOf([free(how.without, ['{"tool_calls"']), all])
  },
  *read(scanner) {
    scanner.begin()
    yield* scanner.space()
    const isCall = (yield* scanner.comes('{"tool_calls"')) && takeCalls(scanner, (yield* scanner.json())?.tool_calls)
    if (!isCall) scanner.noCall()
    yield* scanner.text('text', [], { trim: isCall && 'end' })
  },
  write: (calls) => `{"tool_calls": [${calls.map(({ name, arguments: args }) => `{"name": ${quoted(name)}, "arguments": ${quoted(args)}}`).join(', ')}]}`,
}

const FORMATS = [harmony, kimi, deepseekFenced, deepseekPlain, pairs, tags, mistral, mistralList, granite, llama, hermes, generic]

/** The row whose form a template shows. */
const formatOf = (template) => FORMATS.find((format) => format.shows(template))

module.exports = { FORMATS, formatOf, generic }
