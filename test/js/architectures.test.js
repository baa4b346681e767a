'use strict';
// Every architecture at toy size: it loads and runs, results do not depend on how a text is cut, and a file with a tensor
// under another name is refused with the name of what is missing or of what nobody uses.
const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { test, after } = require('node:test');
const chord = require('../..');
const { makeModel, GEOMETRIES } = require('../../bench/make-model.js');
const { encodePair, encodeHeader, readHeader } = require('../../bench/model/gguf.js');
const { geometryOf, metadataOf } = require('../../bench/model/geometry.js');

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'chord-architectures-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

const TOYS = GEOMETRIES.filter((name) => name.startsWith('tiny'));
const CONTEXT = 128;

async function make(geometry) {
    const file = path.join(folder, `${geometry}.gguf`);
    if (!fs.existsSync(file)) await makeModel({ geometry, mix: 'Q8_0', layers: 2, out: file });
    return file;
}

/** Overwrites one letter of a tensor's name and calls f; the file is afterwards as before. */
async function withRenamed(file, name, f) {
    const bytes = fs.readFileSync(file);
    // A name stands behind its length; none of the vocabulary's texts looks like that.
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(name.length));
    const at = bytes.indexOf(Buffer.concat([length, Buffer.from(name)]));
    assert.ok(at > 0, name);
    const renamed = name.replace(/.(?=\.(weight|bias)$)/, '~');
    const handle = fs.openSync(file, 'r+');
    try {
        fs.writeSync(handle, renamed, at + 8);
        await f(renamed);
    } finally {
        fs.writeSync(handle, name, at + 8);
        fs.closeSync(handle);
    }
}

/** Overwrites a u32 of the metadata and calls f; the file is afterwards as before. */
async function withValue(file, key, value, f) {
    const bytes = fs.readFileSync(file);
    const at = bytes.indexOf(key) + key.length + 4;
    assert.ok(at > key.length + 4, key);
    const handle = fs.openSync(file, 'r+');
    try {
        fs.writeSync(handle, Uint8Array.of(value, 0, 0, 0), 0, 4, at);
        await f();
    } finally {
        fs.writeSync(handle, bytes, at, 4, at);
        fs.closeSync(handle);
    }
}

for (const geometry of TOYS) {
    test(`${geometry}: runs, whole or cut`, async () => {
        const file = await make(geometry);
        const model = await chord.loadModel(file, { context: CONTEXT });
        try {
            const ids = Array.from({ length: 70 }, (_, i) => (i * 37 + 11) % 500);
            if (model.info.encoder) return; // embed.test.js
            const options = { maxTokens: 6, temperature: 0, ignoreEos: true };
            const first = await model.generate(ids, options);
            const again = await model.generate(ids, options);
            assert.deepEqual(first.tokens, again.tokens);
            const logits = await model.evaluate(ids);
            assert.ok(logits.every(Number.isFinite));
            assert.equal(logits.indexOf(Math.max(...logits)), first.tokens[0]);
        } finally {
            await model.close();
        }
    });

    test(`${geometry}: each tensor is needed`, async () => {
        const file = await make(geometry);
        const { tensors } = await readHeader(file);
        for (const { name } of tensors) {
            if (name.startsWith('blk.1.') || !/\.(weight|bias)$/.test(name)) continue;
            await withRenamed(file, name, (renamed) =>
                assert.rejects(chord.loadModel(file, { context: CONTEXT }), (error) => {
                    assert.equal(error.code, 'MODEL_TENSOR', error.message);
                    // Without attn_q an encoder's file would have all three in one.
                    const meant = [name, renamed, name.replace('attn_q.', 'attn_qkv.')];
                    assert.ok(
                        meant.some((text) => error.message.includes(text)),
                        `${name}: ${error.message}`,
                    );
                    return true;
                }),
            );
        }
    });
}

/** Where the last dimension of a tensor stands in the file's directory. */
function placeOfRows(bytes, { name, shape }) {
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(name.length));
    const at = bytes.indexOf(Buffer.concat([length, Buffer.from(name)]));
    return at + 8 + name.length + 4 + 8 * (shape.length - 1);
}

for (const geometry of TOYS) {
    test(`${geometry}: each shape is checked`, async () => {
        const file = await make(geometry);
        const { tensors } = await readHeader(file);
        const bytes = fs.readFileSync(file);
        const handle = fs.openSync(file, 'r+');
        try {
            for (const tensor of tensors) {
                if (tensor.name.startsWith('blk.1.')) continue;
                const at = placeOfRows(bytes, tensor);
                const rows = Buffer.alloc(8);
                rows.writeBigUInt64LE(BigInt(tensor.shape.at(-1)) - 1n);
                fs.writeSync(handle, rows, 0, 8, at);
                await assert.rejects(chord.loadModel(file, { context: CONTEXT }), (error) => {
                    // The embedding says how large the vocabulary is, with which others disagree.
                    const isNamed =
                        tensor.name === 'token_embd.weight' || error.message.includes(tensor.name);
                    assert.ok(isNamed, `${tensor.name}: ${error.message}`);
                    return true;
                });
                fs.writeSync(handle, bytes, at, 8, at);
            }
        } finally {
            fs.closeSync(handle);
        }
    });
}

/** The file with attn_kv_b cut into attn_k_b, each head's matrix turned over, and attn_v_b. */
async function splitLatent(file, to, g) {
    const model = await chord.loadModel(file, { context: CONTEXT });
    const { pairs, tensors } = await readHeader(file);
    const nNope = g.headDim - g.nRot;
    const list = [];
    for (const { name, shape } of tensors) {
        const { data } = await model.tensor(name);
        if (!name.endsWith('attn_kv_b.weight')) {
            list.push({ name, shape, data });
            continue;
        }
        const k = new Float32Array(g.nHead * nNope * g.nKvLora);
        const v = new Float32Array(g.nHead * g.valueDim * g.nKvLora);
        for (let h = 0; h < g.nHead; h++) {
            for (let row = 0; row < nNope + g.valueDim; row++) {
                const from = (h * (nNope + g.valueDim) + row) * g.nKvLora;
                const values = data.subarray(from, from + g.nKvLora);
                if (row >= nNope) v.set(values, (h * g.valueDim + row - nNope) * g.nKvLora);
                else values.forEach((x, c) => (k[(h * g.nKvLora + c) * nNope + row] = x));
            }
        }
        const blk = name.slice(0, -'attn_kv_b.weight'.length);
        list.push({ name: blk + 'attn_k_b.weight', shape: [nNope, g.nKvLora, g.nHead], data: k });
        list.push({ name: blk + 'attn_v_b.weight', shape: [g.nKvLora, g.valueDim, g.nHead], data: v });
    }
    await model.close();
    const changed = ['head_count_kv', 'key_length', 'value_length'].map((k) => `deepseek2.attention.${k}`);
    const { header, bytes } = encodeHeader(
        [
            ...pairs.filter(({ key }) => !changed.includes(key)).map((p) => p.bytes),
            ...metadataOf({ ...g, splitLatent: true }, 'F32', 0, false)
                .filter(([key]) => changed.includes(key) || key.endsWith('_mla'))
                .map((p) => encodePair(...p)),
        ],
        list.map((t) => Object.assign(t, { typeId: 0, bytes: t.data.byteLength })),
    );
    const out = Buffer.alloc(bytes);
    header.copy(out);
    for (const { data, offset } of list)
        Buffer.from(data.buffer, data.byteOffset, data.byteLength).copy(out, header.length + offset);
    fs.writeFileSync(to, out);
}

test('latent attention: files of both kinds mean the same', async () => {
    const whole = path.join(folder, 'whole.gguf');
    const split = path.join(folder, 'split.gguf');
    await makeModel({ geometry: 'tiny-deepseek2-all', mix: 'F32', layers: 2, out: whole });
    await splitLatent(whole, split, geometryOf('tiny-deepseek2-all', 2));
    const ids = Array.from({ length: 70 }, (_, i) => (i * 37 + 11) % 500);
    const [a, b] = await Promise.all(
        [whole, split].map(async (file) => {
            const model = await chord.loadModel(file, { context: CONTEXT });
            const logits = await model.evaluate(ids);
            await model.close();
            return logits;
        }),
    );
    const range = Math.max(...a) - Math.min(...a);
    // Keys and values of half precision are rounded at other places.
    const worst = Math.max(...a.map((x, i) => Math.abs(x - b[i]))) / range;
    assert.ok(worst < 5e-4, `${worst} of the range`);
});

test('experts in groups: chosen by sigmoids alone', async () => {
    const file = await make('tiny-deepseek3');
    await withValue(file, 'deepseek2.expert_gating_func', 1, () =>
        assert.rejects(chord.loadModel(file), /4 groups.*not supported/),
    );
    await withValue(file, 'deepseek2.expert_group_used_count', 1, () =>
        chord.loadModel(file).then((model) => model.close()),
    );
    await withValue(file, 'deepseek2.expert_used_count', 9, () =>
        assert.rejects(chord.loadModel(file), /9 experts of 16 cannot be chosen from 2 of 4 groups/),
    );
});

test('learned positions end the context', async () => {
    const file = await make('tiny-gpt2');
    await assert.rejects(chord.loadModel(file, { context: 1025 }), /knows 1024 of them/);
    await (await chord.loadModel(file, { context: 1024 })).close();
});
