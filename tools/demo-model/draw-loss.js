'use strict'

// Draws a loss curve: `node tools/demo-model/draw-loss.js LOSS.csv > LOSS.svg`

const fs = require('node:fs')

const WIDTH = 720
const HEIGHT = 360
const MARGIN = { left: 56, right: 110, top: 24, bottom: 44 }
const SERIES = [
  { key: 'train', label: 'training', colour: '#4c78a8' },
  { key: 'held_out', label: 'held out', colour: '#e45756' },
]

function parse(csv) {
  const [head, ...lines] = csv.trim().split('\n')
  const keys = head.split(',')
  return lines.map((line) => Object.fromEntries(line.split(',').map((value, i) => [keys[i], Number(value)])))
}

function drawLoss(csv) {
  const rows = parse(csv)
  const steps = rows.at(-1).step
  const losses = rows.flatMap((row) => SERIES.map(({ key }) => row[key]))
  const low = Math.floor(Math.min(...losses) * 2) / 2
  const high = Math.ceil(Math.max(...losses) * 2) / 2
  const x = (step) => MARGIN.left + (step / steps) * (WIDTH - MARGIN.left - MARGIN.right)
  const y = (loss) => MARGIN.top + ((high - loss) / (high - low)) * (HEIGHT - MARGIN.top - MARGIN.bottom)
  const parts = []
  for (let loss = low; loss <= high; loss += 0.5) {
    parts.push(`<line x1="${MARGIN.left}" y1="${y(loss)}" x2="${WIDTH - MARGIN.right}" y2="${y(loss)}" stroke="#ddd"/>`)
    parts.push(`<text x="${MARGIN.left - 8}" y="${y(loss) + 4}" text-anchor="end">${loss.toFixed(1)}</text>`)
  }
  for (let i = 0; i <= 4; i++) {
    const step = Math.round((steps * i) / 4)
    parts.push(`<text x="${x(step)}" y="${HEIGHT - MARGIN.bottom + 18}" text-anchor="middle">${step}</text>`)
  }
  for (const { key, label, colour } of SERIES) {
    const points = rows.map((row) => `${x(row.step).toFixed(1)},${y(row[key]).toFixed(1)}`).join(' ')
    parts.push(`<polyline points="${points}" fill="none" stroke="${colour}" stroke-width="2"/>`)
    const last = rows.at(-1)[key]
    parts.push(`<text x="${WIDTH - MARGIN.right + 6}" y="${y(last) + 4}" fill="${colour}">${label} ${last.toFixed(2)}</text>`)
  }
  parts.push(`<text x="${(MARGIN.left + WIDTH - MARGIN.right) / 2}" y="${HEIGHT - 8}" text-anchor="middle">step</text>`)
  parts.push(`<text x="14" y="14">loss, nats per token</text>`)
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n${parts.join('\n')}\n</svg>\n`
}

if (require.main === module) process.stdout.write(drawLoss(fs.readFileSync(process.argv[2], 'utf8')))

module.exports = { drawLoss }
