'use strict'

// embed() and rerank(): vectors that do not depend on what is computed beside them, and errors that say what to do.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { after, test } = require('node:test')
const chord = require('../..')
const { makeModel } = require('../../bench/make-model.js')
const { openModel, runNode, withMetadata } = require('./helpers.js')
const { encodeHeader, encodePair } = require('../../bench/model/gguf.js')

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'chord-embed-'))
after(() => fs.rmSync(folder, { recursive: true, force: true }))

const made = new Map()
function fileOf(geometry) {
  const out = path.join(folder, `${geometry}.gguf`)
  if (!made.has(geometry)) made.set(geometry, makeModel({ geometry, mix: 'Q8_0', layers: 2, out }))
  return made.get(geometry).then(() => out)
}

async function withModel(geometry, options, body) {
  const model = await chord.loadModel(await fileOf(geometry), options)
  try {
    await body(model)
  } finally {
    await model.close()
  }
}

const LONG = 'where was the water when it was in the house ? '.repeat(20)
const TEXTS = ['x', 'The cat is old.', LONG, 'a dog in the state of water', '', 'the '.repeat(63), 'bo lu ki'].map((text, i) => (text === '' ? `w${i}` : text))
const length = (vector) => Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0))

for (const geometry of ['tiny-bert', 'tiny-bert-cls', 'tiny-nomic-bert', 'tiny-qwen3-embedding', 'tiny-llama3']) {
  test(`${geometry}: a vector is what it is alone`, async () => {
    await withModel(geometry, { context: 512 }, async (model) => {
      const together = await model.embed(TEXTS)
      assert.equal(together.length, TEXTS.length)
      for (const [i, text] of TEXTS.entries()) {
        const alone = await model.embed(text)
        assert.ok(alone instanceof Float32Array)
        assert.deepEqual(alone, together[i])
        assert.equal(alone.length, model.info.embedding)
        assert.ok(Math.abs(length(alone) - 1) < 1e-6)
      }
      assert.notDeepEqual(together[0], together[1])
    })
    // Other threads, and weights read from disk tile by tile.
    const before = await chord.loadModel(await fileOf(geometry), { context: 512, threads: 1 })
    const wanted = await before.embed(TEXTS)
    await before.close()
    await withModel(geometry, { context: 512, threads: 3, cache: { mode: 'paged' } }, async (model) => {
      assert.equal(model.info.mode, 'paged')
      assert.deepEqual(await model.embed([...TEXTS].reverse()), [...wanted].reverse())
    })
  })
}

test('many short texts are one batch', async () => {
  await withModel('tiny-bert', {}, async (model) => {
    const texts = Array.from({ length: 64 }, (_, i) => `a cat ${i}`)
    const before = model.stats().work
    await model.embed(texts)
    const after = model.stats().work
    assert.equal(after.steps - before.steps, 1)
    assert.equal(after.promptTokens - before.promptTokens, texts.reduce((n, text) => n + model.tokenize(text).length, 0))
    assert.equal(model.stats().work.running, 0)
    assert.equal(model.stats().regions.kv.heldBytes, 0)
  })
})

test('a text beside generations, and of several calls at once', async () => {
  await withModel('tiny-qwen3-embedding', { context: 512 }, async (model) => {
    const alone = await model.embed(TEXTS)
    const text = await model.generate('the cat', { maxTokens: 20, temperature: 0, ignoreEos: true })
    const [generated, first, second] = await Promise.all([
      model.generate('the cat', { maxTokens: 20, temperature: 0, ignoreEos: true }),
      model.embed(TEXTS),
      model.embed([...TEXTS].reverse()),
    ])
    assert.deepEqual(generated.tokens, text.tokens)
    assert.deepEqual(first, alone)
    assert.deepEqual(second, [...alone].reverse())
  })
})

test('normalize, dimensions, pooling', async () => {
  await withModel('tiny-bert', {}, async (model) => {
    assert.equal(model.info.pooling, 'mean')
    assert.equal(model.info.encoder, true)
    const [whole, raw, cut] = [await model.embed('the cat'), await model.embed('the cat', { normalize: false }), await model.embed('the cat', { dimensions: 64 })]
    assert.ok(length(raw) > 2)
    raw.forEach((x, i) => assert.ok(Math.abs(x / length(raw) - whole[i]) < 1e-6))
    assert.equal(cut.length, 64)
    assert.ok(Math.abs(length(cut) - 1) < 1e-6)
    assert.equal(cut.buffer.byteLength, 64 * 4)
    const poolings = await Promise.all(['mean', 'cls', 'last'].map((pooling) => model.embed('the cat', { pooling })))
    assert.deepEqual(poolings[0], whole)
    assert.notDeepEqual(poolings[1], whole)
    assert.notDeepEqual(poolings[2], poolings[1])
    assert.deepEqual(await model.embed([]), [])
    await assert.rejects(model.embed('x', { dimensions: 257 }), { code: 'INVALID_ARGUMENT', message: /at most those of the model's vectors, 256, got 257/ })
    await assert.rejects(model.embed('x', { pooling: 'rank' }), { code: 'INVALID_ARGUMENT', message: /option 'pooling'/ })
    await assert.rejects(model.embed(['x', 1]), { code: 'INVALID_ARGUMENT', message: /texts\[1\]: expected a string, got 1/ })
    await assert.rejects(model.embed(1), { code: 'INVALID_ARGUMENT' })
  })
  await withModel('tiny-qwen3-embedding', {}, async ({ info }) => assert.deepEqual([info.pooling, info.encoder], ['last', false]))
  // Without metadata: the last token, of a model that generates.
  await withModel('tiny-llama3', {}, async (model) => assert.deepEqual(await model.embed('the cat'), await model.embed('the cat', { pooling: 'last' })))
})

test('a text that is too long is refused with the numbers, the model goes on', async () => {
  await withModel('tiny-bert', { context: 64 }, async (model) => {
    await assert.rejects(model.embed(['x', 'the '.repeat(63)]), { code: 'CONTEXT_FULL', message: /texts\[1\] has 65 tokens and the context holds 64/ })
    assert.equal((await model.embed('the '.repeat(62))).length, 256)
  })
  await assert.rejects(chord.loadModel(await fileOf('tiny-bert'), { context: 513 }), { code: 'INVALID_ARGUMENT', message: /knows 512 of them/ })
})

test('an encoder longer than a batch of others takes its text whole', async () => {
  await withModel('tiny-nomic-bert', { context: 1500 }, async (model) => {
    const text = 'the cat is old '.repeat(200)
    assert.ok(model.tokenize(text).length > 900)
    const [a, long, b] = await model.embed(['a dog', text, 'water'])
    assert.deepEqual(await model.embed(text), long)
    assert.deepEqual(await model.embed(['water', 'a dog']), [b, a])
  })
})

test('an encoder generates nothing, and says what it does', async () => {
  await withModel('tiny-bert', {}, async (model) => {
    const refusal = { code: 'INVALID_ARGUMENT', message: /'bert' is an encoder: it makes vectors of texts \(embed\)/ }
    assert.throws(() => model.generate('the cat'), refusal)
    await assert.rejects(model.evaluate([5, 6]), refusal)
    await assert.rejects(model.perplexity('the cat is in the house and the dog'), refusal)
    await assert.rejects(model.rerank('a', ['b']), { code: 'INVALID_ARGUMENT', message: /no classifier .*'mean'/ })
  })
})

for (const geometry of ['tiny-bert-rank', 'tiny-qwen3-rank']) {
  test(`${geometry}: documents by how well they answer`, async () => {
    await withModel(geometry, { context: 256 }, async (model) => {
      assert.equal(model.info.pooling, 'rank')
      const documents = ['a dog', 'the cat is there', 'water in the house', 'a dog']
      const ranked = await model.rerank('the cat', documents)
      assert.deepEqual(ranked.map(({ index }) => index).sort(), [0, 1, 2, 3])
      ranked.forEach(({ score }, i) => assert.ok(score > 0 && score < 1 && (i === 0 || score <= ranked[i - 1].score)))
      const scoreOf = (index) => ranked.find((document) => document.index === index).score
      assert.equal(scoreOf(0), scoreOf(3))
      for (const [i, document] of documents.entries()) assert.deepEqual(await model.rerank('the cat', [document]), [{ index: 0, score: scoreOf(i) }])
      assert.notDeepEqual(await model.rerank('water', [documents[0]]), [{ index: 0, score: scoreOf(0) }])
      assert.deepEqual(await model.rerank('the cat', []), [])
      await assert.rejects(model.embed('x'), { code: 'INVALID_ARGUMENT', message: /use rerank\(\)/ })
      await assert.rejects(model.rerank('x', 'y'), { code: 'INVALID_ARGUMENT' })
      await assert.rejects(model.rerank('x', ['y', LONG]), { code: 'CONTEXT_FULL', message: /documents\[1\] has \d+ tokens and the context holds 256/ })
    })
  })
}

const TEMPLATE = 'tokenizer.chat_template.rerank'

/** A file with this template for pairs. */
async function withTemplate(t, geometry, template) {
  return openModel(t, withMetadata(t, await fileOf(geometry), { [TEMPLATE]: template }), { context: 256 })
}

test('the template of the file puts query and document together', async (t) => {
  // Without a template the end of texts stands behind each of the two; with one, what it says.
  const plain = await openModel(t, await fileOf('tiny-qwen3-rank'), { context: 256 })
  const [query, documents] = ['the cat <|end|> {document}', ['a dog', '<|end|> in {query} {document}', '', ' water', '<|en', LONG.slice(0, 200)]]
  const same = await withTemplate(t, 'tiny-qwen3-rank', '{query}<|end|>{document}<|end|>')
  assert.deepEqual(await same.rerank(query, documents), await plain.rerank(query, documents))
  const more = await withTemplate(t, 'tiny-qwen3-rank', 'Find: {query}<|end|>In: {document}\n{document}.<|end|>')
  const spelled = documents.map((text) => `In: ${text}\n${text}.`)
  assert.deepEqual(await more.rerank(query, documents), await plain.rerank(`Find: ${query}`, spelled))
  // No special token is made of the template's text and what stands beside it.
  const beside = await withTemplate(t, 'tiny-qwen3-rank', '{query}<|e{document}|><|end|>{document}<|end|>')
  assert.deepEqual(await beside.rerank('a', ['nd']), await plain.rerank('a<|end|>', ['nd']))
  const long = 'the cat '.repeat(3000)
  await assert.rejects(same.rerank('x', ['y', long]), { code: 'CONTEXT_FULL', message: /the query with documents\[1\] has \d+ tokens/ })
  await assert.rejects(plain.rerank('x', ['y', long]), { code: 'CONTEXT_FULL' })
  const lacking = await withTemplate(t, 'tiny-qwen3-rank', 'a {query}')
  await assert.rejects(lacking.rerank('x', ['y']), { code: 'CHAT_TEMPLATE', message: /'\{document\}' is nowhere in it/ })
})

test('two texts as XLM-RoBERTa reads them', async (t) => {
  const words = ['\u2581the', '\u2581cat', '\u2581dog', '\u2581is', '\u2581in', '\u2581water', '\u2581', 'a', 'b', 'c', 'd', '.']
  const tokens = ['<s>', '<pad>', '</s>', '<unk>', ...words]
  const pair = (key, type, value) => encodePair(`tokenizer.ggml.${key}`, type, value)
  const vocab = path.join(folder, 'unigram.gguf')
  const out = path.join(folder, 'xlmr.gguf')
  const ids = { bos: 0, padding: 1, eos: 2, seperator: 2, unknown: 3 }
  const pairs = [
    pair('model', 'string', 't5'),
    pair('tokens', 'strings', tokens),
    pair('token_type', 'i32s', tokens.map((_, id) => (id === 3 ? 2 : id < 3 ? 3 : 1))),
    pair('scores', 'f32s', tokens.map((_, id) => (id < 4 ? 0 : -id))),
    pair('add_space_prefix', 'bool', true),
    pair('add_bos_token', 'bool', true),
    pair('add_eos_token', 'bool', true),
    pair('token_type_count', 'u32', 1),
    ...Object.entries(ids).map(([name, id]) => pair(`${name}_token_id`, 'u32', id)),
  ]
  fs.writeFileSync(vocab, encodeHeader(pairs, []).header)
  await makeModel({ geometry: 'tiny-xlmr-rank', mix: 'Q8_0', layers: 2, vocab, out })
  const model = await openModel(t, out)
  assert.equal(model.info.tokenizer.separator, 2)
  const spelled = await openModel(t, withMetadata(t, out, { [TEMPLATE]: '<s>{query}</s></s>{document}</s>' }))
  const documents = ['dog', 'the dog is in the water', 'abc']
  const ranked = await model.rerank('the cat', documents)
  assert.deepEqual(ranked, await spelled.rerank('the cat', documents))
  assert.notEqual(ranked[0].score, ranked[1].score)
})

test('a signal ends it, and so does closing the model', async () => {
  const model = await chord.loadModel(await fileOf('tiny-bert'))
  const texts = Array.from({ length: 2000 }, (_, i) => `${LONG.slice(0, 200)} ${i}`)
  const reason = new Error('enough')
  await assert.rejects(model.embed(texts, { signal: AbortSignal.abort(reason) }), reason)
  const controller = new AbortController()
  const pending = model.embed(texts, { signal: controller.signal })
  setImmediate(() => controller.abort(reason))
  await assert.rejects(pending, reason)
  assert.equal((await model.embed('x')).length, 256)
  const closing = assert.rejects(model.embed(texts), { code: 'CLOSED' })
  await model.close()
  await closing
  await assert.rejects(model.embed('x'), { code: 'CLOSED' })
})

test('within a memory budget, texts wait for each other', async () => {
  const file = await fileOf('tiny-bert')
  const free = await chord.loadModel(file)
  const texts = Array.from({ length: 100 }, (_, i) => `${LONG.slice(0, 400)} ${i}`)
  const wanted = await free.embed(texts)
  const { weightsBytes, scratchBytes, metadataBytes } = await chord.plan(file)
  await free.close()
  const memory = weightsBytes + scratchBytes + metadataBytes + (2 << 20)
  const model = await chord.loadModel(file, { memory })
  assert.deepEqual(await model.embed(texts), wanted)
  assert.ok(model.stats().memory.peakBytes <= memory)
  await model.close()
})

test('chord embed prints vectors', async () => {
  const file = await fileOf('tiny-bert')
  const cli = path.join(__dirname, '..', '..', 'lib', 'cli', 'main.js')
  const { code, stdout } = await runNode([cli, 'embed', file, 'the cat', 'a dog'])
  assert.equal(code, 0)
  assert.match(stdout, /^"the cat": \[-?0\.\d{4}, .*, \.\.\.\] of 256\n"a dog": .* near the first\n$/)
  const json = await runNode([cli, 'embed', file, 'the cat', '--dimensions', '8', '--json'])
  const { embeddings } = JSON.parse(json.stdout)
  assert.equal(embeddings[0].text, 'the cat')
  assert.equal(embeddings[0].vector.length, 8)
})

test('the example searches a folder', async () => {
  const file = await fileOf('tiny-nomic-bert')
  const texts = path.join(folder, 'texts')
  fs.mkdirSync(texts)
  fs.writeFileSync(path.join(texts, 'cats.md'), '# cats\n\nThe cat is old.\n\nThe cat was in the house.')
  fs.writeFileSync(path.join(texts, 'code.js'), 'the cat')
  const { code, stdout, stderr } = await runNode([path.join(__dirname, '..', '..', 'examples', 'search.mjs'), file, texts, 'the cat'])
  assert.equal(code, 0, stderr)
  assert.match(stdout, /^1 passages in .* s\n\n-?\d\.\d{3} {2}cats\.md\n/)
})
