'use strict'

// Checks what the compiler made of src/ on Linux, x86-64 and aarch64 (and the exports of the addon everywhere that has nm):
//   - outside the tier folders no object holds an instruction beyond the baseline (AVX, BMI, ...; SDOT, SVE, ...): a processor
//     without them must get as far as the dispatch, which takes a tier that it has;
//   - no object of a tier holds an instruction beyond what the tier is compiled for (a folder's intrinsics could be a step ahead);
//   - every global symbol of a tier carries the tier's name, and none is weak: were a function compiled with AVX-512 to share its
//     name with one of the core, the linker could put it in the core's place;
//   - the addon exports the entry points of Node-API and nothing else.
//
//   node test/check-objects.js [build/Release] [arm64]   arm64: what a cross-compiler made, with its binutils; the addon is optional

const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { filesOf, readGypi } = require('./check-includes.js')

const release = path.resolve(process.argv[2] || path.join(__dirname, '..', 'build', 'Release'))
const arch = process.argv[3] || process.arch
const crossed = arch !== process.arch
// Elsewhere the compiler's own baseline may be higher (every Mac with an arm64 has atomics).
const checked = process.platform === 'linux' && ['x64', 'arm64'].includes(arch)

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

// Beyond AVX2: what only tiers with one of these flags (src/sources.gypi) may hold.
const X64_BEYOND_AVX2 = [
  { name: 'AVX-512', allowed: ['-mavx512f'], pattern: /%zmm|%[xy]mm(1[6-9]|2\d|3[01])\b|%k[0-7]\b/ },
  { name: 'VNNI', allowed: ['-mavxvnni', '-mavx512vnni'], pattern: /\bvpdp(bu|ws)/ },
  { name: 'VBMI', allowed: ['-mavx512vbmi'], pattern: /^(vperm([it]2)?b|vpmultishiftqb)\s/ },
  { name: 'VBMI2', allowed: ['-mavx512vbmi2'], pattern: /^(vp(compress|expand)[bw]|vpsh[lr]dv?[wdq])\s/ },
  { name: 'GFNI', allowed: ['-mgfni'], pattern: /^v?gf2p8/ },
  { name: 'AMX', allowed: ['-mamx-tile', '-mamx-int8'], pattern: /%tmm|^(ldtilecfg|sttilecfg|tilerelease)\b/ },
  { name: 'IFMA', allowed: ['-mavx512ifma'], pattern: /^vpmadd52/ },
  { name: 'BITALG or VPOPCNTDQ', allowed: ['-mavx512bitalg', '-mavx512vpopcntdq'], pattern: /^(vpopcnt[bwdq]|vpshufbitqmb)\s/ },
  { name: 'BF16', allowed: ['-mavx512bf16'], pattern: /^(vdpbf16ps|vcvtne)/ },
  { name: 'FP16', allowed: ['-mavx512fp16'], pattern: /^v(?!cvtp[hs]2p[sh])\w+[ps]h\s/ },
]

// Beyond ARMv8.0 with ASIMD: products of bytes and of matrices, arithmetic on halves (conversions are baseline), SVE, LSE atomics.
// What the flags of a tier say, it may have.
const ARM64_BEYOND = [
  { name: 'dotprod', allowed: /\+dotprod/, pattern: /^[su]dot\s/ },
  { name: 'i8mm', allowed: /\+i8mm/, pattern: /^(us|su)dot\s|^(s|u|us)mmla\s/ },
  { name: 'halves', allowed: /\+fp16/, pattern: /^f(?!cvt|mov)\w+\s.*(\bv\d+\.[48]h|\bh\d+)\b/ },
  { name: 'bfloat16', allowed: /\+bf16/, pattern: /^bf\w+\s.*\bv\d+/ },
  { name: 'SVE', allowed: /\+sve/, pattern: /\bz\d+\.[bhsdq]\b/ },
  { name: 'atomics', allowed: /\+lse/, pattern: /^(cas|swp|ld(add|clr|eor|set|smax|smin|umax|umin)|st(add|clr|eor|set|smax|smin|umax|umin))p?a?l?[bh]?\s/ },
]

function tool(tool_, args) {
  const name = crossed && arch === 'arm64' ? `aarch64-linux-gnu-${tool_}` : tool_
  const done = spawnSync(name, args, { encoding: 'utf8', maxBuffer: 1 << 30 })
  if (done.error || done.status !== 0) throw new Error(`${name} ${args.join(' ')}: ${done.error ? done.error.message : done.stderr}`)
  return done.stdout
}

// The instructions of an object without prefixes and comments, each with a blank at its end, and the function each is in.
function* instructionsOf(object) {
  let where = ''
  for (const line of tool('objdump', ['-d', '--no-show-raw-insn', object]).split('\n')) {
    const label = /^[0-9a-f]+ <([^>]+)>:/.exec(line)
    if (label) where = label[1]
    const match = /^\s+[0-9a-f]+:\s+(?:(?:rep[nz]*|lock|bnd|notrack|data16|cs|ds|xacquire|xrelease|\{\w+\})\s+)*(.*)$/.exec(line)
    if (match) yield { text: match[1].replace(/\s*(\/\/|#|<).*$/, '') + ' ', where }
  }
}

// `tzcnt` is also how `rep bsf` is shown, which old processors run as bsf with the same result for every input but 0; compilers
// emit it on purpose for the baseline.
function isBeyondX64(text) {
  const [, mnemonic, operands] = /^(\S*)(.*)$/.exec(text)
  const vector = mnemonic.startsWith('v') && !BASELINE_V.test(mnemonic)
  const mask = /^k\w+/.test(mnemonic) && /%k[0-7]/.test(operands)
  return vector || mask || /%[yz]mm/.test(operands) || (mnemonic !== 'tzcnt' && BEYOND.test(mnemonic))
}

// The first instruction in an object that the flags of its tier (null: the core, which has the baseline) do not allow, or null.
function firstBeyond(object, flags) {
  let rules
  if (arch === 'arm64') rules = ARM64_BEYOND.filter(({ allowed }) => !flags || !flags.some((flag) => allowed.test(flag)))
  else rules = X64_BEYOND_AVX2.filter(({ allowed }) => !flags || !flags.some((flag) => allowed.includes(flag)))
  for (const { text, where } of instructionsOf(object)) {
    if (arch === 'x64' && !flags && isBeyondX64(text)) return `${text}in ${where}`
    const broken = rules.find(({ pattern }) => pattern.test(text))
    if (broken) return `${broken.name}: ${text}in ${where}`
  }
  return null
}

function main() {
  const faults = []
  let nCore = 0
  let nTier = 0
  const { variables } = readGypi(path.join(__dirname, '..', 'src', 'sources.gypi'))
  const flagsOf = (tier) => {
    const flags = variables[`chord_tier_${tier}_flags`]
    if (!flags) throw new Error(`src/sources.gypi has no chord_tier_${tier}_flags`)
    return flags
  }
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
        const found = checked ? firstBeyond(object, flagsOf(tier[1])) : null
        if (found) faults.push(`${name}: beyond tier ${tier[1]}: ${found}`)
      } else if (checked) {
        nCore++
        const found = firstBeyond(object, null)
        if (found) faults.push(`${name}: beyond the baseline of ${arch}: ${found}`)
      }
    }
  }
  const addon = path.join(release, 'chord.node')
  const dynamic = process.platform === 'darwin' ? ['-gU', addon] : ['-D', '--defined-only', addon]
  const hasAddon = !crossed || fs.existsSync(addon)
  const lines = hasAddon ? tool('nm', dynamic).split('\n').filter(Boolean) : []
  const exported = lines.map((line) => line.split(/\s+/)[2].replace(/^_(?=n)/, ''))
  const expected = ['napi_register_module_v1', 'node_api_module_get_api_version_v1']
  const linkerOwn = ['_init', '_fini', '_edata', '_end', '__bss_start']
  for (const symbol of exported) {
    if (!expected.includes(symbol) && !linkerOwn.includes(symbol)) faults.push(`chord.node exports ${symbol}`)
  }
  if (hasAddon && !exported.includes(expected[0])) faults.push(`chord.node does not export ${expected[0]}`)
  if (checked && (nCore === 0 || nTier === 0)) faults.push(`${release}: ${nCore} core and ${nTier} tier objects found: build first`)
  for (const fault of faults) process.stderr.write(`${fault}\n`)
  process.stdout.write(`${nCore} core objects, ${nTier} tier objects, ${exported.length} exports, ${faults.length} faults\n`)
  process.exitCode = faults.length ? 1 : 0
}

if (process.platform === 'win32') process.stdout.write('not checked on Windows\n')
else main()
