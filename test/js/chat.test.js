'use strict'

// Conversations.

const assert = require('node:assert/strict')
const { Chat, ChatAnswer, ChordError, loadModel } = require('../..')
const { STORIES, openModel, testWith, withMetadata } = require('./helpers.js')

const GREEDY = { temperature: 0, maxTokens: 20, logprobs: 0, ignoreEos: true }
const TEMPLATE = "{{ bos_token }}{% for m in messages %}{{ m.role + ': ' + m.content + eos_token + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
const SYSTEM = 'You tell stories of a little girl named Lily, who loved to play outside in the sunshine with her dog and her cat and a red ball. '.repeat(4)

const essence = ({ text, tokens, logprobs }) => ({ text, tokens, logprobs })

testWith(STORIES, 'a chat goes on turn by turn, and computes what is new', async (t) => {
  const model = await openModel(t)
  const chat = model.chat({ system: SYSTEM })
  assert.ok(chat instanceof Chat)
  assert.equal(chat.template.source, 'fallback')
  const pieces = []
  const answer = chat.send('Once upon a time', GREEDY)
  assert.ok(answer instanceof ChatAnswer)
  for await (const text of answer) pieces.push(text)
  const first = await answer
  assert.equal(pieces.join(''), first.text)
  assert.equal(first.finishReason, 'length')
  assert.equal(first.tokens.length, 20)
  assert.deepEqual(first.message, { role: 'assistant', content: first.text })
  assert.deepEqual(first.warnings, [])
  const before = model.stats().work
  const second = await chat.send('And then?', GREEDY)
  const { work } = model.stats()
  // All of the first turn is there; its last token, which is a generated one, but for its keys and values.
  const held = first.usage.promptTokens + 20 - 1
  assert.equal(second.usage.reusedTokens, held)
  assert.equal(work.reusedTokens - before.reusedTokens, held)
  assert.equal(work.promptTokens - before.promptTokens, second.usage.promptTokens - held - 1)
  assert.deepEqual(chat.messages, [
    { role: 'system', content: SYSTEM },
    { role: 'user', content: 'Once upon a time' },
    first.message,
    { role: 'user', content: 'And then?' },
    second.message,
  ])
  // The same conversation anew.
  const again = model.chat({ system: SYSTEM })
  assert.deepEqual(essence(await again.send('Once upon a time', GREEDY)), essence(first))
  assert.deepEqual(essence(await again.send('And then?', GREEDY)), essence(second))
  assert.throws(() => new Chat(), TypeError)
  assert.throws(() => new ChatAnswer(), TypeError)
})

testWith(STORIES, 'the template of the file is used, and BOS is written once', async (t) => {
  const file = withMetadata(t, STORIES, { 'tokenizer.chat_template': TEMPLATE, 'tokenizer.chat_template.loud': TEMPLATE.toUpperCase() })
  const model = await openModel(t, file)
  const chat = model.chat()
  assert.deepEqual(chat.template, { name: 'default', source: 'file', text: TEMPLATE })
  assert.equal(model.chat({ template: 'loud' }).template.name, 'loud')
  assert.throws(() => model.chat({ template: 'quiet' }), { code: 'INVALID_ARGUMENT', message: /'quiet'.*'default', 'loud'/ })
  const { usage } = await chat.send('Hi', GREEDY)
  const { bos, eos } = model.info.tokenizer
  const plain = (text) => model.tokenize(text, { special: true, bos: false })
  assert.equal(usage.promptTokens, plain('<s>user: Hi</s>\nassistant: ').length)
  assert.deepEqual(plain('<s>user: Hi</s>').filter((id) => id === bos || id === eos), [bos, eos])
  const single = await model.generate([{ role: 'user', content: 'Hi' }], GREEDY)
  assert.deepEqual(single.tokens, (await model.chat().send('Hi', GREEDY)).tokens)
  assert.equal(single.message.content, single.text)
})

testWith(STORIES, 'eight chats at once answer as each does alone', async (t) => {
  const model = await openModel(t)
  const names = ['Tom', 'Sue', 'Ben', 'Ann', 'Max', 'Mia', 'Sam', 'Zoe']
  const options = (i) => ({ ...GREEDY, temperature: 1, seed: i })
  const talk = async (name, i) => {
    const chat = model.chat({ system: SYSTEM })
    const one = await chat.send(`Tell me of ${name}.`, options(i))
    return [essence(one), essence(await chat.send('And then?', options(i)))]
  }
  const alone = []
  for (const [i, name] of names.entries()) alone.push(await talk(name, i))
  assert.deepEqual(await Promise.all(names.map(talk)), alone)
})

testWith(STORIES, 'chats with one system prompt hold it once', async (t) => {
  const model = await openModel(t)
  const [one, other] = [model.chat({ system: SYSTEM }), model.chat({ system: SYSTEM })]
  const first = await one.send('Tell me of Tom.', GREEDY)
  const second = await other.send('Tell me of Sue.', GREEDY)
  const common = Math.floor(model.tokenize(SYSTEM).length / 64) * 64
  assert.ok(common >= 128)
  assert.equal(first.usage.reusedTokens, 0)
  assert.ok(second.usage.reusedTokens >= common)
  const { kv } = model.stats().regions
  assert.ok(kv.blocks * 64 <= kv.tokens - common + 2 * 64)
  await Promise.all([one.close(), other.close()])
  assert.equal(model.stats().regions.kv.blocks, 0)
})
