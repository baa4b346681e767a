// Speculation on and off, in turn: `node bench/speculate.mjs [MODEL.gguf] [--draft SMALL.gguf] [--memory 2GiB] [--tokens 200] [--rounds 5] [--context 1024]`
//
// Cases: `edit`, a prompt whose text the model may go on repeating, greedy; `loop`, the same made to repeat itself by a negative penalty, so that
// nearly all guesses come true: what is to be gained at most, also with random weights; `free`, drawn at temperature 1, where there is next to
// nothing to guess. With a draft model three more: `draft`, greedy, guessed by it alone; `both`, the same with lookup; `drawn`, by it alone at temperature 1.
// A ratio is that of tokens per second, on to off, of one round; texts are compared.

import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const require = createRequire(import.meta.url)
const { loadModel } = require('..')

const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1]
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    memory: { type: 'string', default: 'auto' },
    tokens: { type: 'string', default: '200' },
    rounds: { type: 'string', default: '5' },
    context: { type: 'string', default: '1024' },
    draft: { type: 'string' },
    cases: { type: 'string' },
  },
})
const file = positionals[0] ?? fileURLToPath(new URL('../models/demo.gguf', import.meta.url))
const [tokens, rounds] = [Number(values.tokens), Number(values.rounds)]

const SENTENCES =
  'The prince rode out of the town before the sun had risen, and the officers of his staff rode behind him in silence. ' +
  'At the bridge they met a column of soldiers who had marched all night and did not know where they were going. '
const CASES = {
  edit: { prompt: SENTENCES.repeat(2) + SENTENCES.slice(0, 60), options: { temperature: 0 } },
  loop: { prompt: SENTENCES, options: { temperature: 0, frequencyPenalty: -8, penaltyLastN: 1024 } },
  free: { prompt: SENTENCES.slice(0, 116), options: { temperature: 1, topK: 0, topP: 1, minP: 0 } },
  draft: { prompt: SENTENCES.slice(0, 116), options: { temperature: 0 }, how: { lookup: false } },
  both: { prompt: SENTENCES.slice(0, 116), options: { temperature: 0 }, how: { lookup: true } },
  drawn: { prompt: SENTENCES.slice(0, 116), options: { temperature: 1, topK: 0, topP: 1, minP: 0 }, how: { lookup: false } },
}

const draft = values.draft && (await loadModel(values.draft, { context: Number(values.context) }))
const model = await loadModel(file, { memory: values.memory, context: Number(values.context) })
console.log(`${file}, ${model.info.mode}, ${model.info.cpu}, ${model.info.threads} threads; ${tokens} tokens, ${rounds} rounds`)
const cases = values.cases ?? `edit,loop,free${draft ? ',draft,both,drawn' : ''}`
for (const name of cases.split(',')) {
  const { prompt, options, how } = CASES[name]
  const times = { off: [], on: [] }
  const speculation = { guessedTokens: 0, acceptedTokens: 0, draftedTokens: 0, acceptedDraftTokens: 0 }
  for (let round = 0; round < rounds; round++) {
    const texts = {}
    for (const arm of round % 2 === 0 ? ['off', 'on'] : ['on', 'off']) {
      const result = await model.generate(prompt, { ...options, seed: round, maxTokens: tokens, ignoreEos: true, speculate: arm === 'on' ? how ?? 'lookup' : false, draft: how ? draft : undefined })
      times[arm].push(result.timings.completionMs / (tokens - 1))
      texts[arm] = result.tokens.join()
      for (const figure of Object.keys(speculation)) speculation[figure] += result.speculation[figure]
    }
    if (texts.on !== texts.off) throw new Error(`${name}: the texts differ`)
  }
  const ratio = median(times.off.map((off, i) => off / times.on[i]))
  const { guessedTokens, acceptedTokens, draftedTokens, acceptedDraftTokens } = speculation
  console.log(
    `${name.padEnd(5)} ${median(times.off).toFixed(3)} ms a token without, ${median(times.on).toFixed(3)} with: ${ratio.toFixed(3)} times as fast; ` +
      `${acceptedTokens} of ${guessedTokens} guesses came true${draftedTokens > 0 ? `, ${acceptedDraftTokens} of ${draftedTokens} of the draft model` : ''}`,
  )
}
await model.close()
await draft?.close()
