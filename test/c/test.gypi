# What every C test has in common: test/c/<target>.c, linked with the core, cmocka and libuv.
{
  'type': 'executable',
  'win_delay_load_hook': 'false',
  'includes': ['../../src/common.gypi'],
  'sources': ['<(DEPTH)/test/c/<(_target_name).c'],
  'include_dirs': ['<(DEPTH)/test/c'],
  'dependencies': ['<(DEPTH)/binding.gyp:chord_core'],
  'libraries': ['-lcmocka', '-luv', '-lm'],
  'conditions': [
    ['OS=="mac"', {
      'include_dirs': ['<!(brew --prefix)/include'],
      'library_dirs': ['<!(brew --prefix)/lib'],
    }],
  ],
}
