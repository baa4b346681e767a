// Speculation on and off, in turn: `node bench/speculate.mjs --help`.
//
// Cases: `edit`, a prompt whose text the model may go on repeating, greedy; `loop`, the same made to repeat itself by a negative penalty, so that
// nearly all guesses come true: what is to be gained at most, also with random weights; `free`, drawn at temperature 1, where there is next to
// nothing to guess. With a draft model three more: `draft`, greedy, guessed by it alone; `both`, the same with lookup; `drawn`, by it alone at temperature 1.
// A ratio is that of tokens per second, on to off, of one round; texts are compared.

import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const require = createRequire(import.meta.url)
const { loadModel } = require('..')
const { integer, modelCommand, text } = require('./options.js')
const { median } = require('../lib/cli/format.js')

const { values, file = fileURLToPath(new URL('../models/demo.gguf', import.meta.url)) } = modelCommand({
  synopsis: 'npm run bench:speculate -- [MODEL.gguf]',
  about: 'Generates with guesses and without, in turn: edit, loop and free; with a draft model also draft, both and drawn. Without a\nmodel: the demo model.',
  options: {
    draft: { read: text, value: 'FILE', help: 'a smaller model that guesses' },
    memory: { read: text, value: 'SIZE', help: 'that the model may take', initial: 'auto' },
    tokens: { read: integer(2), value: 'N', help: 'to generate', initial: 200 },
    rounds: { read: integer(1), value: 'N', help: 'that count', initial: 5 },
    context: { read: integer(64), value: 'N', help: 'tokens', initial: 1024 },
    cases: { read: text, value: 'LIST', help: 'of them, with commas between' },
  },
  optional: true,
})
const { tokens, rounds, context } = values

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

const draft = values.draft && (await loadModel(values.draft, { context }))
const model = await loadModel(file, { memory: values.memory, context })
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
