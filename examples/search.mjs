// Semantic search over a folder: cuts its text files into passages, and prints those whose vectors are nearest to the question's.
//
//   node examples/search.mjs MODEL.gguf FOLDER QUESTION
//
// MODEL is an embedding model, such as all-MiniLM-L6, BGE, nomic-embed or Qwen3-Embedding as GGUF.

import fs from 'node:fs/promises'
import path from 'node:path'
import { loadModel } from '../lib/index.mjs' // 'chord' in a project of yours

const [file, folder, question] = process.argv.slice(2)
const TEXTS = new Set(['.md', '.txt'])
const PASSAGE = 600 // characters; an embedding model reads a few hundred tokens at a time
const SHOWN = 5

/** Paragraphs, joined while they are short and cut where they are long. */
function passagesOf(text) {
  const passages = []
  for (let part of text.split(/\n\s*\n/)) {
    part = part.replace(/\s+/g, ' ').trim()
    if (part === '') continue
    const last = passages.at(-1)
    if (last !== undefined && last.length + part.length < PASSAGE) passages[passages.length - 1] = `${last} ${part}`
    else for (let at = 0; at < part.length; at += PASSAGE) passages.push(part.slice(at, at + PASSAGE))
  }
  return passages
}

async function* textFiles(directory) {
  for (const entry of await fs.readdir(directory, { withFileTypes: true })) {
    const full = path.join(directory, entry.name)
    if (entry.isDirectory() && !entry.name.startsWith('.') && entry.name !== 'node_modules') yield* textFiles(full)
    else if (entry.isFile() && TEXTS.has(path.extname(entry.name))) yield full
  }
}

async function main() {
  if (question === undefined) throw new Error('usage: node examples/search.mjs MODEL.gguf FOLDER QUESTION')
  const passages = []
  for await (const name of textFiles(folder)) {
    for (const text of passagesOf(await fs.readFile(name, 'utf8'))) passages.push({ name, text })
  }
  const model = await loadModel(file)
  try {
    const began = performance.now()
    const vectors = await model.embed(passages.map(({ text }) => text)) // all at once: they share the passes over the weights
    console.log(`${passages.length} passages in ${((performance.now() - began) / 1000).toFixed(1)} s\n`)

    const wanted = await model.embed(question)
    const found = passages.map((passage, i) => ({ ...passage, score: vectors[i].reduce((sum, x, k) => sum + x * wanted[k], 0) }))
    found.sort((a, b) => b.score - a.score)
    for (const { name, text, score } of found.slice(0, SHOWN)) console.log(`${score.toFixed(3)}  ${path.relative(folder, name)}\n       ${text.slice(0, 160)}\n`)
  } finally {
    await model.close()
  }
}

main().catch((error) => {
  console.error(error.code ? `${error.message} (${error.code})` : error.message)
  process.exitCode = 1
})
