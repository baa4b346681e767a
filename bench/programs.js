'use strict'

// Builds and runs the bench programs in C.

const { spawn } = require('node:child_process')
const path = require('node:path')
const { build } = require('../tools/build.js')

/** Runs a program to its end: what it wrote. Ctrl-C ends it with us. */
function run(program, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let out = ''
    let err = ''
    child.stdout.setEncoding('utf8').on('data', (chunk) => (out += chunk))
    child.stderr.setEncoding('utf8').on('data', (chunk) => (err += chunk))
    child.on('error', reject)
    child.on('close', (code, signal) => {
      if (code === 0) resolve(out)
      else reject(new Error(`${path.basename(program)} ended with ${signal ?? `exit code ${code}`}: ${err.trim()}`))
    })
  })
}

/** Builds what is missing of the addon and the named programs: a function (name, args) -> what the program printed as JSON. */
async function benchPrograms(names) {
  const folder = await build({ tests: true, targets: ['chord', ...names] })
  return async (name, args) => JSON.parse(await run(path.join(folder, name), args.map(String)))
}

/** What the machine can do, as bench_machine prints it. */
async function measureMachine({ threads, quick = false }) {
  const program = await benchPrograms(['bench_machine'])
  return program('bench_machine', ['--threads', threads, '--rounds', quick ? 1 : 3, '--seconds', quick ? 0.1 : 0.2])
}

module.exports = { benchPrograms, measureMachine }
