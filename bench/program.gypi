# What every bench program has in common: bench/<target>.c, linked with the core and libuv.
{
  'type': 'executable',
  'win_delay_load_hook': 'false',
  'includes': ['../src/common.gypi'],
  'sources': ['<(DEPTH)/bench/<(_target_name).c'],
  'dependencies': ['<(DEPTH)/binding.gyp:chord_core'],
  'libraries': ['-luv', '-lm'],
  'conditions': [
    ['OS=="mac"', {'library_dirs': ['<!(brew --prefix)/lib']}],
  ],
}
