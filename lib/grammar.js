'use strict'

const binding = require('./binding.js')
const { located } = require('./errors.js')

const MOST_KEPT = 32

// Promises of compiled grammars by what they were made of, the one used last at the end.
const kept = new Map()

/**
 * A promise of the addon's handle of a grammar. `kind`: 'gbnf', 'schema' (of JSON), or 'form' (tools/grammar.js). The work is done off the event loop; of what was
 * compiled lately nothing is compiled again.
 */
function compileGrammar(kind, text) {
  const key = `${kind}\0${text}`
  const known = kept.get(key)
  const compiled = known ?? located(binding.compileGrammar(kind, text))
  kept.delete(key)
  kept.set(key, compiled)
  if (known === undefined) compiled.catch(() => kept.delete(key))
  if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value)
  return compiled
}

module.exports = { compileGrammar }
