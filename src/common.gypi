# Compiler settings of every target. `cflags_c` and not `cflags`: Node's common.gypi takes -Werror out of the latter.
{
  'variables': {
    'chord_sanitize%': '', # address,undefined | thread: asserts on, every finding fatal
    'chord_fuzz%': 0,      # instrument for libFuzzer (clang)
    'chord_werror%': 0,
    'chord_warnings': ['-Wall', '-Wextra', '-Wshadow', '-Wmissing-prototypes', '-Wvla', '-Wno-unused-parameter'],
    # No contraction: a*b+c rounds twice on every machine, unless the code says fma().
    'chord_language': ['-ffp-contract=off', '-fvisibility=hidden', '-fno-math-errno'],
  },
  'include_dirs': ['.'],
  'cflags_c': ['-std=gnu11', '<@(chord_warnings)', '<@(chord_language)'],
  'xcode_settings': {
    'GCC_C_LANGUAGE_STANDARD': 'gnu11',
    'MACOSX_DEPLOYMENT_TARGET': '11.0',
    'WARNING_CFLAGS': ['<@(chord_warnings)'],
    'OTHER_CFLAGS': ['<@(chord_language)'],
  },
  'configurations': {
    'Release': {
      'conditions': [['chord_sanitize=="" and chord_fuzz==0', {'defines': ['NDEBUG']}]],
    },
  },
  'conditions': [
    ['chord_werror==1', {
      'cflags_c': ['-Werror'],
      'xcode_settings': {'GCC_TREAT_WARNINGS_AS_ERRORS': 'YES'},
    }],
    ['chord_sanitize!=""', {
      'cflags_c': [
        '-fsanitize=<(chord_sanitize)', '-fno-sanitize-recover=all', '-g1', '-fno-omit-frame-pointer',
      ],
      'conditions': [
        ['chord_fuzz==0', {'cflags_c': ['-Wno-maybe-uninitialized']}], # gcc's, and what it says depends on the optimizer
        # Of variables that stay in registers ThreadSanitizer sees nothing; AddressSanitizer makes the largest kernels too much to optimize.
        ['chord_sanitize=="thread"', {'cflags_c': ['-O1']}, {'cflags_c': ['-Og']}],
      ],
      'ldflags': ['-fsanitize=<(chord_sanitize)'],
    }],
    ['chord_fuzz==1', {
      'cflags_c': ['-fsanitize=fuzzer-no-link', '-fsanitize-coverage-ignorelist=../test/fuzz/uncovered.txt'], # from build/
    }],
    # The sources are GNU C, which of the compilers for Windows only clang-cl takes.
    ['OS=="win"', {
      'msbuild_toolset': 'ClangCL',
      'msvs_settings': {
        'VCCLCompilerTool': {
          'WholeProgramOptimization': 'false',
          'AdditionalOptions!': ['-std:c++17', '/Zc:__cplusplus'],
          'AdditionalOptions': ['-ffp-contract=off', '-fno-math-errno', '-Wno-unused-parameter'],
        },
      },
      'defines': ['_CRT_SECURE_NO_WARNINGS', '_USE_MATH_DEFINES', 'NOMINMAX', 'WIN32_LEAN_AND_MEAN'],
    }],
  ],
}
