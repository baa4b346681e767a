'use strict';
// Tensors of encoders (bert, nomic-bert) and of classifiers for ranking. Each row of the residual stream is normed behind
// every part, so weights need no account of how it grows.

const SCORE_STD = 1; // of q.k / sqrt(headDim)
const UPDATE_STD = 0.7; // of what a part adds to rows of root mean square 1
const HIDDEN_RMS = 0.6; // of gelu(a), and of silu(a) * b, about

/** `make`: { matrix, norm, vector } of tensorsOf(), whose norms have biases. */
function encoderTensors(g, arch, { matrix, norms, vector }, list) {
    const std = 1 / Math.sqrt(g.nEmbd);
    const qkStd = Math.sqrt(SCORE_STD) * std;
    const bias = (name, n, spread, layer) => {
        if (arch.bias) list.push(vector(name, n, spread, layer));
    };
    list.push(matrix('token_types.weight', g.nEmbd, g.nTokenTypes, 0.3, 'token_types'));
    if (arch.positions)
        list.push(matrix('position_embd.weight', g.nEmbd, g.context, 0.3, 'position_embd'));
    norms('token_embd_norm', g.nEmbd, 1, -1);
    for (let i = 0; i < g.nLayer; i++) {
        const p = `blk.${i}.`;
        if (arch.qkv === 'fused') {
            list.push(matrix(p + 'attn_qkv.weight', g.nEmbd, 3 * g.nEmbd, std, 'attn_qkv', i));
            bias(p + 'attn_qkv.bias', 3 * g.nEmbd, 0.3, i);
        } else {
            for (const [name, spread] of [['attn_q', qkStd], ['attn_k', qkStd], ['attn_v', std]]) {
                list.push(matrix(`${p}${name}.weight`, g.nEmbd, g.nEmbd, spread, name, i));
                bias(`${p}${name}.bias`, g.nEmbd, 0.3, i);
            }
        }
        list.push(matrix(p + 'attn_output.weight', g.nEmbd, g.nEmbd, 2 * UPDATE_STD * std, 'attn_output', i));
        bias(p + 'attn_output.bias', g.nEmbd, 0.2, i);
        norms(p + 'attn_output_norm', g.nEmbd, 1, i);
        for (const name of arch.ffn === 'plain' ? ['ffn_up'] : ['ffn_gate', 'ffn_up']) {
            list.push(matrix(`${p}${name}.weight`, g.nEmbd, g.nFf, std, name, i));
            bias(`${p}${name}.bias`, g.nFf, 0.3, i);
        }
        const downStd = UPDATE_STD / (HIDDEN_RMS * Math.sqrt(g.nFf));
        list.push(matrix(p + 'ffn_down.weight', g.nFf, g.nEmbd, downStd, 'ffn_down', i));
        bias(p + 'ffn_down.bias', g.nEmbd, 0.2, i);
        norms(p + 'layer_output_norm', g.nEmbd, 1, i);
    }
}

/** What a model for ranking has behind its last norm. */
function classifierTensors(g, { matrix, vector }, list) {
    const std = 1 / Math.sqrt(g.nEmbd);
    if (g.nLabels === 1) {
        list.push(matrix('cls.weight', g.nEmbd, g.nEmbd, std, 'cls'));
        list.push(vector('cls.bias', g.nEmbd, 0.2, -1));
    }
    list.push(matrix('cls.output.weight', g.nEmbd, g.nLabels, 3 * std, 'cls'));
    if (g.nLabels === 1) list.push(vector('cls.output.bias', g.nLabels, 0.2, -1));
}

module.exports = { encoderTensors, classifierTensors };
