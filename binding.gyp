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
      'target_name': 'chord_tier_avx2',
      'variables': {
        'tier': 'avx2',
        'tier_arch': 'x64',
        'tier_sources': ['<@(chord_kernels_avx2_c)'],
        'tier_flags': ['<@(chord_tier_avx2_flags)'],
      },
      'includes': ['src/kernels/tier.gypi'],
    },
    {
      'target_name': 'chord_tier_avxvnni',
      'variables': {
        'tier': 'avxvnni',
        'tier_arch': 'x64',
        'tier_sources': ['<@(chord_kernels_avx2_c)'],
        'tier_flags': ['<@(chord_tier_avxvnni_flags)'],
      },
      'includes': ['src/kernels/tier.gypi'],
    },
    {
      'target_name': 'chord_tier_avx512',
      'variables': {
        'tier': 'avx512',
        'tier_arch': 'x64',
        'tier_sources': ['<@(chord_kernels_avx512_c)', '<@(chord_kernels_avx512_int8_c)'],
        'tier_flags': ['<@(chord_tier_avx512_flags)'],
      },
      'includes': ['src/kernels/tier.gypi'],
    },
    {
      'target_name': 'chord_tier_avx512vnni',
      'variables': {
        'tier': 'avx512vnni',
        'tier_arch': 'x64',
        'tier_sources': ['<@(chord_kernels_avx512_c)', '<@(chord_kernels_avx512_int8_c)'],
        'tier_flags': ['<@(chord_tier_avx512vnni_flags)'],
      },
      'includes': ['src/kernels/tier.gypi'],
    },
    {
      'target_name': 'chord_tier_avx512gfni',
      'variables': {
        'tier': 'avx512gfni',
        'tier_arch': 'x64',
        'tier_sources': ['<@(chord_kernels_avx512_c)', '<@(chord_kernels_avx512_int8_c)'],
        'tier_flags': ['<@(chord_tier_avx512gfni_flags)'],
      },
      'includes': ['src/kernels/tier.gypi'],
    },
    {
      'target_name': 'chord_tier_amx',
      'variables': {
        'tier': 'amx',
        'tier_arch': 'x64',
        'tier_sources': ['<@(chord_kernels_avx512_c)', '<@(chord_kernels_amx_c)'],
        'tier_flags': ['<@(chord_tier_amx_flags)'],
      },
      'includes': ['src/kernels/tier.gypi'],
    },
    {
      'target_name': 'chord_tier_neon',
      'variables': {
        'tier': 'neon',
        'tier_arch': 'arm64',
        'tier_sources': ['<@(chord_kernels_neon_c)'],
        'tier_flags': ['<@(chord_tier_neon_flags)'],
      },
      'includes': ['src/kernels/tier.gypi'],
    },
    {
      'target_name': 'chord_tier_neon_dotprod',
      'variables': {
        'tier': 'neon_dotprod',
        'tier_arch': 'arm64',
        'tier_sources': ['<@(chord_kernels_neon_c)'],
        'tier_flags': ['<@(chord_tier_neon_dotprod_flags)'],
      },
      'includes': ['src/kernels/tier.gypi'],
    },
    {
      'target_name': 'chord_tier_neon_i8mm',
      'variables': {
        'tier': 'neon_i8mm',
        'tier_arch': 'arm64',
        'tier_sources': ['<@(chord_kernels_neon_c)'],
        'tier_flags': ['<@(chord_tier_neon_i8mm_flags)'],
      },
      'includes': ['src/kernels/tier.gypi'],
    },
    {
      'target_name': 'chord_core',
      'type': 'static_library',
      'win_delay_load_hook': 'false',
      'includes': ['src/common.gypi'],
      'sources': ['<@(chord_core_c)'],
      'conditions': [
        ['chord_fuzz==1', {
          # clang takes minutes over instrumented kernels, which no fuzz target is about.
          'defines': ['CHORD_SCALAR_ONLY'],
        }, {
          'dependencies': [
            'chord_tier_avx2', 'chord_tier_avxvnni', 'chord_tier_avx512', 'chord_tier_avx512vnni', 'chord_tier_avx512gfni',
            'chord_tier_amx',
            'chord_tier_neon', 'chord_tier_neon_dotprod', 'chord_tier_neon_i8mm',
          ],
        }],
      ],
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
