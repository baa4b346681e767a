'use strict'

// A conversation in the terminal. The history is kept, and each turn computes what is new in it; Ctrl-C stops the answer and not the program,
// Ctrl-D ends it. `npx chord chat` does more.
//
//   node examples/chat.js [MODEL.gguf] [SYSTEM]

const path = require('node:path')
const readline = require('node:readline')
const { loadModel } = require('..')

const [file = path.join(__dirname, '..', 'models', 'demo.gguf'), system] = process.argv.slice(2)

async function main() {
  const model = await loadModel(file)
  const chat = model.chat({ system, overflow: 'shift' })
  if (chat.template.source === 'fallback') console.error('(this model has no chat template: a simple one takes its place)')

  let answer = null
  const lines = readline.createInterface({ input: process.stdin, output: process.stdout, prompt: '> ' })
  lines.on('SIGINT', () => (answer ? answer.cancel() : lines.close()))
  lines.prompt()
  for await (const line of lines) {
    if (line.trim() !== '') {
      answer = chat.send(line, { maxTokens: 200 })
      for await (const text of answer) process.stdout.write(text)
      const { usage } = await answer
      answer = null
      console.log(`\n(${usage.promptTokens} tokens of prompt, ${usage.reusedTokens} of them reused)`)
    }
    lines.prompt()
  }
  await model.close()
}

main().catch((error) => {
  console.error(`${error.message} (${error.code})`)
  process.exitCode = 1
})
