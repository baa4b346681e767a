'use strict'

// Checks what the compiler made of src/ on x86-64 Linux (and the exports of the addon everywhere that has nm):
//   - outside the tier folders no object holds an instruction beyond the x86-64 baseline (AVX, BMI, ...): a processor without
//     them must get as far as the dispatch, which takes the scalar tier;
//   - every global symbol of a tier carries the tier's name, and none is weak: were a function compiled with AVX-512 to share its
//     name with one of the core, the linker could put it in the core's place;
//   - the addon exports the entry points of Node-API and nothing else.
//
//   node test/check-objects.js [build/Release]

const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { filesOf } = require('./check-includes.js')

const release = path.resolve(process.argv[2] || path.join(__dirname, '..', 'build', 'Release'))

// VEX and EVEX mnemonics begin with v; the few legacy ones that do are privileged or check segments. BMI1/2, LZCNT, MOVBE and
// SSE3 to SSE4.2 as they are spelled. Exempt by name: the instructions of CPU detection itself.
const BASELINE_V = /^v(err|erw|mcall|mclear|mlaunch|mptrld|mptrst|mread|mresume|mwrite|mxoff|mxon|mfunc)$/
const BEYOND = new RegExp(
  '^(' +
    [
      'andn|bextr|blsi|blsmsk|blsr|bzhi|mulx|pdep|pext|rorx|sarx|shlx|shrx|lzcnt|tzcnt|movbe|popcnt|crc32[bwlq]?',
      'addsubp[sd]|haddp[sd]|hsubp[sd]|lddqu|movddup|movshdup|movsldup',
      'pabs[bwd]|palignr|phadd\\w+|phsub\\w+|pmaddubsw|pmulhrsw|pshufb|psign[bwd]',
      'blendv?p[sd]|pblendvb|pblendw|dpp[sd]|extractps|insertps|movntdqa|mpsadbw|packusdw|pcmpeqq|pcmpgtq|pcmp[ei]str[im]',
      'pextr[bdq]|pinsr[bdq]|phminposuw|pm(ax|in)(sb|sd|ud|uw)|pmov[sz]x\\w+|pmuldq|pmulld|ptest|round[ps][sd]',
    ].join('|') +
    ')$',
)

function tool(name, args) {
  const done = spawnSync(name, args, { encoding: 'utf8', maxBuffer: 1 << 30 })
  if (done.error || done.status !== 0) throw new Error(`${name} ${args.join(' ')}: ${done.error ? done.error.message : done.stderr}`)
  return done.stdout
}

// The first instruction beyond the baseline in an object, or null. `tzcnt` is also how `rep bsf` is shown, which old processors run
// as bsf with the same result for every input but 0; compilers emit it on purpose for the baseline.
function firstBeyond(object) {
  let where = ''
  for (const line of tool('objdump', ['-d', '--no-show-raw-insn', object]).split('\n')) {
    const label = /^[0-9a-f]+ <([^>]+)>:/.exec(line)
    if (label) where = label[1]
    const match = /^\s+[0-9a-f]+:\s+(?:(?:rep[nz]*|lock|bnd|notrack|data16|cs|ds|xacquire|xrelease)\s+)*(\S+)(.*)$/.exec(line)
    if (!match) continue
    const [, mnemonic, operands] = match
    const vector = mnemonic.startsWith('v') && !BASELINE_V.test(mnemonic)
    const mask = /^k\w+/.test(mnemonic) && /%k[0-7]/.test(operands)
    if (vector || mask || /%[yz]mm/.test(operands) || (mnemonic !== 'tzcnt' && BEYOND.test(mnemonic))) return `${mnemonic}${operands} in ${where}`
  }
  return null
}

function main() {
  const faults = []
  let nCore = 0
  let nTier = 0
  const objectsOf = (target) => {
    const dir = path.join(release, 'obj.target', target)
    return fs.existsSync(dir) ? filesOf(dir).filter((file) => file.endsWith('.o')) : []
  }
  const targets = fs.readdirSync(path.join(release, 'obj.target')).filter((name) => /^chord(_\w+)?$/.test(name))
  for (const target of targets) {
    const tier = /^chord_tier_(\w+)$/.exec(target)
    for (const object of objectsOf(target)) {
      const name = path.relative(path.join(release, 'obj.target', target), object)
      if (tier) {
        nTier++
        for (const line of tool('nm', ['--defined-only', '-g', object]).split('\n').filter(Boolean)) {
          const [, kind, symbol] = line.split(/\s+/)
          if (!symbol.endsWith(`_${tier[1]}`)) faults.push(`${name}: global symbol ${symbol} does not carry the name of its tier ${tier[1]}`)
          if (/[WwVv]/.test(kind)) faults.push(`${name}: symbol ${symbol} is weak`)
        }
      } else if (process.arch === 'x64') {
        nCore++
        const found = firstBeyond(object)
        if (found) faults.push(`${name}: beyond the x86-64 baseline: ${found}`)
      }
    }
  }
  const addon = path.join(release, 'chord.node')
  const dynamic = process.platform === 'darwin' ? ['-gU', addon] : ['-D', '--defined-only', addon]
  const exported = tool('nm', dynamic).split('\n').filter(Boolean).map((line) => line.split(/\s+/)[2].replace(/^_(?=n)/, ''))
  const expected = ['napi_register_module_v1', 'node_api_module_get_api_version_v1']
  const linkerOwn = ['_init', '_fini', '_edata', '_end', '__bss_start']
  for (const symbol of exported) {
    if (!expected.includes(symbol) && !linkerOwn.includes(symbol)) faults.push(`chord.node exports ${symbol}`)
  }
  if (!exported.includes(expected[0])) faults.push(`chord.node does not export ${expected[0]}`)
  if (process.arch === 'x64' && (nCore === 0 || nTier === 0)) faults.push(`${release}: ${nCore} core and ${nTier} tier objects found: build first`)
  for (const fault of faults) process.stderr.write(`${fault}\n`)
  process.stdout.write(`${nCore} core objects, ${nTier} tier objects, ${exported.length} exports, ${faults.length} faults\n`)
  process.exitCode = faults.length ? 1 : 0
}

if (process.platform === 'win32') process.stdout.write('not checked on Windows\n')
else main()
