'use strict'

// What the bench commands compute, print and draw, from given numbers. Nothing here is timed.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { test } = require('node:test')
const { root, runNode, temporaryFolder } = require('./helpers.js')
const { togetherPerSecond } = require('../../bench/engines.js')
const { TABLE, madeName, modelFile, promptOf, titleOf } = require('../../bench/models.js')
const { UsageError, integer, parse, text } = require('../../bench/options.js')
const machine = require('../../bench/report/machine.js')
const peer = require('../../bench/report/peer.js')
const { picture } = require('../../bench/report/picture.js')
const { costOf, decodeFloor, idealCores, prefillFloor, ratioSpread, spread, yardsticks } = require('../../bench/report/statistics.js')

const PROBE = {
  cpu: 'A <processor> & more',
  threads: 2,
  cacheBytes: 32 << 20,
  bufferBytes: 1 << 30,
  measured: [
    { kind: 'read', instruction: '', threads: 1, rate: 10e9 },
    { kind: 'read', instruction: '', threads: 2, rate: 20e9 },
    { kind: 'int8', instruction: 'slow', threads: 1, rate: 50e9 },
    { kind: 'int8', instruction: 'slow', threads: 2, rate: 100e9 },
    { kind: 'int8', instruction: 'fast', threads: 1, rate: 500e9 },
    { kind: 'int8', instruction: 'fast', threads: 2, rate: 1000e9 },
    { kind: 'fp32', instruction: 'fma', threads: 1, rate: 100e9 },
    { kind: 'fp32', instruction: 'fma', threads: 2, rate: 200e9 },
  ],
  tiers: [
    { tier: 'scalar', quantized: '', float: '' },
    { tier: 'wide', quantized: 'fast', float: 'fma' },
  ],
}

const COST = { bytesPerToken: 1e9, kvBytesPerToken: 1e6, layers: { quantized: 2e9, float: 0 }, logits: { quantized: 0, float: 1e9 } }

// Ratios per round: 2, 3, 2 of the generation.
const RESULT = {
  settings: { threads: 2, oracleThreads: 2, tokens: 32, rounds: 3 },
  versions: { chord: '1.2.3', oracle: '4.5.6' },
  probe: PROBE,
  models: [
    {
      title: 'a & b Q4_0',
      bytes: 1.5e9,
      settled: true,
      tier: 'wide',
      cost: COST,
      engines: {
        chord: { startMs: 1, loadMs: 5, memory: { residentMib: 700, anonymousMib: 68, highestMib: 710, hugeMib: null } },
        oracle: { startMs: 900, loadMs: 1275, memory: { residentMib: 1400, anonymousMib: 737, highestMib: 1500, hugeMib: null } },
      },
      measures: [
        { what: 'decode', n: 128, chord: [16, 18, 10], oracle: [8, 6, 5] },
        { what: 'prefill', n: 128, chord: [100, 110, 120], oracle: [50, 55, 60] },
        { what: 'prefill', n: 512, chord: [250, 240, 260], oracle: [125, 120, 130] },
        { what: 'context', n: 4096, chord: [4], oracle: [2] },
        { what: 'together', n: 4, chord: [40, 40, 40], oracle: [10, 16, 20] },
      ],
    },
  ],
}

test('spreads and ratios pair the rounds', () => {
  assert.deepEqual(spread([3, 1, 2]), { median: 2, least: 1, most: 3 })
  assert.deepEqual(spread([4, 1]), { median: 2.5, least: 1, most: 4 })
  assert.deepEqual(ratioSpread([16, 18, 10], [8, 6, 5]), { median: 2, least: 2, most: 3 })
})

test('the yardsticks of a tier are those of its instructions with all threads', () => {
  const wide = yardsticks(PROBE, 'wide')
  assert.equal(wide.readBandwidth, 20e9)
  assert.deepEqual(wide.quantized, { instruction: 'fast', rate: 1000e9 })
  assert.deepEqual(wide.float, { instruction: 'fma', rate: 200e9 })
  assert.equal(yardsticks(PROBE, 'scalar').quantized, null)
})

test('the floor is all bytes at the bandwidth, or all products at the peak', () => {
  const wide = yardsticks(PROBE, 'wide')
  assert.equal(decodeFloor(COST, wide), 0.05)
  assert.equal(decodeFloor(COST, wide, 1000), 0.1)
  // 100 tokens: 100 x 2e9 at 1e12, and the logits of one at 2e11.
  assert.equal(prefillFloor(COST, wide, 100), 0.2 + 0.005)
  assert.equal(prefillFloor(COST, wide, 1), 0.05, 'reading takes longer than so few products')
  assert.equal(prefillFloor(COST, yardsticks(PROBE, 'scalar'), 100), null)
})

test('the cost of a model counts matrices of layers per token, and the logits once', () => {
  const tensors = [
    { name: 'token_embd.weight', type: 'Q4_0', shape: [1000, 64] },
    { name: 'blk.0.attn_norm.weight', type: 'F32', shape: [64] },
    { name: 'blk.0.attn_q.weight', type: 'Q4_0', shape: [64, 64] },
    { name: 'blk.0.ffn_up.weight', type: 'F16', shape: [128, 64] },
  ]
  const planned = { weightsBytesPerToken: 7, kvBytesPerToken: 3 }
  const tied = costOf({ tensors }, planned)
  assert.deepEqual(tied, { bytesPerToken: 7, kvBytesPerToken: 3, layers: { quantized: 2 * 64 * 64, float: 2 * 128 * 64 }, logits: { quantized: 2 * 1000 * 64, float: 0 } })
  const output = { name: 'output.weight', type: 'F32', shape: [1000, 64] }
  assert.deepEqual(costOf({ tensors: [...tensors, output] }, planned).logits, { quantized: 0, float: 2 * 1000 * 64 })
})

test('a busy loop ideally halves one processor', () => {
  assert.equal(idealCores(2, 2, 1), 1.5)
  assert.equal(idealCores(4, 4, 1), 3.5)
  assert.equal(idealCores(1, 2, 1), 1)
  assert.equal(idealCores(2, 2, 2), 1)
})

test('streams together count while all of them run', () => {
  // From 100 ms (the second stream's first token) to 400 ms (the first one's last): 3 tokens of each.
  assert.equal(togetherPerSecond([[0, 200, 300, 400], [100, 250, 350, 390, 500]]), (6 / 300) * 1000)
})

test('a comparison is summed up by medians, ratios per round and shares of the floor', () => {
  const [decode, , prompt, context, together] = peer.summaries(RESULT, RESULT.models[0])
  assert.deepEqual(decode.chord, { median: 16, least: 10, most: 18 })
  assert.deepEqual(decode.ratio, { median: 2, least: 2, most: 3 })
  assert.equal(decode.floor, 20)
  assert.equal(decode.share, 0.8)
  assert.equal(prompt.floor, 512 / (512 * 0.002 + 0.005))
  assert.equal(context.floor, 1 / ((1e9 + 4096e6) / 20e9))
  assert.equal(together.floor, 80)
})

test('the report and the table of Markdown say the same numbers', () => {
  const report = peer.report(RESULT)
  assert.match(report, /generation, tokens\/s +16\.0 \[10\.0 - 18\.0\] +6\.00 \[5\.00 - 8\.00\] +2\.00 x \[2\.00 - 3\.00\] +20\.0 +80 %/)
  assert.match(report, /load of the model, ms +5\.00 +1275/)
  const lines = peer.markdown(RESULT).split('\n')
  assert.equal(lines[2], '| a & b Q4_0 | generation | 16.0 | 6.00 | 2.00 x [2.00 - 3.00] | 80 % |')
  assert.ok(lines.includes('| | generation at 4096 tokens | 4.00 | 2.00 | 2.00 x [2.00 - 2.00] | 102 % |'))
  assert.ok(lines.includes('| | 4 generations at once | 40.0 | 16.0 | 2.50 x [2.00 - 4.00] | 50 % |'))
  assert.ok(lines.includes('| | memory besides the file, MiB | 68 | 737 | | |'))
  assert.match(lines.join('\n'), /tier wide: reads 20\.0 GB\/s, products with quantized weights 1000 GOPS by fast/)
  for (const line of lines.filter((l) => l.startsWith('|'))) assert.equal(line.split('|').length, 8, line)
})

test('a table of many models has a row for each', () => {
  const lines = peer.markdownRows(RESULT).split('\n')
  assert.match(lines[0], /^\| \| GB \| chord, tokens\/s \| of the floor \| generation, ratio \| .* \| 4 generations at once, ratio \|$/)
  assert.match(lines[2], /^\| a & b Q4_0 \| [\d.]+ \| 16\.0 \| 80 % \| 2\.00 x \[2\.00 - 3\.00\] \| .* \| 2\.50 x \[2\.00 - 4\.00\] \|$/)
  const table = lines.filter((line) => line.startsWith('|'))
  assert.equal(table.length, 2 + RESULT.models.length)
  for (const line of table) assert.equal(line.split('|').length, lines[0].split('|').length, line)
})

test('results without a floor are shown without one', () => {
  const bare = { ...RESULT, probe: null }
  assert.match(peer.report(bare), /generation, tokens\/s .* 2\.00 x \[2\.00 - 3\.00\] +- +-\n/)
  assert.match(peer.markdown(bare), /The floor was not measured/)
  assertWellFormed(picture(bare))
  assert.ok(!picture(bare).includes('class="floor" x1="150" y1="68"'))
})

test('merged results hold every model once, the later measurement of it', () => {
  const other = { ...RESULT.models[0], title: 'other' }
  const again = { ...RESULT.models[0], bytes: 7 }
  const merged = peer.merge([RESULT, { ...RESULT, models: [other, again] }])
  assert.deepEqual(merged.models.map((m) => [m.title, m.bytes]), [['a & b Q4_0', 7], ['other', 1.5e9]])
})

// Every element is closed in order, attributes are quoted, and text holds no stray < or &.
function assertWellFormed(svg) {
  const open = []
  const text = svg.replace(/<(\/?)([a-z]+)((?: [a-zA-Z][\w:-]*="[^"<]*")*)\s*(\/?)>/g, (all, end, name, attributes, empty) => {
    if (end) assert.equal(open.pop(), name)
    else if (!empty) open.push(name)
    return ''
  })
  assert.deepEqual(open, [])
  assert.ok(!/[<>]/.test(text), `stray bracket in: ${text}`)
  assert.ok(!/&(?!(amp|lt|gt|quot);)/.test(text), 'stray &')
}

const attribute = (tag, name) => Number(new RegExp(` ${name}="([^"]*)"`).exec(tag)[1])

test('the picture is well-formed, and its bars are shares of the floor', () => {
  const svg = picture(RESULT)
  assertWellFormed(svg)
  assert.ok(svg.includes('a &amp; b Q4_0'))
  assert.ok(svg.includes('A &lt;processor&gt; &amp; more'))
  assert.ok(svg.includes('>16.0  (2.00 x)<'))
  assert.ok(svg.includes('>250  (2.00 x)<'), 'the longest prompt')
  assert.ok(!svg.includes('>110  ('), 'only the longest prompt')
  const bars = svg.match(/<rect class="(?:chord|oracle)" [^>]*height="13" rx="2"\/>/g).slice(2) // after the legend
  assert.equal(bars.length, 4)
  const floors = svg.match(/<line class="floor"[^>]*>/g).slice(1)
  assert.equal(floors.length, 2)
  const [chord, oracle] = bars.map((tag) => attribute(tag, 'width'))
  const whole = attribute(floors[0], 'x1') - attribute(bars[0], 'x')
  assert.ok(Math.abs(chord / whole - 16 / 20) < 0.002)
  assert.ok(Math.abs(oracle / whole - 6 / 20) < 0.002)
})

test('a bar beyond the floor stays in the picture', () => {
  const fast = structuredClone(RESULT)
  fast.models[0].measures[0].chord = [40, 40, 40]
  const svg = picture(fast)
  const bar = svg.match(/<rect class="chord" [^>]*height="13" rx="2"\/>/g)[1]
  const floor = svg.match(/<line class="floor"[^>]*>/g)[1]
  assert.ok(Math.abs((attribute(floor, 'x1') - 150) / attribute(bar, 'width') - 0.5) < 0.002)
  assert.ok(150 + attribute(bar, 'width') <= 150 + 255.1)
})

test('the report of the machine shows rates, work and shares', () => {
  const kernels = {
    tier: 'wide',
    threads: 2,
    matvec: { 1: [{ type: 'Q4_0', gbps: 19, share: 0.95 }], 4: [{ type: 'Q4_0', gbps: 10, share: 0.5 }] },
    operations: [{ operation: 'add 4096', ns: 163 }],
    gemm: { quantized: { instruction: 'fast', gops: 500 }, float: { instruction: 'fma', gops: 100 }, gemm: [{ type: 'Q4_0', columns: 128, gops: 250, share: 0.5 }] },
    attention: {
      peak: { instruction: 'fma', gflops1: 100, gflops: 200 },
      tokens: 2048,
      decode: [{ kv: 'q8_0', tokens: 2048, queries: 4, gbps: 15, share: 0.75, gflops: 60, peakShare: 0.3 }],
      prompt: [{ kv: 'f16', headDim: 64, tokens: 2048, queries: 8, gflops: 55, share: 0.55 }],
    },
  }
  const model = { title: 'm Q4_0', tier: 'wide', bytes: 1e9, cost: COST, decode: [16], prefill: { 100: [200] } }
  const out = machine.report({ probe: PROBE, kernels, models: [model] })
  assert.match(out, /memory, read +10\.0 GB\/s +20\.0 GB\/s/)
  assert.match(out, /Q4_0 +19\.0 +95 % +10\.0 +50 % +250 +50 %/)
  assert.match(out, /generation, KV q8_0 +4 +15\.0 +75 % +60\.0 +30 %/)
  assert.match(out, /prompt, KV f16, heads of 64 +8 +55\.0 +55 %/)
  assert.match(out, /add 4096 +0\.163 us/)
  assert.match(out, /generation +16\.0 \[16\.0 - 16\.0\] +16\.0 GB\/s +20\.0 +80 %/)
  assert.match(out, /prompt of 100 +200 \[200 - 200\] +402 GOPS +488 +41 %/)
})

test('names of models that can be made', async (t) => {
  assert.deepEqual(madeName('llama-1.1b-Q4_K_M'), { geometry: 'llama-1.1b', mix: 'Q4_K_M' })
  assert.deepEqual(madeName('tiny-qwen2-F16'), { geometry: 'tiny-qwen2', mix: 'F16' })
  assert.equal(madeName('llama-1.1b-Q9'), null)
  assert.equal(madeName('nothing-Q4_0'), null)
  for (const name of TABLE) assert.notEqual(madeName(name), null, name)
  assert.equal(titleOf('/x/llama-1.1b-Q4_K_M.gguf', 'Q4_K_M'), 'llama-1.1b Q4_K_M')
  assert.equal(titleOf('/x/demo.gguf', 'Q8_0'), 'demo Q8_0')
  assert.equal(new Set(promptOf(64, 1)).size > 30, true)
  assert.notDeepEqual(promptOf(64, 1), promptOf(64, 2))

  const folder = temporaryFolder(t)
  const file = await modelFile('tiny-Q4_0', { folder })
  assert.equal(file, path.join(folder, 'tiny-Q4_0.gguf'))
  const { mtimeMs } = fs.statSync(file)
  assert.equal(await modelFile('tiny-Q4_0', { folder }), file)
  assert.equal(fs.statSync(file).mtimeMs, mtimeMs, 'made once')
  await assert.rejects(modelFile('missing.gguf', { folder }), /no such file/)
})

test('options of the bench commands', async (t) => {
  const options = { n: { read: integer(2), initial: 3, help: '' }, many: { read: text, multiple: true, help: '' }, on: { help: '' } }
  assert.deepEqual(parse(options, ['a', '--n', '5', '--many', 'x', '--many', 'y', '--on', 'b']), { values: { n: 5, many: ['x', 'y'], on: true }, words: ['a', 'b'] })
  assert.deepEqual(parse(options, []).values, { n: 3, many: undefined, on: undefined })
  assert.throws(() => parse(options, ['--n', '1']), UsageError)
  assert.throws(() => parse(options, ['--what']), UsageError)
  const saved = path.join(temporaryFolder(t), 'saved.json')
  const svg = `${saved}.svg`
  fs.writeFileSync(saved, JSON.stringify(RESULT))
  const { code, stdout, stderr } = await runNode([path.join(root, 'bench', 'peer.mjs'), '--from', saved, '--markdown', '--svg', svg])
  assert.equal(code, 0, stderr)
  assert.equal(stdout, peer.markdown(RESULT))
  assert.equal(fs.readFileSync(svg, 'utf8'), picture(RESULT))
  const wrong = await runNode([path.join(root, 'bench', 'peer.mjs'), '--rounds', '0'])
  assert.equal(wrong.code, 2)
  assert.match(wrong.stderr, /--rounds: an integer of at least 1/)
})

test('every bench command tells how it is used', async () => {
  const commands = fs.readdirSync(path.join(root, 'bench')).filter((name) => name.endsWith('.mjs'))
  assert.ok(commands.length >= 14)
  for (const name of commands) {
    const { code, stdout, stderr } = await runNode([path.join(root, 'bench', name), '--help'])
    assert.equal(code, 0, `${name}: ${stderr}`)
    assert.match(stdout, /^usage: (node|npm run) .*\n\n/, name)
    assert.equal(stderr, '')
    const wrong = await runNode([path.join(root, 'bench', name), '--no-such-option'])
    assert.equal(wrong.code, 2, name)
  }
})
