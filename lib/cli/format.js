'use strict'

// How the command line writes numbers, tables and bars.

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

function bytes(n) {
  if (n === null || n === undefined) return 'unknown'
  let unit = 0
  while (n >= 1024 && unit < UNITS.length - 1) {
    n /= 1024
    unit++
  }
  return `${unit === 0 ? n : n.toFixed(n < 10 ? 2 : n < 100 ? 1 : 0)} ${UNITS[unit]}`
}

/** 1234567 -> '1.23 M'. */
function count(n) {
  for (const [size, letter] of [[1e12, 'T'], [1e9, 'B'], [1e6, 'M'], [1e3, 'K']]) {
    if (n >= size) return `${(n / size).toFixed(n / size < 10 ? 2 : 1)} ${letter}`
  }
  return String(n)
}

/** Three digits that count. */
function figure(x) {
  if (!Number.isFinite(x)) return '-'
  return x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toPrecision(3)
}

function seconds(s) {
  return s >= 1 ? `${figure(s)} s` : s >= 1e-3 ? `${figure(s * 1e3)} ms` : `${figure(s * 1e6)} us`
}

const gigabytesPerSecond = (n) => `${figure(n / 1e9)} GB/s`

/** Rows of cells in columns; those named in `right` (indexes) are set to the right. */
function table(rows, { right = [], indent = '' } = {}) {
  const widths = []
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, [...cell].length)))
  const pad = (cell, i) => {
    const blank = ' '.repeat(widths[i] - [...cell].length)
    return right.includes(i) ? blank + cell : cell + blank
  }
  return rows.map((row) => `${indent}${row.map(pad).join('  ').trimEnd()}\n`).join('')
}

/** A bar of `width` blocks. Every part that is not zero gets at least one: { value, mark }. */
function bar(parts, total, width = 48) {
  const scale = width / Math.max(total, parts.reduce((sum, { value }) => sum + value, 0))
  let drawn = ''
  for (const { value, mark } of parts) {
    const blocks = value > 0 ? Math.max(1, Math.round(value * scale)) : 0
    drawn += mark.repeat(Math.min(blocks, width - drawn.length))
  }
  return drawn.padEnd(width, '.')
}

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** Text of a file for a terminal: control characters shown, not obeyed. */
function printable(text) {
  return String(text).replace(/[\u0000-\u001f\u007f-\u009f]/g, (c) => ({ '\n': '\\n', '\t': '\\t', '\r': '\\r' })[c] ?? `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`)
}

module.exports = { bar, bytes, count, figure, gigabytesPerSecond, median, printable, seconds, table }
