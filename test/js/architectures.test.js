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
const { readHeader } = require('../../bench/model/gguf.js');

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'chord-architectures-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

const TOYS = GEOMETRIES.filter((name) => name.startsWith('tiny'));
const CONTEXT = 128;

async function make(geometry) {
    const file = path.join(folder, `${geometry}.gguf`);
    await makeModel({ geometry, mix: 'Q8_0', layers: 2, out: file });
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

for (const geometry of TOYS) {
    test(`${geometry}: runs, whole or cut`, async () => {
        const file = await make(geometry);
        const model = await chord.loadModel(file, { context: CONTEXT });
        try {
            const ids = Array.from({ length: 70 }, (_, i) => (i * 37 + 11) % 500);
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
                    assert.ok(
                        error.message.includes(name) || error.message.includes(renamed),
                        `${name}: ${error.message}`,
                    );
                    return true;
                }),
            );
        }
    });
}

test('learned positions end the context', async () => {
    const file = await make('tiny-gpt2');
    await assert.rejects(chord.loadModel(file, { context: 1025 }), /knows 1024 of them/);
    await (await chord.loadModel(file, { context: 1024 })).close();
});
