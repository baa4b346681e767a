'use strict'

// The command line, in processes of its own.

const assert = require('node:assert/strict')
const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { test } = require('node:test')
const { DEMO, STORIES, VOCABULARY, root, runNode, temporaryFolder, testWith } = require('./helpers.js')

const main = path.join(root, 'lib', 'cli', 'main.js')
const chord = (...args) => runNode([main, ...args])
const chordJson = async (...args) => {
  const { code, stdout, stderr } = await chord(...args, '--json')
  assert.equal(code, 0, stderr)
  assert.equal(stdout.trimEnd().split('\n').length, 1, 'one line')
  return JSON.parse(stdout)
}
const GREEDY = ['--temperature', '0', '--max-tokens', '12']
const GOLDEN = ' upon a time, there was a little girl n'

testWith(STORIES, 'run writes prompt and text on standard output, and nothing else', async () => {
  const { code, stdout, stderr } = await chord('run', STORIES, 'Once', ...GREEDY)
  assert.equal(code, 0, stderr)
  assert.ok(stdout.startsWith('Once upon a time, there was a little'), stdout)
  assert.ok(stdout.endsWith('\n'))
  assert.equal(stderr, '')
  const withStats = await chord('run', STORIES, 'Once', ...GREEDY, '--stats')
  assert.equal(withStats.stdout, stdout)
  assert.match(withStats.stderr, /^2 prompt tokens in .*, 12 tokens in .*\/s\), length, peak .*\n$/)
})

testWith(STORIES, 'run takes the options of generation and of loading', async () => {
  const json = await chordJson('run', STORIES, 'Once', '--temperature', '0', '--stop', 'little', '--stop', 'zzz', '--threads', '1', '--context', '64', '--memory', '64MiB')
  assert.equal(json.text, GOLDEN.slice(0, GOLDEN.indexOf('little')))
  assert.equal(json.finishReason, 'stop')
  assert.equal(json.prompt, 'Once')
  assert.equal(json.model, STORIES)
  const options = ['--seed', '9', '--max-tokens', '30', '--top-k', '50', '--top-p', '0.99', '--min-p', '0', '--temperature', '1.1']
  const [a, b] = [await chordJson('run', STORIES, '', ...options), await chordJson('run', STORIES, '', ...options)]
  assert.deepEqual(a.tokens, b.tokens)
  assert.equal((await chordJson('run', STORIES, '', '--context', '32', '--temperature', '0')).finishReason, 'length')
})

testWith(STORIES, 'run chooses tokens by any sampler of generate(), in any order', async () => {
  const { loadModel } = require('../..')
  const model = await loadModel(STORIES)
  const common = { seed: 5, maxTokens: 24, temperature: 1.2 }
  for (const [flags, options] of [
    ['--typical-p 0.5 --top-n-sigma 1.5', { typicalP: 0.5, topNSigma: 1.5 }],
    ['--xtc-probability 1 --xtc-threshold 0.05', { xtc: { probability: 1, threshold: 0.05 } }],
    ['--mirostat-tau 2 --mirostat-eta 0.3', { mirostat: { tau: 2, eta: 0.3 } }],
    ['--dynamic-range 1 --dynamic-exponent 2 --top-k 0', { dynamicTemperature: { range: 1, exponent: 2 }, topK: 0 }],
    ['--repeat-penalty 1.5 --frequency-penalty 0.5 --presence-penalty=-0.5 --penalty-last-n 9', { repeatPenalty: 1.5, frequencyPenalty: 0.5, presencePenalty: -0.5, penaltyLastN: 9 }],
    [
      '--dry-multiplier 9 --dry-base 2 --dry-allowed-length 1 --dry-last-n 50 --dry-breaker a --dry-breaker b',
      { dry: { multiplier: 9, base: 2, allowedLength: 1, penaltyLastN: 50, sequenceBreakers: ['a', 'b'] } },
    ],
    ['--samplers min-p,temperature,topK --top-k 3 --min-p 0.2', { samplers: ['minP', 'temperature', 'topK'], topK: 3, minP: 0.2 }],
  ]) {
    const json = await chordJson('run', STORIES, 'Once', '--seed', '5', '--max-tokens', '24', '--temperature', '1.2', ...flags.split(' '))
    assert.deepEqual(json.tokens, (await model.generate('Once', { ...common, ...options })).tokens, flags)
  }
  await model.close()
})

testWith(STORIES, 'run takes a draft model, and writes the same text', async () => {
  const plain = await chordJson('run', STORIES, 'Once', ...GREEDY)
  const json = await chordJson('run', STORIES, 'Once', ...GREEDY, '--draft', STORIES)
  assert.equal(json.text, plain.text)
  const { code, stderr } = await chord('run', STORIES, 'Once', '--draft', path.join(root, 'missing.gguf'))
  assert.notEqual(code, 0)
  assert.match(stderr, /missing\.gguf/)
})

test('run without a model takes the demo model, or says that there is none', async () => {
  const { code, stdout, stderr } = await chord('run', '--max-tokens', '10', '--temperature', '0')
  if (fs.existsSync(DEMO)) {
    assert.equal(code, 0, stderr)
    assert.ok(stdout.trim().length > 5)
  } else {
    assert.equal(code, 2)
    assert.match(stderr, /models\/demo\.gguf/)
  }
})

testWith(STORIES, 'plan draws the memory', async () => {
  const { code, stdout } = await chord('plan', STORIES, '--memory', '8MiB', '--context', '256')
  assert.equal(code, 0)
  assert.match(stdout, /█+▓+▒*░*\.*\n/)
  assert.match(stdout, /weights, mapped +1016 KiB/)
  assert.match(stdout, /KV cache at 256 tokens +160 KiB/)
  assert.match(stdout, /memory +8\.00 MiB/)
  assert.match(stdout, /about [\d.]+ tokens\/s/)
  const json = await chordJson('plan', STORIES)
  assert.equal(json.weightsBytes, 260032 * 4)
  assert.equal(json.fits, true)
})

testWith([STORIES, VOCABULARY], 'inspect shows metadata and tensors by type', async () => {
  const { code, stdout } = await chord('inspect', STORIES)
  assert.equal(code, 0)
  assert.match(stdout, /GGUF version 3, 260\.0 K parameters in 47 tensors/)
  assert.match(stdout, /general\.architecture +string +"llama"/)
  assert.match(stdout, /layer_norm_rms_epsilon +float32 +0\.00001\n/)
  assert.match(stdout, /tokenizer\.ggml\.tokens +string\[\] +"<unk>", .*512 in all/)
  assert.match(stdout, /F32 +47 tensors +1016 KiB/)
  assert.doesNotMatch(stdout, /token_embd/)
  assert.match((await chord('inspect', STORIES, '--tensors')).stdout, /token_embd\.weight +F32 +512 x 64 +128 KiB/)
  const json = await chordJson('inspect', STORIES)
  assert.equal(json.metadata['llama.block_count'], 5)
  assert.equal(json.tensors.length, 47)
  assert.match((await chord('inspect', VOCABULARY)).stdout, /151936 in all/)
})

testWith(STORIES, 'bench measures', async () => {
  const { code, stdout, stderr } = await chord('bench', STORIES, '--rounds', '2', '--prompt', '32', '--tokens', '8', '--threads', '1')
  assert.equal(code, 0, stderr)
  for (const line of [/median of 2 rounds/, /load +[\d.]+ [mu]?s/, /prefill of 32 tokens.*\[/, /decode of 8 tokens.*\[/, /GB\/s of .* that memory gives \(\d+ %\)/, /about/]) {
    assert.match(stdout, line)
  }
  const json = await chordJson('bench', STORIES, '--rounds', '1', '--prompt', '16', '--tokens', '4')
  for (const { median, least, most } of [json.prefillPerSecond, json.decodePerSecond]) assert.ok(least > 0 && least <= median && median <= most)
  assert.ok(json.loadMs > 0 && json.readBandwidth > 0)
})

testWith(STORIES, 'perplexity of a file', async (t) => {
  const file = path.join(temporaryFolder(t), 'text.txt')
  fs.writeFileSync(file, 'Once upon a time, there was a little girl named Lily. She loved to play outside. '.repeat(20))
  const { code, stdout, stderr } = await chord('perplexity', STORIES, file, '--window', '64')
  assert.equal(code, 0, stderr)
  assert.match(stdout, /^perplexity \d+\.\d{4} over \d+ tokens in \d+ windows/)
  assert.match(stderr, /window 1 of \d+, perplexity/)
  const json = await chordJson('perplexity', STORIES, file, '--window', '64')
  assert.ok(stdout.startsWith(`perplexity ${json.perplexity.toFixed(4)} over ${json.tokens} tokens`))
  const { loadModel } = require('../..')
  const model = await loadModel(STORIES)
  assert.equal(json.perplexity, (await model.perplexity(fs.readFileSync(file, 'utf8'), { context: 64 })).perplexity)
  await model.close()
})

test('help of every command, from the table that parses it', async () => {
  const { code, stdout } = await chord('--help')
  assert.equal(code, 0)
  for (const name of ['run', 'chat', 'plan', 'inspect', 'bench', 'perplexity']) {
    assert.match(stdout, new RegExp(`^  ${name} `, 'm'))
    const help = await chord(name, '--help')
    assert.equal(help.code, 0)
    const { options, words } = require(`../../lib/cli/${name}.js`)
    assert.ok(help.stdout.startsWith(`chord ${name} ${words}\n`))
    for (const option of [...Object.keys(options), 'json', 'help']) assert.match(help.stdout, new RegExp(`--${option}\\b`))
    assert.ok(help.stdout.split('\n').every((line) => line.length <= 100), 'fits a terminal')
  }
  assert.equal((await chord('--version')).stdout.trim(), require('../../package.json').version)
})

test('wrong use is one line on standard error, and exit code 2', async () => {
  for (const [args, message] of [
    [['rum'], /unknown command "rum": there are run, plan, chat/],
    [['run', '--tempature', '3'], /unknown option --tempature: did you mean --temperature\?/],
    [['run', '--max-tokens', 'x'], /--max-tokens: expected an integer of at least 1, got "x"/],
    [['run', '--max-tokens'], /--max-tokens/],
    [['run', '--top-p', '4'], /--top-p: expected a number above 0, at most 1, got 4\n/],
    [['chat', '--xtc-threshold', 'x'], /--xtc-threshold: expected a number above 0, at most 0.5, got "x" \(string\)\n/],
    [['run', '--dry-allowed-length', '0'], /--dry-allowed-length: expected an integer from 1 to 2147483647, got 0\n/],
    [['run', '--samplers', 'top-k,topp'], /--samplers: there is no sampler "topp": did you mean top-p\?\n/],
    [['run', '--samplers', 'top-k,temperature,top-k'], /--samplers: top-k stands there twice\n/],
    [['run', '--samplers', 'top-k', '--top-p', '0.5'], /option --top-p: --top-p is not among the option --samplers\n/],
    [['run', '--dynamic-exponent', '2'], /--dynamic-exponent: says nothing without --dynamic-range\n/],
    [['chat', '--mirostat-eta', '1', '--typical-p', '0.5'], /options --mirostat-eta and --typical-p contradict each other\n/],
    [['run', '--dynamic-range', '1', '--temperature', '0'], /options --dynamic-range and --temperature 0 contradict each other\n/],
    [['run', 'a', 'b', 'c'], /expected chord run \[MODEL\] \[PROMPT\], got 3 words/],
    [['plan'], /expected chord plan MODEL, got no words/],
    [['plan', 'a', '--memory', 'lots'], /--memory: expected bytes.*got "lots"/],
    [['perplexity', 'a'], /expected chord perplexity MODEL FILE, got 1 word\n/],
  ]) {
    const { code, stdout, stderr } = await chord(...args)
    assert.equal(code, 2, `${args.join(' ')}: ${stderr}`)
    assert.match(stderr, message)
    assert.match(stderr, /^chord: .*\n$/)
    assert.equal(stdout, '')
  }
  assert.equal((await chord()).code, 2)
})

test('an error is one line with its code on standard error, and exit code 1', async (t) => {
  const folder = temporaryFolder(t)
  const text = path.join(folder, 'text.gguf')
  fs.writeFileSync(text, 'no model at all, for sure')
  for (const [args, message] of [
    [['run', '/no/such/model.gguf'], /\/no\/such\/model\.gguf.*\(FILE_NOT_FOUND\)/],
    [['plan', text], /\(NOT_GGUF\)/],
    [['inspect', folder], /\(IO\)/],
    [['bench', text, '--json'], /\(NOT_GGUF\)/],
    [['perplexity', text, '/no/such/text'], /ENOENT/],
  ]) {
    const { code, stdout, stderr } = await chord(...args)
    assert.equal(code, 1, stderr)
    assert.match(stderr, message)
    assert.match(stderr, /^chord: .*\n$/)
    assert.equal(stdout, '')
  }
})

testWith(STORIES, 'Ctrl-C ends a generation cleanly', { skip: process.platform === 'win32' && 'no signals' }, async () => {
  const during = (child) => child.stdout.once('data', () => child.kill('SIGINT') && child.kill('SIGINT'))
  const { code, signal, stdout, stderr } = await runNode([main, 'run', STORIES, 'Once', '--context', '8192', '--threads', '1'], { during })
  assert.equal(signal, null)
  assert.equal(code, 130, stderr)
  assert.ok(stdout.startsWith('Once') && stdout.endsWith('\n'))
  assert.match(stderr, /^2 prompt tokens.*cancelled/)
})

testWith(STORIES, 'a reader that leaves early is no error', { skip: process.platform === 'win32' && 'no head' }, async () => {
  const command = `"${process.execPath}" "${main}" run "${STORIES}" Once | head -c 10; echo "/\${PIPESTATUS[0]}"`
  const { stdout, stderr } = spawnSync('bash', ['-c', command], { encoding: 'utf8' })
  assert.match(stdout, /^Once.{6}\/0\n$/)
  assert.equal(stderr, '')
})

const CHAT = ['chat', STORIES, '--system', 'You tell stories.', ...GREEDY]

testWith(STORIES, 'chat answers lines of standard input, each going on from the ones before', async (t) => {
  const { code, stdout, stderr } = await runNode([main, ...CHAT, '--stats'], { input: 'Hi\nAnd \\\nthen?\n/undo\n/again\n/what\n/exit\nnever\n' })
  assert.equal(code, 0, stderr)
  assert.equal(stdout.trimEnd().split('\n').length >= 3, true, stdout)
  const told = stderr.split('\n')
  assert.match(told[0], /no chat template/)
  const reused = [...stderr.matchAll(/(\d+) prompt tokens, (\d+) of them reused/g)].map(([, ...numbers]) => numbers.map(Number))
  assert.equal(reused.length, 3)
  assert.equal(reused[0][1], 0)
  assert.ok(reused[1][1] >= reused[0][0])
  assert.deepEqual(reused[2], [reused[0][0], reused[0][0] - 1])
  assert.match(stderr, /\/what: not a command/)

  const { stdout: jsons } = await runNode([main, ...CHAT, '--json'], { input: 'Hi\n/undo\n' })
  const [one, two] = jsons.trimEnd().split('\n').map((line) => JSON.parse(line))
  assert.equal(one.message.role, 'assistant')
  assert.ok(two.usage.promptTokens > one.usage.promptTokens)
  const { stdout: single } = await chord(...CHAT, 'Hi')
  assert.equal(single.trim(), one.text.trim())

  const file = path.join(temporaryFolder(t), 'a.chat')
  await runNode([main, ...CHAT], { input: `Hi\n/save ${file}\n` })
  const { stdout: restored } = await runNode([main, 'chat', STORIES, ...GREEDY, '--restore', file, '--json'], { input: '/undo\n' })
  assert.deepEqual(JSON.parse(restored).tokens, two.tokens)
  assert.equal((await chord('chat', STORIES, '--restore', file, '--system', 'x')).code, 2)
  assert.match((await chord('chat', '--help')).stdout, /--restore FILE/)
})

testWith(STORIES, 'Ctrl-C stops the answer of a chat, and not the program', { skip: process.platform === 'win32' }, async () => {
  let said = ''
  const during = (child) => {
    let isFirst = true
    child.stdin.write('Once\n')
    child.stdout.on('data', (text) => {
      said += text
      if (!isFirst) return
      isFirst = false
      child.kill('SIGINT')
      child.stdin.write('And then?\n')
      child.stdin.end()
    })
  }
  const { code, stderr } = await runNode([main, 'chat', STORIES, '--temperature', '0', '--max-tokens', '400', '--stats'], { during, input: null })
  assert.equal(code, 0, stderr)
  assert.ok(said.length > 0)
  assert.equal([...stderr.matchAll(/prompt tokens/g)].length, 2, stderr)
})
