'use strict'

const { bytes, count, printable, table } = require('./format.js')

const cut = (text, n) => (text.length > n ? `${text.slice(0, n - 3)}...` : text)

function shown(value, type) {
  // A float32 has seven digits; as a double it would show its rounding.
  const scalar = (x, n) => (typeof x === 'string' ? JSON.stringify(cut(x, n)) : type.startsWith('float32') ? String(Number(x.toPrecision(7))) : String(x))
  if (!Array.isArray(value)) return cut(printable(scalar(value, 76)), 76)
  const first = value.slice(0, 4).map((x) => scalar(x, 16))
  return cut(`${printable(first.join(', '))}${value.length > 4 ? `, ... ${value.length} in all` : ''}`, 76)
}

function draw(info, values) {
  const byType = new Map()
  for (const { type, bytes: n } of info.tensors) {
    const row = byType.get(type) ?? { tensors: 0, bytes: 0 }
    byType.set(type, { tensors: row.tensors + 1, bytes: row.bytes + n })
  }
  const metadata = Object.keys(info.metadata).map((key) => [printable(key), info.metadataTypes[key], shown(info.metadata[key], info.metadataTypes[key])])
  const types = [...byType].sort((a, b) => b[1].bytes - a[1].bytes).map(([type, row]) => [type, `${row.tensors} tensors`, bytes(row.bytes)])
  const tensors = info.tensors.map(({ name, type, shape, bytes: n }) => [printable(name), type, shape.join(' x '), bytes(n)])
  return (
    info.parts.map(({ path, bytes: n }) => `${path}  ${bytes(n)}\n`).join('') +
    `GGUF version ${info.version}, ${count(info.parameters)} parameters in ${info.tensors.length} tensors\n` +
    `\nmetadata\n${table(metadata, { indent: '  ' })}` +
    (types.length > 0 ? `\ntensors by type\n${table(types, { right: [1, 2], indent: '  ' })}` : '') +
    (values.tensors ? `\ntensors\n${table(tensors, { right: [3], indent: '  ' })}` : '')
  )
}

async function run(values, [file], terminal) {
  const info = await require('../index.js').inspect(file)
  await (values.json ? terminal.json(info) : terminal.write(draw(info, values)))
}

module.exports = {
  name: 'inspect',
  words: 'MODEL',
  counts: { least: 1, most: 1 },
  summary: 'Shows the metadata of a GGUF file and its tensors by type.',
  options: { tensors: { help: 'and each tensor' } },
  run,
}
