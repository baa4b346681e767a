'use strict'

// The examples run as they stand.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { DEMO, STORIES, root, runNode, testWith } = require('./helpers.js')

const EXPECTED = {
  'chat.js': /\(\d+ tokens of prompt, 0 of them reused\)[^]*\(\d+ tokens of prompt, [1-9]\d* of them reused\)/,
  'cancel.js': /^break: .*\ncancel: (cancelled|stop|length) after \d+ tokens\nsignal: .*\n$/,
  'concurrent.js': /one by one: (\d+) steps, together: (\d+)\n$/,
  'extract.js': /^(.+, \d+, \d{4}-\d\d-\d\d, (glad|sad|unknown); [0-3] places|no whole answer: length)\n$/,
  'generate.js': /\d+ tokens, [\d.]+ per second, ended by (length|stop)\n$/,
  'perplexity.js': /perplexity of LICENSE: [\d.]+ over \d+ tokens in \d+ windows\nafter .*\n/,
  'tools.js': /(> read_file\(.*\)\n< \d+ characters\n)?[^]*\d+ tokens, ended by \w+\n$/,
  'wasm.js': /^(layer \d+: \d+ bytes, sum \d+\n)+\d+ reads by a guest of \d+ pages\n$/,
}
const INPUT = { 'chat.js': 'Once upon a time\nAnd then?\n' }
const names = fs.readdirSync(path.join(root, 'examples')).filter((name) => name.endsWith('.js'))

for (const name of names) {
  for (const file of [STORIES, DEMO]) {
    testWith(file, `${name} on ${path.basename(file)}`, async () => {
      assert.ok(EXPECTED[name], `${name} has no expectation here`)
      // On the demo model, as a newcomer starts it: without a word.
      const { code, stdout, stderr } = await runNode([path.join(root, 'examples', name), ...(file === DEMO ? [] : [file])], { input: INPUT[name] })
      assert.equal(code, 0, stderr)
      assert.match(stdout, EXPECTED[name])
      const steps = /one by one: (\d+) steps, together: (\d+)/.exec(stdout)
      if (steps) assert.ok(Number(steps[2]) < Number(steps[1]), steps[0])
    })
  }
}
