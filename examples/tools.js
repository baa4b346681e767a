'use strict'

// Gives a model a tool by which it reads the files of a folder, and asks it something about them.
//
//   node examples/tools.js [MODEL.gguf] [FOLDER] [QUESTION]
//
// The demo model has never seen a conversation: it calls, since it has to, and what it calls can be run, for nothing else can be generated.
// Models that were trained to call tools decide for themselves.

const fs = require('node:fs/promises')
const path = require('node:path')
const { loadModel } = require('..')

const demo = path.join(__dirname, '..', 'models', 'demo.gguf')
const [file = demo, folder = __dirname, question = 'What do the files do?'] = process.argv.slice(2)

async function main() {
  const entries = await fs.readdir(folder, { withFileTypes: true })
  const names = entries.filter((entry) => entry.isFile()).map((entry) => entry.name)
  const readFile = {
    description: 'The first lines of a file',
    // Only files that are there can be named: an enum is a fence.
    parameters: {
      type: 'object',
      properties: { name: { enum: names }, lines: { type: 'integer', minimum: 1, maximum: 2 } },
      required: ['name', 'lines'],
    },
    run: async ({ name, lines }) => (await fs.readFile(path.join(folder, name), 'utf8')).split('\n').slice(0, lines).join('\n'),
  }

  const model = await loadModel(file)
  const chat = model.chat({ tools: { read_file: readFile } })
  const answer = chat.send(question, file === demo ? { toolChoice: 'required', parallelToolCalls: false, maxTokens: 100 } : {})
  for await (const event of answer.events()) {
    if (event.type === 'text') process.stdout.write(event.text)
    if (event.type === 'toolCall') console.log(`> ${event.toolCall.name}(${JSON.stringify(event.toolCall.arguments)})`)
    if (event.type === 'toolResult') console.log(`< ${event.toolResult.content.length} characters`)
  }
  const { finishReason, usage } = await answer
  console.log(`\n${usage.completionTokens} tokens, ended by ${finishReason}`)
  await model.close()
}

main().catch((error) => {
  console.error(`${error.message} (${error.code})`)
  process.exitCode = 1
})
