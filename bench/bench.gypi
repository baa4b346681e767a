# Bench programs in C. Built with -Dchord_tests=1.
{
  'targets': [
    # A library, so that no two programs write its object at once.
    {'target_name': 'bench_measure', 'type': 'static_library', 'sources': ['machine.c'], 'includes': ['../src/common.gypi'], 'dependencies': ['<(DEPTH)/binding.gyp:chord_core']},
    {'target_name': 'bench_attention', 'sources': ['attention.c'], 'dependencies': ['bench_measure'], 'includes': ['program.gypi']},
    {'target_name': 'bench_disk', 'sources': ['disk.c'], 'includes': ['program.gypi']},
    {'target_name': 'bench_experts', 'sources': ['experts.c'], 'includes': ['program.gypi']},
    {'target_name': 'bench_gemm', 'sources': ['gemm.c'], 'dependencies': ['bench_measure'], 'includes': ['program.gypi']},
    {'target_name': 'bench_grammar', 'sources': ['grammar.c'], 'includes': ['program.gypi']},
    {'target_name': 'bench_kernels', 'sources': ['kernels.c'], 'dependencies': ['bench_measure'], 'includes': ['program.gypi']},
    {'target_name': 'bench_machine', 'sources': ['probe.c'], 'dependencies': ['bench_measure'], 'includes': ['program.gypi']},
    {'target_name': 'bench_sampler', 'sources': ['sampler.c'], 'includes': ['program.gypi']},
  ],
}
