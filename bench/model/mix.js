'use strict';
// Which block type each tensor of a named mix gets: the rules of llama.cpp's quantizer, but that the mixes of IQ, TQ and
// MXFP4 types are of that type throughout, the output apart.

// name: [base type, general.file_type]
const MIXES = {
    F32: ['F32', 0],
    F16: ['F16', 1],
    BF16: ['BF16', 32],
    Q8_0: ['Q8_0', 7],
    Q4_0: ['Q4_0', 2],
    Q4_1: ['Q4_1', 3],
    Q5_0: ['Q5_0', 8],
    Q5_1: ['Q5_1', 9],
    Q2_K: ['Q2_K', 10],
    Q3_K_S: ['Q3_K', 11],
    Q3_K_M: ['Q3_K', 12],
    Q4_K_S: ['Q4_K', 14],
    Q4_K_M: ['Q4_K', 15],
    Q5_K_S: ['Q5_K', 16],
    Q5_K_M: ['Q5_K', 17],
    Q6_K: ['Q6_K', 18],
    IQ4_NL: ['IQ4_NL', 25],
    IQ4_XS: ['IQ4_XS', 30],
    MXFP4: ['MXFP4', 38],
    TQ1_0: ['TQ1_0', 36],
    TQ2_0: ['TQ2_0', 37],
    I2_S: ['I2_S', 40], // bitnet.cpp's number, as that of the type
    IQ3_S: ['IQ3_S', 26],
    IQ3_XXS: ['IQ3_XXS', 23],
    IQ2_S: ['IQ2_S', 28],
    IQ2_XS: ['IQ2_XS', 20],
    IQ2_XXS: ['IQ2_XXS', 19],
    IQ1_S: ['IQ1_S', 24],
    IQ1_M: ['IQ1_M', 31],
};

// What a type becomes when a row is not a multiple of its 256 elements.
const FALLBACK = {
    Q2_K: 'Q4_0',
    Q3_K: 'Q4_0',
    Q4_K: 'Q5_0',
    Q5_K: 'Q5_1',
    Q6_K: 'Q8_0',
    TQ1_0: 'Q4_0',
    TQ2_0: 'Q4_0',
    I2_S: 'Q4_0',
    IQ4_XS: 'IQ4_NL',
    IQ3_S: 'IQ4_NL',
    IQ3_XXS: 'IQ4_NL',
    IQ2_S: 'IQ4_NL',
    IQ2_XS: 'IQ4_NL',
    IQ2_XXS: 'IQ4_NL',
    IQ1_S: 'IQ4_NL',
    IQ1_M: 'IQ4_NL',
};
const FLOAT_ROLES = new Set(['ffn_gate_inp', 'position_embd', 'token_types', 'cls', 'norm', 'bias']);
const FLOAT_TYPES = new Set(['F32', 'F16', 'BF16']);

function mixOf(name) {
    if (!Object.hasOwn(MIXES, name)) {
        throw new Error(`unknown mix '${name}'; known: ${Object.keys(MIXES).join(', ')}`);
    }
    const [base, fileType] = MIXES[name];
    return { name, base, fileType, quantized: !FLOAT_TYPES.has(base) };
}

/**
 * The layers that the _M mixes give more bits: the first and last eighth, and every third between.
 */
function usesMoreBits(layer, nLayer) {
    const eighth = Math.floor(nLayer / 8);
    return layer < eighth || layer >= Math.floor((7 * nLayer) / 8) || (layer - eighth) % 3 === 2;
}

function wantedType(mix, g, tensor) {
    const { base, name } = mix;
    const { layer } = tensor;
    const n = g.nLayer;
    const isMixtral = g.nExpert === 8; // attention is a small part of it and gets more bits
    if (base === 'I2_S' && (tensor.role === 'output' || tensor.role === 'token_embd')) return 'F16';
    switch (tensor.role) {
        case 'output': // output.weight, or token_embd.weight where the two are one
            return base === 'Q8_0' ? 'Q8_0' : 'Q6_K';
        case 'attn_k':
            return isMixtral ? 'Q8_0' : base;
        case 'attn_v': {
            if (isMixtral) return 'Q8_0';
            let type = base;
            if (name === 'Q2_K') type = g.nHead / g.nHeadKv >= 4 ? 'Q4_K' : 'Q3_K';
            else if (name === 'Q3_K_M') type = layer < 2 ? 'Q5_K' : 'Q4_K';
            else if (name === 'Q4_K_S' && layer < 4) type = 'Q5_K';
            else if ((name === 'Q4_K_M' || name === 'Q5_K_M') && usesMoreBits(layer, n))
                type = 'Q6_K';
            // Eight query heads share each value head in the 70B model: more bits cost little
            // there.
            if (g.is70b && (type === 'Q3_K' || type === 'Q4_K')) type = 'Q5_K';
            return type;
        }
        case 'attn_qkv':
            if (name === 'Q3_K_M') return 'Q4_K';
            if (name === 'Q4_K_M') return 'Q5_K';
            if (name === 'Q5_K_M') return 'Q6_K';
            return base;
        case 'ffn_down':
            if (name === 'Q2_K') return 'Q3_K';
            if (name === 'Q3_K_M') return layer < Math.floor(n / 16) ? 'Q5_K' : 'Q4_K';
            if (name === 'Q4_K_S' && layer < Math.floor(n / 8)) return 'Q5_K';
            if ((name === 'Q4_K_M' || name === 'Q5_K_M') && usesMoreBits(layer, n)) return 'Q6_K';
            return base;
        case 'attn_output':
            if (isMixtral && /^Q[234]_[K01]$/.test(base)) return 'Q5_K';
            if (name === 'Q2_K') return 'Q3_K';
            if (name === 'Q3_K_M') return 'Q4_K';
            return base;
        default:
            return base;
    }
}

/**
 * The type of one tensor: vectors and routers stay F32, matrices follow the mix and then the row-size fallback.
 */
function typeOf(mix, g, tensor) {
    if (tensor.shape.length < 2 || FLOAT_ROLES.has(tensor.role)) return 'F32';
    if (!mix.quantized) return mix.base;
    let type = wantedType(mix, g, tensor);
    const columns = tensor.shape[0];
    if (FALLBACK[type] && columns % 256 !== 0) type = FALLBACK[type];
    return columns % 32 === 0 ? type : 'F16';
}

module.exports = { MIXES, mixOf, typeOf, usesMoreBits };
