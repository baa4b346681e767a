# A tier's static library. The target sets tier (its name), tier_arch, tier_sources (of the folder) and tier_flags.
{
  'win_delay_load_hook': 'false',
  'includes': ['../common.gypi'],
  'conditions': [
    ['target_arch=="<(tier_arch)"', {
      'type': 'static_library',
      'sources': ['<@(tier_sources)'],
      'defines': ['CHORD_TIER=<(tier)'],
      'cflags_c': ['<@(tier_flags)'],
      'xcode_settings': {'OTHER_CFLAGS': ['<@(tier_flags)']},
      'msvs_settings': {'VCCLCompilerTool': {'AdditionalOptions': ['<@(tier_flags)']}},
    }, {
      'type': 'none',
    }],
  ],
}
