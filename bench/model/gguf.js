'use strict';
// The two ends of the GGUF format that making a model needs: writing a header, and reading another
// file's tokenizer keys as raw bytes so that they can be copied unchanged.
const fs = require('node:fs/promises');

const MAGIC = 0x46554747; // "GGUF", little-endian
const ALIGNMENT = 32; // the format's default; no general.alignment key is written
const TYPE_IDS = { u16: 2, u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 };
const FIXED_BYTES = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 };

const alignUp = (n) => Math.ceil(n / ALIGNMENT) * ALIGNMENT;

function u32(n) {
    const b = Buffer.alloc(4);
    b.writeUInt32LE(n);
    return b;
}

function u64(n) {
    const b = Buffer.alloc(8);
    b.writeBigUInt64LE(BigInt(n));
    return b;
}

function string(text) {
    const bytes = Buffer.from(text, 'utf8');
    return Buffer.concat([u64(bytes.length), bytes]);
}

function value(type, v) {
    switch (type) {
        case 'u16': {
            const b = Buffer.alloc(2);
            b.writeUInt16LE(v);
            return b;
        }
        case 'u32':
            return u32(v);
        case 'i32': {
            const b = Buffer.alloc(4);
            b.writeInt32LE(v);
            return b;
        }
        case 'f32': {
            const b = Buffer.alloc(4);
            b.writeFloatLE(v);
            return b;
        }
        case 'bool':
            return Buffer.from([v ? 1 : 0]);
        case 'string':
            return string(v);
        default:
            throw new Error(`no GGUF value type '${type}'`);
    }
}

/**
 * One key-value pair as bytes. type: 'u16', 'u32', 'i32', 'f32', 'bool', 'string', or 'strings' / 'i32s' / 'f32s'
 * for arrays.
 */
function encodePair(key, type, v) {
    if (type === 'strings' || type === 'i32s' || type === 'f32s') {
        const item = type.slice(0, -1);
        return Buffer.concat([
            string(key),
            u32(TYPE_IDS.array),
            u32(TYPE_IDS[item]),
            u64(v.length),
            ...v.map((x) => value(item, x)),
        ]);
    }
    return Buffer.concat([string(key), u32(TYPE_IDS[type]), value(type, v)]);
}

/**
 * Header of a version 3 file. pairs: encoded key-value pairs. tensors: [{ name, shape, typeId,
 * bytes }]; each gets `offset`, its place after the header. Returns { header, bytes: size of the
 * whole file }.
 */
function encodeHeader(pairs, tensors) {
    const parts = [u32(MAGIC), u32(3), u64(tensors.length), u64(pairs.length), ...pairs];
    let at = 0;
    for (const t of tensors) {
        t.offset = at;
        parts.push(
            string(t.name),
            u32(t.shape.length),
            ...t.shape.map(u64),
            u32(t.typeId),
            u64(at),
        );
        at = alignUp(at + t.bytes);
    }
    const bare = Buffer.concat(parts);
    const header = Buffer.concat([bare, Buffer.alloc(alignUp(bare.length) - bare.length)]);
    return { header, bytes: header.length + at };
}

/** Reads numbers and strings off a buffer; running past its end is an error that names the file. */
class Cursor {
    constructor(buffer, path) {
        this.buffer = buffer;
        this.path = path;
        this.at = 0;
    }
    take(n) {
        if (n > this.buffer.length - this.at) {
            throw new Error(
                `${this.path}: not a complete GGUF file (${n} bytes wanted at ${this.at})`,
            );
        }
        this.at += n;
        return this.at - n;
    }
    u32() {
        return this.buffer.readUInt32LE(this.take(4));
    }
    u64() {
        return Number(this.buffer.readBigUInt64LE(this.take(8)));
    }
    string() {
        const n = this.u64();
        const at = this.take(n);
        return this.buffer.toString('utf8', at, at + n);
    }
    skipString() {
        this.take(this.u64());
    }
    skipValue(type) {
        if (type === TYPE_IDS.string) return this.skipString();
        if (type === TYPE_IDS.array) {
            const item = this.u32();
            const n = this.u64();
            if (item === TYPE_IDS.array)
                throw new Error(`${this.path}: nested arrays are not copied`);
            if (FIXED_BYTES[item]) return void this.take(n * FIXED_BYTES[item]);
            for (let i = 0; i < n; i++) this.skipValue(item);
            return undefined;
        }
        if (!FIXED_BYTES[type])
            throw new Error(`${this.path}: unknown value type ${type} at ${this.at}`);
        return void this.take(FIXED_BYTES[type]);
    }
}

/**
 * The tokenizer.* pairs of a GGUF file, as the bytes that stand in it.
 * Returns { pairs: Buffer[], nVocab: length of tokenizer.ggml.tokens }.
 */
async function readVocabulary(path) {
    const c = new Cursor(await readStart(path), path);
    if (c.u32() !== MAGIC) throw new Error(`${path}: not a GGUF file`);
    const version = c.u32();
    if (version !== 2 && version !== 3)
        throw new Error(`${path}: GGUF version ${version}; 2 and 3 are read`);
    c.u64();
    const nPairs = c.u64();
    const pairs = [];
    let nVocab = 0;
    for (let i = 0; i < nPairs; i++) {
        const from = c.at;
        const key = c.string();
        const type = c.u32();
        if (key === 'tokenizer.ggml.tokens') {
            const after = c.at;
            c.u32();
            nVocab = c.u64();
            c.at = after;
        }
        c.skipValue(type);
        if (key.startsWith('tokenizer.')) pairs.push(c.buffer.subarray(from, c.at));
    }
    if (nVocab === 0) throw new Error(`${path}: holds no vocabulary (tokenizer.ggml.tokens)`);
    return { pairs, nVocab };
}

/**
 * The header of a GGUF file: { pairs: [{ key, bytes: the whole pair }], tensors: [{ name, shape (fastest dimension first),
 * typeId }] }, both in file order.
 */
async function readHeader(path) {
    const c = new Cursor(await readStart(path), path);
    if (c.u32() !== MAGIC) throw new Error(`${path}: not a GGUF file`);
    const version = c.u32();
    if (version !== 2 && version !== 3)
        throw new Error(`${path}: GGUF version ${version}; 2 and 3 are read`);
    const nTensors = c.u64();
    const nPairs = c.u64();
    const pairs = [];
    for (let i = 0; i < nPairs; i++) {
        const from = c.at;
        const key = c.string();
        c.skipValue(c.u32());
        pairs.push({ key, bytes: c.buffer.subarray(from, c.at) });
    }
    const tensors = [];
    for (let i = 0; i < nTensors; i++) {
        const name = c.string();
        const shape = Array.from({ length: c.u32() }, () => c.u64());
        tensors.push({ name, shape, typeId: c.u32() });
        c.u64(); // the offset
    }
    return { pairs, tensors };
}

/** Key-value pairs stand at the start: of a large model file the first 64 MiB hold them all. */
async function readStart(path) {
    const file = await fs.open(path, 'r');
    try {
        const { size } = await file.stat();
        const buffer = Buffer.alloc(Math.min(size, 64 << 20));
        const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
        return buffer.subarray(0, bytesRead);
    } finally {
        await file.close();
    }
}

module.exports = { encodePair, encodeHeader, readHeader, readVocabulary };
