# One executable per module test. Built with -Dchord_tests=1.
{
  'targets': [
    {'target_name': 'test_base', 'includes': ['test.gypi']},
    {'target_name': 'test_file', 'includes': ['test.gypi']},
    {'target_name': 'test_gemm', 'includes': ['test.gypi']},
    {'target_name': 'test_gguf', 'includes': ['test.gypi']},
    {'target_name': 'test_gguf_bad', 'includes': ['test.gypi']},
    {'target_name': 'test_gguf_split', 'includes': ['test.gypi']},
    {'target_name': 'test_graph', 'includes': ['test.gypi']},
    {'target_name': 'test_kernels', 'includes': ['test.gypi']},
    {'target_name': 'test_kv', 'includes': ['test.gypi']},
    {'target_name': 'test_models', 'includes': ['test.gypi']},
    {'target_name': 'test_pool', 'includes': ['test.gypi']},
    {'target_name': 'test_pretokenizers', 'includes': ['test.gypi']},
    {'target_name': 'test_quant', 'includes': ['test.gypi']},
    {'target_name': 'test_quant_dot', 'includes': ['test.gypi']},
    {'target_name': 'test_sampler', 'includes': ['test.gypi']},
    {'target_name': 'test_stop', 'includes': ['test.gypi']},
    {'target_name': 'test_tokenizer', 'includes': ['test.gypi']},
    {'target_name': 'test_vocabularies', 'includes': ['test.gypi']},
    {'target_name': 'test_weights', 'includes': ['test.gypi']},
  ],
}
