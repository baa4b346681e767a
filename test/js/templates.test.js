'use strict'

// What chat templates make of messages.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { CHAT, STORIES, openModel, testWith } = require('./helpers.js')

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
