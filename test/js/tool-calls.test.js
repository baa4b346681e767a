'use strict'

// Tools, end to end, with random weights: every call that comes is one of the tools, with arguments of its schema; tools are run, their results
// are in the next prompt, and whoever runs none gets the calls.

const { default: addFormats } = require('ajv-formats')
const { default: Ajv } = require('ajv/dist/2020')
const assert = require('node:assert')
const fs = require('node:fs')
const path = require('node:path')
const { makeModel } = require('../../bench/make-model.js')
const { encodeHeader, encodePair } = require('../../bench/model/gguf.js')
const { FORMATS } = require('../../lib/tools/formats.js')
const { test } = require('node:test')
const { STORIES, openModel, temporaryFolder, testWith, withMetadata } = require('./helpers.js')

const NORMAL = 1
const CONTROL = 3
const USER_DEFINED = 4

/** The byte alphabet of GPT-2. */
function byteAlphabet() {
  let next = 256
  return Array.from({ length: 256 }, (_, b) => String.fromCodePoint((b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174 ? b : next++))
}

/** A tiny model of random weights whose tokens are bytes, `control` and `shown` ones; closed with the test. */
async function randomModel(t, { control = [], shown = [], template }) {
  const folder = temporaryFolder(t)
  const tokens = [...byteAlphabet(), 'he', '<|eos|>', ...control, ...shown]
  const types = tokens.map((token) => (token === '<|eos|>' || control.includes(token) ? CONTROL : shown.includes(token) ? USER_DEFINED : NORMAL))
  const pairs = [
    ['tokenizer.ggml.model', 'string', 'gpt2'],
    ['tokenizer.ggml.pre', 'string', 'qwen2'],
    ['tokenizer.ggml.tokens', 'strings', tokens],
    ['tokenizer.ggml.token_type', 'i32s', types],
    ['tokenizer.ggml.merges', 'strings', ['h e']],
    ['tokenizer.ggml.eos_token_id', 'u32', tokens.indexOf('<|eos|>')],
    ['tokenizer.ggml.add_bos_token', 'bool', false],
    ['tokenizer.chat_template', 'string', template],
  ]
  const vocab = path.join(folder, 'vocab.gguf')
  fs.writeFileSync(vocab, encodeHeader(pairs.map((pair) => encodePair(...pair)), []).header)
  const out = path.join(folder, 'model.gguf')
  await makeModel({ geometry: 'tiny', layers: 1, mix: 'Q8_0', vocab, out })
  return openModel(t, out)
}

// ---- Templates in the style of each family ----------------------------------------------------------------------------

const around = (call, { open = '', close = '', result = '<result>{{ m.content }}</result>', before = '' } = {}) => `
{%- if tools %}<tools>{{ tools | tojson }}</tools>${before}{% endif %}
{%- for m in messages %}
{%- if m.role == 'tool' %}${result}
{%- elif m.role == 'assistant' %}<assistant>{{ m.content or '' }}
{%- if m.tool_calls %}${open}{% for c in m.tool_calls %}${call}{% endfor %}${close}{% endif %}<|eos|>
{%- else %}<{{ m.role }}>{{ m.content }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}<assistant>{% endif %}`

const FAMILIES = {
  hermes: {
    shown: ['<tool_call>', '</tool_call>'],
    template: around('{% if not loop.first %}\n{% endif %}<tool_call>\n{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments if c.function.arguments is string else c.function.arguments | tojson }}}\n</tool_call>'),
  },
  tags: {
    shown: ['<tool_call>', '</tool_call>'],
    template: around("<tool_call>\n<function={{ c.function.name }}>\n{% for k, v in c.function.arguments | items %}<parameter={{ k }}>\n{{ v if v is string else v | tojson }}\n</parameter>\n{% endfor %}</function>\n</tool_call>"),
  },
  pairs: {
    shown: ['<tool_call>', '</tool_call>', '<arg_key>', '</arg_key>', '<arg_value>', '</arg_value>'],
    template: around("<tool_call>{{ c.function.name }}{% for k, v in c.function.arguments | items %}<arg_key>{{ k }}</arg_key><arg_value>{{ v if v is string else v | tojson }}</arg_value>{% endfor %}</tool_call>"),
  },
  mistral: {
    control: ['[TOOL_CALLS]', '[INST]'],
    template: around('{{ (c.function | tojson)[:-1] }}, "id": "{{ c.id }}"}{% if not loop.last %}, {% endif %}', { open: '[TOOL_CALLS][', close: ']' }),
  },
  'mistral-args': {
    control: ['[TOOL_CALLS]', '[ARGS]', '[CALL_ID]'],
    template: around('[TOOL_CALLS]{{ c.function.name }}[ARGS]{{ c.function.arguments }}'),
  },
  granite: { control: ['<|tool_call|>'], template: `{# <|tool_call|> #}{%- if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>` },
  llama3: {
    control: ['<|python_tag|>', '<|eot_id|>'],
    template: around('{{ raise_exception("one call") if m.tool_calls | length > 1 }}{"name": "{{ c.function.name }}", "parameters": {{ c.function.arguments | tojson }}}', {
      before: 'Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}.',
    }),
  },
  harmony: {
    control: ['<|channel|>', '<|message|>', '<|start|>', '<|end|>', '<|return|>', '<|call|>', '<|constrain|>'],
    template: `{%- if tools %}{{ tools | tojson }}{% endif %}{%- for m in messages %}
{%- if m.role == 'tool' %}<|start|>functions to=assistant<|channel|>commentary<|message|>{{ m.content | tojson }}<|end|>
{%- elif m.tool_calls %}<|start|>assistant to=functions.{{ m.tool_calls[0].function.name }}<|channel|>commentary json<|message|>{{ m.tool_calls[0].function.arguments | tojson }}<|call|>
{%- elif m.role == 'assistant' %}<|start|>assistant<|channel|>final<|message|>{{ m.content }}<|end|>
{%- else %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}<|start|>assistant`,
  },
  deepseek: {
    control: ['<｜tool▁calls▁begin｜>', '<｜tool▁calls▁end｜>', '<｜tool▁call▁begin｜>', '<｜tool▁call▁end｜>', '<｜tool▁sep｜>'],
    template: around("{% if not loop.first %}\n{% endif %}<｜tool▁call▁begin｜>function<｜tool▁sep｜>{{ c.function.name }}\n```json\n{{ c.function.arguments }}\n```<｜tool▁call▁end｜>", {
      open: '<｜tool▁calls▁begin｜>', close: '<｜tool▁calls▁end｜>',
    }),
  },
  'deepseek-v3.1': {
    shown: ['<｜tool▁calls▁begin｜>', '<｜tool▁calls▁end｜>', '<｜tool▁call▁begin｜>', '<｜tool▁call▁end｜>', '<｜tool▁sep｜>'],
    template: around('<｜tool▁call▁begin｜>{{ c.function.name }}<｜tool▁sep｜>{{ c.function.arguments }}<｜tool▁call▁end｜>', { open: '<｜tool▁calls▁begin｜>', close: '<｜tool▁calls▁end｜>' }),
  },
  kimi: {
    control: ['<|tool_calls_section_begin|>', '<|tool_calls_section_end|>', '<|tool_call_begin|>', '<|tool_call_end|>', '<|tool_call_argument_begin|>'],
    template: around('<|tool_call_begin|>{{ c.id }}<|tool_call_argument_begin|>{{ c.function.arguments }}<|tool_call_end|>', { open: '<|tool_calls_section_begin|>', close: '<|tool_calls_section_end|>' }),
  },
  json: { template: `{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>` },
}

const PARAMETERS = {
  type: 'object',
  properties: {
    town: { enum: ['Oslo', 'Bergen "by"'] },
    days: { type: 'integer', minimum: 1, maximum: 14 },
    exact: { type: 'boolean' },
  },
  required: ['town', 'days'],
}

/** Whether arguments are of PARAMETERS, told without the schema. */
function isOfParameters({ town, days, exact, ...others }) {
  return (
    ['Oslo', 'Bergen "by"'].includes(town) && Number.isInteger(days) && days >= 1 && days <= 14 && (exact === undefined || typeof exact === 'boolean') &&
    Object.keys(others).length === 0
  )
}

/** Tools that write down what they are called with. */
function recordingTools() {
  const ran = []
  const note = (name) => (args, { toolCall }) => {
    ran.push({ name, args, id: toolCall.id })
    return { told: `${name} ${ran.length}` }
  }
  const tools = {
    weather: { description: 'The weather of a town', parameters: PARAMETERS, run: note('weather') },
    now: { description: 'The time', run: note('now') },
  }
  return { ran, tools }
}

test('there is a family for every form', () => assert.deepStrictEqual(Object.keys(FAMILIES).sort(), FORMATS.map(({ name }) => name).sort()))

for (const [name, family] of Object.entries(FAMILIES)) {
  test(`${name}: calls are of the tools, are run, and their results are read`, async (t) => {
    const model = await randomModel(t, family)
    let n = 0
    let seed = 0
    // The answers of random weights need not end by themselves; calls of those are not run.
    for (let ran = []; ran.length === 0 && seed < 4; seed++) {
      const recording = recordingTools()
      const { tools } = recording
      ran = recording.ran
      const chat = model.chat({ system: 'Be brief.', tools })
      const events = []
      const answer = chat.send('Is it raining?', { toolChoice: 'required', maxRounds: 1, maxTokens: 250, seed, temperature: 1 })
      for await (const event of answer.events()) events.push(event)
      const result = await answer
      const called = events.flatMap(({ toolCall }) => toolCall ?? [])
      n += called.length
      for (const { name: tool, arguments: args, id } of called) {
        assert.ok(typeof id === 'string' && id !== '')
        if (tool === 'weather') assert.ok(isOfParameters(args), JSON.stringify(args))
        else assert.deepStrictEqual([tool, args], ['now', {}])
      }
      const first = called.slice(0, ran.length)
      assert.deepStrictEqual(ran, first.map((call) => ({ name: call.name, args: call.arguments, id: call.id })))
      if (ran.length === 0) {
        assert.strictEqual(result.finishReason, 'length')
        continue
      }
      const results = events.flatMap(({ toolResult }) => toolResult ?? [])
      assert.deepStrictEqual(results.map(({ content }) => JSON.parse(content).told), ran.map((each, i) => `${each.name} ${i + 1}`))
      assert.deepStrictEqual(result.messages.slice(0, 1 + ran.length), [
        { role: 'assistant', content: '', toolCalls: first },
        ...results.map(({ id, name: tool, content }) => ({ role: 'tool', toolCallId: id, name: tool, content })),
      ])
      const prompt = await chat.render()
      for (const { content } of results) assert.ok(prompt.includes(content) || prompt.includes(JSON.stringify(content)), prompt)
    }
    assert.ok(n > 0)
  })
}

// ---- The loop ---------------------------------------------------------------------------------------------------------

const ASKED = { toolChoice: 'required', maxTokens: 150, temperature: 1 }

/** A seed with which the model's first answer to this ends by itself and has `n` calls or more. */
async function seedWith(model, n, tools) {
  for (let seed = 0; seed < 30; seed++) {
    const { finishReason, toolCalls } = await model.chat({ tools }).send('Hi', { ...ASKED, seed })
    if (finishReason === 'toolCalls' && toolCalls.length >= n) return seed
  }
  assert.fail(`no seed gives ${n} calls`)
}

const bare = (tools) => Object.fromEntries(Object.entries(tools).map(([name, { run, ...tool }]) => [name, tool]))

test('tools run, or their calls are the result', async (t) => {
  const model = await randomModel(t, FAMILIES.kimi)
  const { ran, tools } = recordingTools()
  const seed = await seedWith(model, 2, bare(tools))

  await t.test('without run, messages answer the calls', async () => {
    const chat = model.chat({ tools: bare(tools) })
    const { finishReason, toolCalls, messages, message } = await chat.send('Hi', { ...ASKED, seed })
    assert.strictEqual(finishReason, 'toolCalls')
    assert.ok(toolCalls.length >= 2)
    assert.strictEqual(new Set(toolCalls.map(({ id }) => id)).size, toolCalls.length)
    assert.deepStrictEqual(messages, [message])
    assert.deepStrictEqual(message.toolCalls, toolCalls)
    const results = toolCalls.map(({ id, name }, i) => ({ role: 'tool', toolCallId: id, name, content: `result ${i}` }))
    const next = await chat.send(results, { toolChoice: 'none', maxTokens: 5, seed })
    assert.deepStrictEqual(next.toolCalls, [])
    assert.deepStrictEqual(chat.messages.slice(1, -1), [message, ...results])
    const prompt = await chat.render()
    for (let i = 0; i < results.length; i++) assert.ok(prompt.includes(`result ${i}`))
  })

  await t.test('calls run side by side, results stand in their order, and the next round computes what is new', async () => {
    let running = 0
    let most = 0
    const slow = async (args, { toolCall: { id } }) => {
      most = Math.max(most, ++running)
      await new Promise((resolve) => setTimeout(resolve, id.endsWith('0') ? 20 : 1))
      running--
      return id
    }
    const chat = model.chat({ tools: { weather: { ...tools.weather, run: slow }, now: { ...tools.now, run: slow } } })
    const { messages, usage } = await chat.send('Hi', { ...ASKED, maxRounds: 1, seed })
    const [{ toolCalls }, ...rest] = messages
    assert.strictEqual(most, toolCalls.length)
    assert.deepStrictEqual(rest.slice(0, toolCalls.length).map(({ content }) => content), toolCalls.map(({ id }) => id))
    assert.ok(usage.reusedTokens > 0)
  })

  await t.test('what a tool throws the model is told', async () => {
    const fail = () => {
      throw new Error('no weather today')
    }
    const chat = model.chat({ tools: { weather: { ...tools.weather, run: fail }, now: { ...tools.now, run: async () => fail() } } })
    const { messages } = await chat.send('Hi', { ...ASKED, maxRounds: 1, seed })
    assert.strictEqual(messages[1].content, '{"error":"no weather today"}')
    assert.ok((await chat.render()).includes('{"error":"no weather today"}'))
  })

  await t.test('results are text as they are, and JSON of what is none', async () => {
    for (const [value, content] of [['text', 'text'], [{ a: [1] }, '{"a":[1]}'], [undefined, 'null'], [null, 'null'], [5n, '{"error":"Do not know how to serialize a BigInt"}']]) {
      const run = () => value
      const { messages } = await model.chat({ tools: { weather: { ...tools.weather, run }, now: { ...tools.now, run } } }).send('Hi', { ...ASKED, maxRounds: 1, seed })
      assert.strictEqual(messages[1].content, content)
    }
  })

  await t.test('there are at most maxRounds', async () => {
    ran.length = 0
    const chat = model.chat({ tools, maxRounds: 0 })
    const { finishReason, toolCalls } = await chat.send('Hi', { ...ASKED, seed })
    assert.deepStrictEqual([finishReason, ran], ['toolCalls', []])
    assert.ok(toolCalls.length >= 2)
  })

  await t.test('one tool can be asked for, and none', async () => {
    for (let i = 0; i < 3; i++) {
      const { messages } = await model.generate([{ role: 'user', content: 'Hi' }], { ...ASKED, tools: bare(tools), toolChoice: { name: 'now' }, seed: i })
      for (const { toolCalls } of messages) assert.ok(toolCalls.every(({ name, arguments: args }) => name === 'now' && Object.keys(args).length === 0))
      const none = await model.generate([{ role: 'user', content: 'Hi' }], { ...ASKED, tools, toolChoice: 'none', seed: i, maxTokens: 20 })
      assert.deepStrictEqual(none.toolCalls, [])
    }
  })

  await t.test('an abort reaches the tools, and the chat stays as it was', async () => {
    const controller = new AbortController()
    let seen
    const run = (args, { signal }) => {
      seen = signal
      controller.abort(new Error('enough'))
      return new Promise(() => {})
    }
    const chat = model.chat({ tools: { weather: { ...tools.weather, run }, now: { ...tools.now, run } } })
    await assert.rejects(chat.send('Hi', { ...ASKED, seed, signal: controller.signal }).then(), /enough/)
    assert.ok(seen.aborted)
    assert.deepStrictEqual(chat.messages, [])
    const cancelling = model.chat({ tools: { weather: { ...tools.weather, run: () => (answer.cancel(), new Promise(() => {})) }, now: { ...tools.now, run: () => (answer.cancel(), new Promise(() => {})) } } })
    const answer = cancelling.send('Hi', { ...ASKED, seed })
    assert.strictEqual((await answer).finishReason, 'cancelled')
    assert.deepStrictEqual(cancelling.messages, [])
  })

  await t.test('a saved chat has its calls, and is given its tools again', async (t2) => {
    const chat = model.chat({ tools: bare(tools) })
    await chat.send('Hi', { ...ASKED, seed })
    const file = path.join(temporaryFolder(t2), 'chat')
    await chat.save(file)
    const restored = await model.restoreChat(file, { tools: bare(tools) })
    assert.deepStrictEqual(restored.messages, chat.messages)
    assert.strictEqual(await restored.render(), await chat.render())
  })

  await t.test('what is no tool is refused', () => {
    const refused = (options, message) => assert.throws(() => model.chat().send('Hi', options), { code: 'INVALID_ARGUMENT', message })
    refused({ tools: [] }, /'tools'.*an object of tools/)
    refused({ tools: { 'a b': {} } }, /a name of up to 64/)
    refused({ tools: { a: { parameters: { type: 'string' } } } }, /'object'/)
    refused({ tools: { a: { rum: () => {} } } }, /'rum' of tool 'a': did you mean 'run'/)
    refused({ tools: { a: {} }, toolChoice: { name: 'b' } }, /no tool 'b'/)
    refused({ toolChoice: 'required' }, /there are no tools/)
    refused({ toolChoice: 'some' }, /'toolChoice'/)
    refused({ tools: { a: {} }, grammar: 'root ::= "a"' }, /'grammar' of send\(\).*tools/)
    assert.throws(() => model.generate('Hi', { tools: {} }), { code: 'INVALID_ARGUMENT', message: /unknown option 'tools'/ })
    assert.throws(() => model.chat({ messages: [{ role: 'assistant', toolCalls: [{ name: 'a' }] }] }), { code: 'INVALID_ARGUMENT', message: /toolCalls\[0\]/ })
  })

  await t.test('a schema that is not supported is refused by name', async () => {
    const parameters = { type: 'object', properties: { a: { type: 'array', uniqueItems: true } } }
    await assert.rejects(model.chat().send('Hi', { tools: { b: {}, a: { parameters } } }).then(), { code: 'INVALID_ARGUMENT', message: /^tool 'a', parameters: .*uniqueItems/ })
  })
})

// ---- Arguments in tags of their own -----------------------------------------------------------------------------------

const ARGUMENTS = {
  type: 'object',
  $defs: { code: { pattern: '^[A-Z]{2}-\\d{2,9000}$' }, 'a/b': { allOf: [{ $ref: '#/$defs/code' }, { maxLength: 6 }] } },
  properties: {
    short: { type: 'string', minLength: 3, maxLength: 8 },
    long: { type: 'string', maxLength: 20000 },
    lines: { type: 'string', pattern: '^[a-f\\n</>]+$', maxLength: 9000 },
    found: { type: 'string', pattern: '<[/a-z]*b>', minLength: 12 },
    day: { type: 'string', format: 'date' },
    id: { $ref: '#/$defs/a~1b' },
    mode: { anyOf: [{ const: 'a"\n' }, { type: 'string', format: 'email', maxLength: 12 }] },
    note: { anyOf: [{ $ref: '#/properties/short' }, { type: 'null' }] },
    tags: { type: 'array', items: { type: 'string', maxLength: 40 }, maxItems: 3 },
    count: { type: 'integer', minimum: -5, maximum: 1200 },
  },
  required: ['short', 'lines', 'found', 'day', 'id', 'mode', 'tags', 'count'],
  additionalProperties: false,
}

/** A sampler that takes any token it may, likes to write the ends of tags, also in part, and leaves out what it can. */
function adversary(seed, ends, eos) {
  let state = seed + 1
  const random = (n) => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) % 65521 % n
  let begun = []
  return (logits) => {
    const allowed = [...logits.keys()].filter((token) => logits[token] > -Infinity)
    if (allowed.includes(eos) && random(3) > 0) return eos
    if (begun.length === 0 && random(4) === 0) begun = [...Buffer.from(ends[random(ends.length)])]
    if (random(12) === 0) begun = []
    const next = begun.shift()
    if (allowed.includes(next)) return next
    begun = []
    return allowed[random(allowed.length)]
  }
}

for (const [name, ends] of [['tags', ['\n</parameter>\n', '</function>', '"]\n</parameter>', '<b>']], ['pairs', ['</arg_value>', '"]</arg_value>', '<b>']]]) {
  test(`${name}: arguments are of their schemas, whatever the logits`, async (t) => {
    const ajv = new Ajv({ strict: false, logger: false })
    addFormats(ajv)
    const validate = ajv.compile(ARGUMENTS)
    const model = await randomModel(t, FAMILIES[name])
    const eos = model.tokenize('<|eos|>', { special: true }).at(-1)
    let n = 0
    for (let seed = 0; seed < (process.env.CHORD_TEST_QUICK ? 1 : 4); seed++) {
      const options = { toolChoice: 'required', maxTokens: 1200, sample: adversary(seed, ends, eos) }
      const { toolCalls, finishReason, text } = await model.chat({ tools: { a: { parameters: ARGUMENTS } } }).send('Hi', options)
      assert.strictEqual(text, '')
      for (const { arguments: args } of toolCalls) {
        assert.ok(validate(args), `${JSON.stringify(args)}: ${ajv.errorsText(validate.errors)}`)
        n++
      }
      assert.ok(finishReason === 'toolCalls' || toolCalls.length > 0 || finishReason === 'length')
    }
    assert.ok(n > 0)
  })

  test(`${name}: what an argument's schema says and cannot be kept is refused by name`, async (t) => {
    const model = await randomModel(t, FAMILIES[name])
    const parameters = { type: 'object', properties: { b: { type: 'string' }, c: { type: 'string', pattern: '(?=x)' } } }
    await assert.rejects(model.chat({ tools: { a: { parameters } } }).send('Hi').then(), { code: 'INVALID_ARGUMENT', message: /^tool 'a', parameters: schema, #\/properties\/c\/pattern: .*look-ahead/ })
  })
}

test('a model that thinks does so first', async (t) => {
  const template = FAMILIES.hermes.template.replace("<assistant>{% endif %}", '<assistant><think>\n{% endif %}{# </think> #}')
  const model = await randomModel(t, { shown: ['<tool_call>', '</tool_call>', '<think>', '</think>'], template })
  const { tools } = recordingTools()
  let n = 0
  for (let seed = 0; seed < 6; seed++) {
    const { reasoning, text, toolCalls, finishReason } = await model.chat({ tools: bare(tools) }).send('Hi', { ...ASKED, maxTokens: 400, seed })
    if (finishReason !== 'toolCalls') continue // still thinking
    n++
    assert.strictEqual(text, '')
    assert.ok(toolCalls.length > 0 && reasoning !== undefined)
  }
  assert.ok(n > 0)
})

testWith(STORIES, "with tools the file's template for tools is taken, and tools that a template does not show stand in the messages", async (t) => {
  const plain = '{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>'
  const file = withMetadata(t, STORIES, { 'tokenizer.chat_template': plain, 'tokenizer.chat_template.tool_use': FAMILIES.hermes.template })
  const model = await openModel(t, file)
  const tools = { now: { description: 'The time' } }
  assert.strictEqual(model.chat({ tools }).template.name, 'tool_use')
  const chat = model.chat({ system: 'Be brief.', messages: [{ role: 'user', content: 'Hi' }], template: 'default', tools })
  const prompt = await chat.render()
  assert.match(prompt, /^<system>Be brief\.\n\nYou can call these functions[^]*"name":"now"[^]*\{"tool_calls": \[[^]*<user>Hi<assistant>$/)
  // Without a place for a system message they stand before the first one.
  const only = model.chat({ template: "{% for m in messages %}{{ raise_exception('no system') if m.role == 'system' }}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>", messages: [{ role: 'user', content: 'Hi' }], tools })
  assert.match(await only.render(), /^<user>You can call these functions[^]*\n\nHi<assistant>$/)
})
