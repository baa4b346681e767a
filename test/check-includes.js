'use strict'

// Checks the shape of src/: includes go one way (the table below), libuv is seen by src/os only and Node-API by src/addon only,
// every header compiles alone, and src/sources.gypi names every C file exactly once.

const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const vm = require('node:vm')

const root = path.resolve(__dirname, '..')
const src = path.join(root, 'src')

// What the files of a folder may include besides their own folder. 'chord.h' is the public header.
const LAYERS = {
  base: [],
  os: ['base'],
  gguf: ['base', 'os', 'quant'], // quant: bytes of a row of a type
  quant: ['base'],
  kernels: ['base', 'os', 'quant'],
  weights: ['base', 'os', 'gguf', 'quant'],
  tokenizer: ['base', 'gguf'],
  quantize: ['base', 'os', 'gguf', 'quant'],
  sampler: ['base'],
  graph: ['base', 'os', 'quant', 'kernels', 'weights'],
  backend: ['base', 'os', 'quant', 'kernels', 'weights', 'graph'],
  models: ['base', 'os', 'gguf', 'quant', 'weights', 'graph'],
  engine: ['base', 'os', 'gguf', 'quant', 'kernels', 'weights', 'tokenizer', 'quantize', 'sampler', 'graph', 'backend', 'models', 'chord.h'],
  addon: ['chord.h'],
  'chord.h': ['base'],
}

// System headers that only one folder may see.
const SYSTEM = [
  { header: /^uv(\.h|\/)/, folder: 'os' },
  { header: /^(node_api|js_native_api)/, folder: 'addon' },
  { header: /^(windows\.h|unistd\.h|fcntl\.h|pthread\.h|sys\/)/, folder: 'os' },
  { header: /^(immintrin|x86intrin|arm_neon)\.h$/, folder: 'kernels' },
]
const SYSTEM_ALSO = { 'os/cpu.c': /^(immintrin|x86intrin)\.h$/, 'quant/lanes.h': /^arm_neon\.h$/ }

function filesOf(dir) {
  return fs.readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const file = path.join(dir, entry.name)
    return entry.isDirectory() ? filesOf(file) : [file]
  })
}

// A gypi file is a Python literal; without its comments it is also a JavaScript one.
function readGypi(file) {
  const text = fs.readFileSync(file, 'utf8').replace(/^((?:[^#'\n]|'[^'\n]*')*)#.*$/gm, '$1')
  return vm.runInNewContext(`(${text})`)
}

function layerOf(file) {
  const [first] = file.split('/')
  return first
}

// The complaint about `file` (relative to src/) including `name`, or null.
function includeFault(file, name, quoted) {
  const layer = layerOf(file)
  if (quoted) {
    if (!fs.existsSync(path.join(src, name))) return `includes "${name}", which is not a path relative to src/`
    const target = layerOf(name)
    if (target === layer || (LAYERS[layer] || []).includes(target)) return null
    return `includes "${name}", but ${layer} may include only: ${[layer, ...LAYERS[layer]].join(', ')}`
  }
  if (SYSTEM_ALSO[file] && SYSTEM_ALSO[file].test(name)) return null
  const rule = SYSTEM.find(({ header }) => header.test(name))
  return rule && rule.folder !== layer ? `includes <${name}>, which only src/${rule.folder} may` : null
}

function checkIncludes(files) {
  const faults = []
  let n = 0
  for (const file of files) {
    if (!LAYERS[layerOf(file)]) {
      faults.push(`src/${file}: its folder is not in the table of test/check-includes.js`)
      continue
    }
    const lines = fs.readFileSync(path.join(src, file), 'utf8').split('\n')
    lines.forEach((line, index) => {
      const match = /^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)/.exec(line)
      if (!match) return
      n++
      const fault = includeFault(file, match[1] || match[2], match[1] !== undefined)
      if (fault) faults.push(`src/${file}:${index + 1}: ${fault}`)
    })
  }
  return { faults, n }
}

// The table itself must have no circle.
function checkTable() {
  const faults = []
  const visit = (layer, trail) => {
    if (trail.includes(layer)) faults.push(`the layer table goes in a circle: ${[...trail, layer].join(' -> ')}`)
    else LAYERS[layer].forEach((next) => visit(next, [...trail, layer]))
  }
  Object.keys(LAYERS).forEach((layer) => visit(layer, []))
  return faults
}

function checkSources(files, variables) {
  const listed = Object.keys(variables)
    .filter((key) => /^chord_\w+_c$/.test(key))
    .flatMap((key) => variables[key])
  const faults = []
  for (const file of listed) {
    if (!fs.existsSync(path.join(root, file))) faults.push(`src/sources.gypi: names ${file}, which does not exist`)
    if (listed.indexOf(file) !== listed.lastIndexOf(file)) faults.push(`src/sources.gypi: names ${file} twice`)
  }
  for (const file of files.filter((name) => name.endsWith('.c'))) {
    if (!listed.includes(`src/${file}`)) faults.push(`src/${file}: not in src/sources.gypi`)
  }
  return [...new Set(faults)]
}

// Compiles each header as if it were the whole program, with the flags of its tier.
function checkHeaders(files, variables) {
  const cc = process.env.CC || 'cc'
  const nodeHeaders = path.resolve(path.dirname(fs.realpathSync(process.execPath)), '..', 'include', 'node')
  const faults = []
  for (const file of files.filter((name) => name.endsWith('.h'))) {
    const folder = /^kernels\/(\w+)\//.exec(file)
    if (folder && /^neon/.test(folder[1]) && process.arch !== 'arm64') continue
    if (folder && /^(avx|amx)/.test(folder[1]) && process.arch !== 'x64') continue
    const tiers = (folder && variables[`chord_tiers_of_${folder[1]}`]) || [null]
    for (const tier of tiers) {
      const flags = tier ? [`-DCHORD_TIER=${tier}`, ...variables[`chord_tier_${tier}_flags`]] : []
      const args = ['-std=gnu11', '-Wall', '-Wextra', '-Wno-unused-function', '-Werror', '-fsyntax-only', '-I', src, '-isystem', nodeHeaders, ...flags]
      const done = spawnSync(cc, [...args, '-x', 'c', '-'], { input: `#include "${file}"\n`, encoding: 'utf8' })
      if (done.error) return [`cannot run the compiler ${cc}: ${done.error.message}`]
      if (done.status !== 0) faults.push(`src/${file}: does not compile alone${tier ? ` for tier ${tier}` : ''}:\n${done.stderr.trim()}`)
    }
  }
  return faults
}

function main() {
  const files = filesOf(src)
    .map((file) => path.relative(src, file).split(path.sep).join('/'))
    .filter((file) => /\.(c|h)$/.test(file))
    .sort()
  const { variables } = readGypi(path.join(src, 'sources.gypi'))
  const { faults, n } = checkIncludes(files)
  faults.push(...checkTable(), ...checkSources(files, variables), ...checkHeaders(files, variables))
  if (files.length === 0 || n === 0) faults.push('src/: no files found to check')
  for (const fault of faults) process.stderr.write(`${fault}\n`)
  process.stdout.write(`${files.length} files, ${n} includes, ${faults.length} faults\n`)
  process.exitCode = faults.length ? 1 : 0
}

module.exports = { filesOf, readGypi }

if (require.main === module) main()
