'use strict'

// Processes and workers that end in the middle of work, models that nobody closes, and many in a row: nothing may crash, hang or leak.

const assert = require('node:assert/strict')
const path = require('node:path')
const { STORIES, runNode, testWith } = require('./helpers.js')

const program = path.join(__dirname, 'programs', 'life.js')
const live = async (what, { code = 0 } = {}) => {
  const ended = await runNode(['--expose-gc', program, what, STORIES])
  assert.equal(ended.signal, null, `${what}: ended by ${ended.signal}\n${ended.stderr}`)
  assert.equal(ended.code, code, `${what}: exit code ${ended.code}\n${ended.stderr}`)
  return ended
}

testWith(STORIES, 'process.exit() in the middle of generations, a preload and a tensor', () => live('exit', { code: 7 }))
testWith(STORIES, 'process.exit() while models are loaded', () => live('exitWhileLoading', { code: 7 }))
testWith(STORIES, 'process.exit() while workers generate', () => live('exitWithWorkers', { code: 3 }))

testWith(STORIES, 'an uncaught error in the middle of generations', async () => {
  const { stderr } = await live('throws', { code: 1 })
  assert.match(stderr, /of the user/)
})

testWith(STORIES, 'a process ends with a model open, but not before its generations', async () => {
  assert.equal((await live('endsOpen')).stdout, 'done\n')
  assert.equal((await live('endsAfterWork')).stdout, '50\n')
})

testWith(STORIES, 'workers are terminated in the middle of generations and of loading', async () => {
  assert.equal((await live('terminateWorkers')).stdout, 'terminated\n')
})

testWith(STORIES, 'workers end in the middle of generations', async () => {
  assert.equal((await live('workersEnd')).stdout, '5\nin the worker\n')
})

testWith(STORIES, 'several workers and the main thread generate at once', async () => {
  const texts = JSON.parse((await live('workersAtOnce')).stdout)
  assert.equal(texts.length, 1, 'all wrote the same')
  assert.match(texts[0], /^Once upon a time, there was a little girl named Lily\./)
})

testWith(STORIES, 'a hundred models opened and closed leave nothing', async () => {
  const { before, after } = JSON.parse((await live('cycles')).stdout)
  const { rss: rssBefore, ...heldBefore } = before
  const { rss: rssAfter, ...heldAfter } = after
  assert.deepEqual(heldAfter, heldBefore)
  assert.equal(heldAfter.mappings, 0)
  const growth = (rssAfter - rssBefore) / 2 ** 20
  assert.ok(growth < 10, `${growth.toFixed(1)} MiB more after 100 cycles; the model's file has 1 MiB`)
})

testWith(STORIES, 'models that nobody closes are collected', async () => {
  const { before, after } = JSON.parse((await live('collectOpenModels')).stdout)
  assert.ok(after.mappings <= 2 && after.files <= before.files + 2 && after.threads <= before.threads + 8, JSON.stringify({ before, after }))
})

testWith(STORIES, 'a generation keeps its model, though nobody else does', async () => {
  assert.equal((await live('collectWhileGenerating')).stdout, '300\n')
})

testWith(STORIES, 'close in the middle of everything', async () => {
  assert.equal((await live('closeInTheMiddle')).stdout, 'closed\n')
})
