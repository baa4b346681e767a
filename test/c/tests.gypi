# One executable per module test. Built with -Dchord_tests=1.
{
  'targets': [
    {'target_name': 'test_kernels', 'includes': ['test.gypi']},
    {'target_name': 'test_quant', 'includes': ['test.gypi']},
    {'target_name': 'test_quant_dot', 'includes': ['test.gypi']},
    {'target_name': 'test_sampler', 'includes': ['test.gypi']},
    {'target_name': 'test_stop', 'includes': ['test.gypi']},
  ],
}
