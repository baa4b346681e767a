'use strict'

// A process or worker that is in the middle of work when something happens to it: for test/js/lifecycle.test.js.
//   node life.js WHAT MODEL

const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads')
const fs = require('node:fs')
const { setTimeout: sleep } = require('node:timers/promises')
const { loadModel } = require('../../..')

const [what, file] = isMainThread ? process.argv.slice(2) : [workerData.what, workerData.file]

async function startGenerations(model, n) {
  const all = Array.from({ length: n }, (_, i) => model.generate('Once', { seed: i, ignoreEos: true }))
  await all[0][Symbol.asyncIterator]().next()
  return all
}

const startWorker = (behaviour) => {
  const worker = new Worker(__filename, { workerData: { what: behaviour, file } })
  const said = new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
  const exited = new Promise((resolve) => worker.once('exit', resolve))
  return { worker, said, exited }
}

const collectGarbage = async () => {
  for (let i = 0; i < 5; i++) {
    global.gc()
    await sleep(5)
  }
}

/** What the process holds of the system. */
function holdings() {
  const count = (folder) => (fs.existsSync(folder) ? fs.readdirSync(folder).length : 0)
  const maps = fs.existsSync('/proc/self/maps') ? fs.readFileSync('/proc/self/maps', 'utf8').split('\n') : []
  return { files: count('/proc/self/fd'), threads: count('/proc/self/task'), mappings: maps.filter((line) => line.endsWith(file)).length }
}

async function cycle(i) {
  const model = await loadModel(file)
  const generation = model.generate('Once', { ignoreEos: true, maxTokens: 20 })
  if (i % 3 === 0) await generation
  if (i % 3 === 1) for await (const text of generation) break
  await model.close()
}

const BEHAVIOURS = {
  // In a worker.
  async generateForever() {
    const model = await loadModel(file)
    await startGenerations(model, 4)
    parentPort.postMessage('running')
    for (;;) await Promise.all(await startGenerations(model, 4))
  },
  async exitInWorker() {
    const model = await loadModel(file)
    await startGenerations(model, 4)
    process.exit(5)
  },
  async throwInWorker() {
    await startGenerations(await loadModel(file), 4)
    throw new Error('in the worker')
  },
  async generateInWorker() {
    const model = await loadModel(file)
    const { text } = await model.generate('', { temperature: 0, maxTokens: 100 })
    parentPort.postMessage(text) // ends with the model open
  },
  async loadInWorker() {
    parentPort.postMessage('loading')
    for (;;) await loadModel(file)
  },

  // In a process.
  async exit() {
    const model = await loadModel(file)
    await startGenerations(model, 3)
    model.tensor('token_embd.weight')
    model.preload()
    process.exit(7)
  },
  async exitWhileLoading() {
    loadModel(file)
    loadModel(file)
    process.exit(7)
  },
  async throws() {
    await startGenerations(await loadModel(file), 3)
    throw new Error('of the user')
  },
  async endsOpen() {
    const model = await loadModel(file)
    await model.generate('Once', { maxTokens: 5 })
    console.log('done')
  },
  async endsAfterWork() {
    const model = await loadModel(file)
    model.generate('Once', { maxTokens: 50, ignoreEos: true }).then(({ tokens }) => console.log(tokens.length))
  },
  async terminateWorkers() {
    const workers = [startWorker('generateForever'), startWorker('generateForever'), startWorker('loadInWorker')]
    await Promise.all(workers.map(({ said }) => said))
    await sleep(10)
    await Promise.all(workers.map(({ worker }) => worker.terminate()))
    await (await loadModel(file)).close()
    console.log('terminated')
  },
  async exitWithWorkers() {
    const workers = [startWorker('generateForever'), startWorker('generateForever')]
    await Promise.all(workers.map(({ said }) => said))
    await startGenerations(await loadModel(file), 2)
    process.exit(3)
  },
  async workersEnd() {
    console.log(await startWorker('exitInWorker').exited)
    const { said, exited } = startWorker('throwInWorker')
    await said.catch(({ message }) => console.log(message))
    await exited
  },
  async workersAtOnce() {
    const own = loadModel(file).then((model) => model.generate('', { temperature: 0, maxTokens: 100 }))
    const texts = await Promise.all([1, 2, 3, 4].map(() => startWorker('generateInWorker').said))
    texts.push((await own).text)
    console.log(JSON.stringify([...new Set(texts)]))
  },
  async cycles() {
    for (let i = 0; i < 20; i++) await cycle(i)
    await collectGarbage()
    const before = { ...holdings(), rss: process.memoryUsage().rss }
    for (let i = 0; i < 100; i++) await cycle(i)
    await collectGarbage()
    console.log(JSON.stringify({ before, after: { ...holdings(), rss: process.memoryUsage().rss } }))
  },
  async collectOpenModels() {
    const before = holdings()
    for (let i = 0; i < 30; i++) {
      const model = await loadModel(file)
      await model.generate('Once', { maxTokens: 3 })
      global.gc()
    }
    await collectGarbage()
    console.log(JSON.stringify({ before, after: holdings() }))
  },
  async collectWhileGenerating() {
    const generation = await (async () => ({ it: (await loadModel(file)).generate('Once', { maxTokens: 300, ignoreEos: true }) }))()
    const timer = setInterval(() => global.gc(), 1)
    console.log((await generation.it).tokens.length)
    clearInterval(timer)
  },
  async closeInTheMiddle() {
    const model = await loadModel(file)
    const generations = await startGenerations(model, 3)
    const others = [model.tensor('token_embd.weight'), model.preload(), model.evaluate(new Array(300).fill(5)), model.perplexity('Once '.repeat(2000))]
    model.close()
    await Promise.allSettled([...generations, ...others])
    console.log('closed')
  },
}

BEHAVIOURS[what]()
