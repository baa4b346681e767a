#!/usr/bin/env node
'use strict';
// Makes a GGUF model of a real geometry with random weights, for tests and measurements:
//   node bench/make-model.js --geometry llama2-7b --mix Q4_K_M [--vocab VOCAB.gguf] [--layers N]
//                            [--seed N] [--out FILE] [--json]
// The file is complete (metadata, tokenizer, tensors) and its numbers behave like a trained
// model's, but it writes nonsense. It is streamed to a temporary file that takes its name at the
// end; Ctrl-C leaves nothing behind.
const fs = require('node:fs/promises');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { GEOMETRIES, geometryOf, tensorsOf, metadataOf } = require('./model/geometry.js');
const { MIXES, mixOf, typeOf } = require('./model/mix.js');
const { TYPES, bytesOf, blockFiller, randomFor, tailOf } = require('./model/blocks.js');
const { encodePair, encodeHeader, readVocabulary } = require('./model/gguf.js');
const { syntheticVocabulary } = require('./model/vocabulary.js');

const CHUNK_BYTES = 4 << 20;

/**
 * What a file begins with, and what else it holds. options: { geometry, mix, vocab?, layers? }.
 * Returns { g: the geometry, tensors, header, bytes: size of the whole file }.
 */
async function layOut({ geometry, mix: mixName, vocab, layers }) {
    const mix = mixOf(mixName);
    const g = geometryOf(geometry, layers);
    let tokenizer;
    if (vocab !== undefined) {
        const { pairs, nVocab } = await readVocabulary(vocab);
        tokenizer = pairs;
        g.nVocab = nVocab;
    } else {
        tokenizer = syntheticVocabulary(g);
    }

    const tensors = tensorsOf(g).map((t) => {
        const type = typeOf(mix, g, t);
        const elements = t.shape.reduce((a, b) => a * b, 1);
        return { ...t, type, typeId: TYPES[type].id, elements, bytes: bytesOf(type, elements) };
    });
    const pairs = [
        ...metadataOf(g, mixName, mix.fileType, mix.quantized).map((p) => encodePair(...p)),
        ...tokenizer,
    ];
    return { g, tensors, ...encodeHeader(pairs, tensors) };
}

/**
 * Makes one model file.
 * options: { geometry, mix, out?, vocab?, layers?, seed?, signal?, onProgress?(progress) }, with
 * signal an AbortSignal and progress { done, total, seconds }, done and total in bytes.
 * Returns { file, bytes, seconds, geometry, mix, layers, vocabulary, parameters, tensors,
 * bytesPerType }.
 */
async function makeModel(options) {
    const { geometry, mix: mixName, seed = 1, signal, onProgress } = options;
    if (!Number.isSafeInteger(seed) || seed < 0)
        throw new Error(`seed must be an integer >= 0, got ${seed}`);
    const { g, tensors, header, bytes } = await layOut(options);

    const file = path.resolve(options.out ?? `${geometry}-${mixName}.gguf`);
    const began = performance.now();
    await writeAtomically(file, bytes, async (handle) => {
        let reported = began;
        const progress = (done) => {
            signal?.throwIfAborted();
            const now = performance.now();
            if (onProgress && (now - reported > 200 || done === bytes)) {
                reported = now;
                onProgress({ done, total: bytes, seconds: (now - began) / 1000 });
            }
        };
        await handle.write(header, 0, header.length, 0);
        const chunks = [
            Buffer.from(new ArrayBuffer(CHUNK_BYTES)),
            Buffer.from(new ArrayBuffer(CHUNK_BYTES)),
        ];
        for (const tensor of tensors) {
            await writeTensor(handle, header.length, tensor, seed, chunks, progress);
        }
        await handle.truncate(bytes);
        progress(bytes);
    });

    const bytesPerType = {};
    for (const t of tensors) bytesPerType[t.type] = (bytesPerType[t.type] ?? 0) + t.bytes;
    return {
        file,
        bytes,
        seconds: (performance.now() - began) / 1000,
        geometry,
        mix: mixName,
        layers: g.nLayer,
        vocabulary: g.nVocab,
        parameters: tensors.reduce((n, t) => n + t.elements, 0),
        tensors: tensors.length,
        bytesPerType,
    };
}

/**
 * Runs write(handle) on a temporary file beside `file`, then renames it; a failure removes the
 * temporary file.
 */
async function writeAtomically(file, bytes, write) {
    const folder = path.dirname(file);
    await requireSpace(folder, bytes);
    const temporary = path.join(folder, `.${path.basename(file)}.${process.pid}.tmp`);
    const handle = await fs.open(temporary, 'wx');
    try {
        try {
            await write(handle);
        } finally {
            await handle.close();
        }
        await fs.rename(temporary, file);
    } catch (error) {
        await fs.rm(temporary, { force: true });
        throw error;
    }
}

async function requireSpace(folder, bytes) {
    if (!fs.statfs) return; // Node before 18.15
    const { bavail, bsize } = await fs.statfs(folder);
    if (bavail * bsize < bytes) {
        throw new Error(
            `${folder}: ${gb(bavail * bsize)} GB free, the model needs ${gb(bytes)} GB`,
        );
    }
}

/** Streams one tensor: the next chunk is made while the one before it is being written. */
async function writeTensor(handle, base, tensor, seed, chunks, progress) {
    const random = randomFor(seed, tensor.name);
    const { fill } = tensor;
    let at = base + tensor.offset;
    if (fill.kind !== 'normal') {
        const values =
            fill.kind === 'values'
                ? fill.values
                : Float32Array.from(
                      { length: tensor.elements },
                      () => fill.centre + fill.spread * (2 * random.uniform() - 1),
                  );
        await handle.write(new Uint8Array(values.buffer), 0, tensor.bytes, at);
        return;
    }
    const { elements: perBlock, bytes: blockBytes } = TYPES[tensor.type];
    const fillBlocks = blockFiller(tensor.type, fill.std, random);
    const most = Math.floor(CHUNK_BYTES / blockBytes);
    let left = tensor.elements / perBlock;
    let writing = Promise.resolve();
    for (let turn = 0; left > 0; turn++) {
        const n = Math.min(left, most);
        const chunk = chunks[turn % 2];
        fillBlocks(chunk, n);
        await writing;
        progress(at);
        writing = writeAll(handle, chunk, n * blockBytes, at);
        writing.catch(() => {}); // reported by the await above or below
        at += n * blockBytes;
        left -= n;
    }
    await writing;
    const tail = tailOf(tensor.type, fill.std);
    await writeAll(handle, tail, tail.length, at);
}

async function writeAll(handle, buffer, length, at) {
    for (let done = 0; done < length;) {
        const { bytesWritten } = await handle.write(buffer, done, length - done, at + done);
        done += bytesWritten;
    }
}

const gb = (bytes) => (bytes / 1e9).toFixed(2);

/**
 * A progress reporter on stderr: one line that is rewritten on a terminal, otherwise a new line
 * every second.
 */
function progressPrinter(stream) {
    let last = 0;
    return ({ done, total, seconds }) => {
        if (!stream.isTTY && seconds - last < 1) return;
        last = seconds;
        const rate = done / seconds;
        const left = Math.ceil((total - done) / rate);
        const text = `${gb(done)} of ${gb(total)} GB, ${gb(rate)} GB/s, ${left} s left`;
        stream.write(stream.isTTY ? `\r${text}\x1b[K` : `${text}\n`);
        if (stream.isTTY && done === total) stream.write('\n');
    };
}

const USAGE = `usage: node bench/make-model.js --geometry NAME --mix MIX [--vocab VOCAB.gguf]
                                [--layers N] [--seed N] [--out FILE] [--json]
geometries: ${Object.keys(GEOMETRIES).join(', ')}
mixes:      ${Object.keys(MIXES).join(', ')}
`;

async function main(argv) {
    const { values } = parseArgs({
        args: argv,
        options: {
            geometry: { type: 'string' },
            mix: { type: 'string' },
            vocab: { type: 'string' },
            layers: { type: 'string' },
            seed: { type: 'string' },
            out: { type: 'string' },
            json: { type: 'boolean' },
            help: { type: 'boolean' },
        },
    });
    if (values.help || !values.geometry || !values.mix) {
        (values.help ? process.stdout : process.stderr).write(USAGE);
        return values.help ? 0 : 2;
    }
    const controller = new AbortController();
    const interrupt = () => controller.abort(new Error('interrupted'));
    process.once('SIGINT', interrupt);
    process.once('SIGTERM', interrupt);
    const made = await makeModel({
        ...values,
        layers: values.layers === undefined ? undefined : Number(values.layers),
        seed: values.seed === undefined ? undefined : Number(values.seed),
        signal: controller.signal,
        onProgress: progressPrinter(process.stderr),
    });
    const millions = (made.parameters / 1e6).toFixed(1);
    const text =
        `${made.file}: ${gb(made.bytes)} GB, ${millions} million parameters, ` +
        `${made.tensors} tensors, in ${made.seconds.toFixed(1)} s`;
    process.stdout.write((values.json ? JSON.stringify(made) : text) + '\n');
    return 0;
}

if (require.main === module) {
    main(process.argv.slice(2)).then(
        (code) => {
            process.exitCode = code;
        },
        (error) => {
            process.stderr.write(`make-model: ${error.message}\n`);
            process.exitCode = error.message === 'interrupted' ? 130 : 1;
        },
    );
}

module.exports = { makeModel, layOut, writeAtomically, GEOMETRIES: Object.keys(GEOMETRIES), MIXES: Object.keys(MIXES) };
