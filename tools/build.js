'use strict'

// Builds the addon, and for tests the C programs, through node-gyp. Says nothing while all is well but one line of progress.
//
//   node tools/build.js                   the addon: build/Release/chord.node
//   node tools/build.js --tests           and the C tests and bench programs, beside it
//   node tools/build.js --variant asan    the C tests under AddressSanitizer and UndefinedBehaviorSanitizer
//   node tools/build.js --variant tsan    ... under ThreadSanitizer
//   node tools/build.js --variant fuzz    the fuzz targets (clang)
//   node tools/build.js --variant aarch64 the C tests for 64-bit ARM Linux (Debian's cross-compiler; tools/cross.js fetches what it needs)
//   node tools/build.js test_sampler ...  only these targets (of the variant)
// Further words: --verbose (compiler output as it comes), --werror (warnings are errors; the default when CI=true).

const { spawn, spawnSync } = require('node:child_process')
const crypto = require('node:crypto')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')

const root = path.resolve(__dirname, '..')

const VARIANTS = {
  release: { defines: [] },
  asan: { defines: ['-Dchord_tests=1', '-Dchord_sanitize=address,undefined'] },
  tsan: { defines: ['-Dchord_tests=1', '-Dchord_sanitize=thread'] },
  fuzz: { defines: ['-Dchord_fuzz=1', '-Dchord_sanitize=address,undefined'], cc: 'clang' },
  // The libraries of the tests lie in the tree; make runs in its folder build/.
  aarch64: {
    defines: ['-Dchord_tests=1'],
    arch: 'arm64',
    cc: 'aarch64-linux-gnu-gcc -isystem ../sysroot/usr/include',
    link: 'aarch64-linux-gnu-gcc -L../sysroot/usr/lib/aarch64-linux-gnu',
    ar: 'aarch64-linux-gnu-ar',
  },
}

class BuildError extends Error {}

// node-gyp: of the development dependencies, of the npm that runs us, beside this node, or on the PATH.
function findNodeGyp() {
  const npmRoots = [
    path.join(path.dirname(process.execPath), '..', 'lib', 'node_modules'),
    path.join(path.dirname(process.execPath), 'node_modules'),
    '/usr/share/nodejs',
    '/usr/share',
  ]
  const candidates = [
    path.join(root, 'node_modules', 'node-gyp', 'bin', 'node-gyp.js'),
    process.env.npm_config_node_gyp,
    process.env.npm_execpath &&
      path.join(path.dirname(process.env.npm_execpath), '..', 'node_modules', 'node-gyp', 'bin', 'node-gyp.js'),
    ...npmRoots.map((dir) => path.join(dir, 'npm', 'node_modules', 'node-gyp', 'bin', 'node-gyp.js')),
    ...npmRoots.map((dir) => path.join(dir, 'node-gyp', 'bin', 'node-gyp.js')),
  ]
  for (const dir of (process.env.PATH || '').split(path.delimiter)) {
    if (dir && fs.existsSync(path.join(dir, 'node-gyp'))) candidates.push(fs.realpathSync(path.join(dir, 'node-gyp')))
  }
  const found = candidates.find((file) => file && file.endsWith('.js') && fs.existsSync(file))
  if (!found) throw new BuildError('node-gyp is not here: run `npm install` (or install npm, which brings it along)')
  return found
}

// The headers beside this node spare a download. '' lets node-gyp fetch those of this version.
function findNodeHeaders() {
  if (process.env.npm_config_nodedir) return process.env.npm_config_nodedir
  const prefix = path.resolve(path.dirname(fs.realpathSync(process.execPath)), '..')
  const header = path.join(prefix, 'include', 'node')
  const whole = fs.existsSync(path.join(header, 'node_api.h')) && fs.existsSync(path.join(header, 'common.gypi'))
  return whole && process.platform !== 'win32' ? prefix : ''
}

function commandExists(name) {
  return spawnSync(name, ['--version'], { stdio: 'ignore', shell: process.platform === 'win32' }).status === 0
}

function checkToolchain(cc) {
  if (process.platform === 'win32') return // node-gyp finds Visual Studio by itself and says what is missing
  const missing = [cc, 'make', 'python3'].filter((name) => !commandExists(name.split(' ')[0]))
  if (missing.length === 0) return
  const how = {
    darwin: 'xcode-select --install',
    linux: fs.existsSync('/usr/bin/apt-get')
      ? `apt-get install ${missing.includes('clang') ? 'clang ' : ''}gcc make python3`
      : 'install a C compiler, make and python3 with the package manager of this system',
  }[process.platform]
  throw new BuildError(`${missing.join(', ')} missing: ${how || 'install them'}`)
}

// One build at a time per tree: two of them would write the same objects.
async function withLock(dir, work) {
  const lock = path.join(dir, '.chord-build-lock')
  fs.mkdirSync(dir, { recursive: true })
  let told = false
  for (;;) {
    try {
      fs.writeFileSync(lock, String(process.pid), { flag: 'wx' })
      break
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
      if (lockIsStale(lock)) {
        fs.rmSync(lock, { force: true })
        continue
      }
      if (!told) process.stderr.write('another build of chord is running, waiting for it\n')
      told = true
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }
  try {
    return await work()
  } finally {
    fs.rmSync(lock, { force: true })
  }
}

function lockIsStale(lock) {
  try {
    const pid = Number(fs.readFileSync(lock, 'utf8'))
    if (!pid) return Date.now() - fs.statSync(lock).mtimeMs > 5000
    process.kill(pid, 0)
    return false
  } catch (error) {
    return error.code === 'ESRCH' || error.code === 'ENOENT'
  }
}

// Where a variant is built. node-gyp builds into build/ of the folder it runs in, so each variant but the first has a folder
// with links to the sources.
function prepareTree(variant) {
  if (variant === 'release') return root
  if (process.platform === 'win32') throw new BuildError(`the ${variant} build is not made for Windows`)
  const tree = path.join(root, 'build', variant)
  fs.mkdirSync(tree, { recursive: true })
  for (const name of ['src', 'test', 'bench']) {
    const link = path.join(tree, name)
    if (!fs.existsSync(link)) fs.symlinkSync(path.join(root, name), link)
  }
  fs.copyFileSync(path.join(root, 'binding.gyp'), path.join(tree, 'binding.gyp'))
  return tree
}

function run(command, args, options, onLine) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    let rest = ''
    const take = (chunk) => {
      output += chunk
      const lines = (rest + chunk).split('\n')
      rest = lines.pop()
      lines.forEach(onLine)
    }
    child.stdout.setEncoding('utf8').on('data', take)
    child.stderr.setEncoding('utf8').on('data', take)
    child.on('error', reject)
    child.on('close', (status) => resolve({ status, output }))
  })
}

// Lines of the build's output that a reader needs when it fails.
function essence(output) {
  const lines = output
    .split('\n')
    .filter((line) => !/^gyp (info|verb|http)|^ {2}(CC|CXX|AR|SOLINK|LINK|COPY|TOUCH|ACTION)\S* |^make: (Entering|Leaving)|^rm -f Release|^ar crs/.test(line))
  // What node-gyp adds matters only where the compiler said nothing.
  const compiler = lines.filter((line) => !line.startsWith('gyp ERR!')).join('\n').trim()
  return compiler || lines.join('\n').trim()
}

class Progress {
  constructor(what) {
    this.what = what
    this.started = Date.now()
    this.n = 0
    this.tty = process.stderr.isTTY
  }
  step() {
    this.n++
    if (this.tty) process.stderr.write(`\r${this.what} ... ${this.n} files`)
    else if (this.n === 1) process.stderr.write(`${this.what} ...`)
  }
  end(ok) {
    if (this.n === 0) return
    const seconds = ((Date.now() - this.started) / 1000).toFixed(1)
    process.stderr.write(`${this.tty ? `\r${this.what} ... ` : ' '}${ok ? `${this.n} files in ${seconds} s` : 'failed'}\n`)
  }
}

// Builds `targets` (all when empty) of a variant; returns the folder with the results. Throws BuildError with what the compiler said.
async function build({ variant = 'release', tests = false, targets = [], verbose = false, werror = process.env.CI === 'true' } = {}) {
  const { defines, arch, cc: wantedCompiler, link, ar } = VARIANTS[variant]
  const cc = wantedCompiler || process.env.CC || 'cc'
  checkToolchain(cc)
  const gyp = findNodeGyp()
  const headers = findNodeHeaders()
  const tree = prepareTree(variant)
  const common = [`--directory=${tree}`, ...(headers ? [`--nodedir=${headers}`] : []), ...(arch ? [`--arch=${arch}`] : [])]
  // The linker is the C compiler: there is no C++ in here.
  const env = { ...process.env, CC: cc, LINK: link || process.env.LINK || cc, ...(ar ? { AR: ar } : {}) }
  const buildDir = path.join(tree, 'build')

  return withLock(buildDir, async () => {
    // Instrumented code draws warnings that are no fault of the source.
    const all = [...defines, ...(werror && (variant === 'release' || arch) ? ['-Dchord_werror=1'] : [])]
    if (tests && !all.includes('-Dchord_tests=1')) all.push('-Dchord_tests=1')
    const progress = new Progress(`building chord${variant === 'release' ? '' : ` (${variant})`}`)
    const onLine = (line) => {
      if (verbose) process.stderr.write(line + '\n')
      else if (/^ {2}(CC|CXX)\(/.test(line) || /^ {2}\S+\.c$/.test(line)) progress.step()
    }
    const check = ({ status, output }, what) => {
      if (status === 0) return
      progress.end(false)
      throw new BuildError(`${what} failed:\n${verbose ? '' : essence(output)}`)
    }

    // What the makefiles were made from. A tree set up for tests serves a plain build as well.
    const stampFile = path.join(buildDir, '.chord-configured')
    const made = fs.existsSync(stampFile) ? fs.readFileSync(stampFile, 'utf8') : ''
    const stampOf = (list) => stamp(gyp, headers, cc, list)
    const wanted = stampOf(all)
    const wantsNoTests = variant === 'release' && !tests
    if (made !== wanted && !(wantsNoTests && made === stampOf([...all, '-Dchord_tests=1']))) {
      fs.rmSync(stampFile, { force: true })
      check(await run(process.execPath, [gyp, 'configure', ...common, '--', ...all], { cwd: tree, env }, () => {}), 'node-gyp configure')
      fs.writeFileSync(stampFile, wanted)
    }
    const jobs = process.env.JOBS || String(Math.max(1, os.cpus().length))
    // Only make knows targets by name; msbuild builds all.
    const names = process.platform === 'win32' ? [] : targets.length ? targets : wantsNoTests ? ['chord'] : []
    const built = await run(process.execPath, [gyp, 'build', ...names, ...common, '--jobs', jobs], { cwd: tree, env: { ...env, V: '' } }, onLine)
    check(built, 'the build')
    progress.end(true)
    if (!verbose && /warning:/.test(built.output)) process.stderr.write(`${essence(built.output)}\n`)
    return path.join(buildDir, 'Release')
  })
}

function stamp(gyp, headers, cc, defines) {
  const hash = crypto.createHash('sha256')
  for (const file of ['binding.gyp', 'src/sources.gypi', 'src/common.gypi', 'test/c/tests.gypi', 'test/c/test.gypi', 'test/fuzz/fuzz.gypi', 'test/fuzz/target.gypi', 'bench/bench.gypi', 'bench/program.gypi']) {
    const full = path.join(root, file)
    hash.update(file).update(fs.existsSync(full) ? fs.readFileSync(full) : '')
  }
  return JSON.stringify([gyp, headers, cc, defines, process.version, hash.digest('hex')])
}

// Is the addon there and newer than everything it is made from?
function addonIsFresh() {
  const addon = path.join(root, 'build', 'Release', 'chord.node')
  if (!fs.existsSync(addon)) return false
  const built = fs.statSync(addon).mtimeMs
  const newer = (file) => fs.statSync(file).mtimeMs > built
  if (newer(path.join(root, 'binding.gyp'))) return false
  const visit = (dir) =>
    fs.readdirSync(dir, { withFileTypes: true }).some((entry) => {
      const file = path.join(dir, entry.name)
      return entry.isDirectory() ? visit(file) : /\.(c|h|gypi)$/.test(entry.name) && newer(file)
    })
  return !visit(path.join(root, 'src'))
}

async function ensureAddon() {
  if (!addonIsFresh()) {
    await build()
    // A change that concerns only tests leaves the addon older than its sources: it was looked at all the same.
    const now = new Date()
    fs.utimesSync(path.join(root, 'build', 'Release', 'chord.node'), now, now)
  }
}

module.exports = { BuildError, build, commandExists, ensureAddon, root }

if (require.main === module) {
  const options = { targets: [] }
  const args = process.argv.slice(2)
  for (let i = 0; i < args.length; i++) {
    if (args[i] === '--tests') options.tests = true
    else if (args[i] === '--verbose') options.verbose = true
    else if (args[i] === '--werror') options.werror = true
    else if (args[i] === '--variant' && VARIANTS[args[i + 1]]) options.variant = args[++i]
    else if (args[i].startsWith('-')) {
      process.stderr.write(`unknown word ${args[i]}: see the head of tools/build.js\n`)
      process.exit(2)
    } else {
      options.targets.push(args[i])
      options.tests = true
    }
  }
  build(options).catch((error) => {
    process.stderr.write(error instanceof BuildError ? `${error.message}\n` : `${error.stack}\n`)
    process.exitCode = 1
  })
}
