# What every fuzz target has in common: test/fuzz/<target>.c, linked with the core and libFuzzer.
{
  'type': 'executable',
  'win_delay_load_hook': 'false',
  'includes': ['../../src/common.gypi'],
  'sources': ['<(DEPTH)/test/fuzz/<(_target_name).c'],
  'include_dirs': ['<(DEPTH)/test/fuzz'],
  'dependencies': ['<(DEPTH)/binding.gyp:chord_core'],
  'cflags_c': ['-fsanitize=fuzzer'],
  'ldflags': ['-fsanitize=fuzzer'],
  'libraries': ['-luv', '-lm'],
}
