#!/usr/bin/env node
'use strict'

// The command `chord`. Exit codes: 0 done, 1 an error, 2 wrong use, 130 stopped by Ctrl-C.

const { UsageError, help, parse } = require('./command.js')
const { Terminal } = require('./terminal.js')

const COMMANDS = ['run', 'plan', 'chat', 'inspect', 'bench', 'perplexity', 'embed', 'quantize']
const commandOf = (name) => require(`./${name}.js`)

function overview() {
  const rows = COMMANDS.map(commandOf).map(({ name, words, summary }) => `  ${`${name} ${words}`.padEnd(24)}  ${summary}\n`)
  return `chord COMMAND ...\n\n${rows.join('')}\nchord COMMAND --help names the options of a command, chord --version the version.\n`
}

async function main(args, terminal) {
  const [name, ...rest] = args
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    await (name === undefined ? terminal.note(overview().trimEnd()) : terminal.write(overview()))
    return name === undefined ? 2 : 0
  }
  if (name === '--version' || name === '-v') {
    await terminal.write(`${require('../../package.json').version}\n`)
    return 0
  }
  if (!COMMANDS.includes(name)) throw new UsageError(`unknown command ${JSON.stringify(name)}: there are ${COMMANDS.join(', ')}`)
  const command = commandOf(name)
  const { values, words } = parse(command, rest)
  if (values.help) {
    await terminal.write(help(command))
    return 0
  }
  return (await command.run(values, words, terminal)) ?? 0
}

function failed(error, terminal) {
  terminal.clear()
  if (error instanceof UsageError) {
    process.stderr.write(`chord: ${error.message}\n`)
    return 2
  }
  const known = error?.name === 'ChordError' || typeof error?.code === 'string'
  process.stderr.write(known ? `chord: ${error.message} (${error.code})\n` : `chord: ${error?.stack ?? error}\n`)
  return 1
}

// Whoever reads our output may leave when it has enough (`chord run | head`): that is no error.
process.stdout.on('error', (error) => {
  if (error.code !== 'EPIPE') throw error
  process.exit(0)
})

const terminal = new Terminal()
main(process.argv.slice(2), terminal).then(
  (code) => (process.exitCode = code),
  (error) => (process.exitCode = failed(error, terminal)),
)
