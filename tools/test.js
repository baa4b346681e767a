'use strict'

// Runs the tests, after fetching and building what they need, and prints one line per suite; of a suite that fails, all it said.
//
//   node tools/test.js [--jobs N] [--slowest N] [SUITE ...]
//
// Without a word: includes objects c js types package aarch64 qemu-x86; of these the last two, which run the C tests on emulated
// processors, are skipped where their tools cannot be had. Further suites: asan tsan fuzz.
// A suite that is named must run. --jobs: how many suites at a time (default 1). --slowest: at the end, the N tests that took longest.
// CHORD_FIXTURES names the folder with the model fixtures (default: ../shared/fixtures); tests that need it skip without it.
// FUZZ_SECONDS is the time of each fuzz target (default 20).

const { spawn } = require('node:child_process')
const crypto = require('node:crypto')
const fs = require('node:fs')
const path = require('node:path')
const { BuildError, build, commandExists, root } = require('./build.js')
const { aarch64Runs, x86Runs } = require('./cross.js')
const { SetupError, ensureClang, ensureCrossTools, ensureDevDependencies, ensureEmulator, ensureTestLibraries } = require('./needs.js')

const DEFAULT = ['includes', 'objects', 'c', 'js', 'types', 'package', 'aarch64', 'qemu-x86']
const EMULATED = ['aarch64', 'qemu-x86']
const MINUTES = 60_000

const SUITES = {
  includes: () => runScript('test/check-includes.js', /(\d+) includes/),
  objects: async () => {
    await buildRelease()
    return runScript('test/check-objects.js', /(\d+) core objects/)
  },
  c: async () => {
    ensureTestLibraries()
    return runPrograms(await build({ tests: true, targets: programs() }), { names: programs() })
  },
  js: async () => {
    await buildRelease()
    ensureDevDependencies()
    return runJavaScript()
  },
  types: () => runTool('tsd', [], 'test/types'),
  package: async () => {
    const lint = await runTool('publint', ['--strict'])
    const types = await runTool('attw', ['--pack', '.'])
    return { ok: lint.ok && types.ok, n: lint.n + types.n, output: lint.output + types.output }
  },
  asan: async () =>
    runPrograms(await buildVariant('asan', programs()), {
      names: programs(),
      env: {
        UBSAN_OPTIONS: 'print_stacktrace=1',
        ASAN_OPTIONS: 'detect_stack_use_after_return=1',
        CHORD_TEST_QUICK: '1', // fewer repetitions: what is instrumented is slow
      },
    }),
  // Address randomisation of newer kernels is more than the runtime of ThreadSanitizer expects.
  tsan: async () => {
    const names = programs().filter((name) => !SINGLE_THREADED.test(name))
    return runPrograms(await buildVariant('tsan', names), {
      names,
      env: { TSAN_OPTIONS: 'halt_on_error=1', CHORD_TEST_QUICK: '1' },
      command: commandExists('setarch') ? ['setarch', '-R'] : [],
    })
  },
  fuzz: async () => {
    ensureClang()
    return runFuzzers(await build({ variant: 'fuzz', targets: fuzzTargets() }))
  },
  aarch64: async () => {
    ensureEmulator('qemu-aarch64')
    ensureCrossTools()
    const runs = aarch64Runs(programs())
    const dir = await build({ variant: 'aarch64', targets: [...new Set(runs.flatMap(({ names }) => names))] })
    const objects = await runScript('test/check-objects.js', /(\d+) core objects/, [dir, 'arm64'])
    return inTurn([objects], runs.map((one) => () => runPrograms(dir, one)))
  },
  'qemu-x86': async () => {
    if (process.arch !== 'x64') throw new SetupError('this machine is no x86-64')
    ensureEmulator('qemu-x86_64')
    ensureTestLibraries()
    const dir = await build({ tests: true, targets: programs() })
    return inTurn([], x86Runs().map((one) => () => runPrograms(dir, one)))
  },
}

// Tests of code that runs on one thread: ThreadSanitizer has nothing to say about them, and takes its time.
const SINGLE_THREADED =
  /^test_(attention|base|chain|gbnf|gemm|gguf|grammar|i2_s|json|kernels|pretokenizers|quant|regex|sampler|stop|tokenizer|vocabularies)(_|$)/

// ---- Building --------------------------------------------------------------------------------------------------------

async function buildRelease() {
  if (process.platform === 'win32') return build()
  ensureTestLibraries()
  return build({ tests: true })
}

async function buildVariant(variant, targets) {
  ensureTestLibraries()
  return build({ variant, targets })
}

// ---- Running ---------------------------------------------------------------------------------------------------------

function run(command, args, { env = {}, timeout = 10 * MINUTES, onOutput = () => {} } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    let late = false
    const timer = setTimeout(() => {
      late = true
      child.kill('SIGKILL')
    }, timeout)
    const take = (chunk) => {
      output += chunk
      onOutput(chunk)
    }
    child.stdout.setEncoding('utf8').on('data', take)
    child.stderr.setEncoding('utf8').on('data', take)
    child.on('error', (error) => {
      clearTimeout(timer)
      resolve({ ok: false, output: `${command}: ${error.message}\n` })
    })
    child.on('close', (status, signal) => {
      clearTimeout(timer)
      if (late) output += `\nstopped after ${timeout / 1000} s\n`
      else if (signal) output += `\nended by ${signal}\n`
      resolve({ ok: status === 0, output })
    })
  })
}

const counted = (text, pattern) => {
  const match = pattern.exec(text)
  return match ? Number(match[1]) : 0
}

async function runScript(file, pattern, args = []) {
  const { ok, output } = await run(process.execPath, [path.join(root, file), ...args])
  return { ok, output, n: counted(output, pattern) }
}

// A tool of the development dependencies; `needs` is a folder that must hold its input.
async function runTool(name, args, needs) {
  ensureDevDependencies()
  const bin = path.join(root, 'node_modules', '.bin', process.platform === 'win32' ? `${name}.cmd` : name)
  if (!fs.existsSync(bin)) return { ok: false, n: 0, output: `${name} is not among the development dependencies\n` }
  const n = needs ? (fs.existsSync(path.join(root, needs)) ? fs.readdirSync(path.join(root, needs)).length : 0) : 1
  const { ok, output } = await run(bin, args)
  return { ok, n, output }
}

// Programs of a folder of test/: those that are there, and not those that are listed, so that none is forgotten.
function programsIn(folder, prefix) {
  return fs
    .readdirSync(path.join(root, 'test', folder))
    .filter((name) => name.startsWith(prefix) && name.endsWith('.c'))
    .map((name) => name.slice(0, -2))
    .sort()
}

const programs = () => programsIn('c', 'test_')
const fuzzTargets = () => programsIn('fuzz', 'fuzz_')

// Listens to what a test program prints as it runs: the time of each of its tests.
function stopwatch(program) {
  const times = []
  let began = Date.now()
  const onOutput = (chunk) => {
    for (const [, name] of chunk.matchAll(/^\[ +(?:OK|FAILED|SKIPPED) +\] (\w+)$/gm)) {
      const now = Date.now()
      times.push({ name: `${program} ${name}`, seconds: (now - began) / 1000 })
      began = now
    }
  }
  return { times, onOutput }
}

// Runs `names`, each as the last word of `command`.
async function runPrograms(dir, { names, command: prefix = [], env = {} }) {
  let n = 0
  let nSkipped = 0
  let failures = ''
  const times = []
  for (const name of names) {
    const program = path.join(dir, name)
    if (!fs.existsSync(program)) {
      failures += `${name}: not built; is it in test/c/tests.gypi?\n`
      continue
    }
    const command = [...prefix, program]
    const watch = stopwatch([...prefix.slice(0, 3), name].join(' '))
    const { ok, output } = await run(command[0], command.slice(1), { env, onOutput: watch.onOutput })
    times.push(...watch.times)
    const passed = counted(output, /\[ {2}PASSED {2}\] (\d+) test/)
    const skipped = counted(output, /\[ {2}SKIPPED \] (\d+) test/)
    nSkipped += skipped
    n += passed
    if (!ok) failures += `---- ${command.join(' ')}\n${output}\n`
    else if (passed + skipped === 0) failures += `${name}: no test in it passed\n${output}`
  }
  return { ok: failures === '', n, nSkipped, times, output: failures }
}

// The sum of `results` and of what the functions `parts` give, one after the other.
async function inTurn(results, parts) {
  const all = [...results]
  for (const part of parts) all.push(await part())
  return {
    ok: all.every(({ ok }) => ok),
    n: all.reduce((sum, { n }) => sum + n, 0),
    nSkipped: all.reduce((sum, { nSkipped = 0 }) => sum + nSkipped, 0),
    times: all.flatMap(({ times = [] }) => times),
    output: all.filter(({ ok }) => !ok).map(({ output }) => output).join('\n'),
  }
}

async function runJavaScript() {
  const dir = path.join(root, 'test', 'js')
  const files = fs.existsSync(dir) ? fs.readdirSync(dir).filter((name) => name.endsWith('.test.js')).sort() : []
  if (files.length === 0) return { ok: false, n: 0, output: 'test/js holds no tests\n' }
  const { ok, output } = await run(process.execPath, ['--test', ...files.map((name) => path.join(dir, name))], { timeout: 15 * MINUTES })
  // Of the two forms in which versions of node print to a pipe.
  const lines = output.matchAll(/^ *(?:ok \d+ - (.*)\n +---\n +duration_ms: (.*)|✔ (.*) \((.*)ms\))$/gm)
  const times = Array.from(lines, ([, tap, tapMs, spec, specMs]) => ({ name: tap ?? spec, seconds: Number(tapMs ?? specMs) / 1000 }))
  return { ok, output, times, n: counted(output, /^(?:#|ℹ) pass (\d+)/m), nSkipped: counted(output, /^(?:#|ℹ) skipped (\d+)/m) }
}

// What fuzz_model begins with: a header of a small model of each geometry, and for each an input that changes nothing and one of any
// five changes.
async function makeFuzzModels() {
  const { layOut, GEOMETRIES } = require('../bench/make-model.js')
  const models = path.join(root, 'build', 'fuzz', 'models')
  const inputs = path.join(root, 'build', 'fuzz', 'corpus', 'fuzz_model')
  fs.rmSync(models, { recursive: true, force: true })
  for (const folder of [models, inputs]) fs.mkdirSync(folder, { recursive: true })
  const names = GEOMETRIES.filter((name) => name.startsWith('tiny'))
  for (const [i, geometry] of names.sort().entries()) {
    const { header } = await layOut({ geometry, mix: 'Q8_0', layers: 2 })
    fs.writeFileSync(path.join(models, geometry), header)
    const unchanged = Buffer.from([i, 16])
    const changes = crypto.createHash('sha256').update(geometry).digest().subarray(0, 30)
    fs.writeFileSync(path.join(inputs, geometry), unchanged)
    fs.writeFileSync(path.join(inputs, `${geometry}-changed`), Buffer.concat([unchanged, changes]))
  }
  return models
}

// Inputs of fuzz_model are lists of changes: as long as it reads them from the beginning on.
const FUZZER_OPTIONS = { fuzz_model: ['-len_control=0', '-max_len=74'] }

async function runFuzzers(dir) {
  const seconds = Number(process.env.FUZZ_SECONDS) || 20
  let n = 0
  let failures = ''
  const env = { CHORD_FUZZ_MODELS: await makeFuzzModels() }
  for (const name of fuzzTargets()) {
    const program = path.join(dir, name)
    if (!fs.existsSync(program)) {
      failures += `${name}: not built; is it in test/fuzz/fuzz.gypi?\n`
      continue
    }
    // New inputs go into the first folder, so that what is committed stays as it is.
    const grown = path.join(root, 'build', 'fuzz', 'corpus', name)
    const artifacts = path.join(root, 'build', 'fuzz', 'artifacts', name)
    for (const folder of [grown, artifacts]) fs.mkdirSync(folder, { recursive: true })
    const seeds = path.join(root, 'test', 'fuzz', 'corpus', name)
    const dictionary = path.join(root, 'test', 'fuzz', `${name}.dict`)
    const { ok, output } = await run(program, [
      `-max_total_time=${seconds}`,
      '-timeout=10',
      '-rss_limit_mb=2048',
      '-print_final_stats=1',
      `-artifact_prefix=${artifacts}/`,
      ...(FUZZER_OPTIONS[name] ?? []),
      ...(fs.existsSync(dictionary) ? [`-dict=${dictionary}`] : []),
      grown,
      ...(fs.existsSync(seeds) ? [seeds] : []),
    ], { env })
    n += counted(output, /number_of_executed_units:\s+(\d+)/)
    if (!ok) failures += `---- ${name} (the input lies in ${path.relative(root, artifacts)})\n${output.slice(-8000)}\n`
  }
  return { ok: failures === '', n, output: failures }
}

// ---- Summary ---------------------------------------------------------------------------------------------------------

async function runSuite(name, mayBeSkipped) {
  const started = Date.now()
  let result
  try {
    result = await SUITES[name]()
  } catch (error) {
    if (error instanceof SetupError && mayBeSkipped) result = { ok: true, skipped: true, output: error.message }
    else result = { ok: false, n: 0, output: `${error instanceof BuildError || error instanceof SetupError ? error.message : error.stack}\n` }
  }
  if (result.ok && result.n === 0) result = { ...result, ok: false, output: `${result.output}the suite is empty\n` }
  return { name, seconds: (Date.now() - started) / 1000, ...result }
}

function report({ name, ok, n, nSkipped, skipped, seconds, output }) {
  if (!ok) process.stdout.write(`${output.trimEnd()}\n`)
  const what = skipped ? `not run: ${output.split('\n')[0]}` : `${n} ${name === 'fuzz' ? 'inputs' : 'passed'}${nSkipped ? `, ${nSkipped} skipped` : ''}`
  process.stdout.write(`${ok ? (skipped ? 'skip' : 'ok  ') : 'FAIL'} ${name.padEnd(9)} ${what.padEnd(28)} ${seconds.toFixed(1)} s\n`)
}

function reportSlowest(results, n) {
  const all = results.flatMap(({ name: suite, times = [] }) => times.map(({ name, seconds }) => ({ name: `${suite}: ${name}`, seconds })))
  const slowest = all.sort((a, b) => b.seconds - a.seconds).slice(0, n)
  for (const { name, seconds } of slowest) process.stdout.write(`${seconds.toFixed(2).padStart(8)} s ${name}\n`)
}

function fail(message) {
  process.stderr.write(`${message}\n`)
  process.exit(2)
}

// The words of the command line.
function readWords(words) {
  const names = [...words]
  const numbers = { '--jobs': 1, '--slowest': 0 }
  while (names[0] in numbers) {
    const [option, value] = names.splice(0, 2)
    if (!(value >= 1)) fail(`${option} needs a number`)
    numbers[option] = Number(value)
  }
  const unknown = names.find((name) => !SUITES[name])
  if (unknown) fail(`unknown suite ${unknown}: there are ${Object.keys(SUITES).join(', ')}`)
  return { names, nJobs: numbers['--jobs'], nSlowest: numbers['--slowest'] }
}

async function main() {
  const { names, nJobs, nSlowest } = readWords(process.argv.slice(2))
  const fixtures = path.resolve(root, '..', 'shared', 'fixtures')
  if (!process.env.CHORD_FIXTURES && fs.existsSync(fixtures)) process.env.CHORD_FIXTURES = fixtures
  const waiting = names.length ? [...names] : [...DEFAULT]
  const results = []
  const work = async () => {
    while (waiting.length) {
      const name = waiting.shift()
      const result = await runSuite(name, !names.length && EMULATED.includes(name))
      results.push(result)
      report(result)
    }
  }
  await Promise.all(Array.from({ length: nJobs }, work))
  if (nSlowest) reportSlowest(results, nSlowest)
  const namesOf = (list) => list.map(({ name }) => name).join(', ')
  const failed = results.filter(({ ok }) => !ok)
  const skipped = results.filter((result) => result.skipped)
  if (failed.length) process.stdout.write(`failed: ${namesOf(failed)}\n`)
  else process.stdout.write(skipped.length ? `all suites passed but ${namesOf(skipped)}, not run here\n` : 'all suites passed\n')
  process.exitCode = failed.length ? 1 : 0
}

main()
