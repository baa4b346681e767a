'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { ChordError, Session, loadModel } = require('../..')
const { LONG_CONTEXT, RANDOM, STORIES, openModel, temporaryFolder, testWith } = require('./helpers.js')

const GREEDY = { temperature: 0, maxTokens: 30, logprobs: 0, ignoreEos: true }
const STORY = 'Once upon a time, there was a little girl named Lily. She loved to play outside in the sunshine.'

const open = (t) => openModel(t, STORIES, { context: LONG_CONTEXT })

const essence = ({ text, tokens, logprobs }) => ({ text, tokens, logprobs })

testWith(STORIES, 'a session goes on where it ended, as one long generation does', async (t) => {
  const model = await open(t)
  const whole = await model.generate(STORY, { ...GREEDY, maxTokens: 60 })
  const session = model.session()
  assert.ok(session instanceof Session)
  assert.deepEqual(session.tokens, [])
  const first = await session.generate(STORY, GREEDY)
  assert.deepEqual(session.tokens, [...model.tokenize(STORY), ...first.tokens])
  const second = await session.generate(session.tokens, GREEDY)
  assert.deepEqual([...first.tokens, ...second.tokens], whole.tokens)
  assert.deepEqual([...first.logprobs, ...second.logprobs], whole.logprobs)
  assert.equal(second.usage.reusedTokens, second.usage.promptTokens - 1)
  assert.equal(second.usage.promptTokens, model.tokenize(STORY).length + 30)
})

testWith(STORIES, 'a turn computes what is new, and forks part', async (t) => {
  const model = await open(t)
  const session = model.session()
  await session.generate(STORY, GREEDY)
  const fork = await session.fork()
  assert.deepEqual(fork.tokens, session.tokens)
  const before = model.stats()
  const turn = (text) => [...fork.tokens, ...model.tokenize(text, { bos: false })]
  const prompts = [turn(' One day'), turn(' But then')]
  const [one, other] = await Promise.all([session.generate(prompts[0], GREEDY), fork.generate(prompts[1], GREEDY)])
  const { work } = model.stats()
  const held = model.tokenize(STORY).length + 30
  assert.equal(work.reusedTokens - before.work.reusedTokens, 2 * (held - 1))
  assert.equal(work.promptTokens - before.work.promptTokens, prompts[0].length + prompts[1].length - 2 * held)
  assert.notDeepEqual(one.tokens, other.tokens)
  assert.ok(before.regions.kv.tokens >= held - 1)

  // The same in another session, step by step.
  const again = model.session()
  await again.generate(STORY, GREEDY)
  assert.deepEqual(essence(await again.generate(prompts[1], GREEDY)), essence(other))
  // An edit: what is before it is reused, and the text is that of the edited prompt.
  const edited = [...prompts[0].slice(0, 20), 5, ...prompts[0].slice(21, 25)]
  const alone = await model.session().generate(edited, GREEDY)
  const { usage, ...rest } = await session.generate(edited, GREEDY)
  assert.equal(usage.reusedTokens, 20)
  assert.deepEqual(essence(rest), essence(alone))
})

testWith(STORIES, 'sessions that begin alike hold the beginning once', async (t) => {
  const model = await open(t)
  const system = `${STORY} `.repeat(5)
  const common = Math.floor((model.tokenize(system).length - 1) / 64) * 64
  assert.ok(common >= 64)
  const [one, other] = [model.session(), model.session()]
  await one.generate(`${system}Then`, GREEDY)
  const { usage } = await other.generate(`${system}One day`, GREEDY)
  assert.ok(usage.reusedTokens >= common)
  const { kv } = model.stats().regions
  assert.ok(kv.blocks * 64 <= kv.tokens - common + 2 * 64)
  await Promise.all([one.close(), other.close()])
  assert.deepEqual([model.stats().regions.kv.tokens, model.stats().regions.kv.heldBytes], [0, 0])
})

testWith(STORIES, 'one generation of a session at a time', async (t) => {
  const model = await open(t)
  const session = model.session()
  const running = session.generate(STORY, { ...GREEDY, maxTokens: undefined })
  const busy = (error) => error instanceof ChordError && error.code === 'BUSY' && /generating/.test(error.message)
  assert.throws(() => session.generate(STORY), busy)
  await assert.rejects(session.fork(), busy)
  assert.throws(() => session.generate(STORY, { maxToken: 1 }), /maxTokens/)
  for await (const text of running) if (text) break // cancels
  const { finishReason, tokens } = await running
  assert.equal(finishReason, 'cancelled')
  assert.deepEqual(session.tokens, [...model.tokenize(STORY), ...tokens])
  const { text } = await session.generate(session.tokens, GREEDY)
  assert.ok(text.length > 0)
  assert.throws(() => new Session(), TypeError)
})

testWith(STORIES, 'sessions are closed by themselves or with their model', async (t) => {
  const model = await open(t)
  const session = model.session()
  const running = session.generate(STORY, { ...GREEDY, maxTokens: undefined })
  const closed = session.close()
  assert.equal(session.close(), closed)
  await closed
  assert.equal((await running).finishReason, 'cancelled')
  const isClosed = { code: 'CLOSED', message: /session/ }
  assert.throws(() => session.tokens, isClosed)
  assert.throws(() => session.generate('x'), isClosed)
  await assert.rejects(session.fork(), isClosed)
  const other = model.session()
  await other.generate(STORY, GREEDY)
  const forking = other.fork()
  const ending = model.close()
  await forking
  await ending
  await other.close()
  await other[Symbol.asyncDispose]()
  assert.throws(() => other.tokens, { code: 'CLOSED' })
  assert.throws(() => model.session(), { code: 'CLOSED' })
})

testWith(STORIES, 'a generation outlives the variable of its session', async (t) => {
  const model = await open(t)
  const { finishReason } = await model.session().generate(STORY, { ...GREEDY, maxTokens: 100 })
  assert.equal(finishReason, 'length')
})

testWith([STORIES, RANDOM], 'a saved session goes on in another model object, and what is not one is refused', async (t) => {
  const folder = temporaryFolder(t)
  const file = path.join(folder, 'a.session')
  const model = await open(t)
  const session = model.session()
  await session.generate(STORY.repeat(3), GREEDY)
  const seen = []
  await session.save(file, { onProgress: (progress) => seen.push(progress) })
  assert.deepEqual(seen.at(-1), { phase: 'save', done: fs.statSync(file).size, total: fs.statSync(file).size })
  assert.deepEqual(fs.readdirSync(folder), ['a.session'])
  if (process.platform !== 'win32') assert.equal(fs.statSync(file).mode & 0o777, 0o600)
  const prompt = [...session.tokens, ...model.tokenize(' One day', { bos: false })]
  const expected = await session.generate(prompt, GREEDY)

  const other = await loadModel(STORIES, { threads: 1 })
  t.after(() => other.close())
  const restored = await other.restoreSession(file, { onProgress: (progress) => seen.push(progress) })
  assert.equal(seen.at(-1).phase, 'restore')
  assert.deepEqual([...restored.tokens, ...model.tokenize(' One day', { bos: false })], prompt)
  const again = await restored.generate(prompt, GREEDY)
  assert.deepEqual(essence(again), essence(expected))
  assert.equal(again.usage.reusedTokens, expected.usage.reusedTokens)

  const bytes = fs.readFileSync(file)
  const refused = async (name, contents, code) => {
    fs.writeFileSync(path.join(folder, name), contents)
    await assert.rejects(other.restoreSession(path.join(folder, name)), (error) => error instanceof ChordError && error.code === code && error.message.includes(name))
  }
  await refused('other', 'some text', 'NOT_SESSION')
  await refused('cut', bytes.subarray(0, bytes.length - 1), 'SESSION_TRUNCATED')
  await refused('damaged', Buffer.concat([bytes.subarray(0, 3000), Buffer.of(bytes[3000] ^ 1), bytes.subarray(3001)]), 'SESSION_DAMAGED')
  await refused('newer', Buffer.concat([bytes.subarray(0, 8), Buffer.of(9), bytes.subarray(9)]), 'SESSION_VERSION')
  const foreign = await loadModel(RANDOM)
  t.after(() => foreign.close())
  await assert.rejects(foreign.restoreSession(file), { code: 'SESSION_FOREIGN' })
  await assert.rejects(model.restoreSession(path.join(folder, 'absent')), { code: 'FILE_NOT_FOUND' })
  await assert.rejects(model.restoreSession(5), { code: 'INVALID_ARGUMENT' })
  await assert.rejects(session.save(path.join(folder, 'no', 'such', 'folder')), { code: 'IO' })
  await assert.rejects(session.save(file, { signals: 1 }), /signal/)
})

testWith(STORIES, 'saving is aborted, and waits with the end of the model', async (t) => {
  const folder = temporaryFolder(t)
  const file = path.join(folder, 'a.session')
  const model = await loadModel(STORIES)
  const session = model.session()
  await session.generate(STORY.repeat(8), GREEDY)
  const aborted = new AbortController()
  const running = model.generate(STORY, GREEDY) // the save has to wait for its turn
  const saving = session.save(file, { signal: aborted.signal })
  assert.throws(() => session.generate(STORY), { code: 'BUSY', message: /saved/ })
  aborted.abort(new Error('enough'))
  await assert.rejects(saving, /enough/)
  assert.deepEqual(fs.readdirSync(folder), [])
  await assert.rejects(session.save(file, { signal: aborted.signal }), /enough/)
  await running
  const last = session.save(file)
  const closed = session.close()
  await Promise.all([last, closed, model.close()])
  const again = await loadModel(STORIES)
  t.after(() => again.close())
  assert.equal((await again.restoreSession(file)).tokens.length, again.tokenize(STORY.repeat(8)).length + 30)
})

testWith(STORIES, 'sessions beyond the memory for keys and values rest in a file', async (t) => {
  const spill = path.join(temporaryFolder(t), 'spill')
  const memory = { total: '1GiB', kv: 450_000 }
  const roomy = await open(t)
  const tight = await loadModel(STORIES, { memory, kv: { spill } })
  t.after(() => tight.close())
  const texts = ['Tom', 'Sue', 'Ben', 'Ann'].map((name) => STORY.replace('Lily', name).repeat(4))
  const talk = async (model) => {
    const sessions = texts.map(() => model.session())
    const found = []
    for (let turn = 0; turn < 3; turn++) {
      for (const [i, session] of sessions.entries()) {
        const prompt = turn === 0 ? texts[i] : [...session.tokens, ...model.tokenize(' Then', { bos: false })]
        found.push(await session.generate(prompt, GREEDY))
        const { kv } = model.stats().regions
        assert.ok(kv.ceilingBytes === null || kv.heldBytes <= kv.ceilingBytes)
      }
    }
    return found
  }
  const expected = await talk(roomy)
  assert.deepEqual((await talk(tight)).map(essence), expected.map(essence))
  const { kv } = tight.stats().regions
  assert.ok(kv.spilledBlocks > 0 && kv.spillReadBytes > 0 && kv.spillWrittenBytes > kv.spillReadBytes)
  assert.equal(roomy.stats().regions.kv.spilledBlocks, 0)

  const without = await loadModel(STORIES, { memory })
  t.after(() => without.close())
  await assert.rejects(talk(without), { code: 'MEMORY_BUDGET' })
  fs.writeFileSync(`${spill}.mine`, 'of the user')
  await assert.rejects(loadModel(STORIES, { kv: { spill: `${spill}.mine` } }), { code: 'IO', message: /mine/ })
  assert.equal(fs.readFileSync(`${spill}.mine`, 'utf8'), 'of the user')
})
