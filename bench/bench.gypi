# Bench programs in C. Built with -Dchord_tests=1.
{
  'targets': [
    {'target_name': 'bench_gemm', 'sources': ['gemm.c'], 'includes': ['program.gypi']},
    {'target_name': 'bench_kernels', 'sources': ['kernels.c'], 'includes': ['program.gypi']},
    {'target_name': 'bench_sampler', 'sources': ['sampler.c'], 'includes': ['program.gypi']},
  ],
}
