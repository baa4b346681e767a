'use strict'

// What the tests need beyond a compiler and Node: looked for, fetched where that can be done without asking (Debian as root; packages
// of npm), and otherwise named together with the command that installs it.

const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { commandExists, root } = require('./build.js')

// Something is missing and cannot be fetched; the message says what.
class SetupError extends Error {}

function quietly(command, args, what, cwd = root) {
  process.stderr.write(`${what} ...\n`)
  const done = spawnSync(command, args, { cwd, encoding: 'utf8', env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } })
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

// ---- Other processors ------------------------------------------------------------------------------------------------

// The emulator is the one of Debian 12 or newer: before 7.2 it knew no AVX.
function ensureEmulator(program) {
  const packages = ['qemu-user']
  if (process.platform !== 'linux') throw new SetupError('processors are emulated on Linux only')
  if (!commandExists(program)) installDebian(packages, `sudo apt-get install ${packages.join(' ')}`)
  const told = spawnSync(program, ['--version'], { encoding: 'utf8' })
  const [, major, minor] = /version (\d+)\.(\d+)/.exec(told.stdout || '') || []
  if (!(Number(major) > 7 || (Number(major) === 7 && Number(minor) >= 2))) throw new SetupError(`${program} is missing or older than 7.2`)
}

const CROSS_PACKAGES = ['gcc-aarch64-linux-gnu', 'libc6-dev-arm64-cross']
const CROSS_LIBRARIES = ['libcmocka-dev', 'libcmocka0', 'libuv1-dev', 'libuv1']

function canCompileForArm64() {
  const done = spawnSync('aarch64-linux-gnu-gcc', ['-x', 'c', '-', '-o', os.devNull], { input: '#include <stdio.h>\nint main(void) { return 0; }\n' })
  return done.status === 0
}

// The compiler of the variant aarch64 (tools/build.js), and in its tree the libraries that the tests are linked with. Those are
// unpacked there from their packages, found by apt with lists and settings of its own: the system keeps its architectures.
function ensureCrossTools() {
  if (process.arch === 'arm64') throw new SetupError('nothing to cross-compile: this is an aarch64, where the C tests run as they are')
  if (!canCompileForArm64()) installDebian(CROSS_PACKAGES, `sudo apt-get install ${CROSS_PACKAGES.join(' ')}`)
  const tree = path.join(root, 'build', 'aarch64')
  const sysroot = path.join(tree, 'sysroot')
  if (fs.existsSync(sysroot)) return
  if (!fs.existsSync('/usr/bin/apt-get')) throw new SetupError(`the aarch64 tests need Debian's ${CROSS_LIBRARIES.join(', ')}`)
  const apt = path.join(tree, 'apt')
  fs.mkdirSync(path.join(apt, 'state', 'lists', 'partial'), { recursive: true })
  fs.mkdirSync(path.join(apt, 'cache', 'archives', 'partial'), { recursive: true })
  const settings = [
    'APT::Architecture=arm64',
    'APT::Architectures::=arm64',
    'APT::Sandbox::User=root',
    `Dir::State=${apt}/state`,
    'Dir::State::status=/dev/null',
    `Dir::Cache=${apt}/cache`,
  ].flatMap((setting) => ['-o', setting])
  quietly('apt-get', [...settings, 'update', '-q'], 'fetching the list of arm64 packages')
  quietly('apt-get', [...settings, 'download', '-q', ...CROSS_LIBRARIES], `fetching ${CROSS_LIBRARIES.join(', ')} for arm64`, apt)
  const unfinished = `${sysroot}.unfinished`
  for (const name of fs.readdirSync(apt).filter((file) => file.endsWith('.deb'))) quietly('dpkg-deb', ['-x', path.join(apt, name), unfinished], `unpacking ${name}`)
  fs.renameSync(unfinished, sysroot)
  fs.rmSync(apt, { recursive: true })
}

// ---- JavaScript ------------------------------------------------------------------------------------------------------

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

module.exports = { SetupError, ensureClang, ensureCrossTools, ensureDevDependencies, ensureEmulator, ensureTestLibraries }
