'use strict'

// Gaps filled by models whose vocabularies have tokens for it, in the forms of several families.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { test } = require('node:test')
const { STORIES, openModel, temporaryFolder, testWith } = require('./helpers.js')
const { ChordError, inspect } = require('../..')
const { makeModel } = require('../../bench/make-model.js')
const { encodeHeader, encodePair } = require('../../bench/model/gguf.js')

const OPTIONS = { temperature: 0, maxTokens: 8, ignoreEos: true }
const PREFIX = 'def add(a, b):\n    return '
const SUFFIX = '\n\nprint(add(1, 2))\n'

/** A tiny model whose vocabulary has `names` in place of its last tokens, which it also returns by name. */
async function makeWithTokens(t, geometry, names, { addBos = false } = {}) {
  const folder = temporaryFolder(t)
  const plain = path.join(folder, 'plain.gguf')
  const vocab = path.join(folder, 'vocab.gguf')
  const file = path.join(folder, 'model.gguf')
  await makeModel({ geometry, mix: 'Q8_0', layers: 2, out: plain })
  const { metadata } = await inspect(plain)
  const get = (key) => metadata[`tokenizer.ggml.${key}`]
  const tokens = [...get('tokens')]
  const types = [...get('token_type')]
  const ids = {}
  names.forEach((name, i) => {
    ids[name] = tokens.length - names.length + i
    tokens[ids[name]] = name
    types[ids[name]] = 3 // control
  })
  const pairs = [
    ['model', 'string', get('model')], ['pre', 'string', get('pre')], ['tokens', 'strings', tokens], ['token_type', 'i32s', types],
    ['merges', 'strings', [...get('merges')]], ['bos_token_id', 'u32', get('bos_token_id')], ['eos_token_id', 'u32', get('eos_token_id')], ['add_bos_token', 'bool', addBos],
  ].map(([key, type, value]) => encodePair(`tokenizer.ggml.${key}`, type, value))
  fs.writeFileSync(vocab, encodeHeader(pairs, []).header)
  await makeModel({ geometry, mix: 'Q8_0', layers: 2, out: file, vocab })
  return { file, ids }
}

/** A tiny model with a SentencePiece vocabulary that has a token for each of a few letters and for two line feeds, and `names`; ids by name. */
async function makeSentencePiece(t, names, { spacePrefix }) {
  const folder = temporaryFolder(t)
  const [vocab, file] = [path.join(folder, 'vocab.gguf'), path.join(folder, 'model.gguf')]
  const special = ['<unk>', '<s>', '</s>']
  const bytes = Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`)
  const letters = [...'\u2581abcdefghijklmnopqrstuvwxyz()<>_|:,', '\n']
  const rest = names.filter((name) => !special.includes(name))
  const tokens = [...special, ...bytes, ...letters, '\n\n', ...rest]
  const type = (id) => (id === 0 ? 2 : id < 3 ? 3 : id < 259 ? 6 : id < 259 + letters.length ? 1 : tokens[id] === '\n\n' ? 4 : 3)
  const pairs = [
    ['model', 'string', 'llama'], ['tokens', 'strings', tokens], ['token_type', 'i32s', tokens.map((_, id) => type(id))], ['scores', 'f32s', tokens.map((_, id) => -id)],
    ['bos_token_id', 'u32', 1], ['eos_token_id', 'u32', 2], ['add_bos_token', 'bool', true], ['add_space_prefix', 'bool', spacePrefix],
  ].map(([key, kind, value]) => encodePair(`tokenizer.ggml.${key}`, kind, value))
  fs.writeFileSync(vocab, encodeHeader(pairs, []).header)
  await makeModel({ geometry: 'tiny', mix: 'Q8_0', layers: 2, out: file, vocab })
  return { file, idOf: (token) => tokens.indexOf(token) }
}

const SENTENCEPIECE = [
  { name: 'codellama', tokens: ['\u2581<PRE>', '\u2581<SUF>', '\u2581<MID>', '\u2581<EOT>'], spacePrefix: true },
  { name: 'codestral', tokens: ['[PREFIX]', '[SUFFIX]', '[MIDDLE]', '</s>'], spacePrefix: true, suffixFirst: true },
  { name: 'codegemma', tokens: ['<|fim_prefix|>', '<|fim_suffix|>', '<|fim_middle|>', '<|file_separator|>'], spacePrefix: false },
]

for (const { name, tokens, spacePrefix, suffixFirst } of SENTENCEPIECE) {
  test(`infill of ${name}: only the prefix gets its space, and a user-defined token of the suffix is one`, async (t) => {
    const { file, idOf } = await makeSentencePiece(t, tokens, { spacePrefix })
    const model = await openModel(t, file, { context: 256 })
    const [pre, suf, mid, end] = tokens.map(idOf)
    assert.deepEqual(model.info.tokenizer.infill, { prefix: pre, suffix: suf, middle: mid })
    const prefix = [...(spacePrefix ? ['\u2581'] : []), ...'def'].map(idOf)
    const suffix = [...'a\u2581<s>', '\n\n'].map(idOf)
    const prompt = suffixFirst ? [1, suf, ...suffix, pre, ...prefix] : [1, pre, ...prefix, suf, ...suffix, mid]
    const actual = await model.infill('def', 'a <s>\n\n', OPTIONS)
    assert.equal(actual.usage.promptTokens, prompt.length)
    assert.deepEqual(actual.tokens, (await model.generate(prompt, OPTIONS)).tokens)
    const ended = await model.infill('def', 'a', { temperature: 0, logitBias: { [end]: 1000 } })
    assert.equal(ended.finishReason, 'stop')
    assert.equal(ended.text, '')
  })
}

const FAMILIES = [
  { name: 'qwen2.5-coder, granite 4', tokens: ['<|fim_prefix|>', '<|fim_suffix|>', '<|fim_middle|>', '<|fim_pad|>'] },
  { name: 'starcoder2, granite code', tokens: ['<fim_prefix>', '<fim_suffix>', '<fim_middle>', '<fim_pad>'] },
  { name: 'deepseek-coder', tokens: ['<｜fim▁begin｜>', '<｜fim▁hole｜>', '<｜fim▁end｜>', '<|EOT|>'], addBos: true },
  { name: 'mistral', tokens: ['[PREFIX]', '[SUFFIX]', '[MIDDLE]', '</s>'], addBos: true, suffixFirst: true },
  { name: 'seed-coder', tokens: ['<[fim-prefix]>', '<[fim-suffix]>', '<[fim-middle]>', '<[end▁of▁sentence]>'], addBos: true, suffixFirst: true, middleLast: true },
]

for (const { name, tokens, addBos, suffixFirst, middleLast } of FAMILIES) {
  test(`infill of ${name}`, async (t) => {
    const { file, ids } = await makeWithTokens(t, 'tiny-qwen2', tokens, { addBos })
    const model = await openModel(t, file, { context: 256 })
    const [pre, suf, mid] = tokens.map((token) => ids[token])
    assert.deepEqual(model.info.tokenizer.infill, { prefix: pre, suffix: suf, middle: mid })
    const encode = (text) => model.tokenize(text, { bos: false })
    const bos = addBos ? [model.info.tokenizer.bos] : []
    const prompt = (prefix, suffix) =>
      suffixFirst ? [...bos, suf, ...encode(suffix), pre, ...encode(prefix), ...(middleLast ? [mid] : [])] : [...bos, pre, ...encode(prefix), suf, ...encode(suffix), mid]
    // What a text says of such tokens is text.
    for (const [prefix, suffix] of [[PREFIX, SUFFIX], ['', SUFFIX], [PREFIX, ''], [`a ${tokens[0]} b`, `${tokens[1]} c`]]) {
      const expected = await model.generate(prompt(prefix, suffix), OPTIONS)
      const actual = await model.infill(prefix, suffix, OPTIONS)
      assert.deepEqual(actual.tokens, expected.tokens)
      assert.equal(actual.usage.promptTokens, prompt(prefix, suffix).length)
    }
    // The padding of gaps, or whatever else the vocabulary ends texts with, ends it.
    const end = tokens[3] === '<|EOT|>' || middleLast ? model.info.tokenizer.eos : ids[tokens[3]]
    const ended = await model.infill(PREFIX, SUFFIX, { temperature: 0, logitBias: { [end]: 1000 } })
    assert.equal(ended.finishReason, 'stop')
    assert.equal(ended.text, '')
    let streamed = ''
    for await (const text of model.infill(PREFIX, SUFFIX, OPTIONS)) streamed += text
    assert.equal(streamed, (await model.infill(PREFIX, SUFFIX, OPTIONS)).text)
    await assert.rejects(async () => model.infill('a b '.repeat(3000), SUFFIX), { code: 'CONTEXT_FULL' })
    assert.throws(() => model.infill(PREFIX), { code: 'INVALID_ARGUMENT', message: /suffix: expected a string, got undefined/ })
    assert.throws(() => model.infill(PREFIX, SUFFIX, { maxToken: 1 }), { code: 'INVALID_ARGUMENT' })
  })
}

/** A copy of a GGUF file with more numbers in its metadata, by key. */
function withNumbers(t, file, numbers) {
  const bytes = fs.readFileSync(file)
  const pairs = Object.entries(numbers).map(([key, value]) => encodePair(key, 'u32', value))
  const length = pairs.reduce((sum, pair) => sum + pair.length, 0)
  const filler = encodePair('test.filler', 'string', '')
  pairs.push(encodePair('test.filler', 'string', ' '.repeat((64 - ((length + filler.length) % 64)) % 64))) // what follows stays aligned
  const head = Buffer.from(bytes.subarray(0, 24))
  head.writeBigUInt64LE(head.readBigUInt64LE(16) + BigInt(pairs.length), 16)
  const made = path.join(temporaryFolder(t), 'model.gguf')
  fs.writeFileSync(made, Buffer.concat([head, ...pairs, bytes.subarray(24)]))
  return made
}

testWith(STORIES, 'infill by ids of the metadata, SentencePiece: only the prefix gets its space', async (t) => {
  const [prefix, suffix, middle] = [500, 501, 502]
  const key = (name) => `tokenizer.ggml.${name}_token_id`
  const model = await openModel(t, withNumbers(t, STORIES, { [key('prefix')]: prefix, [key('suffix')]: suffix, [key('middle')]: middle }))
  const { bos } = model.info.tokenizer
  const plain = (text) => model.tokenize(text, { bos: false })
  const after = plain('xthere was a dog. <s>')
  assert.deepEqual(plain('x').length, 2) // the space and the letter
  const prompt = [bos, prefix, ...plain('Once upon a time'), suffix, ...after.slice(2), middle]
  const expected = await model.generate(prompt, OPTIONS)
  const actual = await model.infill('Once upon a time', 'there was a dog. <s>', OPTIONS)
  assert.equal(actual.usage.promptTokens, prompt.length)
  assert.deepEqual(actual.tokens, expected.tokens)
})

testWith(STORIES, 'a model without infill tokens says so', async (t) => {
  const model = await openModel(t)
  assert.throws(() => model.infill('a', 'b'), (error) => error instanceof ChordError && error.code === 'NOT_FOUND' && /no tokens for prefix, suffix and middle/.test(error.message))
})
