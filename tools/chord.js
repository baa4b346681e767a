'use strict'

// The command line from a clone: builds what is missing, then runs `chord COMMAND ...`.
//   npm start                                 text by the demo model
//   npm start -- MODEL.gguf "prompt"          by another, with the options of `chord run`
//   node tools/chord.js bench MODEL.gguf      speed of a model
//   node tools/chord.js inspect MODEL.gguf    any command

const { spawn, spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { BuildError, ensureAddon, root } = require('./build.js')

const TAKE_DEPENDENCIES = ['chat'] // the others also run where no registry can be reached

function ensureDependencies() {
  const { dependencies = {} } = require('../package.json')
  const missing = Object.keys(dependencies).filter((name) => !fs.existsSync(path.join(root, 'node_modules', name)))
  if (missing.length === 0) return
  process.stderr.write(`installing ${missing.join(', ')} ...\n`)
  const npm = process.env.npm_execpath
  const args = ['install', '--omit=dev', '--ignore-scripts', '--no-save']
  const done = npm ? spawnSync(process.execPath, [npm, ...args], { cwd: root, encoding: 'utf8' }) : spawnSync('npm', args, { cwd: root, encoding: 'utf8' })
  if (done.status !== 0) throw new BuildError(`npm ${args.join(' ')} failed:\n${done.stdout || ''}${done.stderr || done.error || ''}`)
}

async function main() {
  if (TAKE_DEPENDENCIES.includes(process.argv[2])) ensureDependencies()
  await ensureAddon()
  const child = spawn(process.execPath, [path.join(root, 'lib', 'cli', 'main.js'), ...process.argv.slice(2)], { stdio: 'inherit' })
  // Ctrl-C in a terminal reaches the command by itself; a signal sent to this process alone is passed on.
  process.on('SIGINT', () => process.stdin.isTTY || child.kill('SIGINT'))
  process.on('SIGTERM', () => child.kill('SIGTERM'))
  child.on('close', (status, signal) => {
    process.exitCode = signal ? 1 : status
  })
}

main().catch((error) => {
  process.stderr.write(error instanceof BuildError ? `${error.message}\n` : `${error.stack}\n`)
  process.exitCode = 1
})
