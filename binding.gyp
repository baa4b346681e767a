# Targets only. The files are listed in src/sources.gypi, the compiler settings in src/common.gypi.
#   -Dchord_tests=1       C tests (needs cmocka and libuv) and bench programs
#   -Dchord_fuzz=1        fuzz targets (needs clang)
#   -Dchord_sanitize=...  address,undefined or thread
{
  'includes': ['src/sources.gypi'],
  'variables': {
    'chord_tests%': 0,
    'chord_fuzz%': 0,
    'chord_sanitize%': '',
  },
  'targets': [
    {
      'target_name': 'chord_kernels_avx2',
      'win_delay_load_hook': 'false',
      'includes': ['src/common.gypi'],
      'conditions': [
        ['target_arch=="x64"', {
          'type': 'static_library',
          'sources': ['<@(chord_kernels_avx2_c)'],
          'cflags_c': ['<@(chord_kernels_avx2_flags)'],
          'xcode_settings': {'OTHER_CFLAGS': ['<@(chord_kernels_avx2_flags)']},
          'msvs_settings': {'VCCLCompilerTool': {'AdditionalOptions': ['<@(chord_kernels_avx2_flags)']}},
        }, {
          'type': 'none',
        }],
      ],
    },
    {
      'target_name': 'chord_kernels_avx512vnni',
      'win_delay_load_hook': 'false',
      'includes': ['src/common.gypi'],
      'conditions': [
        ['target_arch=="x64"', {
          'type': 'static_library',
          'sources': ['<@(chord_kernels_avx512vnni_c)'],
          'cflags_c': ['<@(chord_kernels_avx512vnni_flags)'],
          'xcode_settings': {'OTHER_CFLAGS': ['<@(chord_kernels_avx512vnni_flags)']},
          'msvs_settings': {'VCCLCompilerTool': {'AdditionalOptions': ['<@(chord_kernels_avx512vnni_flags)']}},
        }, {
          'type': 'none',
        }],
      ],
    },
    {
      'target_name': 'chord_core',
      'type': 'static_library',
      'win_delay_load_hook': 'false',
      'includes': ['src/common.gypi'],
      'sources': ['<@(chord_core_c)'],
      'dependencies': ['chord_kernels_avx2', 'chord_kernels_avx512vnni'],
    },
  ],
  'conditions': [
    # A Node that is not instrumented cannot load an addon that is.
    ['chord_sanitize==""', {
      'targets': [
        {
          'target_name': 'chord',
          'includes': ['src/common.gypi'],
          'sources': ['<@(chord_addon_c)'],
          'defines': ['NAPI_VERSION=8'],
          # NAPI_MODULE_INIT defines functions that no header declares.
          'cflags_c!': ['-Wmissing-prototypes'],
          'dependencies': ['chord_core'],
        },
      ],
    }],
    ['chord_tests==1', {
      'includes': ['test/c/tests.gypi', 'bench/bench.gypi'],
    }],
    ['chord_fuzz==1', {
      'includes': ['test/fuzz/fuzz.gypi'],
    }],
  ],
}
