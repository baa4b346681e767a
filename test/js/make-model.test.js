'use strict';
// bench/make-model.js, judged by a reader of its own: the files must be whole, and hold what their
// mix promises.
const { test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { makeModel, GEOMETRIES, MIXES } = require('../../bench/make-model.js');

// id: [name, elements per block, bytes per block, places of the half scales in a block]
const TYPES = {
    0: ['F32', 1, 4, []],
    1: ['F16', 1, 2, [0]],
    30: ['BF16', 1, 2, []],
    2: ['Q4_0', 32, 18, [0]],
    3: ['Q4_1', 32, 20, [0, 2]],
    6: ['Q5_0', 32, 22, [0]],
    7: ['Q5_1', 32, 24, [0, 2]],
    8: ['Q8_0', 32, 34, [0]],
    10: ['Q2_K', 256, 84, [80, 82]],
    11: ['Q3_K', 256, 110, [108]],
    12: ['Q4_K', 256, 144, [0, 2]],
    13: ['Q5_K', 256, 176, [0, 2]],
    14: ['Q6_K', 256, 210, [208]],
    16: ['IQ2_XXS', 256, 66, [0]],
    17: ['IQ2_XS', 256, 74, [0]],
    18: ['IQ3_XXS', 256, 98, [0]],
    19: ['IQ1_S', 256, 50, [0]],
    20: ['IQ4_NL', 32, 18, [0]],
    21: ['IQ3_S', 256, 110, [0]],
    22: ['IQ2_S', 256, 82, [0]],
    23: ['IQ4_XS', 256, 136, [0]],
    29: ['IQ1_M', 256, 56, []],
    34: ['TQ1_0', 256, 54, [52]],
    35: ['TQ2_0', 256, 66, [64]],
    36: ['I2_S', 128, 32, []],
    39: ['MXFP4', 32, 17, []],
    41: ['Q1_0', 128, 18, [0]],
    42: ['Q2_0', 64, 18, [0]],
};

/**
 * A small GGUF reader: { pairs: Map(key -> value), tensors: Map(name -> { type, shape, at, bytes,
 * data }), size }.
 */
function readGguf(file) {
    const b = fs.readFileSync(file);
    let at = 0;
    const u32 = () => b.readUInt32LE((at += 4) - 4);
    const u64 = () => Number(b.readBigUInt64LE((at += 8) - 8));
    const string = () => {
        const n = u64();
        return b.toString('utf8', at, (at += n));
    };
    const value = (type) => {
        switch (type) {
            case 4:
                return u32();
            case 5:
                return b.readInt32LE((at += 4) - 4);
            case 6:
                return b.readFloatLE((at += 4) - 4);
            case 7:
                return b[at++] === 1;
            case 8:
                return string();
            case 9: {
                const item = u32();
                return Array.from({ length: u64() }, () => value(item));
            }
            default:
                throw new Error(`value type ${type} at ${at}`);
        }
    };
    assert.equal(b.toString('latin1', 0, 4), 'GGUF');
    at = 4;
    assert.equal(u32(), 3);
    const nTensors = u64();
    const nPairs = u64();
    const pairs = new Map();
    for (let i = 0; i < nPairs; i++) {
        const key = string();
        assert.ok(!pairs.has(key), `${key} stands twice`);
        pairs.set(key, value(u32()));
    }
    const tensors = new Map();
    for (let i = 0; i < nTensors; i++) {
        const name = string();
        const shape = Array.from({ length: u32() }, u64);
        const id = u32();
        assert.ok(TYPES[id], `${name}: type id ${id}`);
        assert.ok(!tensors.has(name), `${name} stands twice`);
        tensors.set(name, { name, shape, id, type: TYPES[id][0], offset: u64() });
    }
    const data = Math.ceil(at / 32) * 32;
    for (const t of tensors.values()) {
        const [, elements, bytes] = TYPES[t.id];
        assert.equal(t.shape[0] % elements, 0, `${t.name}: rows are whole blocks`);
        t.bytes = (t.shape.reduce((a, c) => a * c, 1) / elements) * bytes;
        if (t.type === 'I2_S') t.bytes += 32; // the tensor's scale, and room
        t.at = data + t.offset;
        t.data = b.subarray(t.at, t.at + t.bytes);
    }
    return { pairs, tensors, size: b.length, data };
}

/** The value of a half's bits; bits may be a Buffer's two bytes. */
function half(bits) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const mantissa = bits & 1023;
    if (exponent === 31) return mantissa ? NaN : sign * Infinity;
    return sign * (exponent ? (1 + mantissa / 1024) * 2 ** (exponent - 15) : mantissa * 2 ** -24);
}

let folder;
before(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'chord-make-model-'));
});
after(() => {
    fs.rmSync(folder, { recursive: true, force: true });
});

async function make(options) {
    const out = path.join(
        folder,
        `${Object.values(options)
            .filter((v) => !String(v).includes('/'))
            .join('-')}.gguf`,
    );
    const made = await makeModel({ ...options, out });
    const gguf = readGguf(out);
    assert.equal(made.bytes, gguf.size);
    assert.equal(made.file, out);
    fs.rmSync(out);
    return gguf;
}

/** Types of the tensors whose name ends in `suffix`, by layer. */
function typesByLayer(gguf, suffix) {
    const types = [];
    for (const t of gguf.tensors.values()) {
        const m = /^blk\.(\d+)\.(.+)\.weight$/.exec(t.name);
        if (m && m[2] === suffix) types[Number(m[1])] = t.type;
    }
    return types;
}

// Those whose blocks are looked at: the ones that the mixes have rules for.
const TINY = [
    'tiny',
    'tiny-qwen2',
    'tiny-qwen3',
    'tiny-llama3',
    'tiny-mixtral',
    'tiny-qwen2moe',
    'tiny-qwen3moe',
];

for (const geometry of TINY) {
    test(`${geometry}: every mix gives a whole file with sound blocks`, async () => {
        for (const mix of MIXES) {
            const gguf = await make({ geometry, mix, layers: 1 });
            let end = gguf.data;
            for (const t of gguf.tensors.values()) {
                assert.equal(t.offset % 32, 0, `${t.name} is aligned`);
                assert.equal(
                    t.at,
                    Math.ceil(end / 32) * 32,
                    `${t.name} follows the tensor before it`,
                );
                end = t.at + t.bytes;
                const [, , bytes, halves] = TYPES[t.id];
                for (const place of halves) {
                    for (let i = place; i < t.data.length; i += bytes) {
                        if (((t.data[i + 1] >> 2) & 31) === 31)
                            assert.fail(`${mix} ${t.name}: scale at ${i}`);
                    }
                }
            }
            assert.ok(
                end <= gguf.size && gguf.size - end < 32,
                'the file ends with the last tensor',
            );
        }
    });

    test(`${geometry}: no two rows of a matrix are equal`, async () => {
        for (const mix of ['F32', 'F16', 'Q8_0', 'Q4_K_M', 'Q2_K']) {
            for (const t of (await make({ geometry, mix, layers: 1 })).tensors.values()) {
                if (t.shape.length !== 2) continue;
                const n = t.bytes / t.shape[1];
                const rows = new Set();
                for (let i = 0; i < t.bytes; i += n) rows.add(t.data.toString('latin1', i, i + n));
                assert.equal(rows.size, t.shape[1], `${mix} ${t.name}`);
            }
        }
    });
}

test('mixes give each tensor the type that llama.cpp gives it', async () => {
    // On four layers: [base, attn_v, ffn_down, attn_output, output]
    const four = (...types) => (types.length === 1 ? Array(4).fill(types[0]) : types);
    const expected = {
        Q8_0: ['Q8_0', four('Q8_0'), four('Q8_0'), 'Q8_0', 'Q8_0', 7],
        Q4_0: ['Q4_0', four('Q4_0'), four('Q4_0'), 'Q4_0', 'Q6_K', 2],
        Q5_1: ['Q5_1', four('Q5_1'), four('Q5_1'), 'Q5_1', 'Q6_K', 9],
        Q2_K: ['Q2_K', four('Q3_K'), four('Q3_K'), 'Q3_K', 'Q6_K', 10],
        Q3_K_S: ['Q3_K', four('Q3_K'), four('Q3_K'), 'Q3_K', 'Q6_K', 11],
        Q3_K_M: ['Q3_K', ['Q5_K', 'Q5_K', 'Q4_K', 'Q4_K'], four('Q4_K'), 'Q4_K', 'Q6_K', 12],
        Q4_K_S: ['Q4_K', four('Q5_K'), four('Q4_K'), 'Q4_K', 'Q6_K', 14],
        Q4_K_M: [
            'Q4_K',
            ['Q4_K', 'Q4_K', 'Q6_K', 'Q6_K'],
            ['Q4_K', 'Q4_K', 'Q6_K', 'Q6_K'],
            'Q4_K',
            'Q6_K',
            15,
        ],
        Q5_K_S: ['Q5_K', four('Q5_K'), four('Q5_K'), 'Q5_K', 'Q6_K', 16],
        Q5_K_M: [
            'Q5_K',
            ['Q5_K', 'Q5_K', 'Q6_K', 'Q6_K'],
            ['Q5_K', 'Q5_K', 'Q6_K', 'Q6_K'],
            'Q5_K',
            'Q6_K',
            17,
        ],
        Q6_K: ['Q6_K', four('Q6_K'), four('Q6_K'), 'Q6_K', 'Q6_K', 18],
        F16: ['F16', four('F16'), four('F16'), 'F16', 'F16', 1],
        BF16: ['BF16', four('BF16'), four('BF16'), 'BF16', 'BF16', 32],
    };
    for (const [mix, [base, attnV, ffnDown, attnOutput, output, fileType]] of Object.entries(
        expected,
    )) {
        const gguf = await make({ geometry: 'tiny', mix });
        for (const name of ['attn_q', 'attn_k', 'ffn_gate', 'ffn_up']) {
            assert.deepEqual(typesByLayer(gguf, name), four(base), `${mix} ${name}`);
        }
        assert.deepEqual(typesByLayer(gguf, 'attn_v'), attnV, `${mix} attn_v`);
        assert.deepEqual(typesByLayer(gguf, 'ffn_down'), ffnDown, `${mix} ffn_down`);
        assert.deepEqual(typesByLayer(gguf, 'attn_output'), four(attnOutput), `${mix} attn_output`);
        assert.equal(gguf.tensors.get('output.weight').type, output, mix);
        assert.equal(gguf.tensors.get('token_embd.weight').type, base, mix);
        assert.equal(gguf.tensors.get('output_norm.weight').type, 'F32', mix);
        assert.equal(gguf.pairs.get('general.file_type'), fileType, mix);
    }
    const tied = await make({ geometry: 'tiny-qwen2', mix: 'Q4_K_M' });
    assert.equal(tied.tensors.get('token_embd.weight').type, 'Q6_K');
    assert.ok(!tied.tensors.has('output.weight'));
});

test('Q4_K_M of 32 layers: the layers with more bits', async () => {
    const gguf = await make({ geometry: 'tiny', mix: 'Q4_K_M', layers: 32 });
    const more = new Set([0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31]);
    const expected = Array.from({ length: 32 }, (_, i) => (more.has(i) ? 'Q6_K' : 'Q4_K'));
    assert.deepEqual(typesByLayer(gguf, 'attn_v'), expected);
    assert.deepEqual(typesByLayer(gguf, 'ffn_down'), expected);
});

test('grouped heads get more bits, rows that are no multiple of 256 types of 32', async () => {
    const vocab = path.join(folder, 'vocabulary.gguf');
    await makeModel({ geometry: 'tiny', mix: 'Q8_0', layers: 1, out: vocab });
    const grouped = await make({ geometry: 'llama-1.1b', mix: 'Q2_K', layers: 1, vocab });
    assert.deepEqual(typesByLayer(grouped, 'attn_v'), ['Q4_K'], 'eight query heads per value head');
    for (const [mix, wide, embedding, down] of [
        ['Q4_K_M', 'Q5_0', 'Q8_0', 'Q6_K'],
        ['Q5_K_S', 'Q5_1', 'Q8_0', 'Q5_K'],
        ['Q2_K', 'Q4_0', 'Q8_0', 'Q3_K'],
        ['Q6_K', 'Q8_0', 'Q8_0', 'Q6_K'],
    ]) {
        const gguf = await make({ geometry: 'qwen2-0.5b', mix, layers: 1, vocab });
        assert.deepEqual(gguf.tensors.get('token_embd.weight').shape, [896, 512]);
        assert.deepEqual(typesByLayer(gguf, 'ffn_up'), [wide], mix);
        assert.deepEqual(typesByLayer(gguf, 'ffn_down'), [down], mix); // rows of 4864 = 19 * 256
        assert.equal(gguf.tensors.get('token_embd.weight').type, embedding, mix);
    }
});

test('weights have mean 0 and the same spread in every type', async () => {
    const spread = {};
    for (const mix of ['F32', 'F16', 'BF16', 'Q8_0']) {
        const { data } = (await make({ geometry: 'tiny', mix })).tensors.get(
            'blk.1.ffn_gate.weight',
        );
        const values = [];
        if (mix === 'F32')
            for (let i = 0; i < data.length; i += 4) values.push(data.readFloatLE(i));
        if (mix === 'F16')
            for (let i = 0; i < data.length; i += 2) values.push(half(data.readUInt16LE(i)));
        if (mix === 'BF16') {
            const word = Buffer.alloc(4);
            for (let i = 0; i < data.length; i += 2) {
                data.copy(word, 2, i, i + 2);
                values.push(word.readFloatLE(0));
            }
        }
        if (mix === 'Q8_0') {
            for (let i = 0; i < data.length; i += 34) {
                const d = half(data.readUInt16LE(i));
                for (let j = 2; j < 34; j++) values.push(d * data.readInt8(i + j));
            }
        }
        assert.equal(values.length, 256 * 768);
        const mean = values.reduce((a, x) => a + x, 0) / values.length;
        spread[mix] = Math.sqrt(values.reduce((a, x) => a + (x - mean) ** 2, 0) / values.length);
        // Five standard errors of the mean of 196608 values.
        assert.ok(
            Math.abs(mean) < (5 * spread[mix]) / Math.sqrt(values.length),
            `${mix}: mean ${mean}`,
        );
    }
    for (const [mix, s] of Object.entries(spread)) {
        assert.ok(Math.abs(s / spread.F32 - 1) < 0.02, `${mix}: ${s}, F32: ${spread.F32}`);
    }
});

test('architectures carry their own tensors and keys', async () => {
    const llama3 = await make({ geometry: 'tiny-llama3', mix: 'F32' });
    const factors = llama3.tensors.get('rope_freqs.weight');
    assert.deepEqual(factors.shape, [32]);
    assert.equal(factors.data.readFloatLE(0), 1);
    assert.equal(factors.data.readFloatLE(31 * 4), 8);
    const middle = Array.from({ length: 32 }, (_, i) => factors.data.readFloatLE(4 * i)).filter(
        (f) => f > 1 && f < 8,
    );
    assert.ok(middle.length > 0, 'some frequencies lie between');

    const qwen2 = await make({ geometry: 'tiny-qwen2', mix: 'Q4_0' });
    for (const [name, n] of [
        ['q', 256],
        ['k', 128],
        ['v', 128],
    ]) {
        const bias = qwen2.tensors.get(`blk.3.attn_${name}.bias`);
        assert.deepEqual([bias.type, bias.shape], ['F32', [n]]);
        for (let i = 0; i < n; i++) assert.notEqual(bias.data.readFloatLE(4 * i), 0);
    }
    assert.equal(qwen2.pairs.get('qwen2.attention.head_count_kv'), 2);

    const qwen3 = await make({ geometry: 'tiny-qwen3', mix: 'Q4_0' });
    assert.deepEqual(qwen3.tensors.get('blk.0.attn_q_norm.weight').shape, [128]);
    assert.deepEqual(qwen3.tensors.get('blk.0.attn_q.weight').shape, [256, 512]);
    assert.equal(qwen3.pairs.get('qwen3.attention.key_length'), 128);
});

test('experts are matrices of one tensor, routers stay F32', async () => {
    const moe = await make({ geometry: 'tiny-qwen2moe', mix: 'Q4_K_M' });
    const shapes = {
        ffn_gate_inp: ['F32', 256, 12],
        ffn_gate_exps: ['Q4_K', 256, 256, 12],
        ffn_down_exps: ['Q4_K', 256, 256, 12],
        ffn_gate_inp_shexp: ['F32', 256],
        ffn_up_shexp: ['Q4_K', 256, 512],
    };
    for (const [name, [type, ...shape]] of Object.entries(shapes)) {
        const tensor = moe.tensors.get(`blk.0.${name}.weight`);
        assert.deepEqual([tensor.type, tensor.shape], [type, shape], name);
    }
    assert.equal(moe.tensors.has('blk.0.ffn_gate.weight'), false);
    assert.equal(moe.pairs.get('qwen2moe.expert_count'), 12);
    assert.equal(moe.pairs.get('qwen2moe.expert_used_count'), 4);
    assert.equal(moe.pairs.get('qwen2moe.expert_shared_feed_forward_length'), 512);

    const mixtral = await make({ geometry: 'tiny-mixtral', mix: 'Q4_K_M' });
    assert.deepEqual(mixtral.tensors.get('blk.0.ffn_up_exps.weight').shape, [256, 512, 8]);
    assert.equal(mixtral.tensors.get('blk.0.attn_v.weight').type, 'Q8_0');
    assert.equal(mixtral.tensors.get('blk.0.attn_output.weight').type, 'Q5_K');
    assert.equal(mixtral.pairs.get('llama.expert_used_count'), 2);
});

test('the vocabulary: synthetic ones are complete, given ones are copied', async () => {
    const vocab = path.join(folder, 'given.gguf');
    await makeModel({ geometry: 'tiny', mix: 'Q8_0', layers: 1, out: vocab });
    const given = readGguf(vocab);
    const tokens = given.pairs.get('tokenizer.ggml.tokens');
    assert.equal(tokens.length, 512);
    assert.equal(new Set(tokens).size, 512);
    for (const merge of given.pairs.get('tokenizer.ggml.merges')) {
        assert.ok(tokens.includes(merge.replace(' ', '')), merge);
        for (const part of merge.split(' ')) assert.ok(tokens.includes(part), part);
    }
    const copy = await make({ geometry: 'tiny-qwen3', mix: 'Q8_0', vocab });
    for (const [key, value] of given.pairs) {
        if (key.startsWith('tokenizer.')) assert.deepEqual(copy.pairs.get(key), value, key);
    }
    assert.equal(copy.pairs.get('qwen3.vocab_size'), 512);
});

test('the seed decides the weights, the number of layers does not', async () => {
    const a = await make({ geometry: 'tiny', mix: 'Q4_K_M', seed: 7 });
    const same = await make({ geometry: 'tiny', mix: 'Q4_K_M', seed: 7 });
    const other = await make({ geometry: 'tiny', mix: 'Q4_K_M', seed: 8 });
    const q = 'blk.1.attn_q.weight';
    for (const t of a.tensors.values())
        assert.ok(t.data.equals(same.tensors.get(t.name).data), t.name);
    assert.ok(!a.tensors.get(q).data.equals(other.tensors.get(q).data));
    assert.ok(!a.tensors.get(q).data.equals(a.tensors.get('blk.2.attn_q.weight').data));
    const two = await make({ geometry: 'tiny', mix: 'Q4_K_M', seed: 7, layers: 2 });
    assert.ok(a.tensors.get(q).data.equals(two.tensors.get(q).data));
});

test('an aborted or failed run leaves nothing behind', async () => {
    const empty = fs.mkdtempSync(path.join(folder, 'abort-'));
    const controller = new AbortController();
    await assert.rejects(
        makeModel({
            geometry: 'tiny',
            mix: 'F32',
            layers: 64,
            out: path.join(empty, 'x.gguf'),
            signal: controller.signal,
            onProgress: () => controller.abort(new Error('enough')),
        }),
        /enough/,
    );
    assert.deepEqual(fs.readdirSync(empty), []);
    await assert.rejects(
        makeModel({ geometry: 'tiny', mix: 'F32', out: path.join(empty, 'none', 'x.gguf') }),
        /ENOENT/,
    );
    assert.deepEqual(fs.readdirSync(empty), []);
});

test('names and numbers that make no sense are refused', async () => {
    const refused = (options, message) =>
        assert.rejects(makeModel({ geometry: 'tiny', mix: 'F32', ...options }), message);
    await refused({ geometry: 'toString' }, /unknown geometry 'toString'; known: tiny, /);
    await refused({ mix: 'Q4_K' }, /unknown mix 'Q4_K'; known: F32, /);
    await refused({ layers: 0 }, /layers must be an integer from 1 to 1000, got 0/);
    await refused({ seed: -1 }, /seed must be an integer >= 0, got -1/);
    await refused({ vocab: __filename }, /not a GGUF file/);
    for (const geometry of TINY) assert.ok(GEOMETRIES.includes(geometry));
});

test('the command line prints JSON', () => {
    const out = path.join(folder, 'cli.gguf');
    const run = spawnSync(
        process.execPath,
        [
            path.join(__dirname, '../../bench/make-model.js'),
            '--geometry',
            'tiny',
            '--mix',
            'Q4_K_M',
            '--out',
            out,
            '--json',
        ],
        { encoding: 'utf8' },
    );
    assert.equal(run.status, 0, run.stderr);
    const made = JSON.parse(run.stdout);
    assert.equal(made.bytes, fs.statSync(out).size);
    assert.equal(
        made.parameters,
        [...readGguf(out).tensors.values()].reduce(
            (n, t) => n + t.shape.reduce((a, c) => a * c, 1),
            0,
        ),
    );
    const bad = spawnSync(
        process.execPath,
        [path.join(__dirname, '../../bench/make-model.js'), '--geometry', 'x', '--mix', 'F32'],
        { encoding: 'utf8' },
    );
    assert.equal(bad.status, 1);
    assert.match(bad.stderr, /^make-model: unknown geometry 'x'/);
});
