'use strict'

// A command is { name, summary, words: '[MODEL] [PROMPT]', options: { name: { type, value, help, read } }, run(values, words, io) }.
// One table per command gives the parsing, the help and the checks.

const { parseArgs } = require('node:util')
const { closest, size } = require('../validate.js')

/** Wrong use of the command line: exit code 2. */
class UsageError extends Error {}

const COMMON = {
  json: { help: 'one JSON object on standard output' },
  help: { short: 'h', help: 'this text' },
}

// Readers of option values: text -> value, or a UsageError.
const integer = (least) => (name, text) => {
  const n = Number(text)
  if (!Number.isSafeInteger(n) || n < least || text.trim() === '') throw new UsageError(`--${name}: expected an integer of at least ${least}, got ${JSON.stringify(text)}`)
  return n
}

const memory = (name, text) => {
  if (text === 'auto') return text
  try {
    return size(`--${name}`, /^\d+$/.test(text) ? Number(text) : text)
  } catch (error) {
    throw new UsageError(error.message)
  }
}

const oneOf = (...names) => (name, text) => {
  if (!names.includes(text)) throw new UsageError(`--${name}: expected ${names.join(' or ')}, got ${JSON.stringify(text)}`)
  return text
}

const text = (name, value) => value

/** Options that several commands have. */
const LOAD_OPTIONS = {
  threads: { value: 'N', help: 'compute threads (default: one per processor)', read: integer(1) },
  context: { value: 'N', help: "tokens of context (default: the model's)", read: integer(1) },
  memory: { value: 'SIZE', help: 'ceiling of what the model takes, such as 2GiB (default: what is free)', read: memory },
  mode: { value: 'MODE', help: 'mapped or paged (default: paged if the weights do not fit)', read: oneOf('auto', 'mapped', 'paged') },
  policy: { value: 'NAME', help: 'pin, lru or expert: which paged weights stay (default: by the model)', read: oneOf('auto', 'pin', 'lru', 'expert') },
  kv: { value: 'TYPE', help: 'f16 or q8_0: how keys and values of the context are kept (default: f16)', read: oneOf('f16', 'q8_0') },
}

const pick = (values, names) => Object.fromEntries(names.filter((name) => values[name] !== undefined).map((name) => [name, values[name]]))
const loadOptions = ({ kv, ...values }) => {
  const cache = pick(values, ['mode', 'policy'])
  return {
    ...pick(values, ['threads', 'context', 'memory']),
    ...(Object.keys(cache).length > 0 ? { cache } : {}),
    ...(kv ? { kv: { type: kv } } : {}),
  }
}

function help(command) {
  const rows = Object.entries({ ...command.options, ...COMMON }).map(([name, { value, short, help: what }]) => [
    `  ${short ? `-${short}, ` : ''}--${name}${value ? ` ${value}` : ''}`,
    what,
  ])
  const width = Math.max(...rows.map(([left]) => left.length))
  const options = rows.map(([left, what]) => `${left.padEnd(width)}  ${what}\n`).join('')
  return `chord ${command.name} ${command.words}\n\n${command.summary}\n\n${options}`
}

function parse(command, args) {
  const table = { ...command.options, ...COMMON }
  const options = Object.fromEntries(
    Object.entries(table).map(([name, { value, short, multiple }]) => [
      name,
      { type: value ? 'string' : 'boolean', ...(short ? { short } : {}), ...(multiple ? { multiple } : {}) },
    ]),
  )
  let parsed
  try {
    parsed = parseArgs({ args, options, allowPositionals: true })
  } catch (error) {
    if (!String(error.code).startsWith('ERR_PARSE_ARGS')) throw error
    const unknown = /'(?:-[a-z], )?--?([^' ]+)/.exec(error.message)
    if (error.code !== 'ERR_PARSE_ARGS_UNKNOWN_OPTION') throw new UsageError(error.message.split('\n')[0])
    const meant = unknown && closest(unknown[1], Object.keys(table))
    throw new UsageError(`unknown option --${unknown ? unknown[1] : '?'}${meant ? `: did you mean --${meant}?` : ''}`)
  }
  const values = {}
  for (const [name, value] of Object.entries(parsed.values)) {
    const { read } = table[name]
    values[name] = !read ? value : Array.isArray(value) ? value.map((item) => read(name, item)) : read(name, value)
  }
  if (!values.help) {
    const { least, most } = command.counts
    const n = parsed.positionals.length
    if (n < least || n > most) throw new UsageError(`expected chord ${command.name} ${command.words}, got ${n === 0 ? 'no words' : `${n} word${n > 1 ? 's' : ''}`}`)
  }
  return { values, words: parsed.positionals }
}

module.exports = { LOAD_OPTIONS, UsageError, help, integer, loadOptions, memory, oneOf, parse, pick, text }
