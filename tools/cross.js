'use strict'

// The C tests on processors that this machine is not, by the user-mode emulation of qemu: which programs run on which of them.
// A run is { names, command, env }: these programs of test/c, started by this command, with this environment.

const path = require('node:path')
const { root } = require('./build.js')

// Those that depend on the tier.
const KERNELS = ['test_attention', 'test_gemm', 'test_kernels']

// Not emulated: what takes minutes there and depends on no processor, and what needs fixtures.
const NATIVE_ONLY = [
  'test_choose', 'test_draft', 'test_engine_bytes', 'test_engine_open', 'test_known_grammars', 'test_paged', 'test_paged_experts', 'test_pager_faults',
  'test_prefix', 'test_speculate', 'test_spill', 'test_vocabularies',
]

// CHORD_TEST_QUICK leaves out combinations, CHORD_EXPECT_TIER is checked by test_kernels.
const environment = (tier) => ({ CHORD_TEST_QUICK: '1', ...(tier ? { CHORD_EXPECT_TIER: tier } : {}) })

// The variant aarch64 of tools/build.js: all of it on a processor that has everything, the kernels on one for each lower tier.
function aarch64Runs(programs) {
  const libraries = path.join(root, 'build', 'aarch64', 'sysroot', 'usr', 'lib', 'aarch64-linux-gnu')
  const run = (cpu, names, tier) => ({
    names,
    command: ['qemu-aarch64', '-cpu', cpu, '-L', '/usr/aarch64-linux-gnu', '-E', `LD_LIBRARY_PATH=${libraries}`],
    env: environment(tier),
  })
  return [
    run('max', programs.filter((name) => !NATIVE_ONLY.includes(name))),
    run('cortex-a72', KERNELS, 'neon'), // ARMv8.0: no dot products
    run('neoverse-n1', KERNELS, 'neon_dotprod'), // no products of matrices
  ]
}

// The programs that run natively, too. AVX-512 is not emulated: its tiers are tested on the processors that have them.
function x86Runs() {
  const run = (cpu, names, tier) => ({ names, command: ['qemu-x86_64', '-cpu', cpu], env: environment(tier) })
  return [
    run('Haswell', KERNELS, 'avx2'),
    run('Nehalem', ['test_kernels'], 'scalar'), // what the references are, so that only its choice is left to test
  ]
}

module.exports = { aarch64Runs, x86Runs }
