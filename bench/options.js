'use strict'

// What the bench commands have in common: options, usage, errors, and progress on standard error.

const { parseArgs } = require('node:util')
const { Terminal } = require('../lib/cli/terminal.js')

class UsageError extends Error {}

/** An integer of at least `least`. */
const integer = (least) => (name, text) => {
  const n = Number(text)
  if (!Number.isSafeInteger(n) || n < least) throw new UsageError(`--${name}: an integer of at least ${least}, got ${JSON.stringify(text)}`)
  return n
}

const text = (name, value) => value

/**
 * Parses a command line by a table { name: { read?, value?, help, initial?, multiple? } }; an option without `read` is a switch.
 * Returns { values, words }.
 */
function parse(options, args) {
  const types = Object.entries(options).map(([name, { read, multiple }]) => [name, { type: read ? 'string' : 'boolean', multiple: multiple === true }])
  let parsed
  try {
    parsed = parseArgs({ args, allowPositionals: true, options: Object.fromEntries(types) })
  } catch (error) {
    throw new UsageError(error.message.split('\n')[0])
  }
  const values = {}
  for (const [name, { read, initial }] of Object.entries(options)) {
    const given = parsed.values[name]
    values[name] = given === undefined ? initial : !read ? given : Array.isArray(given) ? given.map((x) => read(name, x)) : read(name, given)
  }
  return { values, words: parsed.positionals }
}

function usage({ synopsis, about, options }) {
  const rows = Object.entries(options).map(([name, { value, help, initial }]) => [
    `  --${name}${value ? ` ${value}` : ''}`,
    initial === undefined || initial === false ? help : `${help} (${initial})`,
  ])
  const width = Math.max(...rows.map(([left]) => left.length))
  return `usage: ${synopsis}\n\n${about}\n\n${rows.map(([left, help]) => `${left.padEnd(width)}  ${help}\n`).join('')}`
}

/**
 * The command line of a program that does the rest by itself: { values, words }. Ends the process with 0 behind --help, with 2
 * behind wrong use, of which check(values, words) may throw a UsageError.
 */
function commandLine({ synopsis, about, options, check = () => {} }) {
  const full = { synopsis, about, options: { ...options, help: { help: 'this text' } } }
  try {
    const { values, words } = parse(full.options, process.argv.slice(2))
    if (values.help) {
      process.stdout.write(usage(full))
      process.exit(0)
    }
    check(values, words)
    return { values, words }
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    process.stderr.write(`${error.message}\n\n${usage(full)}`)
    return process.exit(2)
  }
}

/** commandLine() of a program whose one word is a model's file: { values, file }. */
function modelCommand({ optional = false, ...command }) {
  const check = (values, words) => {
    if (words.length !== 1 && !(optional && words.length === 0)) throw new UsageError('which model? One file')
  }
  const { values, words } = commandLine({ ...command, check })
  return { values, file: words[0] }
}

/** commandLine() of a comparison with node-llama-cpp, whose folder is the option --oracle. */
function oracleCommand({ options, ...command }) {
  const oracle = { value: 'FOLDER', read: text, help: 'where node-llama-cpp is installed' }
  const check = (values) => {
    if (!values.oracle) throw new UsageError('--oracle: where is node-llama-cpp?')
  }
  return commandLine({ ...command, options: { oracle, ...options }, check })
}

/**
 * Runs a bench command { synopsis, about, options, run(values, words, terminal) } and sets the exit code: 0 done, 1 an error,
 * 2 wrong use.
 */
async function main(command) {
  const terminal = new Terminal()
  const full = { ...command, options: { ...command.options, help: { help: 'this text' } } }
  for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143]]) process.once(signal, () => process.exit(code))
  try {
    const { values, words } = parse(full.options, process.argv.slice(2))
    if (values.help) await terminal.write(usage(full))
    else await command.run(values, words, terminal)
  } catch (error) {
    terminal.clear()
    if (error instanceof UsageError) process.stderr.write(`${error.message}\n\n${usage(full)}`)
    else process.stderr.write(`${error?.name === 'Error' || error?.code ? error.message : (error?.stack ?? error)}\n`)
    process.exitCode = error instanceof UsageError ? 2 : 1
  }
}

module.exports = { UsageError, integer, main, modelCommand, oracleCommand, parse, text, usage }
