// What a grammar costs a generation: `node bench/grammar.mjs MODEL.gguf [--tokens 64] [--rounds 5] [--threads N] [--json]`
//
// Per round, interleaved and each from the same prompt: a generation of so many tokens without and with a grammar (any JSON, its repetitions
// counted), greedy and with the default sampling. Medians of the tokens per second that chord reports, the first token left out, and
// with over without. Then a JSON Schema that the model has not met, and at once the same again: milliseconds of the whole call, as the second finds
// the schema compiled and its masks known. `build/Release/bench_grammar VOCABULARY.gguf` times the choices alone.

import { createRequire } from 'node:module'
import { parseArgs } from 'node:util'

const { loadModel } = createRequire(import.meta.url)('..')

const number = (value) => ({ type: 'string', default: String(value) })
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { tokens: number(64), rounds: number(5), threads: { type: 'string' }, json: { type: 'boolean', default: false } },
})
if (positionals.length !== 1) {
  console.error('usage: node bench/grammar.mjs MODEL.gguf [--tokens 64] [--rounds 5] [--threads N] [--json]')
  process.exit(2)
}
const [tokens, rounds] = [values.tokens, values.rounds].map(Number)
const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1]

const GRAMMAR = String.raw`
root ::= "[" ws (value (ws "," ws value){0,9999})? ws "]"
value ::= object | string | number | "true" | "false" | "null" | "[" ws (value (ws "," ws value){0,9999})? ws "]"
object ::= "{" ws (string ws ":" ws value (ws "," ws string ws ":" ws value){0,999})? ws "}"
string ::= "\"" ([^"\\\x00-\x1f] | "\\" ["\\/bfnrt]){0,5000} "\""
number ::= "-"? ("0" | [1-9] [0-9]{0,15}) ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,3})?
ws ::= [ \t\n]{0,20}
`
const PROMPT = 'A list of books as JSON, each with its title, author and year:\n'
const model = await loadModel(positionals[0], values.threads ? { threads: Number(values.threads) } : {})
const chains = { greedy: { temperature: 0 }, default: { seed: 1 } }
const found = Object.fromEntries(Object.keys(chains).map((name) => [name, { free: [], held: [], tokens: 0 }]))

for (let round = 0; round <= rounds; round++) {
  for (const [name, chain] of Object.entries(chains)) {
    const options = { ...chain, maxTokens: tokens, ignoreEos: true, speculate: false }
    const free = await model.generate(PROMPT, options)
    const held = await model.generate(PROMPT, { ...options, grammar: GRAMMAR })
    if (round === 0) continue // warms up
    found[name].free.push(free.timings.completionPerSecond)
    found[name].held.push(held.timings.completionPerSecond)
    found[name].tokens = held.tokens.length
  }
}
const result = Object.fromEntries(
  Object.entries(found).map(([name, { free, held, tokens: n }]) => [name, { free: median(free), held: median(held), ratio: median(held.map((x, i) => x / free[i])), tokens: n }]),
)

const PROPERTIES = {
  title: { type: 'string', minLength: 4, maxLength: 200 },
  year: { type: 'integer', minimum: 1500, maximum: 2100 },
  isbn: { type: 'string', pattern: '^97[89]-[0-9]{10}$' },
  tags: { type: 'array', items: { enum: ['novel', 'poems', 'essay', 'play'] }, minItems: 1, maxItems: 5 },
}
const calls = []
for (let round = 0; round < rounds; round++) {
  const properties = { ...PROPERTIES, shelf: { const: `shelf ${round}` } }
  const schema = { type: 'object', properties, required: Object.keys(properties) }
  const ms = []
  for (let i = 0; i < 2; i++) {
    const began = performance.now()
    await model.generate(PROMPT, { ...chains.greedy, maxTokens: tokens, speculate: false, schema })
    ms.push(performance.now() - began)
  }
  calls.push(ms)
}
const [first, second] = [0, 1].map((i) => median(calls.map((ms) => ms[i])))
result.schema = { firstMs: first, secondMs: second, ratio: median(calls.map(([a, b]) => b / a)) }
if (values.json) console.log(JSON.stringify(result))
else {
  for (const [name, { free, held, ratio, tokens: n }] of Object.entries(result).filter(([each]) => each in chains))
    console.log(`${name.padEnd(8)} ${held.toFixed(2)} tokens/s within the grammar (${n} tokens), ${free.toFixed(2)} without: ${ratio.toFixed(3)}`)
  const { firstMs, secondMs, ratio } = result.schema
  console.log(`schema   ${firstMs.toFixed(1)} ms of a call with a new one, ${secondMs.toFixed(1)} with the same again: ${ratio.toFixed(3)}`)
}
await model.close()
