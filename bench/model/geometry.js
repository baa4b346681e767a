'use strict';
// The shapes of known models, and from a shape the list of tensors with the spread their weights
// need.
//
// Random weights are only useful when the numbers that flow through them look like a trained
// model's: no vanishing, no explosion, attention that is neither uniform nor one-hot, logits with a
// standard deviation near 3. Each matrix therefore gets its own standard deviation, derived in
// tensorsOf() from the shape alone.

const { ARCHITECTURES } = require('./architectures.js');
const { classifierTensors, encoderTensors } = require('./encoders.js');

const LLAMA31_OLD_CONTEXT = 8192;

// One row per model; `more` holds what few of them have. headDim defaults to nEmbd / nHead.
// ropeFactor: Llama-3.1 frequency scaling, stored as the tensor rope_freqs.weight. is70b: the one
// model whose mix rules depend on its name (see mix.js). With experts: nExpert, of which nUsed run
// for a token, nFfExpert wide each; nFfShared: the width of the expert that all tokens share.
// splitLatent: latent attention with a matrix of each head for keys and one for values. groups: {
// all, used, scale }, of experts that are gated by sigmoids and chosen in groups.
// nRot: elements of a head that RoPE turns. window: of layers with a sliding window. ropeScaling:
// { type, factor, original context }; longFactors: [short, long] multiples of wavelengths, with the
// original context. pooling: how a text's rows become its vector (1 mean, 2 first, 3 last, 4 a classifier of
// nLabels). nTokenTypes: of encoders, 2 or, as XLM-RoBERTa has it, 1. rerankTemplate: of the file,
// for pairs of texts. embeddingScale, residualScale and logitFactor multiply what they name.
function row(architecture, nEmbd, nFf, nLayer, nHead, nHeadKv, nVocab, context, more) {
    return { architecture, nEmbd, nFf, nLayer, nHead, nHeadKv, nVocab, context, ...more };
}
const LLAMA2 = { ropeBase: 10000, rmsEps: 1e-5 };
const LLAMA3 = { ropeBase: 500000, rmsEps: 1e-5 };
const LLAMA32 = { ...LLAMA3, ropeFactor: 32, tied: true };
const QWEN = { ropeBase: 1000000, rmsEps: 1e-6, tied: true };
const WIDE_HEADS = { ...QWEN, headDim: 128 };
const MIXTRAL = { ropeBase: 1000000, rmsEps: 1e-5, nExpert: 8, nUsed: 2 };
const QWEN_MOE = { ...QWEN, tied: false };
const QWEN3_MOE = { ...QWEN_MOE, headDim: 128 };

const gemma = (nEmbd, headDim) => ({
    ropeBase: 10000,
    rmsEps: 1e-6,
    tied: true,
    headDim,
    embeddingScale: Math.sqrt(nEmbd),
});
const PHI2 = { ropeBase: 10000, layerEps: 1e-5 };
const GRANITE = {
    ropeBase: 10000000,
    rmsEps: 1e-5,
    tied: true,
    attentionScale: 0.1,
    embeddingScale: 12,
    residualScale: 0.22,
    logitFactor: 1 / 8,
};
const COMMAND_R = { ropeBase: 50000, layerEps: 1e-5, tied: true, logitFactor: 0.25 };
const GPT_OSS = { ropeBase: 150000, rmsEps: 1e-5, headDim: 64, nUsed: 4 };
const DEEPSEEK = {
    ropeBase: 10000,
    rmsEps: 1e-6,
    nDense: 1,
    nExpert: 8,
    nUsed: 2,
    nFfExpert: 256,
    nFfShared: 512,
};
const BERT = { ropeBase: 10000, layerEps: 1e-12 };
const NOMIC_BERT = { ropeBase: 1000, layerEps: 1e-12, pooling: 1 };
// With the special tokens of made vocabularies.
const RERANK_TEMPLATE =
    '<|begin|>system\nIs the Document what the Query asks for? Say "yes" or "no".<|end|>\n' +
    '<|begin|>user\n<Query>: {query}\n<Document>: {document}<|end|>\n<|begin|>assistant\n\n\n';
const GEMMA2 = { window: 4096, attentionCap: 50, logitCap: 30 };

const GEOMETRIES = {
    tiny: row('llama', 256, 768, 4, 4, 2, 512, 2048, LLAMA2),
    'tiny-qwen2': row('qwen2', 256, 768, 4, 4, 2, 512, 2048, QWEN),
    'tiny-qwen3': row('qwen3', 256, 768, 4, 4, 2, 512, 2048, WIDE_HEADS),
    'tiny-llama3': row('llama', 256, 768, 4, 4, 2, 512, 2048, { ...LLAMA32, ropeFactor: 8 }),
    'tiny-mixtral': row('llama', 256, 512, 4, 4, 2, 512, 2048, MIXTRAL),
    'tiny-qwen2moe': row('qwen2moe', 256, 768, 4, 4, 2, 512, 2048, {
        ...QWEN_MOE,
        nExpert: 12,
        nUsed: 4,
        nFfExpert: 256,
        nFfShared: 512,
    }),
    'tiny-qwen3moe': row('qwen3moe', 256, 768, 4, 4, 2, 512, 2048, {
        ...QWEN3_MOE,
        nExpert: 32,
        nUsed: 4,
        nFfExpert: 256,
    }),
    'tiny-mistral': row('llama', 256, 768, 4, 4, 2, 512, 2048, { ...LLAMA2, window: 16 }),
    'tiny-linear': row('llama', 256, 768, 4, 4, 2, 512, 2048, {
        ...LLAMA2,
        ropeScaling: { type: 'linear', factor: 4, original: 32 },
    }),
    'tiny-yarn': row('qwen2', 256, 768, 4, 4, 2, 512, 2048, {
        ...QWEN,
        ropeScaling: { type: 'yarn', factor: 8, original: 32 },
    }),
    'tiny-gemma': row('gemma', 256, 768, 4, 4, 1, 512, 2048, gemma(256, 128)),
    'tiny-gemma2': row('gemma2', 256, 768, 4, 4, 2, 512, 2048, {
        ...gemma(256, 128),
        window: 16,
        attentionCap: 4,
        logitCap: 8,
    }),
    'tiny-gemma3': row('gemma3', 256, 768, 6, 4, 2, 512, 2048, {
        ...gemma(256, 128),
        ropeBase: 1000000,
        ropeScaling: { type: 'linear', factor: 8 },
        window: 16,
    }),
    'tiny-phi3': row('phi3', 256, 768, 4, 4, 4, 512, 2048, LLAMA2),
    'tiny-phi3-long': row('phi3', 256, 768, 4, 4, 2, 512, 2048, {
        ...LLAMA2,
        nRot: 48,
        longFactors: { original: 32, short: 1.5, long: 20 },
    }),
    'tiny-phi3-short': row('phi3', 256, 768, 4, 4, 2, 512, 2048, {
        ...LLAMA2,
        nRot: 48,
        longFactors: { original: 1024, short: 1.5, long: 20 },
    }),
    'tiny-phi2': row('phi2', 256, 768, 4, 4, 4, 512, 2048, { ...PHI2, nRot: 32 }),
    'tiny-olmo2': row('olmo2', 256, 768, 4, 4, 4, 512, 2048, LLAMA2),
    'tiny-smollm3': row('smollm3', 256, 768, 4, 4, 2, 512, 2048, { ...LLAMA2, tied: true }),
    'tiny-granite': row('granite', 256, 768, 4, 4, 2, 512, 2048, GRANITE),
    'tiny-starcoder2': row('starcoder2', 256, 768, 4, 4, 2, 512, 2048, { ...PHI2, tied: true }),
    'tiny-stablelm': row('stablelm', 256, 768, 4, 4, 4, 512, 2048, { ...PHI2, nRot: 16 }),
    'tiny-bert': row('bert', 256, 768, 4, 4, 4, 512, 512, { ...BERT, pooling: 1 }),
    'tiny-bert-cls': row('bert', 256, 768, 4, 4, 4, 512, 512, { ...BERT, pooling: 2 }),
    'tiny-bert-rank': row('bert', 256, 768, 4, 4, 4, 512, 512, { ...BERT, pooling: 4, nLabels: 1 }),
    'tiny-xlmr-rank': row('bert', 256, 768, 4, 4, 4, 512, 512, {
        ...BERT,
        pooling: 4,
        nLabels: 1,
        nTokenTypes: 1,
    }),
    'tiny-nomic-bert': row('nomic-bert', 256, 768, 4, 4, 4, 512, 2048, NOMIC_BERT),
    'tiny-qwen3-embedding': row('qwen3', 256, 768, 4, 4, 2, 512, 2048, { ...WIDE_HEADS, pooling: 3 }),
    'tiny-qwen3-rank': row('qwen3', 256, 768, 4, 4, 2, 512, 2048, {
        ...WIDE_HEADS,
        pooling: 4,
        nLabels: 2,
    }),
    'tiny-qwen3-reranker': row('qwen3', 256, 768, 4, 4, 2, 512, 2048, {
        ...WIDE_HEADS,
        pooling: 4,
        nLabels: 2,
        rerankTemplate: RERANK_TEMPLATE,
    }),
    'tiny-gpt2': row('gpt2', 256, 768, 4, 4, 4, 512, 1024, { ...PHI2, tied: true }),
    'tiny-falcon': row('falcon', 256, 768, 4, 4, 1, 512, 2048, { ...PHI2, tied: true }),
    'tiny-command-r': row('command-r', 256, 768, 4, 4, 4, 512, 2048, COMMAND_R),
    'tiny-cohere2': row('cohere2', 256, 768, 4, 4, 2, 512, 2048, { ...COMMAND_R, window: 16 }),
    'tiny-gpt-oss': row('gpt-oss', 256, 256, 4, 4, 2, 512, 2048, {
        ...GPT_OSS,
        ropeScaling: { type: 'yarn', factor: 8, original: 32 },
        window: 16,
        nExpert: 8,
        nUsed: 2,
    }),
    'tiny-bitnet': row('bitnet', 256, 768, 4, 4, 2, 512, 2048, { ...LLAMA2, tied: true }),
    'tiny-bitnet-b1.58': row('bitnet-b1.58', 256, 768, 4, 4, 2, 512, 2048, {
        ...LLAMA2,
        tied: true,
    }),
    'tiny-deepseek': row('deepseek', 256, 768, 4, 4, 4, 512, 2048, DEEPSEEK),
    // llama.cpp takes queries to come from a narrow vector unless there are 27 layers.
    'tiny-deepseek2': row('deepseek2', 256, 256, 27, 4, 4, 512, 2048, {
        ...DEEPSEEK,
        ...{ nExpert: 4, nFfExpert: 64, nFfShared: 128 },
        ...{ headDim: 96, valueDim: 64, nRot: 32, nKvLora: 128 },
    }),
    // Every expert chosen: no ties between experts for rounding to decide.
    'tiny-deepseek2-all': row('deepseek2', 256, 256, 27, 4, 4, 512, 2048, {
        ...DEEPSEEK,
        ...{ nExpert: 4, nUsed: 4, nFfExpert: 64, nFfShared: 128 },
        ...{ headDim: 96, valueDim: 64, nRot: 32, nKvLora: 128 },
    }),
    'tiny-deepseek2-q': row('deepseek2', 256, 768, 4, 4, 4, 512, 2048, {
        ...DEEPSEEK,
        ...{ headDim: 96, valueDim: 64, nRot: 32, nKvLora: 128, nQLora: 160 },
        ropeScaling: { type: 'yarn', factor: 8, original: 32, logMultiplier: 0.0707 },
    }),
    'tiny-deepseek2-split': row('deepseek2', 256, 256, 27, 4, 4, 512, 2048, {
        ...DEEPSEEK,
        ...{ nExpert: 4, nFfExpert: 64, nFfShared: 128, splitLatent: true },
        ...{ headDim: 96, valueDim: 64, nRot: 32, nKvLora: 128 },
    }),
    'tiny-deepseek3': row('deepseek2', 256, 768, 4, 4, 4, 512, 2048, {
        ...DEEPSEEK,
        ...{ nExpert: 16, nUsed: 4, groups: { all: 4, used: 2, scale: 2.5 }, splitLatent: true },
        ...{ headDim: 96, valueDim: 64, nRot: 32, nKvLora: 256, nQLora: 160 },
        ropeScaling: { type: 'yarn', factor: 8, original: 32, logMultiplier: 0.0707 },
    }),
    'llama-1.1b': row('llama', 2048, 5632, 22, 32, 4, 32000, 2048, LLAMA2),
    'llama3-1b': row('llama', 2048, 8192, 16, 32, 8, 128256, 131072, LLAMA32),
    'llama2-7b': row('llama', 4096, 11008, 32, 32, 32, 32000, 4096, LLAMA2),
    'llama3-8b': row('llama', 4096, 14336, 32, 32, 8, 128256, 8192, LLAMA3),
    'llama2-13b': row('llama', 5120, 13824, 40, 40, 40, 32000, 4096, LLAMA2),
    'llama2-70b': row('llama', 8192, 28672, 80, 64, 8, 32000, 4096, { ...LLAMA2, is70b: true }),
    'qwen2-0.5b': row('qwen2', 896, 4864, 24, 14, 2, 151936, 32768, QWEN),
    'all-minilm-l6': row('bert', 384, 1536, 6, 12, 12, 30522, 512, { ...BERT, pooling: 1 }),
    'bge-base': row('bert', 768, 3072, 12, 12, 12, 30522, 512, { ...BERT, pooling: 2 }),
    'nomic-embed-v1.5': row('nomic-bert', 768, 3072, 12, 12, 12, 30522, 2048, NOMIC_BERT),
    'qwen3-embedding-0.6b': row('qwen3', 1024, 3072, 28, 16, 8, 151669, 32768, {
        ...WIDE_HEADS,
        pooling: 3,
    }),
    'qwen3-0.6b': row('qwen3', 1024, 3072, 28, 16, 8, 151936, 40960, WIDE_HEADS),
    'mixtral-8x7b': row('llama', 4096, 14336, 32, 32, 8, 32000, 32768, MIXTRAL),
    'qwen2moe-a2.7b': row('qwen2moe', 2048, 5632, 24, 16, 16, 151936, 8192, {
        ...QWEN_MOE,
        nExpert: 60,
        nUsed: 4,
        nFfExpert: 1408,
        nFfShared: 5632,
    }),
    'qwen3-30b-a3b': row('qwen3moe', 2048, 6144, 48, 32, 4, 151936, 40960, {
        ...QWEN3_MOE,
        nExpert: 128,
        nUsed: 8,
        nFfExpert: 768,
    }),
    'mistral-7b': row('llama', 4096, 14336, 32, 32, 8, 32000, 32768, { ...LLAMA2, window: 4096 }),
    'gemma-2b': row('gemma', 2048, 16384, 18, 8, 1, 256000, 8192, gemma(2048, 256)),
    'gemma2-2b': row('gemma2', 2304, 9216, 26, 8, 4, 256000, 8192, {
        ...gemma(2304, 256),
        ...GEMMA2,
    }),
    'gemma3-1b': row('gemma3', 1152, 6912, 26, 4, 1, 262144, 32768, {
        ...gemma(1152, 256),
        ropeBase: 1000000,
        window: 512,
    }),
    'phi3-mini': row('phi3', 3072, 8192, 32, 32, 32, 32064, 4096, { ...LLAMA2, window: 2047 }),
    'phi3-mini-128k': row('phi3', 3072, 8192, 32, 32, 32, 32064, 131072, {
        ...LLAMA2,
        window: 262144,
        longFactors: { original: 4096, short: 1.2, long: 32 },
    }),
    'phi2-2.7b': row('phi2', 2560, 10240, 32, 32, 32, 51200, 2048, { ...PHI2, nRot: 32 }),
    'olmo2-1b': row('olmo2', 2048, 8192, 16, 16, 16, 100352, 4096, { ...LLAMA3, rmsEps: 1e-6 }),
    'smollm3-3b': row('smollm3', 2048, 11008, 36, 16, 4, 128256, 65536, {
        ropeBase: 5000000,
        rmsEps: 1e-6,
        tied: true,
    }),
    'granite3-2b': row('granite', 2048, 8192, 40, 32, 8, 49155, 131072, {
        ...GRANITE,
        attentionScale: 1 / 64,
    }),
    'starcoder2-3b': row('starcoder2', 3072, 12288, 30, 24, 2, 49152, 16384, {
        ...PHI2,
        ropeBase: 1000000,
        tied: true,
    }),
    'stablelm2-1.6b': row('stablelm', 2048, 5632, 24, 32, 32, 100352, 4096, { ...PHI2, nRot: 16 }),
    'gpt2-124m': row('gpt2', 768, 3072, 12, 12, 12, 50257, 1024, { ...PHI2, tied: true }),
    'falcon-7b': row('falcon', 4544, 18176, 32, 71, 1, 65024, 2048, { ...PHI2, tied: true }),
    'command-r-35b': row('command-r', 8192, 22528, 40, 64, 64, 256000, 131072, {
        ...COMMAND_R,
        ropeBase: 8000000,
        logitFactor: 0.0625,
    }),
    'gpt-oss-20b': row('gpt-oss', 2880, 2880, 24, 64, 8, 201088, 131072, {
        ...GPT_OSS,
        ropeScaling: { type: 'yarn', factor: 32, original: 4096 },
        window: 128,
        nExpert: 32,
    }),
    'bitnet-2b': row('bitnet-b1.58', 2560, 6912, 30, 20, 5, 128256, 4096, { ...LLAMA3, tied: true }),
    'deepseek-moe-16b': row('deepseek', 2048, 10944, 28, 16, 16, 102400, 4096, {
        ...DEEPSEEK,
        ...{ nExpert: 64, nUsed: 6, nFfExpert: 1408, nFfShared: 2816 },
    }),
    'deepseek2-lite': row('deepseek2', 2048, 10944, 27, 16, 16, 102400, 163840, {
        ...DEEPSEEK,
        ...{ nExpert: 64, nUsed: 6, nFfExpert: 1408, nFfShared: 2816 },
        ...{ headDim: 192, valueDim: 128, nRot: 64, nKvLora: 512 },
        ropeScaling: { type: 'yarn', factor: 40, original: 4096, logMultiplier: 0.0707 },
    }),
    'deepseek3-671b': row('deepseek2', 7168, 18432, 61, 128, 128, 129280, 163840, {
        ...{ ropeBase: 10000, rmsEps: 1e-6, nDense: 3, nFfExpert: 2048, nFfShared: 2048 },
        ...{ nExpert: 256, nUsed: 8, groups: { all: 8, used: 4, scale: 2.5 }, splitLatent: true },
        ...{ headDim: 192, valueDim: 128, nRot: 64, nKvLora: 512, nQLora: 1536 },
        ropeScaling: { type: 'yarn', factor: 40, original: 4096, logMultiplier: 0.1 },
    }),
    'command-r7b': row('cohere2', 4096, 14336, 32, 32, 8, 256000, 8192, {
        ...COMMAND_R,
        window: 4096,
    }),
};

/** The named geometry with every default filled in; `layers` replaces the number of layers. */
function geometryOf(name, layers) {
    if (!Object.hasOwn(GEOMETRIES, name)) {
        throw new Error(`unknown geometry '${name}'; known: ${Object.keys(GEOMETRIES).join(', ')}`);
    }
    const g = {
        ...{ tied: false, is70b: false, ropeFactor: 0, nExpert: 0, window: 0 },
        ...{ embeddingScale: 1, residualScale: 1, logitFactor: 1 },
        ...GEOMETRIES[name],
        name,
    };
    g.headDim ??= g.nEmbd / g.nHead;
    g.nFfExpert ??= g.nFf;
    g.nRot ??= g.headDim;
    g.valueDim ??= g.headDim;
    g.nDense ??= 0;
    g.nTokenTypes ??= 2;
    g.attentionScale ??= 1 / Math.sqrt(g.headDim);
    if (layers !== undefined) {
        if (!Number.isInteger(layers) || layers < 1 || layers > 1000) {
            throw new Error(`layers must be an integer from 1 to 1000, got ${layers}`);
        }
        g.nLayer = layers;
    }
    return g;
}

// Norm weights are uniform in NORM_CENTRE +- NORM_SPREAD; their root mean square multiplies what
// follows the norm.
const NORM_SPREAD = 0.5;
const NORM_RMS = Math.sqrt(1 + (NORM_SPREAD * NORM_SPREAD) / 3);

const LOGIT_STD = 3; // wanted standard deviation of the logits
const SCORE_STD = 2; // of q.k / sqrt(headDim): a few keys matter to each query, not one and not all
const RESIDUAL_RMS = 3; // of the residual stream after the last layer
const ROUTER_STD = 1; // of a router's logits
// Of what experts add, beside what a dense feed-forward would. Two experts of nearly equal logits change
// places when activations are rounded in another way: little may depend on it when engines are compared.
const EXPERTS_SHARE = 0.25;
const SILU_GLU_RMS = 0.6; // root mean square of silu(a) * b for independent standard normal a, b

/**
 * Tensors in file order: { name, shape, role, layer, fill }, with the shape [columns, rows],
 * [columns, rows, experts] or [n].
 * fill: { kind: 'normal', std } for matrices and biases, { kind: 'norm', centre, spread } for norm
 * weights, { kind: 'values', values } for given numbers.
 */
function tensorsOf(g) {
    const nQ = g.nHead * g.headDim;
    const nKv = g.nHeadKv * g.headDim;
    const arch = ARCHITECTURES[g.architecture];

    // A row of n unit-variance inputs (times the norm's weights) against weights of standard
    // deviation s gives s * NORM_RMS * sqrt(n).
    const headStd = LOGIT_STD / (NORM_RMS * Math.sqrt(g.nEmbd) * g.logitFactor);
    const inputStd = 1 / (NORM_RMS * Math.sqrt(g.nEmbd));
    // With tied embeddings the input token's own logit is its embedding's share of the final state
    // times LOGIT_STD * sqrt(nEmbd): the layers must have outgrown the embedding, which
    // RESIDUAL_RMS sees to.
    const embdStd = g.tied ? headStd : 1;
    const firstRms = embdStd * g.embeddingScale;
    const lastRms = RESIDUAL_RMS * g.embeddingScale * (g.tied ? 1 / g.logitFactor : 1);
    const updateRms = Math.sqrt((lastRms ** 2 - firstRms ** 2) / (2 * g.nLayer)) / g.residualScale;
    // A norm of what is added gives it its size.
    const updateStd = arch.postNorms ? 1 : updateRms;
    // Where there is no norm before a layer, its input grows to lastRms.
    const layerStd = arch.postNorms === 'only' ? inputStd / lastRms : inputStd;
    const scoreRms = Math.sqrt(SCORE_STD / (g.attentionScale * Math.sqrt(g.headDim))) / longMagnitude(g);
    const qkStd = arch.qkNorm ? layerStd : scoreRms * layerStd;

    const matrix = (name, columns, rows, std, role, layer = -1) => ({
        name,
        shape: [columns, rows],
        role,
        layer,
        fill: { kind: 'normal', std },
    });
    const norm = (name, n, centre, layer = -1) => ({
        name,
        shape: [n],
        role: 'norm',
        layer,
        fill: { kind: 'norm', centre, spread: NORM_SPREAD * centre },
    });
    const vector = (name, n, std, layer) => ({
        name,
        shape: [n],
        role: 'bias',
        layer,
        fill: { kind: 'normal', std },
    });

    const list = [
        matrix('token_embd.weight', g.nEmbd, g.nVocab, embdStd, g.tied ? 'output' : 'token_embd'),
    ];
    if (g.ropeFactor) {
        const values = ropeFrequencyFactors(g);
        list.push({
            name: 'rope_freqs.weight',
            shape: [values.length],
            role: 'rope',
            layer: -1,
            fill: { kind: 'values', values },
        });
    }
    for (const [which, stretch] of [
        ['long', g.longFactors?.long],
        ['short', g.longFactors?.short],
    ]) {
        if (!stretch) continue;
        const n = g.nRot / 2;
        list.push({
            name: `rope_factors_${which}.weight`,
            shape: [n],
            role: 'rope',
            layer: -1,
            fill: {
                kind: 'values',
                values: Float32Array.from({ length: n }, (_, i) => stretch ** (i / (n - 1))),
            },
        });
    }
    if (arch.positions)
        list.push(matrix('position_embd.weight', g.nEmbd, g.context, 0.3, 'position_embd'));
    // Norm weights, and biases where the norms have them.
    const norms = (name, n, centre, layer) => {
        list.push(norm(`${name}.weight`, n, centre, layer));
        if (arch.layerNorm === 'bias') list.push(vector(`${name}.bias`, n, 0.2 * centre, layer));
    };
    if (arch.encoder) {
        list.length = 0;
        list.push(matrix('token_embd.weight', g.nEmbd, g.nVocab, 1, 'token_embd'));
        encoderTensors(g, arch, { matrix, norms, vector }, list);
        if (g.pooling === 4) classifierTensors(g, { matrix, vector }, list);
        return list;
    }
    for (let i = 0; i < g.nLayer; i++) {
        const p = `blk.${i}.`;
        if (arch.postNorms !== 'only') norms(p + 'attn_norm', g.nEmbd, 1, i);
        if (arch.latent) {
            list.push(...latentAttention(g, p, i, { matrix, norm, inputStd, qkStd }));
        } else if (arch.qkv === 'fused') {
            // One spread for all three: scores and values are right together where it is right for each.
            list.push(matrix(p + 'attn_qkv.weight', g.nEmbd, nQ + 2 * nKv, qkStd, 'attn_qkv', i));
            if (arch.bias) list.push(vector(p + 'attn_qkv.bias', nQ + 2 * nKv, 0.4, i));
        } else {
            list.push(matrix(p + 'attn_q.weight', g.nEmbd, nQ, qkStd, 'attn_q', i));
            list.push(matrix(p + 'attn_k.weight', g.nEmbd, nKv, qkStd, 'attn_k', i));
            list.push(matrix(p + 'attn_v.weight', g.nEmbd, nKv, layerStd, 'attn_v', i));
            if (arch.bias) {
                list.push(vector(p + 'attn_q.bias', nQ, 0.5, i));
                list.push(vector(p + 'attn_k.bias', nKv, 0.5, i));
                list.push(vector(p + 'attn_v.bias', nKv, 0.3, i));
            }
        }
        if (arch.qkNorm) {
            const isRow = arch.qkNorm === 'row';
            for (const [name, n] of [
                ['attn_q_norm.weight', isRow ? nQ : g.headDim],
                ['attn_k_norm.weight', isRow ? nKv : g.headDim],
            ])
                list.push(norm(p + name, n, scoreRms / NORM_RMS, i));
        }
        list.push(
            matrix(
                p + 'attn_output.weight',
                g.nHead * g.valueDim,
                g.nEmbd,
                updateStd / Math.sqrt(nQ),
                'attn_output',
                i,
            ),
        );
        if (arch.subNorms) list.push(norm(p + 'attn_sub_norm.weight', nQ, 1, i));
        if (arch.sinks) list.push(vector(p + 'attn_sinks.weight', g.nHead, 1, i));
        if (arch.outputBias) list.push(vector(p + 'attn_output.bias', g.nEmbd, 0.3 * updateStd, i));
        if (arch.postNorms)
            list.push(norm(p + 'post_attention_norm.weight', g.nEmbd, updateRms / NORM_RMS, i));
        if (!arch.parallel && arch.postNorms !== 'only')
            norms(p + (arch.ffnNorm ?? 'ffn_norm'), g.nEmbd, 1, i);
        if (arch.postNorms)
            list.push(norm(p + 'post_ffw_norm.weight', g.nEmbd, updateRms / NORM_RMS, i));
        if (arch.ffn) {
            const nUp = arch.ffn === 'fused' ? 2 * g.nFf : g.nFf;
            const downStd = updateStd / (SILU_GLU_RMS * Math.sqrt(g.nFf));
            list.push(matrix(p + 'ffn_up.weight', g.nEmbd, nUp, layerStd, 'ffn_up', i));
            if (arch.ffnBias) list.push(vector(p + 'ffn_up.bias', nUp, 0.3, i));
            list.push(matrix(p + 'ffn_down.weight', g.nFf, g.nEmbd, downStd, 'ffn_down', i));
            if (arch.ffnBias) list.push(vector(p + 'ffn_down.bias', g.nEmbd, 0.3 * updateStd, i));
            continue;
        }
        const swiglu = (suffix, nFf, std, nExpert) => {
            const downStd = std / (SILU_GLU_RMS * Math.sqrt(nFf));
            const three = [
                matrix(p + `ffn_gate${suffix}.weight`, g.nEmbd, nFf, layerStd, 'ffn_gate', i),
                matrix(p + `ffn_up${suffix}.weight`, g.nEmbd, nFf, layerStd, 'ffn_up', i),
                matrix(p + `ffn_down${suffix}.weight`, nFf, g.nEmbd, downStd, 'ffn_down', i),
            ];
            for (const t of three) if (nExpert) t.shape.push(nExpert);
            list.push(...three);
        };
        if (arch.subNorms) list.push(norm(p + 'ffn_sub_norm.weight', g.nFf, 1, i));
        if (g.nExpert === 0 || i < g.nDense) {
            swiglu('', g.nFf, updateStd);
            continue;
        }
        const routerStd = ROUTER_STD * inputStd;
        list.push(
            matrix(p + 'ffn_gate_inp.weight', g.nEmbd, g.nExpert, routerStd, 'ffn_gate_inp', i),
        );
        if (g.groups) list.push(vector(p + 'exp_probs_b.bias', g.nExpert, 0.1, i));
        if (arch.expertBias) {
            list.push(vector(p + 'ffn_gate_inp.bias', g.nExpert, 0.1, i));
            for (const [name, n] of [
                ['gate', g.nFfExpert],
                ['up', g.nFfExpert],
                ['down', g.nEmbd],
            ]) {
                const bias = vector(`${p}ffn_${name}_exps.bias`, n, name === 'down' ? 0.1 : 0.3, i);
                bias.shape.push(g.nExpert);
                list.push(bias);
            }
        }
        // The sum of nUsed independent results, weighted by about 1 / nUsed each.
        swiglu('_exps', g.nFfExpert, EXPERTS_SHARE * updateStd * Math.sqrt(g.nUsed), g.nExpert);
        if (g.nFfShared) {
            if (g.architecture === 'qwen2moe')
                list.push(vector(p + 'ffn_gate_inp_shexp.weight', g.nEmbd, inputStd, i));
            swiglu('_shexp', g.nFfShared, updateStd);
        }
    }
    norms('output_norm', g.nEmbd, 1, -1);
    if (!g.tied) list.push(matrix('output.weight', g.nEmbd, g.nVocab, headStd, 'output'));
    if (arch.headBias) list.push(vector('output.bias', g.nVocab, 0.3, -1));
    if (g.pooling === 4) classifierTensors(g, { matrix, vector }, list);
    return list;
}

/**
 * The divisors of the rotary frequencies that Llama 3.1 defines: 1 for short wavelengths,
 * `ropeFactor` for those longer than the original context, a linear blend of the reciprocals
 * between (low_freq_factor 1, high_freq_factor 4). One per pair of a head's elements. Source:
 * rope_scaling "llama3" in the model's published config.
 */
function ropeFrequencyFactors(g) {
    const low = 1;
    const high = 4;
    return Float32Array.from({ length: g.headDim / 2 }, (_, i) => {
        const wavelength = 2 * Math.PI * g.ropeBase ** ((2 * i) / g.headDim);
        const turns = LLAMA31_OLD_CONTEXT / wavelength;
        if (turns > high) return 1;
        if (turns < low) return g.ropeFactor;
        const blend = (turns - low) / (high - low);
        return 1 / ((1 - blend) / g.ropeFactor + blend);
    });
}

/** The tensors of multi-head latent attention, up to queries, keys and values. */
function latentAttention(g, p, i, { matrix, norm, inputStd, qkStd }) {
    const nQ = g.nHead * g.headDim;
    const nKv = g.nHead * (g.headDim - g.nRot + g.valueDim);
    const query = g.nQLora
        ? [
              matrix(p + 'attn_q_a.weight', g.nEmbd, g.nQLora, inputStd, 'attn_q_a', i),
              norm(p + 'attn_q_a_norm.weight', g.nQLora, 1, i),
              matrix(p + 'attn_q_b.weight', g.nQLora, nQ, 1 / Math.sqrt(g.nQLora), 'attn_q_b', i),
          ]
        : [matrix(p + 'attn_q.weight', g.nEmbd, nQ, qkStd, 'attn_q', i)];
    const kvStd = 1 / Math.sqrt(g.nKvLora);
    const ofHeads = (name, columns, rows, role) => {
        const t = matrix(p + name, columns, rows, kvStd, role, i);
        t.shape.push(g.nHead);
        return t;
    };
    const kv = g.splitLatent
        ? [
              ofHeads('attn_k_b.weight', g.headDim - g.nRot, g.nKvLora, 'attn_k_b'),
              ofHeads('attn_v_b.weight', g.nKvLora, g.valueDim, 'attn_v_b'),
          ]
        : [matrix(p + 'attn_kv_b.weight', g.nKvLora, nKv, kvStd, 'attn_kv_b', i)];
    return [
        ...query,
        matrix(p + 'attn_kv_a_mqa.weight', g.nEmbd, g.nKvLora + g.nRot, inputStd, 'attn_kv_a', i),
        norm(p + 'attn_kv_a_norm.weight', g.nKvLora, 1, i),
        ...kv,
    ];
}

/** What long RoPE multiplies queries and keys with. */
function longMagnitude({ longFactors, context }) {
    if (!longFactors) return 1;
    return Math.sqrt(1 + Math.log(context / longFactors.original) / Math.log(longFactors.original));
}

/** Key-value pairs that describe the shape, as [key, GGUF value type name, value]. */
function metadataOf(g, mixName, fileType, quantized) {
    const a = g.architecture;
    const pairs = [
        ['general.architecture', 'string', a],
        ['general.name', 'string', `random ${g.name} ${mixName}`],
        ['general.file_type', 'u32', fileType],
    ];
    if (quantized) pairs.push(['general.quantization_version', 'u32', 2]);
    pairs.push(
        [`${a}.context_length`, 'u32', g.context],
        [`${a}.embedding_length`, 'u32', g.nEmbd],
        [`${a}.block_count`, 'u32', g.nLayer],
        [`${a}.feed_forward_length`, 'u32', g.nFf],
        [`${a}.attention.head_count`, 'u32', g.nHead],
        [`${a}.attention.head_count_kv`, 'u32', g.splitLatent ? 1 : g.nHeadKv],
        ...(ARCHITECTURES[a].layerNorm
            ? [[`${a}.attention.layer_norm_epsilon`, 'f32', g.layerEps]]
            : [[`${a}.attention.layer_norm_rms_epsilon`, 'f32', g.rmsEps]]),
        [`${a}.rope.freq_base`, 'f32', g.ropeBase],
        [`${a}.vocab_size`, 'u32', g.nVocab],
        ...(g.pooling ? [[`${a}.pooling_type`, 'u32', g.pooling]] : []),
        ...(g.nLabels > 1 ? [[`${a}.classifier.output_labels`, 'strings', ['yes', 'no']]] : []),
        ...(g.rerankTemplate
            ? [['tokenizer.chat_template.rerank', 'string', g.rerankTemplate]]
            : []),
        ...(ARCHITECTURES[a].keys?.(g) ?? []).map(([key, ...rest]) => [`${a}.${key}`, ...rest]),
    );
    if (g.ropeScaling) {
        const { type, factor, original, logMultiplier } = g.ropeScaling;
        pairs.push(
            [`${a}.rope.scaling.type`, 'string', type],
            [`${a}.rope.scaling.factor`, 'f32', factor],
        );
        if (logMultiplier)
            pairs.push([`${a}.rope.scaling.yarn_log_multiplier`, 'f32', logMultiplier]);
        if (original) pairs.push([`${a}.rope.scaling.original_context_length`, 'u32', original]);
    }
    if (g.longFactors) {
        const { original } = g.longFactors;
        pairs.push(
            [`${a}.rope.scaling.original_context_length`, 'u32', original],
            [`${a}.rope.scaling.attn_factor`, 'f32', longMagnitude(g)],
        );
    }
    if (g.nExpert) {
        pairs.push(
            [`${a}.expert_count`, 'u32', g.nExpert],
            [`${a}.expert_used_count`, 'u32', g.nUsed],
        );
        if (a !== 'llama') pairs.push([`${a}.expert_feed_forward_length`, 'u32', g.nFfExpert]);
        if (g.nFfShared && a === 'qwen2moe')
            pairs.push([`${a}.expert_shared_feed_forward_length`, 'u32', g.nFfShared]);
    }
    if (a === 'llama' || g.nRot !== g.headDim || g.longFactors)
        pairs.push([`${a}.rope.dimension_count`, 'u32', g.nRot]);
    if (g.headDim !== g.nEmbd / g.nHead && !ARCHITECTURES[a].latent) {
        pairs.push(
            [`${a}.attention.key_length`, 'u32', g.headDim],
            [`${a}.attention.value_length`, 'u32', g.headDim],
        );
    }
    return pairs;
}

module.exports = { GEOMETRIES, geometryOf, tensorsOf, metadataOf };
