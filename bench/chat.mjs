// What the second turn of a chat costs: `node bench/chat.mjs --help`.
//
// Per round, interleaved: the second turn on a history of so many tokens; a session's prompt of as many tokens as are new in it, behind as
// many that the session holds, and behind none; and the same conversation in a chat that has computed nothing. Medians of the prompt times that chord reports, and from the call of send() to the
// first token, which includes the template and the tokenizer.

import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const { loadModel } = require('..')
const { integer, modelCommand } = require('./options.js')
const { median } = require('../lib/cli/format.js')

const { values, file } = modelCommand({
  synopsis: 'npm run bench:chat -- MODEL.gguf',
  about: "Sets the second turn of a chat beside a session's prompt of as many tokens, and beside the whole conversation anew.",
  options: {
    history: { read: integer(1), value: 'N', help: 'tokens of the first turn', initial: 1000 },
    new: { read: integer(1), value: 'N', help: 'tokens of a message', initial: 24 },
    rounds: { read: integer(1), value: 'N', help: 'that count', initial: 5 },
    threads: { read: integer(1), value: 'N', help: 'default: one per processor' },
    json: { help: 'one JSON object on standard output' },
  },
})
const { history, new: fresh, rounds } = values

const WORDS = 'the red ball lay in the tall grass behind a small house where nobody had been for years and the wind went through the open door'.split(' ')
const text = (n, seed) => Array.from({ length: n }, (_, i) => WORDS[(i * 7 + seed * 13 + Math.floor(i / 11)) % WORDS.length]).join(' ')

const model = await loadModel(file, values.threads ? { threads: values.threads } : {})
const OPTIONS = { temperature: 0, maxTokens: 4, ignoreEos: true, speculate: false }

/** A text of about so many tokens. */
function sized(tokens, seed) {
  let n = tokens
  for (let i = 0; i < 4; i++) n = Math.max(1, Math.round((n * tokens) / model.tokenize(text(n, seed), { bos: false }).length))
  return text(n, seed)
}

async function timed(answer) {
  const began = performance.now()
  let first
  for await (const event of answer.events()) {
    if (event.token !== null) first ??= performance.now() - began
  }
  const { timings, usage } = await answer
  return { promptMs: timings.promptMs, firstMs: first, ...usage }
}

const found = { turn: [], behind: [], alone: [], anew: [] }
for (let round = 0; round <= rounds; round++) {
  const system = `${round} ${sized(history, round)}`
  const chat = model.chat({ system })
  await chat.send(sized(fresh, round + 50), OPTIONS)
  const turn = await timed(chat.send(sized(fresh, round + 100), OPTIONS))
  const nNew = turn.promptTokens - turn.reusedTokens
  const tokens = model.tokenize(text(4 * nNew, round + 200), { bos: false }).slice(0, nNew)
  const alone = await timed(model.generate(tokens, OPTIONS))
  const session = model.session()
  const held = model.tokenize(text(2 * turn.reusedTokens, round + 300)).slice(0, turn.reusedTokens)
  await session.generate(held, { ...OPTIONS, maxTokens: 1 })
  const behind = await timed(session.generate([...held, ...tokens], OPTIONS))
  await session.close()
  const { messages } = chat
  await chat.close()
  // Another first word: nobody has computed this beginning.
  const anew = model.chat({ system: `again ${system}`, messages: messages.slice(1, 3) })
  const whole = await timed(anew.send(messages[3].content, OPTIONS))
  await anew.close()
  if (round === 0) continue
  found.turn.push(turn)
  found.behind.push(behind)
  found.alone.push(alone)
  found.anew.push(whole)
}
await model.close()

const of = (list) => ({
  promptTokens: median(list.map(({ promptTokens }) => promptTokens)),
  reusedTokens: median(list.map(({ reusedTokens }) => reusedTokens)),
  promptMs: median(list.map(({ promptMs }) => promptMs)),
  firstMs: median(list.map(({ firstMs }) => firstMs)),
})
const result = { file, turn: of(found.turn), behind: of(found.behind), alone: of(found.alone), anew: of(found.anew) }
if (values.json) {
  console.log(JSON.stringify(result))
} else {
  const row = (name, { promptTokens, reusedTokens, promptMs, firstMs }) =>
    console.log(`${name.padEnd(28)} ${String(promptTokens).padStart(6)} tokens, ${String(reusedTokens).padStart(5)} reused: ${promptMs.toFixed(1).padStart(8)} ms, first token after ${firstMs.toFixed(1).padStart(8)} ms`)
  row('second turn', result.turn)
  row('as many new tokens', result.behind)
  row('as many in an empty context', result.alone)
  row('the same, nothing computed', result.anew)
}
