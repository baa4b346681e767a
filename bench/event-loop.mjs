// What the event loop and a cancellation feel while a model works: `node bench/event-loop.mjs --help`.
// Four generations run; a 1 ms timer measures how late it is called. Then generations are cancelled one at a time, in the
// prompt and in the text, and the time until their promise settles is set beside the time of one layer.

import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const { loadModel } = require('..')
const { integer, modelCommand } = require('./options.js')

const { values, file } = modelCommand({
  synopsis: 'node bench/event-loop.mjs MODEL.gguf',
  about: 'How late a timer is called while four generations run, and how long a cancelled one takes to settle.',
  options: { seconds: { read: integer(1), value: 'N', help: 'of timers', initial: 8 }, json: { help: 'one JSON object on standard output' } },
})

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const percentile = (numbers, share) => [...numbers].sort((a, b) => a - b)[Math.min(numbers.length - 1, Math.floor(numbers.length * share))]
const endless = { ignoreEos: true, temperature: 0, speculate: false }

async function timerDelays(ms) {
  const delays = []
  const end = performance.now() + ms
  while (performance.now() < end) {
    const start = performance.now()
    await sleep(1)
    delays.push(performance.now() - start - 1)
  }
  return delays
}

// Milliseconds from the cancel to the settled promise.
async function cancelAfter(generation, ms) {
  await sleep(ms)
  const start = performance.now()
  generation.cancel()
  await generation
  return performance.now() - start
}

const model = await loadModel(file)
const prompt = model.tokenize('It was a bright cold day in April, and the clocks were striking thirteen.')
const long = Array.from({ length: Math.min(model.info.context - 16, 1000) }, (_, i) => prompt[1 + (i % (prompt.length - 1))])

await model.generate(prompt, { ...endless, maxTokens: 4 })
const idle = await timerDelays(1000)
const running = Array.from({ length: 4 }, () => model.generate(prompt, endless))
await sleep(200)
const busy = await timerDelays(values.seconds * 1000)
for (const generation of running) generation.cancel()
await Promise.all(running)

const single = await model.generate(prompt, { ...endless, maxTokens: 16 })
const layerMs = 1000 / single.timings.completionPerSecond / model.info.layers
const inText = []
const inPrompt = []
for (let i = 0; i < 9; i++) {
  inText.push(await cancelAfter(model.generate(prompt, endless), 300 + 7 * i))
  inPrompt.push(await cancelAfter(model.generate(long, endless), 20 + 5 * i))
}
await model.close()

const result = {
  file,
  idleP99Ms: percentile(idle, 0.99),
  busyP50Ms: percentile(busy, 0.5),
  busyP99Ms: percentile(busy, 0.99),
  busyMostMs: Math.max(...busy),
  n: busy.length,
  layerMs,
  cancelInTextMs: percentile(inText, 0.5),
  cancelInPromptMs: percentile(inPrompt, 0.5),
}
if (values.json) console.log(JSON.stringify(result))
else {
  const ms = (x) => x.toFixed(2).padStart(8)
  console.log(`delay of a 1 ms timer, ms (${result.n} calls)`)
  console.log(`  idle, 99th percentile                  ${ms(result.idleP99Ms)}`)
  console.log(`  4 generations, median                  ${ms(result.busyP50Ms)}`)
  console.log(`  4 generations, 99th percentile         ${ms(result.busyP99Ms)}`)
  console.log(`  4 generations, most                    ${ms(result.busyMostMs)}`)
  console.log('cancel to settled promise, ms (median)')
  console.log(`  in the text (a layer takes ${layerMs.toFixed(2)})       ${ms(result.cancelInTextMs)}`)
  console.log(`  in a prompt of ${String(long.length).padEnd(5)} tokens           ${ms(result.cancelInPromptMs)}`)
}
