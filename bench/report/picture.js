'use strict'

// The picture of a comparison: for each model a bar of chord and one of node-llama-cpp, for generation and for prompts, as long
// as their share of what the machine allows; a line at the whole of it, the floor. Plain SVG, readable on light and dark pages.

const { figure } = require('../../lib/cli/format.js')
const { summaries } = require('./peer.js')

const WIDTH = 920
const LABELS = 150 // where the columns begin
const COLUMN = 385 // from one column to the next
const BAR_ROOM = 255 // of a column, for bars; the rest is for numbers
const BAR = 13
const GROUP = 42 // from one model to the next
const TOP = 74

const STYLE = `
  text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
  .head { font-weight: 600 } .small { font-size: 11px; fill: #59636e }
  .chord { fill: #0969da } .oracle { fill: #aeb6bf } .floor { stroke: #cf222e; stroke-width: 1.5; stroke-dasharray: 4 3 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .small { fill: #9198a1 } .chord { fill: #4493f8 } .oracle { fill: #656c76 } .floor { stroke: #ff7b72 }
  }
`

const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c])
const at = (x) => String(Math.round(10 * x) / 10)
const label = (x, y, text, more = '') => `<text x="${at(x)}" y="${at(y)}"${more}>${escape(text)}</text>\n`

/** The longest prompt that was measured of a model, or its generation. */
function pick(all, what) {
  return all.filter((s) => s.what === what).sort((a, b) => b.n - a.n)[0] ?? null
}

function column(x, heading, cells) {
  // Without a floor, the longest bar is the measure.
  const lengthOf = (s, engine) => s[engine].median / (s.floor ?? Math.max(s.chord.median, s.oracle.median))
  const shown = cells.filter((s) => s !== null)
  const longest = Math.max(1, ...shown.flatMap((s) => [lengthOf(s, 'chord'), lengthOf(s, 'oracle')]))
  const scale = BAR_ROOM / longest
  let out = label(x, TOP - 14, heading, ' class="head"')
  cells.forEach((s, i) => {
    if (s === null) return
    for (const [k, engine] of ['chord', 'oracle'].entries()) {
      const y = TOP + i * GROUP + k * (BAR + 2)
      const width = lengthOf(s, engine) * scale
      out += `<rect class="${engine}" x="${at(x)}" y="${at(y)}" width="${at(width)}" height="${BAR}" rx="2"/>\n`
      const ratio = engine === 'chord' ? `  (${s.ratio.median.toFixed(2)} x)` : ''
      // Beyond the floor's line, where the number would else lie on it.
      const end = width < scale && width + 90 > scale ? scale : width
      out += label(x + end + 6, y + BAR - 2.5, `${figure(s[engine].median)}${ratio}`)
    }
  })
  if (shown.some((s) => s.floor !== null)) {
    const bottom = TOP + cells.length * GROUP - 8
    out += `<line class="floor" x1="${at(x + scale)}" y1="${TOP - 6}" x2="${at(x + scale)}" y2="${at(bottom)}"/>\n`
  }
  return out
}

/** The SVG text of a result of bench/peer.mjs. */
function picture(result) {
  const rows = result.models.map((model) => summaries(result, model))
  const prompt = Math.max(0, ...rows.flat().map((s) => (s.what === 'prefill' ? s.n : 0)))
  const height = TOP + rows.length * GROUP + 30
  let out = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="Tokens per second of chord and node-llama-cpp">\n`
  out += `<style>${STYLE}</style>\n`
  const legend = [['chord', 'chord'], ['oracle', `node-llama-cpp ${result.versions.oracle}`]]
  legend.forEach(([engine, name], i) => {
    const x = LABELS + 90 * i
    out += `<rect class="${engine}" x="${x}" y="16" width="13" height="13" rx="2"/>\n${label(x + 19, 27, name)}`
  })
  out += `<line class="floor" x1="${LABELS + COLUMN}" y1="23" x2="${LABELS + COLUMN + 24}" y2="23"/>\n`
  out += label(LABELS + COLUMN + 32, 27, 'the floor: all that the machine gives')
  result.models.forEach((model, i) => (out += label(LABELS - 12, TOP + i * GROUP + BAR + 5, model.title, ' text-anchor="end"')))
  out += column(LABELS, 'generation, tokens/s', rows.map((all) => pick(all, 'decode')))
  out += column(LABELS + COLUMN, `prompt of ${prompt}, tokens/s`, rows.map((all) => pick(all, 'prefill')))
  const { threads, rounds } = result.settings
  out += label(LABELS, height - 10, `${result.probe ? `${result.probe.cpu}, ` : ''}${threads} threads, medians of ${rounds} rounds in turn; bars are shares of the floor`, ' class="small"')
  return `${out}</svg>\n`
}

module.exports = { picture }
