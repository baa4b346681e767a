# One libFuzzer program per kind of hostile input: test/fuzz/<target>.c. Built with -Dchord_fuzz=1 by clang.
{
  'targets': [
    {'target_name': 'fuzz_gbnf', 'includes': ['target.gypi']},
    {'target_name': 'fuzz_gguf', 'includes': ['target.gypi']},
    {'target_name': 'fuzz_model', 'includes': ['target.gypi']},
    {'target_name': 'fuzz_schema', 'includes': ['target.gypi']},
    {'target_name': 'fuzz_session', 'includes': ['target.gypi']},
    {'target_name': 'fuzz_tokenizer', 'includes': ['target.gypi']},
  ],
}
