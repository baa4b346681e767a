'use strict'

const binding = require('./binding.js')
const { located } = require('./errors.js')
const v = require('./validate.js')

const PARTS = 0
const VALUES = 1
const TENSORS = 2
const ROWS = 4096 // converted at once
const MAX_ROWS = 2 ** 20

/** Rows in pieces, with room for other work on the event loop in between. */
async function inPieces(fetch) {
  const all = []
  for (;;) {
    const rows = fetch(all.length, ROWS)
    for (const row of rows) all.push(row)
    if (rows.length < ROWS || all.length >= MAX_ROWS) return all
    await new Promise((resolve) => setImmediate(resolve))
  }
}

async function inspect(path) {
  const file = await located(binding.openFile(v.filePath('path', path)))
  const parts = await inPieces((from, n) => binding.fileDirectory(file, PARTS, from, n))
  const tensors = await inPieces((from, n) => binding.fileDirectory(file, TENSORS, from, n))
  const values = await inPieces((from, n) => binding.fileDirectory(file, VALUES, from, n))
  // Keys come from the file: no prototype that one of them could be taken for.
  const metadata = Object.create(null)
  const metadataTypes = Object.create(null)
  for (const [index, { key, type, element }] of values.entries()) {
    const elements = await inPieces((from, n) => binding.fileElements(file, index, from, n))
    metadata[key] = type === 'array' ? elements : elements[0]
    metadataTypes[key] = type === 'array' ? `${element}[]` : type
  }
  return {
    version: parts[0].version,
    parts: parts.map(({ path: name, bytes }) => ({ path: name, bytes })),
    bytes: parts.reduce((sum, { bytes }) => sum + bytes, 0),
    parameters: tensors.reduce((sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1), 0),
    metadata,
    metadataTypes,
    tensors,
  }
}

module.exports = { inspect }
