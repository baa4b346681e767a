'use strict'

// What the tests of the JavaScript API share: the models they use, and processes to run things in.

const { spawn } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { test } = require('node:test')

const root = path.resolve(__dirname, '..', '..')
const fixtures = process.env.CHORD_FIXTURES || path.resolve(root, '..', 'shared', 'fixtures')

const STORIES = path.join(fixtures, 'models', 'stories260K-f32.gguf')
const RANDOM = path.join(fixtures, 'models', 'llama-2-tiny-random.gguf')
const VOCABULARY = path.join(fixtures, 'vocab', 'ggml-vocab-qwen2.gguf')
const MALFORMED = path.join(fixtures, 'malformed')
const TEXT = path.join(fixtures, 'text', 'war-and-peace.txt')
const CHAT = path.join(fixtures, 'chat')
const DEMO = path.join(root, 'models', 'demo.gguf')

/** A context that a small model can't fill before the event loop has come round, however slow: for generations that are to be cancelled. */
const LONG_CONTEXT = 8192

/** A test that needs files: skips with a message where one is missing. */
function testWith(files, name, options, body) {
  if (typeof options === 'function') [options, body] = [{}, options]
  const missing = [files].flat().find((file) => !fs.existsSync(file))
  const how = missing === DEMO ? 'tools/demo-model makes it' : 'set CHORD_FIXTURES to the folder of the fixtures'
  const skip = missing && `${path.relative(root, missing)} is not here: ${how}`
  return test(name, skip ? { skip } : options, body)
}

/** Runs node with these arguments to its end: { code, signal, stdout, stderr }. `during(child)` may meddle; with `input: null` it is that which ends its input. */
function runNode(args, { env = {}, timeout = 60_000, input, during } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: root, env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] })
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(`${args.join(' ')} did not end in ${timeout / 1000} s; it wrote:\n${stdout}${stderr}`))
    }, timeout)
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (chunk) => (stdout += chunk))
    child.stderr.setEncoding('utf8').on('data', (chunk) => (stderr += chunk))
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      resolve({ code, signal, stdout, stderr })
    })
    child.stdin.on('error', () => {}) // the child may be gone before it has read
    if (input !== null) child.stdin.end(input)
    during?.(child)
  })
}

/** A copy of a GGUF file with more string metadata, an object by key, in a folder that goes with the test. */
function withMetadata(t, file, strings) {
  const bytes = fs.readFileSync(file)
  const sized = (text) => {
    const size = Buffer.alloc(8)
    size.writeBigUInt64LE(BigInt(Buffer.byteLength(text)))
    return Buffer.concat([size, Buffer.from(text)])
  }
  const STRING = Buffer.from([8, 0, 0, 0])
  const pair = ([key, value]) => Buffer.concat([sized(key), STRING, sized(value)])
  const pairs = Object.entries(strings).map(pair)
  // What follows stays aligned.
  const filler = (n) => pair(['test.filler', ' '.repeat(n)])
  const n = Buffer.concat([...pairs, filler(0)]).length
  pairs.push(filler((64 - (n % 64)) % 64))
  const head = Buffer.from(bytes.subarray(0, 24))
  head.writeBigUInt64LE(head.readBigUInt64LE(16) + BigInt(pairs.length), 16)
  const made = path.join(temporaryFolder(t), 'model.gguf')
  fs.writeFileSync(made, Buffer.concat([head, ...pairs, bytes.subarray(24)]))
  return made
}

/** A folder that goes with the test. */
function temporaryFolder(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'chord-test-'))
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** The model of the stories, or another; closed with the test. */
async function openModel(t, file = STORIES, options) {
  const { loadModel } = require('../..')
  const model = await loadModel(file, options)
  t.after(() => model.close())
  return model
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

module.exports = { CHAT, DEMO, LONG_CONTEXT, MALFORMED, RANDOM, STORIES, TEXT, VOCABULARY, openModel, root, runNode, sleep, temporaryFolder, testWith, withMetadata }
