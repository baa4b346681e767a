'use strict'

// Routes of a mixture of experts, as `npm run bench:experts -- --record MODEL --trace FILE` writes them: a line "layers experts used", then
// for each layer of each token a line of the experts that were used. Layers are those that have experts.

const fs = require('node:fs/promises')
const { ChordError } = require('./errors.js')
const { invalid } = require('./validate.js')

/** { layers, experts, used, steps: Uint32Array [tokens, layers, used] } of the text of a trace; an unfinished token is left out. */
function parseRoutes(file, text) {
  const [head, ...lines] = text.trim().split('\n')
  const numbers = head.trim().split(/\s+/).map(Number)
  const [layers, experts, used] = numbers
  if (numbers.length !== 3 || !numbers.every((n) => Number.isSafeInteger(n) && n > 0 && n < 2 ** 16)) {
    throw invalid(`${file} holds no routes: expected "layers experts used" on its first line, got ${JSON.stringify(head.slice(0, 40))}`)
  }
  const tokens = Math.floor(lines.length / layers)
  const steps = new Uint32Array(tokens * layers * used)
  for (let i = 0; i < tokens * layers; i++) {
    const step = lines[i].trim().split(/\s+/).map(Number)
    if (step.length !== used || !step.every((e) => Number.isSafeInteger(e) && e >= 0 && e < experts)) {
      throw invalid(`${file}, line ${i + 2}: expected ${used} experts below ${experts}, got ${JSON.stringify(lines[i].slice(0, 40))}`)
    }
    steps.set(step, i * used)
  }
  return { layers, experts, used, steps }
}

/** What the addon takes of the option `routes` of plan(). */
async function nativeRoutes(routes) {
  if (routes === undefined || routes === 'scattered') return undefined
  if (routes === 'repeating') return { repeating: true }
  const text = await fs.readFile(routes.file, 'utf8').catch(({ message }) => {
    throw new ChordError(`the routes can't be read: ${message}`, { code: 'IO' })
  })
  return parseRoutes(routes.file, text)
}

module.exports = { nativeRoutes, parseRoutes }
