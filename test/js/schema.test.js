'use strict'

// JSON Schemas as grammars, with ajv as the oracle: what the grammar writes under random choices validates, and what validates and is in
// the form that chord writes is accepted, byte by byte. build/Release/json_writer (test/c/json_writer.c) drives the grammars.

const assert = require('node:assert/strict')
const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const test = require('node:test')
const { default: addFormats } = require('ajv-formats')
const { default: Ajv } = require('ajv/dist/2020')
const { root } = require('./helpers.js')
const { refused, schemas } = require('./programs/schema-cases.js')
const { makeSchema, makeValue, random } = require('./programs/schema-maker.js')

const WRITER = path.join(root, 'build', 'Release', process.platform === 'win32' ? 'json_writer.exe' : 'json_writer')
const QUICK = process.env.CHORD_TEST_QUICK === '1'
const skip = fs.existsSync(WRITER) ? false : 'build/Release/json_writer is not built: node tools/build.js --tests'

/** The answers to `lines`; see the head of json_writer.c. */
function ask(lines) {
  const { status, stdout, stderr } = spawnSync(WRITER, { input: lines.map((line) => `${line}\n`).join(''), encoding: 'utf8', maxBuffer: 2 ** 30 })
  assert.equal(status, 0, `${stdout.slice(-400)}\n${stderr}`)
  return stdout.split('\n').slice(0, -1)
}

// multipleOf of decimals is meant as decimals; as divisions of doubles 0.07 would be no multiple of 0.01.
const ajv = new Ajv({ strict: false, logger: false, multipleOfPrecision: 6, validateSchema: false, code: { optimize: false } })
addFormats(ajv)

/** ajv keeps what it has compiled. */
const validatorOf = (schema) => ajv.compile(schema)

/** Those of `schemas` that compile, each with its validator; the others by message. */
function compiled(list) {
  const answers = ask(list.map((schema) => `schema ${JSON.stringify(schema)}`))
  const ok = []
  const messages = []
  list.forEach((schema, i) => {
    if (answers[i] === 'ok') ok.push(schema)
    else messages.push({ schema, message: answers[i] })
  })
  return { ok, messages }
}

/** Writes `n` documents of each schema and checks them. Returns how many were complete, and how many not. */
function checkWritten(list, n) {
  const answers = ask(list.flatMap((schema, i) => [`schema ${JSON.stringify(schema)}`, `write ${1000 * i} ${n} 60`]))
  const counts = { whole: 0, cut: 0 }
  let at = 0
  for (const schema of list) {
    const validate = validatorOf(schema)
    assert.equal(answers[at++], 'ok')
    for (const line of answers.slice(at, at + n)) {
      const text = line.slice(2)
      if (line[0] === '~') {
        counts.cut++
        continue
      }
      counts.whole++
      assert.equal(line[0], '=', line)
      assert.ok(validate(JSON.parse(text)), `${JSON.stringify(schema)}\nwrote ${text}\n${JSON.stringify(validate.errors)}`)
    }
    at += n
  }
  return counts
}

/** Integers are written within 2^53 only. */
function isExact(value) {
  if (typeof value === 'number') return !Number.isInteger(value) || Number.isSafeInteger(value)
  return typeof value !== 'object' || value === null || Object.values(value).every(isExact)
}

/** What chord writes of valid values must be accepted. Returns how many there were. */
function checkRead(list, n) {
  const cases = []
  list.forEach((schema, i) => {
    const validate = validatorOf(schema)
    const next = random(i + 1)
    for (let k = 0; k < n; k++) {
      const value = makeValue(schema, schema, next, 0)
      if (value !== undefined && isExact(value) && validate(value)) cases.push({ schema, text: JSON.stringify(value) })
    }
  })
  const lines = cases.flatMap(({ schema, text }, i) => [...(cases[i - 1]?.schema === schema ? [] : [`schema ${JSON.stringify(schema)}`]), `read ${text}`])
  const answers = ask(lines).filter((line) => line !== 'ok')
  cases.forEach(({ schema, text }, i) => assert.equal(answers[i], 'yes', `${JSON.stringify(schema)}\ndoes not take ${text}`))
  return cases.length
}

test('what a schema writes validates, whatever is chosen', { skip }, () => {
  const { ok, messages } = compiled(schemas)
  assert.deepEqual(messages, [])
  const { whole, cut } = checkWritten(ok, QUICK ? 6 : 24)
  assert.ok(whole > 10 * cut, `${whole} complete, ${cut} not`)
})

test('valid documents in canonical form are accepted', { skip }, () => {
  const n = checkRead(schemas, QUICK ? 4 : 16)
  assert.ok(n > 3 * schemas.length, `only ${n} documents`)
})

test('random schemas', { skip }, () => {
  const next = random(7)
  const made = Array.from({ length: QUICK ? 60 : 420 }, () => makeSchema(next, 0))
  const { ok, messages } = compiled(made)
  for (const { schema, message } of messages) {
    assert.match(message, /^error: (schema, #.*: (oneOf is|not is|multipleOf and|minProperties|minimum, maximum or)|no text matches)/, JSON.stringify(schema))
  }
  assert.ok(ok.length > 0.7 * made.length, `${messages.length} of ${made.length} refused: ${JSON.stringify(messages.slice(0, 3))}`)
  const { whole, cut } = checkWritten(ok, 8)
  assert.ok(whole > 10 * cut, `${whole} complete, ${cut} not`)
  checkRead(ok, 6)
})

test('what is not supported is refused by name and place', { skip }, () => {
  const answers = ask(refused.map(({ schema }) => `schema ${typeof schema === 'string' ? schema : JSON.stringify(schema)}`))
  refused.forEach(({ schema, message }, i) => assert.ok(answers[i].includes(message), `${JSON.stringify(schema)}\n${answers[i]}\n${message}`))
})
