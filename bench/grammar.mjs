#!/usr/bin/env node
// What a grammar costs a generation: `node bench/grammar.mjs --help`. `build/Release/bench_grammar VOCABULARY.gguf` times the choices alone.

import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const { FOLDER, modelFile } = require('./models.js')
const { UsageError, integer, main, text } = require('./options.js')
const { ensureAddon } = require('../tools/build.js')
const { median } = require('../lib/cli/format.js')

// An array so long that no generation comes to its end.
const GRAMMAR = String.raw`
root ::= "[" ws value (ws "," ws value){400,9999} ws "]"
value ::= object | string | number | "true" | "false" | "null" | "[" ws (value (ws "," ws value){0,9999})? ws "]"
object ::= "{" ws (string ws ":" ws value (ws "," ws string ws ":" ws value){0,999})? ws "}"
string ::= "\"" ([^"\\\x00-\x1f] | "\\" ["\\/bfnrt]){0,5000} "\""
number ::= "-"? ("0" | [1-9] [0-9]{0,15}) ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,3})?
ws ::= [ \t\n]{0,20}
`
const PROMPT = 'A list of books as JSON, each with its title, author and year:\n'
const CHAINS = { greedy: { temperature: 0 }, default: { seed: 1 } }
const PROPERTIES = {
  title: { type: 'string', minLength: 4, maxLength: 200 },
  year: { type: 'integer', minimum: 1500, maximum: 2100 },
  isbn: { type: 'string', pattern: '^97[89]-[0-9]{10}$' },
  tags: { type: 'array', items: { enum: ['novel', 'poems', 'essay', 'play'] }, minItems: 1, maxItems: 5 },
}

/** { greedy, default }: tokens per second without and within the grammar, from the same prompt in turn. */
async function measureGrammar(model, { tokens, rounds }, note) {
  const found = Object.fromEntries(Object.keys(CHAINS).map((name) => [name, { free: [], held: [], tokens: 0 }]))
  for (let round = 0; round <= rounds; round++) {
    note(round === 0 ? 'warming up' : `round ${round} of ${rounds}`)
    for (const [name, chain] of Object.entries(CHAINS)) {
      const options = { ...chain, maxTokens: tokens, ignoreEos: true, speculate: false }
      const arms = { free: options, held: { ...options, grammar: GRAMMAR } }
      const results = {}
      for (const arm of round % 2 ? ['free', 'held'] : ['held', 'free']) results[arm] = await model.generate(PROMPT, arms[arm])
      const { free, held } = results
      if (round === 0) continue
      found[name].free.push(free.timings.completionPerSecond)
      found[name].held.push(held.timings.completionPerSecond)
      found[name].tokens = held.tokens.length
    }
  }
  return Object.fromEntries(
    Object.entries(found).map(([name, { free, held, tokens: n }]) => [name, { free: median(free), held: median(held), ratio: median(held.map((x, i) => x / free[i])), tokens: n }]),
  )
}

/** Milliseconds of a whole call with a JSON Schema that the model has not met, and of the same again. */
async function measureSchema(model, { tokens, rounds }, note) {
  const calls = []
  for (let round = 0; round < rounds; round++) {
    note(`schema ${round + 1} of ${rounds}`)
    const properties = { ...PROPERTIES, shelf: { const: `shelf ${round}` } }
    const schema = { type: 'object', properties, required: Object.keys(properties) }
    const ms = []
    for (let i = 0; i < 2; i++) {
      const began = performance.now()
      await model.generate(PROMPT, { ...CHAINS.greedy, maxTokens: tokens, speculate: false, schema })
      ms.push(performance.now() - began)
    }
    calls.push(ms)
  }
  const [firstMs, secondMs] = [0, 1].map((i) => median(calls.map((ms) => ms[i])))
  return { firstMs, secondMs, ratio: median(calls.map(([a, b]) => b / a)) }
}

async function run(values, words, terminal) {
  if (words.length !== 1) throw new UsageError('one model')
  const note = (line) => terminal.progress(line)
  await ensureAddon()
  const file = await modelFile(words[0], { folder: values.models, note })
  const model = await require('..').loadModel(file, values.threads ? { threads: values.threads } : {})
  try {
    const result = { ...(await measureGrammar(model, values, note)), schema: await measureSchema(model, values, note) }
    terminal.clear()
    await (values.json ? terminal.json(result) : terminal.write(report(result)))
  } finally {
    await model.close()
  }
}

function report({ schema, ...chains }) {
  const lines = Object.entries(chains).map(
    ([name, { free, held, ratio, tokens }]) =>
      `${name.padEnd(8)} ${held.toFixed(2)} tokens/s within the grammar (${tokens} tokens), ${free.toFixed(2)} without: ${ratio.toFixed(3)}\n`,
  )
  const { firstMs, secondMs, ratio } = schema
  return `${lines.join('')}schema   ${firstMs.toFixed(1)} ms of a call with a new one, ${secondMs.toFixed(1)} with the same again: ${ratio.toFixed(3)}\n`
}

await main({
  synopsis: 'npm run bench:grammar -- MODEL.gguf | GEOMETRY-MIX',
  about:
    'Generates from one prompt without and within a grammar (JSON, its repetitions counted) in turn, greedy and with the default\n' +
    'sampling: medians of the tokens per second behind the first, and within over without. Then a JSON Schema that the model has\n' +
    'not met, and the same again: the whole call, as the second finds the schema compiled and its masks known.',
  options: {
    tokens: { read: integer(2), value: 'N', help: 'to generate', initial: 64 },
    rounds: { read: integer(1), value: 'N', help: 'that count', initial: 5 },
    threads: { read: integer(1), value: 'N', help: 'default: one per processor' },
    models: { read: text, value: 'FOLDER', help: 'of models that are made', initial: FOLDER },
    json: { help: 'one JSON object on standard output' },
  },
  run,
})
