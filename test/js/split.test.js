'use strict'

// Split models: the files that bench/split-model.js makes are one model, and a set that is none is refused by name.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { DEMO, STORIES, root, runNode, temporaryFolder, testWith } = require('./helpers.js')
const { inspect, loadModel, plan } = require('../..')
const { splitModel } = require('../../bench/split-model.js')

const split = (t, files, model = DEMO) => splitModel(model, { files, out: path.join(temporaryFolder(t), 'm') })

testWith(DEMO, 'the files of a split model are one model', async (t) => {
  const whole = await loadModel(DEMO)
  t.after(() => whole.close())
  const expected = await inspect(DEMO)
  const options = { maxTokens: 40, temperature: 0.9, seed: 3, logprobs: 2 }
  const { text, tokens, logprobs } = await whole.generate('The prince', options)
  for (const files of [1, 2, 3, expected.tensors.length]) {
    const paths = await split(t, files)
    assert.equal(paths.length, files)
    const info = await inspect(paths[0])
    assert.deepEqual(info.parts, paths.map((name) => ({ path: name, bytes: fs.statSync(name).size })))
    assert.equal(info.bytes, info.parts.reduce((sum, { bytes }) => sum + bytes, 0))
    assert.equal(info.parameters, expected.parameters)
    assert.equal(info.metadata['split.count'], files)
    const contents = paths.map((name) => fs.readFileSync(name))
    const original = fs.readFileSync(DEMO)
    assert.deepEqual(info.tensors.map(({ name }) => name), expected.tensors.map(({ name }) => name))
    for (const [i, tensor] of info.tensors.entries()) {
      const { offset, bytes } = expected.tensors[i]
      assert.ok(contents[tensor.part].subarray(tensor.offset, tensor.offset + tensor.bytes).equals(original.subarray(offset, offset + bytes)), tensor.name)
    }
    assert.deepEqual(new Set(info.tensors.map(({ part }) => part)).size, files, 'no file is without tensors')

    const model = await loadModel(paths[0])
    assert.equal(model.info.fileBytes, info.bytes)
    assert.equal(model.info.parameters, expected.parameters)
    const result = await model.generate('The prince', options)
    assert.deepEqual({ text: result.text, tokens: result.tokens, logprobs: result.logprobs }, { text, tokens, logprobs })
    await model.preload()
    assert.deepEqual((await model.tensor('output_norm.weight')).data, (await whole.tensor('output_norm.weight')).data)

    const memory = new WebAssembly.Memory({ initial: Math.ceil(info.bytes / 65536) })
    assert.equal(model.wasmImports({ memory }).memory64_read(0, 0, info.bytes), info.bytes)
    assert.ok(Buffer.from(memory.buffer, 0, info.bytes).equals(Buffer.concat(contents)), 'one file behind the other')
    await model.close()
  }
})

testWith(DEMO, 'dealt out, every file has its share of every layer; mapped and paged, the tokens are those of the whole', async (t) => {
  const options = { maxTokens: 40, temperature: 0.9, seed: 3, logprobs: 2 }
  const prompt = 'The prince '.repeat(60)
  const whole = await loadModel(DEMO)
  const { text, logprobs } = await whole.generate(prompt, options)
  await whole.close()
  const folder = temporaryFolder(t)
  for (const interleave of [false, true]) {
    const paths = await splitModel(DEMO, { files: 3, interleave, out: path.join(folder, `m${interleave}`) })
    const { tensors } = await inspect(paths[0])
    assert.equal(tensors.length, 56)
    for (let layer = 0; layer < 6 && interleave; layer++) {
      const bytes = [0, 0, 0]
      for (const tensor of tensors.filter(({ name }) => name.startsWith(`blk.${layer}.`))) bytes[tensor.part] += tensor.bytes
      assert.ok(bytes.every((n) => n > 0.2 * (bytes[0] + bytes[1] + bytes[2])), `layer ${layer}: ${bytes}`)
    }
    for (const cache of [{ mode: 'mapped' }, { mode: 'paged' }, { mode: 'paged', policy: 'lru' }]) {
      const model = await loadModel(paths[0], { cache, context: 384, memory: cache.mode === 'paged' ? '12MiB' : 'auto' })
      assert.equal(model.info.mode, cache.mode)
      const result = await model.generate(prompt, options)
      assert.deepEqual({ text: result.text, logprobs: result.logprobs }, { text, logprobs }, `${interleave} ${JSON.stringify(cache)}`)
      await model.close()
    }
  }
})

testWith(DEMO, 'files on other disks, by symbolic links', async (t) => {
  const paths = await split(t, 3)
  const other = temporaryFolder(t)
  const moved = path.join(other, 'elsewhere')
  fs.renameSync(paths[1], moved)
  fs.symlinkSync(moved, paths[1])
  const model = await loadModel(paths[0])
  assert.equal((await model.generate('The', { maxTokens: 3 })).tokens.length, 3)
  await model.close()
})

testWith([DEMO, STORIES], 'a set of files that is no model is refused by name', async (t) => {
  const refused = async (file, message) => {
    for (const open of [loadModel, plan, inspect]) await assert.rejects(open(file), { code: 'GGUF_SPLIT', message })
  }
  const [first, second, third] = await split(t, 3)
  await refused(second, new RegExp(`m-00002-of-00003.gguf: is file 2 of 3 of a split model; open the first instead, .*m-00001-of-00003.gguf$`))
  const kept = fs.readFileSync(second)
  fs.rmSync(second)
  await refused(first, /m-00002-of-00003.gguf: file 2 of the model's 3 is missing/)
  fs.copyFileSync(third, second)
  await refused(first, /m-00002-of-00003.gguf: says that it is file 3 of 3, but its name and .*m-00001-of-00003.gguf say 2 of 3/)
  const [, foreign] = await split(t, 3, STORIES)
  fs.copyFileSync(foreign, second)
  await refused(first, /m-00002-of-00003.gguf: is of a model with 47 tensors, .*m-00001-of-00003.gguf of one with 56/)
  const [, pair] = await split(t, 2)
  fs.copyFileSync(pair, second)
  await refused(first, /m-00002-of-00003.gguf: says that it is file 2 of 2, but its name/)
  fs.copyFileSync(DEMO, second)
  await refused(first, /m-00002-of-00003.gguf: says that it is file 1 of 1, but its name/)
  fs.writeFileSync(second, kept)
  await (await loadModel(first)).close()
})

testWith(DEMO, 'split-model on the command line', async (t) => {
  const out = path.join(temporaryFolder(t), 'shards')
  const tool = path.join(root, 'bench', 'split-model.js')
  const { code, stdout } = await runNode([tool, DEMO, '--files', '2', '--out', out, '--json'])
  assert.equal(code, 0)
  assert.deepEqual(JSON.parse(stdout), [`${out}-00001-of-00002.gguf`, `${out}-00002-of-00002.gguf`])
  const shown = await runNode([path.join(root, 'lib', 'cli', 'main.js'), 'inspect', `${out}-00001-of-00002.gguf`])
  assert.match(shown.stdout, /shards-00001-of-00002.gguf .*\n.*shards-00002-of-00002.gguf /)
  assert.equal((await runNode([tool, DEMO])).code, 2)
  const again = await runNode([tool, `${out}-00001-of-00002.gguf`, '--files', '2'])
  assert.equal(again.code, 1)
  assert.match(again.stderr, /is a part of a split model/)
  assert.match((await runNode([tool, DEMO, '--files', '57'])).stderr, /from 1 to 56 are possible/)
})
