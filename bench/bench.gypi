# Bench programs in C. Built with -Dchord_tests=1.
{
  'targets': [
    {'target_name': 'bench_attention', 'sources': ['attention.c', 'machine.c'], 'includes': ['program.gypi']},
    {'target_name': 'bench_disk', 'sources': ['disk.c'], 'includes': ['program.gypi']},
    {'target_name': 'bench_experts', 'sources': ['experts.c'], 'includes': ['program.gypi']},
    {'target_name': 'bench_gemm', 'sources': ['gemm.c', 'machine.c'], 'includes': ['program.gypi']},
    {'target_name': 'bench_grammar', 'sources': ['grammar.c'], 'includes': ['program.gypi']},
    {'target_name': 'bench_kernels', 'sources': ['kernels.c', 'machine.c'], 'includes': ['program.gypi']},
    {'target_name': 'bench_machine', 'sources': ['probe.c', 'machine.c'], 'includes': ['program.gypi']},
    {'target_name': 'bench_sampler', 'sources': ['sampler.c'], 'includes': ['program.gypi']},
  ],
}
