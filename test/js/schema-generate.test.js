'use strict'

// Generations held to a JSON Schema: what they write validates, `value` is what it says, and what was cut has none.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const { after, before, describe } = require('node:test')
const { default: addFormats } = require('ajv-formats')
const { default: Ajv } = require('ajv/dist/2020')
const { LONG_CONTEXT, STORIES, openModel, testWith } = require('./helpers.js')
const { loadModel } = require('../..')

const PERSON = {
  $defs: { name: { type: 'string', pattern: '^[A-Z][a-z]{1,8}$' } },
  type: 'object',
  properties: {
    name: { $ref: '#/$defs/name' },
    age: { type: 'integer', minimum: 0, maximum: 120 },
    born: { type: 'string', format: 'date' },
    tags: { type: 'array', items: { enum: ['a', 'b', 'c'] }, maxItems: 3 },
    note: { type: ['string', 'null'], maxLength: 12 },
    friend: { oneOf: [{ type: 'null' }, { $ref: '#/$defs/name' }] },
  },
  required: ['name', 'age', 'born', 'friend'],
}
const SCHEMAS = [
  PERSON,
  { type: 'array', items: { type: 'number', minimum: -1, maximum: 1 }, minItems: 2, maxItems: 4 },
  { type: 'object', additionalProperties: { type: 'boolean' }, propertyNames: { maxLength: 4 }, minProperties: 1, maxProperties: 3 },
  { enum: ['yes', 'no', { maybe: [1, 2.5, null] }] },
  { type: 'string', maxLength: 8 },
  { type: 'integer' },
]

const ajv = new Ajv({ strict: false, logger: false })
addFormats(ajv)

let stories
before(async () => {
  if (fs.existsSync(STORIES)) stories = await loadModel(STORIES, { context: 256 })
})
after(() => stories?.close())

const rejects = (generation, code, message) => assert.rejects(async () => generation, (error) => error.code === code && message.test(error.message))

describe('generations of a schema', () => {
  testWith(STORIES, 'greedy, sampled and against all likelihood: the value validates', async () => {
    const manners = [
      { temperature: 0 },
      ...Array.from({ length: 4 }, (_, seed) => ({ seed, temperature: 1 })),
      ...Array.from({ length: 4 }, (_, seed) => ({ seed, temperature: 50, topK: 0, topP: 1, minP: 0 })),
      { temperature: 0, logitBias: { 2: 100 }, ignoreEos: true },
    ]
    for (const schema of SCHEMAS) {
      const validate = ajv.compile(schema)
      const results = await Promise.all(manners.map((options) => stories.generate('Once', { schema, maxTokens: 200, ...options })))
      let whole = 0
      for (const { text, value, finishReason } of results) {
        assert.equal(finishReason === 'stop', value !== undefined, text)
        if (value === undefined) continue
        whole++
        assert.equal(JSON.stringify(JSON.parse(text)), JSON.stringify(value))
        assert.ok(validate(value), `${text}: ${JSON.stringify(validate.errors)}`)
      }
      assert.ok(whole >= 4, `${whole} of ${results.length} came to their end: ${JSON.stringify(schema)}`)
    }
  })

  testWith(STORIES, 'what was cut has no value', async (t) => {
    const cut = await stories.generate('', { schema: PERSON, temperature: 0, maxTokens: 9 })
    assert.equal(cut.finishReason, 'length')
    assert.ok(!('value' in cut))
    const stopped = await stories.generate('', { schema: PERSON, temperature: 0, stop: '"age"' })
    assert.equal(stopped.finishReason, 'stop')
    assert.ok(!('value' in stopped))
    // A number that a stop string has cut looks whole, and is not.
    const number = await stories.generate('', { schema: { type: 'integer', minimum: 100, maximum: 999 }, temperature: 0, stop: ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'].map((c) => `5${c}`).concat('00') })
    assert.equal('value' in number, /^[1-9]\d\d$/.test(number.text))
    const model = await openModel(t, STORIES, { context: LONG_CONTEXT })
    const generation = model.generate('', { schema: { type: 'string', minLength: 100000 }, seed: 1 })
    for await (const text of generation) if (text) break
    const cancelled = await generation
    assert.equal(cancelled.finishReason, 'cancelled')
    assert.ok(!('value' in cancelled))
    assert.ok(!('value' in (await stories.generate('', { maxTokens: 2 }))))
  })

  testWith(STORIES, 'sessions and guesses change nothing about it', async () => {
    const options = { schema: PERSON, seed: 3, maxTokens: 200 }
    const { text } = await stories.generate('Once', { ...options, speculate: false })
    assert.equal((await stories.generate('Once', { ...options, speculate: { always: true } })).text, text)
    const session = stories.session()
    assert.equal((await session.generate('Once', options)).text, text)
    await session.close()
  })

  testWith(STORIES, 'what is not supported is refused before anything is generated', async () => {
    const steps = stories.stats().work.steps
    await rejects(stories.generate('', { schema: { type: 'object', properties: { a: { uniqueItems: true } } } }), 'INVALID_ARGUMENT', /^schema, #\/properties\/a\/uniqueItems: 'uniqueItems' is not supported$/)
    await rejects(stories.generate('', { schema: { type: 'string', const: 1 } }), 'INVALID_ARGUMENT', /no text matches/)
    assert.throws(() => stories.generate('', { schema: '{}' }), { code: 'INVALID_ARGUMENT', message: /option 'schema' of generate\(\): expected a JSON Schema/ })
    assert.throws(() => stories.generate('', { schema: { const: 1n } }), { code: 'INVALID_ARGUMENT', message: /that JSON can be made of/ })
    assert.throws(() => stories.generate('', { schema: {}, grammar: 'root ::= "a"' }), { code: 'INVALID_ARGUMENT', message: /exclude each other/ })
    assert.equal(stories.stats().work.steps, steps)
  })
})
