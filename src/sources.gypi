# The one list of C files. Paths are relative to the folder of binding.gyp; one folder per paragraph, sorted.
# A file in src/ that is not named here fails test/check-includes.js.
{
  'variables': {
    'chord_core_c': [
      'src/base/alloc.c',
      'src/base/hash.c',
      'src/base/status.c',

      'src/os/cpu.c',
      'src/os/file_posix.c',
      'src/os/file_win32.c',
      'src/os/limits.c',
      'src/os/pool.c',
      'src/os/thread.c',

      'src/gguf/cursor.c',
      'src/gguf/gguf.c',
      'src/gguf/gguf_values.c',
      'src/gguf/header.c',
      'src/gguf/spans.c',
      'src/gguf/split.c',

      'src/quant/activation.c',
      'src/quant/bf16.c',
      'src/quant/f16.c',
      'src/quant/f32.c',
      'src/quant/q2_k.c',
      'src/quant/q3_k.c',
      'src/quant/q4_0.c',
      'src/quant/q4_1.c',
      'src/quant/q4_k.c',
      'src/quant/q5_0.c',
      'src/quant/q5_1.c',
      'src/quant/q5_k.c',
      'src/quant/q6_k.c',
      'src/quant/q8_0.c',
      'src/quant/quant.c',
      'src/quant/search.c',

      'src/kernels/kernels.c',
      'src/kernels/scalar/attention.c',
      'src/kernels/scalar/scalar.c',
      'src/kernels/scalar/vector.c',

      'src/weights/weights.c',

      'src/tokenizer/bpe.c',
      'src/tokenizer/detokenizer.c',
      'src/tokenizer/merge.c',
      'src/tokenizer/pretokenizers.c',
      'src/tokenizer/special.c',
      'src/tokenizer/spm.c',
      'src/tokenizer/tokenizer.c',
      'src/tokenizer/unicode.c',
      'src/tokenizer/unicode_tables.c',
      'src/tokenizer/vocabulary.c',

      'src/sampler/candidates.c',
      'src/sampler/logprobs.c',
      'src/sampler/sampler.c',
      'src/sampler/stop.c',

      'src/graph/graph.c',
      'src/graph/kv.c',

      'src/backend/cpu.c',

      'src/models/archs.c',
      'src/models/blocks.c',
      'src/models/hparams.c',
      'src/models/llama.c',
      'src/models/qwen2.c',
      'src/models/qwen3.c',

      'src/engine/choices.c',
      'src/engine/inspect.c',
      'src/engine/job.c',
      'src/engine/model.c',
      'src/engine/plan.c',
      'src/engine/scheduler.c',
      'src/engine/tensors.c',
      'src/engine/tokenizing.c',
    ],

    'chord_addon_c': [
    ],

    # Tiers: one folder, one list and one set of flags each. Nothing else is compiled with more than the baseline.
    'chord_kernels_avx2_c': [
      'src/kernels/avx2/avx2.c',
      'src/kernels/avx2/vector.c',
    ],
    'chord_kernels_avx2_flags': ['-mavx2', '-mfma', '-mf16c', '-mbmi', '-mbmi2'],

    'chord_kernels_avx512vnni_c': [
      'src/kernels/avx512vnni/activation.c',
      'src/kernels/avx512vnni/attention.c',
      'src/kernels/avx512vnni/avx512vnni.c',
      'src/kernels/avx512vnni/bf16.c',
      'src/kernels/avx512vnni/f16.c',
      'src/kernels/avx512vnni/f32.c',
      'src/kernels/avx512vnni/q2_k.c',
      'src/kernels/avx512vnni/q3_k.c',
      'src/kernels/avx512vnni/q4_0.c',
      'src/kernels/avx512vnni/q4_1.c',
      'src/kernels/avx512vnni/q4_k.c',
      'src/kernels/avx512vnni/q5_0.c',
      'src/kernels/avx512vnni/q5_1.c',
      'src/kernels/avx512vnni/q5_k.c',
      'src/kernels/avx512vnni/q6_k.c',
      'src/kernels/avx512vnni/q8_0.c',
      'src/kernels/avx512vnni/vector.c',
    ],
    'chord_kernels_avx512vnni_flags': [
      '-mavx2', '-mfma', '-mf16c', '-mbmi', '-mbmi2',
      '-mavx512f', '-mavx512bw', '-mavx512vl', '-mavx512dq', '-mavx512cd',
      '-mavx512vnni', '-mavx512vbmi', '-mavx512vbmi2', '-mavx512bitalg', '-mavx512vpopcntdq', '-mgfni',
      '-mprefer-vector-width=512',
    ],
  },
}
