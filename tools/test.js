'use strict'

// Runs the tests, after fetching and building what they need, and prints one line per suite; of a suite that fails, all it said.
//
//   node tools/test.js [SUITE ...]
//
// Without a word: includes objects c js types package. Further suites: asan tsan fuzz.
// CHORD_FIXTURES names the folder with the model fixtures (default: ../shared/fixtures); tests that need it skip without it.
// FUZZ_SECONDS is the time of each fuzz target (default 20).

const { spawn, spawnSync } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { BuildError, build, commandExists, root } = require('./build.js')

const DEFAULT = ['includes', 'objects', 'c', 'js', 'types', 'package']
const MINUTES = 60_000

const SUITES = {
  includes: () => runScript('test/check-includes.js', /(\d+) includes/),
  objects: async () => {
    await buildRelease()
    return runScript('test/check-objects.js', /(\d+) core objects/)
  },
  c: async () => {
    ensureTestLibraries()
    return runPrograms(await build({ tests: true, targets: programs() }), {})
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
    runPrograms(await buildVariant('asan'), {
      UBSAN_OPTIONS: 'print_stacktrace=1',
      ASAN_OPTIONS: 'detect_stack_use_after_return=1',
      CHORD_TEST_QUICK: '1', // fewer combinations of the kernel tests, which are slow when instrumented
    }),
  // Address randomisation of newer kernels is more than the runtime of ThreadSanitizer expects.
  tsan: async () =>
    runPrograms(await buildVariant('tsan'), { TSAN_OPTIONS: 'halt_on_error=1' }, {
      prefix: commandExists('setarch') ? ['setarch', '-R'] : [],
      except: SINGLE_THREADED,
    }),
  fuzz: async () => runFuzzers(await buildVariant('fuzz')),
}

// Tests of code that runs on one thread: ThreadSanitizer has nothing to say about them, and takes its time.
const SINGLE_THREADED = /^test_(kernels|gemm|quant|sampler|stop|tokenizer|gguf|bpe|spm|vocabularies|unicode|pretokenizers|base|half)/

class SetupError extends Error {}

// ---- What the tests need ---------------------------------------------------------------------------------------------

function quietly(command, args, what) {
  process.stderr.write(`${what} ...\n`)
  const done = spawnSync(command, args, { cwd: root, encoding: 'utf8', env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } })
  if (done.status !== 0) throw new SetupError(`${command} ${args.join(' ')} failed:\n${done.error ? done.error.message : done.stdout + done.stderr}`)
}

function canLinkTests() {
  const program = '#include <stdarg.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <setjmp.h>\n#include <cmocka.h>\nint main(void) { return 0; }\n'
  const brew = process.platform === 'darwin' ? brewPrefix() : ''
  const places = brew ? [`-I${brew}/include`, `-L${brew}/lib`] : []
  const done = spawnSync(process.env.CC || 'cc', ['-x', 'c', '-', '-o', os.devNull, ...places, '-lcmocka', '-luv'], { input: program })
  return done.status === 0
}

function brewPrefix() {
  const done = spawnSync('brew', ['--prefix'], { encoding: 'utf8' })
  return done.status === 0 ? done.stdout.trim() : ''
}

const isRootOnDebian = () => process.platform === 'linux' && process.getuid() === 0 && fs.existsSync('/usr/bin/apt-get')

function installDebian(packages, command) {
  if (!isRootOnDebian()) throw new SetupError(`the tests need ${packages.join(' and ')}: ${command}`)
  quietly('apt-get', ['update', '-q'], 'updating the list of Debian packages')
  quietly('apt-get', ['install', '-q', '-y', '--no-install-recommends', ...packages], `installing ${packages.join(', ')}`)
}

function ensureTestLibraries() {
  if (process.platform === 'win32') throw new SetupError('the C tests are not run on Windows: use `npm run test:js`')
  if (canLinkTests()) return
  installDebian(['libcmocka-dev', 'libuv1-dev'], process.platform === 'darwin' ? 'brew install cmocka libuv' : 'sudo apt-get install libcmocka-dev libuv1-dev')
  if (!canLinkTests()) throw new SetupError('cmocka and libuv are installed, but a program cannot be linked with them')
}

function ensureClang() {
  if (commandExists('clang')) return
  installDebian(['clang'], 'sudo apt-get install clang')
}

let devDependenciesLooked = false
function ensureDevDependencies() {
  if (devDependenciesLooked) return
  devDependenciesLooked = true
  const { dependencies = {}, devDependencies = {} } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'))
  const missing = Object.keys({ ...dependencies, ...devDependencies }).filter((name) => !fs.existsSync(path.join(root, 'node_modules', name)))
  if (missing.length === 0) return
  const npm = process.env.npm_execpath ? [process.execPath, process.env.npm_execpath] : ['npm']
  const verb = fs.existsSync(path.join(root, 'package-lock.json')) ? 'ci' : 'install'
  quietly(npm[0], [...npm.slice(1), verb, '--ignore-scripts'], `installing ${missing.join(', ')}`)
}

async function buildRelease() {
  if (process.platform === 'win32') return build()
  ensureTestLibraries()
  return build({ tests: true })
}

async function buildVariant(variant) {
  if (variant === 'fuzz') ensureClang()
  else ensureTestLibraries()
  return build({ variant })
}

// ---- Running ---------------------------------------------------------------------------------------------------------

function run(command, args, { env = {}, timeout = 10 * MINUTES } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    let late = false
    const timer = setTimeout(() => {
      late = true
      child.kill('SIGKILL')
    }, timeout)
    child.stdout.setEncoding('utf8').on('data', (chunk) => (output += chunk))
    child.stderr.setEncoding('utf8').on('data', (chunk) => (output += chunk))
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

async function runScript(file, pattern) {
  const { ok, output } = await run(process.execPath, [path.join(root, file)])
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

// The C tests: those that are there, and not those that are listed, so that none is forgotten.
function programs(except) {
  return fs
    .readdirSync(path.join(root, 'test', 'c'))
    .filter((name) => /^test_\w+\.c$/.test(name) && !(except && except.test(name)))
    .map((name) => name.slice(0, -2))
    .sort()
}

async function runPrograms(dir, env, { prefix = [], except } = {}) {
  let n = 0
  let nSkipped = 0
  let failures = ''
  for (const name of programs(except)) {
    const program = path.join(dir, name)
    if (!fs.existsSync(program)) {
      failures += `${name}: not built; is it in test/c/tests.gypi?\n`
      continue
    }
    const command = [...prefix, program]
    const started = Date.now()
    const { ok, output } = await run(command[0], command.slice(1), { env })
    const passed = counted(output, /\[ {2}PASSED {2}\] (\d+) test/)
    nSkipped += counted(output, /\[ {2}SKIPPED \] (\d+) test/)
    n += passed
    if (!ok) failures += `---- ${name}\n${output}\n`
    else if (passed === 0) failures += `${name}: no test in it passed\n${output}`
    if (process.env.CHORD_TEST_TIMES) process.stderr.write(`  ${name}: ${passed} in ${((Date.now() - started) / 1000).toFixed(2)} s\n`)
  }
  return { ok: failures === '', n, nSkipped, output: failures }
}

async function runJavaScript() {
  const dir = path.join(root, 'test', 'js')
  const files = fs.existsSync(dir) ? fs.readdirSync(dir).filter((name) => name.endsWith('.test.js')).sort() : []
  if (files.length === 0) return { ok: false, n: 0, output: 'test/js holds no tests\n' }
  const { ok, output } = await run(process.execPath, ['--test', ...files.map((name) => path.join(dir, name))], { timeout: 15 * MINUTES })
  return { ok, output, n: counted(output, /^(?:#|ℹ) pass (\d+)/m), nSkipped: counted(output, /^(?:#|ℹ) skipped (\d+)/m) }
}

async function runFuzzers(dir) {
  const seconds = Number(process.env.FUZZ_SECONDS) || 20
  const names = fs.readdirSync(path.join(root, 'test', 'fuzz')).filter((name) => /^fuzz_\w+\.c$/.test(name)).map((name) => name.slice(0, -2))
  let n = 0
  let failures = ''
  for (const name of names.sort()) {
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
      ...(fs.existsSync(dictionary) ? [`-dict=${dictionary}`] : []),
      grown,
      ...(fs.existsSync(seeds) ? [seeds] : []),
    ])
    n += counted(output, /number_of_executed_units:\s+(\d+)/)
    if (!ok) failures += `---- ${name} (the input lies in ${path.relative(root, artifacts)})\n${output.slice(-8000)}\n`
  }
  return { ok: failures === '', n, output: failures }
}

// ---- Summary ---------------------------------------------------------------------------------------------------------

async function runSuite(name) {
  const started = Date.now()
  let result
  try {
    result = await SUITES[name]()
  } catch (error) {
    const known = error instanceof BuildError || error instanceof SetupError
    result = { ok: false, n: 0, output: `${known ? error.message : error.stack}\n` }
  }
  if (result.ok && result.n === 0) result = { ...result, ok: false, output: `${result.output}the suite is empty\n` }
  return { name, seconds: (Date.now() - started) / 1000, ...result }
}

async function main() {
  const names = process.argv.slice(2)
  const unknown = names.find((name) => !SUITES[name])
  if (unknown) {
    process.stderr.write(`unknown suite ${unknown}: there are ${Object.keys(SUITES).join(', ')}\n`)
    process.exit(2)
  }
  const fixtures = path.resolve(root, '..', 'shared', 'fixtures')
  if (!process.env.CHORD_FIXTURES && fs.existsSync(fixtures)) process.env.CHORD_FIXTURES = fixtures
  const results = []
  for (const name of names.length ? names : DEFAULT) {
    const result = await runSuite(name)
    results.push(result)
    if (!result.ok) process.stdout.write(`${result.output.trimEnd()}\n`)
    const skipped = result.nSkipped ? `, ${result.nSkipped} skipped` : ''
    const what = name === 'fuzz' ? 'inputs' : 'passed'
    process.stdout.write(`${result.ok ? 'ok  ' : 'FAIL'} ${name.padEnd(9)} ${`${result.n} ${what}${skipped}`.padEnd(28)} ${result.seconds.toFixed(1)} s\n`)
  }
  const failed = results.filter(({ ok }) => !ok)
  process.stdout.write(failed.length ? `failed: ${failed.map(({ name }) => name).join(', ')}\n` : 'all suites passed\n')
  process.exitCode = failed.length ? 1 : 0
}

main()
