'use strict'

// Makes models/demo.gguf from a book: `node tools/demo-model/train.js BOOK.txt [--out FOLDER] [--steps N] [--threads N]`
//
// Compiles the trainer, checks its gradients (--check: only that), prepares the text, trains, draws the loss curve. An
// interrupted run goes on where it stopped when the command is given again with the same folder.

const { execFileSync, spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { parseArgs } = require('node:util')
const { drawLoss } = require('./draw-loss.js')

const here = __dirname
const root = path.join(here, '../..')

const TYPES = ['F32', 'F16', 'Q8_0', 'Q6_K', 'Q5_K', 'Q4_K', 'Q4_0', 'Q3_K', 'Q2_K']
const SHIPPED_TYPE = 'Q8_0'

const SHARED = [
  ...['alloc', 'hash', 'status'].map((name) => `base/${name}.c`),
  ...['pool', 'thread'].map((name) => `os/${name}.c`),
]
const TRAINER_SHARED = [
  ...SHARED,
  ...['piece_walk', 'pretokenizers', 'unicode', 'unicode_sets', 'unicode_tables'].map((name) => `tokenizer/${name}.c`),
  ...fs.readdirSync(path.join(root, 'src/quant')).filter((name) => name.endsWith('.c')).map((name) => `quant/${name}`),
]
const MODEL = ['model.c', 'layers.c', 'attention.c', 'gemm.c']

function compile(out, own, shared, flags) {
  const sources = [...own.map((name) => path.join(here, name)), ...shared.map((name) => path.join(root, 'src', name))]
  // The compiler may use all that this machine has: the trainer is a tool, run where it is built.
  const machine = ['-march=native', ...(process.arch === 'x64' ? ['-mprefer-vector-width=512'] : [])]
  const args = ['-std=gnu11', '-O3', ...machine, ...flags, `-I${here}`, `-I${root}/src`, ...sources, '-o', out, '-luv', '-lpthread', '-lm']
  execFileSync(process.env.CC || 'cc', args, { stdio: 'inherit' })
}

function run(program, args) {
  const done = spawnSync(program, args, { stdio: 'inherit' })
  if (done.status !== 0) process.exit(done.status ?? 1)
}

function prepare(part, book, out) {
  fs.writeFileSync(out, execFileSync(process.execPath, [path.join(here, 'text.js'), part, book], { maxBuffer: 2 ** 30 }))
}

function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      out: { type: 'string', default: path.join(root, 'build/demo-model') },
      steps: { type: 'string', default: '1000' },
      threads: { type: 'string', default: '2' },
      check: { type: 'boolean', default: false },
    },
  })
  if (positionals.length !== (values.check ? 0 : 1)) {
    console.error('usage: node tools/demo-model/train.js BOOK.txt [--out FOLDER] [--steps 1000] [--threads 2]')
    console.error('       node tools/demo-model/train.js --check')
    process.exit(2)
  }
  const out = path.resolve(values.out)
  const inOut = (name) => path.join(out, name)
  fs.mkdirSync(out, { recursive: true })
  compile(inOut('check'), ['check.c', ...MODEL], SHARED, ['-DTRAINER_DOUBLE'])
  run(inOut('check'), [])
  if (values.check) return
  compile(inOut('train'), ['train.c', 'optimizer.c', 'vocabulary.c', 'export.c', ...MODEL], TRAINER_SHARED, [])
  prepare('train', positionals[0], inOut('train.txt'))
  prepare('held-out', positionals[0], inOut('held-out.txt'))
  // Ctrl-C reaches the trainer too, which writes a checkpoint; this process waits for that.
  process.on('SIGINT', () => {})
  run(inOut('train'), [
    ...['--train', inOut('train.txt'), '--held-out', inOut('held-out.txt'), '--out', out],
    ...['--steps', values.steps, '--threads', values.threads, '--types', TYPES.join(',')],
  ])
  fs.writeFileSync(path.join(here, 'loss.svg'), drawLoss(fs.readFileSync(inOut('loss.csv'), 'utf8')))
  fs.copyFileSync(inOut(`demo-${SHIPPED_TYPE}.gguf`), path.join(root, 'models/demo.gguf'))
  console.error(`wrote models/demo.gguf and tools/demo-model/loss.svg; other types are in ${out}`)
}

main()
