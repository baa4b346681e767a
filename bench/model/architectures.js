'use strict';
// What the files of each architecture hold beyond the shape of the model: which norms, biases and
// matrices a layer has, under which names, and which keys the metadata has. One row each; a row says
// how its architecture differs from llama.
//
//   layerNorm    'bias' or 'no bias': LayerNorm in place of RMS norm
//   postNorms    norms of what attention and feed-forward add; 'only': none before them
//   parallel     attention and feed-forward side by side, no ffn_norm
//   ffnNorm      name of the norm before the feed-forward
//   qkv          'fused': one matrix of queries, keys and values
//   bias         of q, k and v; outputBias: of attention's output; ffnBias; headBias
//   qkNorm       'head', 'row' or 'each head' (LayerNorm, weights of its own for each)
//   ffn          'fused': gate and up in one matrix; 'plain': no gate
//   expertBias   of router and experts; sinks: of each head's softmax
//   subNorms     norms of attention's result and of the feed-forward's hidden vector
//   positions    learned ones
//   latent       multi-head latent attention
//   encoder      norms behind each part, every token sees all others (encoders.js)
//   keys(g)      [name after "<architecture>.", GGUF value type name, value]

const window = (g) => (g.window ? [['attention.sliding_window', 'u32', g.window]] : []);
const notCausal = () => [['attention.causal', 'bool', false]];
const LAYER_NORM = { layerNorm: 'bias', bias: true, outputBias: true, ffnBias: true, ffn: 'plain' };

const ARCHITECTURES = {
    llama: { keys: window },
    qwen2: { bias: true },
    qwen2moe: { bias: true },
    qwen3: { qkNorm: 'head' },
    qwen3moe: { qkNorm: 'head' },
    gemma: {},
    gemma2: {
        postNorms: true,
        keys: (g) => [
            ...window(g),
            ['attn_logit_softcapping', 'f32', g.attentionCap],
            ['final_logit_softcapping', 'f32', g.logitCap],
        ],
    },
    gemma3: { postNorms: true, qkNorm: 'head', keys: window },
    phi3: { qkv: 'fused', ffn: 'fused', keys: window },
    phi2: { ...LAYER_NORM, qkv: 'fused', parallel: true, headBias: true },
    olmo2: { postNorms: 'only', qkNorm: 'row', keys: window },
    smollm3: {},
    granite: {
        keys: (g) => [
            ['attention.scale', 'f32', g.attentionScale],
            ['embedding_scale', 'f32', g.embeddingScale],
            ['residual_scale', 'f32', g.residualScale],
            ['logit_scale', 'f32', 1 / g.logitFactor],
        ],
    },
    starcoder2: LAYER_NORM,
    stablelm: { layerNorm: 'bias', keys: () => [['use_parallel_residual', 'bool', false]] },
    gpt2: { ...LAYER_NORM, qkv: 'fused', positions: true },
    falcon: { layerNorm: 'bias', qkv: 'fused', ffn: 'plain', parallel: true },
    'command-r': {
        layerNorm: 'no bias',
        parallel: true,
        keys: (g) => [['logit_scale', 'f32', g.logitFactor]],
    },
    'gpt-oss': {
        bias: true,
        outputBias: true,
        expertBias: true,
        sinks: true,
        ffnNorm: 'post_attention_norm',
        keys: window,
    },
    bert: { ...LAYER_NORM, encoder: true, positions: true, keys: notCausal },
    'nomic-bert': { layerNorm: 'bias', encoder: true, qkv: 'fused', keys: notCausal },
    bitnet: { subNorms: true },
    'bitnet-b1.58': { subNorms: true },
    deepseek: {
        keys: (g) => [
            ['leading_dense_block_count', 'u32', g.nDense],
            ['expert_shared_count', 'u32', g.nFfShared / g.nFfExpert],
            ['expert_weights_scale', 'f32', g.groups?.scale ?? 1],
        ],
    },
    cohere2: {
        layerNorm: 'no bias',
        parallel: true,
        keys: (g) => [...window(g), ['logit_scale', 'f32', g.logitFactor]],
    },
};

ARCHITECTURES.deepseek2 = {
    latent: true,
    keys: (g) => [
        ...ARCHITECTURES.deepseek.keys(g),
        ['attention.kv_lora_rank', 'u32', g.nKvLora],
        ...(g.nQLora ? [['attention.q_lora_rank', 'u32', g.nQLora]] : []),
        ['attention.key_length', 'u32', g.splitLatent ? g.nKvLora + g.nRot : g.headDim],
        ['attention.value_length', 'u32', g.splitLatent ? g.nKvLora : g.valueDim],
        ...(g.splitLatent
            ? [
                  ['attention.key_length_mla', 'u32', g.headDim],
                  ['attention.value_length_mla', 'u32', g.valueDim],
              ]
            : []),
        ...(g.groups
            ? [
                  ['expert_gating_func', 'u32', 2],
                  ['expert_weights_norm', 'bool', true],
                  ['expert_group_count', 'u32', g.groups.all],
                  ['expert_group_used_count', 'u32', g.groups.used],
              ]
            : []),
    ],
};

module.exports = { ARCHITECTURES };
