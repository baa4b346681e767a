# What every bench program has in common: linked with the core and libuv.
{
  'type': 'executable',
  'win_delay_load_hook': 'false',
  'includes': ['../src/common.gypi'],
  'dependencies': ['<(DEPTH)/binding.gyp:chord_core'],
  'libraries': ['-luv', '-lm'],
  'conditions': [
    ['OS=="mac"', {'library_dirs': ['<!(brew --prefix)/lib']}],
  ],
}
