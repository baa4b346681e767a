'use strict'

// What chat templates make of messages.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { ChordError } = require('../..')
const { CHAT, STORIES, openModel, sleep, testWith } = require('./helpers.js')

const RENDERED = path.join(CHAT, 'rendered.json')
const TEMPLATES = path.join(CHAT, 'templates')

testWith([STORIES, RENDERED], 'templates render to the character', async (t) => {
  t.mock.method(Date, 'now', () => new Date(2025, 6, 10, 12).getTime())
  const model = await openModel(t)
  const cases = JSON.parse(fs.readFileSync(RENDERED, 'utf8'))
  assert.equal(cases.length, 27)
  for (const { name, chat_template: template, data, target } of cases) {
    const { messages, documents, ...rest } = data
    const variables = { bos_token: undefined, eos_token: undefined, add_generation_prompt: undefined, ...rest }
    for (const key of Object.keys(variables)) if (variables[key] === undefined) variables[key] = key === 'add_generation_prompt' ? false : ''
    const chat = model.chat({ template, messages, documents, variables })
    assert.equal(await chat.render(), target, name)
    assert.deepEqual(chat.template, { name: null, source: 'option', text: template })
  }
})

const WEATHER = {
  type: 'function',
  function: { name: 'weather', description: 'The weather of a place', parameters: { type: 'object', properties: { place: { type: 'string', description: 'Which' } }, required: ['place'] } },
}

testWith([STORIES, TEMPLATES], 'templates of well-known models render a conversation', async (t) => {
  const model = await openModel(t)
  const files = fs.readdirSync(TEMPLATES)
  assert.ok(files.length >= 12)
  for (const file of files) {
    const template = fs.readFileSync(path.join(TEMPLATES, file), 'utf8')
    const messages = [
      { role: 'user', content: 'Who are you?' },
      { role: 'assistant', content: 'A model.' },
      { role: 'user', content: 'What do you do?' },
    ]
    const text = await model.chat({ template, messages }).render()
    const places = messages.map(({ content }) => text.indexOf(content))
    assert.ok(places[0] >= 0 && places[0] < places[1] && places[1] < places[2], `${file}: ${text}`)
    if (/tools/.test(template)) {
      const withTools = await model.chat({ template, messages: messages.slice(0, 1), variables: { tools: [WEATHER] } }).render()
      assert.ok(withTools.includes('weather'), file)
    }
  }
})

// ---- Templates that mean harm -----------------------------------------------------------------------------------------

const DOUBLED = (what) => `{% set ns = namespace(x=${what}) %}{% for i in range(200) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}`
const LOOP = '{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}'
const HOSTILE = {
  'a text that doubles': [DOUBLED("'x'"), /text grew/],
  'a list that doubles': [DOUBLED('[1]'), /list grew/],
  'a long list': ['{{ range(1000000000) | length }}', /range\(\)/],
  'a wide text': ["{{ 'a' | indent(400000000, true) }}", /text grew/],
  'a long join': ["{{ range(90000) | join('x' | indent(900000, true)) }}", /./],
  'deep brackets': [`{{ ${'('.repeat(100_000)}1${')'.repeat(100_000)} }}`, /call stack/],
  'deep blocks': ['{% if true %}'.repeat(6000) + '{% endif %}'.repeat(6000), /call stack/],
  'a huge source': ['{{ 1 }}'.repeat(200_000), /more than 1048576 characters/],
  'the way out': ["{{ messages.constructor.constructor('return process')().exit(3) }}", /failed/],
  'no template': ['{% for %}', /not one that chord reads/],
  'a refusal': ["{{ raise_exception('no system role') }}", /refuses these messages: no system role/],
}

/** For how long, in milliseconds, the event loop did nothing else at once while `work` was done. */
async function longestStall(work) {
  let longest = 0
  let last = performance.now()
  const look = () => {
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
  }
  const timer = setInterval(look, 5)
  try {
    await work()
    look()
  } finally {
    clearInterval(timer)
  }
  return longest
}

testWith(STORIES, 'hostile templates end in errors, and nothing waits for them', async (t) => {
  const model = await openModel(t)
  const messages = [{ role: 'user', content: 'Hi' }]
  await model.chat({ template: '{{ 1 }}', messages }).render() // the thread has started
  for (const [what, [template, expected]] of Object.entries(HOSTILE)) {
    const refused = async () => {
      const answer = model.chat({ template, messages }).send('Hi', { maxTokens: 1 })
      await assert.rejects(answer, (error) => error instanceof ChordError && error.code === 'CHAT_TEMPLATE' && expected.test(error.message), what)
    }
    // A busy machine may hold everything up, but not each time.
    let stall = await longestStall(refused)
    for (let again = 0; again < 3 && stall >= 100; again++) stall = Math.min(stall, await longestStall(refused))
    assert.ok(stall < 100, `${what}: the event loop stood still for ${stall.toFixed(0)} ms`)
  }
})

testWith(STORIES, 'a template without end is stopped, the others have their turn, and who gives up need not wait', async (t) => {
  const model = await openModel(t)
  const messages = [{ role: 'user', content: 'Hi' }]
  await model.chat({ template: '{{ 1 }}', messages }).render() // the thread has started
  const looping = model.chat({ template: LOOP, messages }).render()
  const stopped = (rendering) => () => assert.rejects(rendering, { code: 'CHAT_TEMPLATE', message: /did not end within 1000 ms/ })
  const measured = longestStall(stopped(looping))
  const other = model.chat({ template: '{{ messages[0].content }}', messages }).render()
  const given = model.chat({ template: '{{ 1 }}' }).send('Hi')
  await sleep(20)
  given.cancel()
  const { finishReason, message } = await given
  assert.deepEqual({ finishReason, message }, { finishReason: 'cancelled', message: null })
  assert.equal(await Promise.race([looping.catch(() => 'ended'), 'goes on']), 'goes on')
  let stall = await measured
  assert.equal(await other, 'Hi')
  for (let again = 0; again < 3 && stall >= 100; again++) {
    stall = Math.min(stall, await longestStall(stopped(model.chat({ template: LOOP, messages }).render())))
  }
  assert.ok(stall < 100, `the event loop stood still for ${stall.toFixed(0)} ms`)
})

testWith(STORIES, 'what a template is given is plain data', async (t) => {
  const model = await openModel(t)
  assert.throws(() => model.chat({ variables: { f() {} } }), { code: 'INVALID_ARGUMENT' })
  assert.throws(() => model.chat({ messages: [{ role: 'user', content: 5 }] }), /content/)
  assert.throws(() => model.chat({ messages: [{ content: 'Hi' }] }), /role/)
  assert.throws(() => model.chat({ messages: 'Hi' }), /messages/)
  assert.throws(() => model.chat({ documents: {} }), /documents/)
  assert.throws(() => model.chat().send({ role: 'user', content: 'Hi', f() {} }), { code: 'INVALID_ARGUMENT' })
  const template = "{% if tools is none %}none{% endif %}{{ documents | length }}{{ strftime_now('%Y') }}"
  const text = await model.chat({ template, messages: [{ role: 'user', content: 'Hi' }], documents: [{ text: 'a' }] }).render()
  assert.equal(text, `none1${new Date().getFullYear()}`)
})
