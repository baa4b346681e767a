'use strict'

// The forms of calls: what is read does not depend on where the text was cut, what is written is read again, and every answer
// that has one of them is of its grammar.

const assert = require('node:assert')
const fs = require('node:fs')
const path = require('node:path')
const { test } = require('node:test')
const { FORMATS, formatOf } = require('../../lib/tools/formats.js')
const { formOf } = require('../../lib/tools/grammar.js')
const { Scanner } = require('../../lib/tools/scanner.js')
const { protocolOf, shape } = require('../../lib/tools/template.js')
const { CHAT, testWith } = require('./helpers.js')

const TOOLS = [
  {
    name: 'read_file',
    parameters: {
      type: 'object',
      properties: {
        path: { type: 'string' },
        lines: { type: 'integer' },
        tail: { type: 'boolean' },
        options: { type: 'object' },
        mode: { enum: ['text', 'lines'] },
      },
      required: ['path'],
    },
  },
  { name: 'now', parameters: { type: 'object', properties: {} } },
]

// Beside them one that not every template can tell of.
const READ = [...TOOLS, { name: 'send', parameters: { properties: { to: { anyOf: [{ $ref: '#/$defs/name' }, { type: 'null' }] } }, $defs: { name: { type: 'string' } } } }]

const rowOf = (name) => FORMATS.find((format) => format.name === name)

/** The events of a text that comes in these pieces, neighbours of one kind joined. */
function read(format, pieces) {
  const scanner = new Scanner((each) => format.read(each, READ))
  const events = []
  for (const event of [...pieces.flatMap((piece) => scanner.push(piece)), ...scanner.end()]) {
    const last = events.at(-1)
    if (event.type !== 'toolCall' && last?.type === event.type) last.text += event.text
    else events.push({ ...event })
  }
  return events
}

/** The events of a text, the same however it is cut in two and character by character. */
function readAnyhow(format, text) {
  const events = read(format, [text])
  for (let i = 1; i < text.length; i++) assert.deepStrictEqual(read(format, [text.slice(0, i), text.slice(i)]), events, `cut at ${i}`)
  assert.deepStrictEqual(read(format, [...text]), events)
  return events
}

const text = (value) => ({ type: 'text', text: value })
const reasoning = (value) => ({ type: 'reasoning', text: value })
const call = (name, args, id) => ({ type: 'toolCall', name, arguments: args, ...(id && { id }) })

// What models write, by the cards and templates of their families.
const ANSWERS = [
  ['hermes', 'I look.\n\n<tool_call>\n{"name": "read_file", "arguments": {"path": "a </tool_call> \\"b\\" }"}}\n</tool_call>\n<tool_call>\n{"name":"now","arguments":{}}\n</tool_call>\n', [text('I look.'), call('read_file', { path: 'a </tool_call> "b" }' }), call('now', {})]],
  ['hermes', 'No <tool_cal is no call. ', [text('No <tool_cal is no call. ')]],
  ['hermes', '<tool_call>\nno JSON</tool_call> x', [text('<tool_call>\nno JSON</tool_call> x')]],
  ['hermes', 'a<tool_call>\n{"name": "now", "argu', [text('a')]],
  ['tags', 'So:\n<tool_call>\n<function=read_file>\n<parameter=path>\na\n\n"b" </parameter>\n</parameter>\n<parameter=lines>\n12\n</parameter>\n<parameter=tail>\nTrue\n</parameter>\n<parameter=options>\n{"x": [1]}\n</parameter>\n</function>\n</tool_call>', [text('So:'), call('read_file', { path: 'a\n\n"b" </parameter>', lines: 12, tail: true, options: { x: [1] } })]],
  ['tags', '<tool_call>\n<function=now>\n</function>\n</tool_call>\n<tool_call>\n<function=read_file>\n<parameter=path>\n12\n</parameter>\n</function>\n</tool_call>', [call('now', {}), call('read_file', { path: '12' })]],
  ['tags', '<tool_call>\n<function=read_file>\n<parameter=path>\nnull\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=send>\n<parameter=to>\nnull\n</parameter>\n</function>\n</tool_call>', [call('read_file', { path: 'null' }), call('send', { to: null })]],
  ['pairs', '<tool_call>send<arg_key>to</arg_key><arg_value>12</arg_value></tool_call>', [call('send', { to: '12' })]],
  ['pairs', 'Hm.<tool_call>read_file\n<arg_key>path</arg_key>\n<arg_value>12</arg_value>\n<arg_key>lines</arg_key>\n<arg_value>12</arg_value>\n</tool_call>\n<tool_call>now</tool_call>', [text('Hm.'), call('read_file', { path: '12', lines: 12 }), call('now', {})]],
  ['mistral', '[TOOL_CALLS] [{"name": "read_file", "arguments": {"path": "]"}, "id": "abcdef123"}, {"name": "now", "arguments": {}}]', [call('read_file', { path: ']' }, 'abcdef123'), call('now', {})]],
  ['mistral-args', 'Yes. [TOOL_CALLS]read_file[ARGS]{"path": "[TOOL_CALLS]"}[TOOL_CALLS]now[CALL_ID]abcdef123[ARGS]{}', [text('Yes.'), call('read_file', { path: '[TOOL_CALLS]' }), call('now', {}, 'abcdef123')]],
  ['granite', '<|tool_call|>[{"name": "now", "arguments": {}}]', [call('now', {})]],
  ['llama3', '{"name": "read_file", "parameters": {"path": "a"}}', [call('read_file', { path: 'a' })]],
  ['llama3', ' <|python_tag|>{"name": "now", "parameters": {}}\n', [call('now', {})]],
  ['llama3', '{"na": 1} is no call\n', [text('{"na": 1} is no call\n')]],
  ['harmony', '<|channel|>analysis<|message|>I think <b>.<|end|><|start|>assistant<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>commentary to=functions.read_file <|constrain|>json<|message|>{"path": "<|call|>"}<|call|>', [reasoning('I think <b>.'), text('I look.'), call('read_file', { path: '<|call|>' })]],
  ['harmony', ' to=functions.now<|channel|>commentary json<|message|>{}', [call('now', {})]],
  ['harmony', '<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hello. \n<|return|>', [reasoning('Hm.'), text('Hello. \n')]],
  ['deepseek', 'Ok.\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>read_file\n```json\n{"path": "```"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>', [text('Ok.'), call('read_file', { path: '```' }), call('now', {})]],
  ['deepseek-v3.1', '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>read_file<｜tool▁sep｜>{"path": "a"}<｜tool▁call▁end｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>', [call('read_file', { path: 'a' }), call('now', {})]],
  ['kimi', 'Ok <|tool_calls_section_begin|><|tool_call_begin|>functions.now:3<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>', [text('Ok'), call('now', {}, 'functions.now:3')]],
  ['json', '{"tool_calls": [{"name": "now", "arguments": {}}, {"name": "read_file", "arguments": {"path": "a"}}]}\n', [call('now', {}), call('read_file', { path: 'a' })]],
  ['json', '{"tool_cal', [text('{"tool_cal')]],
  ['json', '\nPlain text, {"tool_calls": []}', [text('\nPlain text, {"tool_calls": []}')]],
]

for (const [name, answer, events] of ANSWERS) {
  test(`${name}: ${JSON.stringify(answer.slice(0, 40))} is read however it is cut`, () => {
    assert.deepStrictEqual(readAnyhow(rowOf(name), answer), events)
  })
}

for (const format of FORMATS) {
  test(`${format.name}: what is written is read`, () => {
    const isOne = ['harmony', 'llama3'].includes(format.name)
    const calls = [{ name: 'read_file', arguments: { path: '"a" {\\\n[', lines: -3, tail: false, options: { x: [1, { y: '}' }] }, mode: 'lines' } }]
    if (!isOne) calls.push({ name: 'now', arguments: {} })
    const events = readAnyhow(format, format.write(calls))
    assert.deepStrictEqual(events.map(({ type, id, ...rest }) => rest), calls)
  })

  test(`${format.name}: a call that the end cuts off is neither call nor text`, () => {
    const written = format.write([{ name: 'read_file', arguments: { path: 'a' } }])
    const begin = written.indexOf('read_file')
    for (let end = begin; end < written.length; end++) {
      const events = read(format, [written.slice(0, end)])
      // What comes behind the arguments may be missing: some forms end with them.
      assert.ok(events.length === 0 || (events[0].type === 'toolCall' && end > written.indexOf('a"')), `${end}: ${JSON.stringify(events)}`)
    }
  })
}

// ---- Templates --------------------------------------------------------------------------------------------------------

const SHOWN = [
  ['harmony', '<|start|>assistant<|channel|>final<|message|>'],
  ['kimi', '<|tool_calls_section_begin|><|tool_call_begin|>'],
  ['deepseek', "'<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + name + '\\n' + '```json'"],
  ['deepseek-v3.1', "'<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + name + '<｜tool▁sep｜>' + arguments"],
  ['pairs', '<tool_call>{name}<arg_key>{key}</arg_key><arg_value>{value}</arg_value></tool_call>'],
  ['tags', '<tool_call>\n<function=name>\n<parameter=key>'],
  ['mistral-args', "'[TOOL_CALLS]' + name + '[ARGS]' + arguments"],
  ['mistral', "'[TOOL_CALLS] [' + tool_call.function|tojson"],
  ['granite', 'respond only with <|tool_call|> followed by a JSON list of tools used'],
  ['llama3', 'Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}.'],
  ['hermes', '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'],
  ['json', '<start_of_turn>user'],
]

test('what stands in a tag is text where the schema takes text', () => {
  const tags = rowOf('tags')
  const $defs = { loop: { anyOf: [{ $ref: '#/$defs/loop' }, { $ref: '#/$defs/loop' }] }, name: { type: 'string' }, 'a/b': { allOf: [{ minLength: 1 }, { $ref: '#/$defs/name' }] } }
  for (const [schema, word, value] of [
    [{ type: 'string' }, 'null', 'null'],
    [{ type: ['null', 'string'] }, 'null', null],
    [{ type: ['null', 'string'], enum: ['null', 'x'] }, 'null', 'null'],
    [{ enum: ['12', null] }, '12', '12'],
    [{ const: 'true' }, 'true', 'true'],
    [{ $ref: '#/$defs/a~1b' }, '1', '1'],
    [{ oneOf: [{ $ref: '#/$defs/name' }, { type: 'null' }] }, '[]', '[]'],
    [{ anyOf: [{ type: 'string' }, { type: 'integer' }] }, '12', 12],
    [{ $ref: '#/$defs/loop' }, '12', 12],
    [{ $ref: '#/$defs/%FF' }, '12', 12],
    [{ type: [] }, '12', 12],
    [{}, '12', 12],
  ]) {
    const tools = [{ name: 'a', parameters: { type: 'object', properties: { b: schema }, $defs } }]
    const scanner = new Scanner((each) => tags.read(each, tools))
    const [{ arguments: args }] = scanner.push(`<tool_call>\n<function=a>\n<parameter=b>\n${word}\n</parameter>\n</function>\n</tool_call>`)
    assert.deepStrictEqual(args, { b: value }, JSON.stringify(schema))
  }
})

test('the form is chosen by what a template shows', () => {
  for (const [name, source] of SHOWN) assert.strictEqual(formatOf(source).name, name)
  assert.deepStrictEqual(SHOWN.map(([name]) => name).sort(), FORMATS.map(({ name }) => name).sort())
})

// ---- Grammars ---------------------------------------------------------------------------------------------------------

/** Whether `answer` is of the form of a grammar, by trying everything: schemas are any JSON. */
function matches({ rules, root }, answer) {
  const ends = (part, from) => {
    if (typeof part === 'string') return answer.startsWith(part, from) ? [from + part.length] : []
    const [[kind, of]] = Object.entries(part)
    if (kind === 'seq') return of.reduce((froms, each) => [...new Set(froms.flatMap((at) => ends(each, at)))], [from])
    if (kind === 'any') return [...new Set(of.flatMap((each) => ends(each, from)))]
    if (kind === 'rule') return rulesEnds(of, from)
    if (kind === 'class' || kind === 'except') {
      const c = answer.codePointAt(from)
      if (c === undefined || of.some(([first, last]) => c >= first && c <= last) !== (kind === 'class')) return []
      return [from + String.fromCodePoint(c).length]
    }
    if (kind === 'without') return ends(of[0], from).filter((end) => !answer.slice(from, end).includes(of[1]))
    if (kind === 'member' && of.length === 3) return [...answer, ''].map((_, i) => i).filter((end) => end >= from && !answer.slice(from, end).includes(of[2]))
    if (kind === 'schema' || kind === 'member') {
      return [...answer].map((_, i) => i + 1).filter((end) => {
        try {
          JSON.parse(answer.slice(from, end))
          return end > from
        } catch {
          return false
        }
      })
    }
    assert.strictEqual(kind, 'repeat')
    const [each, least, most] = of
    const found = new Set(least === 0 ? [from] : [])
    let at = [from]
    for (let n = 1; at.length > 0 && n <= (most ?? Infinity); n++) {
      at = [...new Set(at.flatMap((here) => ends(each, here)))].filter((end) => n < least || !found.has(end))
      if (n >= least) for (const end of at) found.add(end)
    }
    return [...found]
  }
  // Free text is a rule for each character: too deep for calls of functions. Rules only refer to rules at their end.
  const rulesEnds = (rule, from) => {
    const found = new Set()
    const seen = new Set()
    for (const work = [[rule, from]]; work.length > 0; ) {
      const [index, at] = work.pop()
      if (seen.has(`${index} ${at}`)) continue
      seen.add(`${index} ${at}`)
      for (const way of rules[index].any) {
        if (way === '') found.add(at)
        else for (const end of ends(way.seq[0], at)) work.push([way.seq[1].rule, end])
      }
    }
    return [...found]
  }
  return ends(root, 0).includes(answer.length)
}

const grammarOf = (format, calls, without = [], isOne = false) => formOf(format.answer(TOOLS, { calls, isOne, without }), () => null)

for (const format of FORMATS) {
  test(`${format.name}: its grammar has what is written and free text`, () => {
    const [may, must] = [grammarOf(format, 'may'), grammarOf(format, 'must')]
    const one = format.write([{ name: 'read_file', arguments: { path: 'a' } }])
    assert.ok(matches(may, one))
    assert.ok(matches(must, one))
    assert.ok(!matches(must, one.slice(0, -1)) && !matches(may, one.replace('read_file', 'read_files')))
    const free = (value) => (format.name === 'harmony' ? `<|channel|>final<|message|>${value}` : value)
    assert.ok(matches(may, free('Plain text <to, [TOO, {"na\n')))
    assert.ok(matches(may, free('')))
    assert.ok(!matches(must, free('Plain text')) && !matches(must, ''))
    if (['harmony', 'llama3'].includes(format.name)) return // one call in any case
    const two = format.write([{ name: 'now', arguments: {} }, { name: 'now', arguments: {} }])
    const single = grammarOf(format, 'may', [], true)
    assert.ok(matches(may, two) && matches(must, two) && matches(single, one) && !matches(single, two))
  })
}

test('free text ends where a form begins', () => {
  const hermes = grammarOf(rowOf('hermes'), 'may')
  const written = rowOf('hermes').write([{ name: 'now', arguments: {} }])
  assert.ok(matches(hermes, `Text <tool_<tool_call${written}`))
  assert.ok(matches(hermes, `${written}\n${written}`))
  for (const answer of ['<tool_call>', `a<tool_call>b`, `${written} and text`, `<tool_call>${written}`]) assert.ok(!matches(hermes, answer), answer)
  const llama = grammarOf(rowOf('llama3'), 'may')
  for (const answer of ['{"name', '{"nam": 1}', 'a {"name": 1}', ' \n x']) assert.ok(matches(llama, answer), answer)
  for (const answer of ['{"name"', ' \n{"name": 1}', '<|python_tag|>x']) assert.ok(!matches(llama, answer), answer)
})

test('free text holds no marks of reasoning', () => {
  for (const name of ['llama3', 'json', 'hermes']) {
    const grammar = grammarOf(rowOf(name), 'may', ['<think>'])
    for (const answer of ['<thin', ' <thinx<|python_ta{', 'a<<think', '{<th', '{"name<', '<|python_t<thin']) assert.ok(matches(grammar, answer), `${name}: ${answer}`)
    for (const answer of ['<think>', ' <think>', 'a<think>', '<|python_ta<think>', '{"nam<think>', '<<think>x']) assert.ok(!matches(grammar, answer), `${name}: ${answer}`)
  }
})

// ---- Conversations ----------------------------------------------------------------------------------------------------

const CALLS = [
  { id: 'call00001', name: 'read_file', arguments: { path: 'a "b".txt' } },
  { id: 'call00002', name: 'now', arguments: {} },
]
const CONVERSATION = [
  { role: 'user', content: 'What is in it?' },
  { role: 'assistant', content: '', toolCalls: CALLS },
  { role: 'tool', toolCallId: 'call00001', name: 'read_file', content: 'FIRST RESULT' },
  { role: 'tool', toolCallId: 'call00002', name: 'now', content: '"SECOND RESULT"' },
]
const DEFINED = TOOLS.map((tool) => ({ description: `Is ${tool.name}.`, ...tool }))

// The files of the fixtures whose templates know tools, their form, and where in a text it begins.
const TEMPLATES = {
  'NousResearch-Hermes-3-Llama-3.1-8B-tool_use': ['hermes', '<tool_call>\n{"name": "read'],
  'Qwen-Qwen2.5-7B-Instruct': ['hermes', '<tool_call>\n{"name": "read'],
  'Qwen-Qwen3-0.6B': ['hermes', '<tool_call>\n{"name": "read'],
  'deepseek-ai-DeepSeek-R1-Distill-Qwen-32B': ['deepseek', '<｜Assistant｜><｜tool▁calls▁begin｜>'],
  'ibm-granite-granite-3.3-2B-Instruct': ['granite', '<|tool_call|>[{"name": "read'],
  'meta-llama-Llama-3.1-8B-Instruct': ['llama3', '{"name": "read'],
  'meta-llama-Llama-3.2-3B-Instruct': ['llama3', '{"name": "read'],
  'mistralai-Mistral-Nemo-Instruct-2407': ['mistral', '[TOOL_CALLS]'],
  'openai-gpt-oss-120b': ['harmony', ' to=functions.read_file<'],
  'google-gemma-2-2b-it': ['json', '{"tool_calls": [{"name": "read'],
  'microsoft-Phi-3.5-mini-instruct': ['json', '{"tool_calls": [{"name": "read'],
  'HuggingFaceTB-SmolLM3-3B': ['json', '{"tool_calls": [{"name": "read'],
}

async function conversationOf(source) {
  const { Template } = require('@huggingface/jinja')
  const template = new Template(source)
  const render = (messages, tools) => template.render({ messages, tools, bos_token: '<s>', eos_token: '</s>', add_generation_prompt: true })
  const protocol = await protocolOf(render, source)
  const { messages, tools = null } = shape(protocol, CONVERSATION, DEFINED)
  return { protocol, rendered: render(messages, tools) }
}

for (const [name, [form, begin]] of Object.entries(TEMPLATES)) {
  const file = path.join(CHAT, 'templates', `${name}.jinja`)
  testWith(file, `${name}: definitions, calls and results`, async () => {
    const { protocol, rendered } = await conversationOf(fs.readFileSync(file, 'utf8'))
    assert.strictEqual(protocol.format.name, form)
    for (const { name: tool } of TOOLS) assert.ok(rendered.includes(`Is ${tool}.`), `${tool} is not defined`)
    assert.ok(rendered.indexOf('SECOND RESULT') > rendered.indexOf('FIRST RESULT') && rendered.includes('FIRST RESULT'))
    assert.strictEqual(rendered.split('Is read_file.').length, 2)
    // What stands there is read as the calls that it is of.
    const found = read(protocol.format, [rendered.slice(rendered.indexOf(begin))]).filter(({ type }) => type === 'toolCall')
    const isOne = ['llama3', 'harmony'].includes(form) // the second call stands behind the first one's result
    assert.deepStrictEqual(found.map(({ name: tool, arguments: args }) => [tool, args]), CALLS.slice(0, isOne ? 1 : 2).map(({ name: tool, arguments: args }) => [tool, args]))
    if (isOne) assert.match(rendered.slice(rendered.indexOf('FIRST RESULT')), /now[^]*SECOND RESULT/)
  })
}
