#!/usr/bin/env node
// Compares chord's logits with llama.cpp's (through node-llama-cpp) on the same files and token
// ids:
//   node bench/compare-oracle.mjs --oracle FOLDER [--json] [--table FILE] [--models all|architectures | FILE...]
// FOLDER is where node-llama-cpp is installed. 'all' (the default): the fixture models, and
// random-weight models of every architecture in F32, F16, Q8_0 and Q4_K_M, which are made for the
// occasion. 'architectures': those with a small vocabulary of their own, without F16.
//
// The oracle gives log-probabilities, so chord's logits go through log-softmax first. Range:
// largest minus smallest.
//
// Neither engine computes what the weights say: both round activations to 8 bits for quantized
// matrices, keys and values to half precision, each in its way. Models that are made here are
// therefore also written with their weights as F32, and run by the oracle with a cache in F32: that
// is `exact`, from which both distances (root mean square, of the range) are taken.
//   F32 models: the largest difference of the two stays below 1e-3 of the range, or chord is no
//   further from exact than the oracle.
//   All others: chord's distance from exact is at most 1.1 times the oracle's; and the top token is
//   that of exact wherever its first two are further apart than 2 % of the range and than twice the
//   oracle's own largest difference from exact there.
//   Files that are given: no exact; the same top token wherever the oracle's first two are further
//   apart than 2 % of the range.
// Two paths are compared: evaluate() of prefixes of one sequence of ids (prompt), and each token of
// a greedy generate() against what the oracle finds most likely there (generation). Exit code 1
// when anything fails.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const { makeModel } = require('./make-model.js');
const { encodePair, encodeHeader, readHeader } = require('./model/gguf.js');
const { openOracle } = require('./model/oracle.js');
const { startChild, serve } = require('./model/child.js');
const { oracleCommand, text } = require('./options.js');

const SELF = fileURLToPath(import.meta.url);
const FIXTURES =
    process.env.CHORD_FIXTURES ?? path.resolve(path.dirname(SELF), '../../shared/fixtures');
const PREFIXES = [1, 2, 3, 4, 5, 7, 9, 12, 16, 17, 24, 32, 33, 48, 63, 64];
const GENERATE_FROM = 9;
const GENERATED = 16;
const CONTEXT = 256;
const F32_TOLERANCE = 1e-3;
const TOP_GAP = 0.02;
const MOST_DISTANCE = 1.1; // chord's from exact, where the oracle's is 1

const ARCHITECTURE_MIXES = ['F32', 'Q8_0', 'Q4_K_M'];
const MADE_MIXES = ['F32', 'F16', 'Q8_0', 'Q4_K_M'];
const MADE = {
    tiny: 'llama-spm',
    'tiny-qwen2': 'qwen2',
    'tiny-qwen3': 'qwen2',
    'tiny-llama3': 'llama-bpe',
    'tiny-mixtral': 'llama-spm',
    'tiny-qwen2moe': 'qwen2',
    'tiny-qwen3moe': 'qwen2',
    'tiny-phi3': 'phi-3', // llama.cpp asks for some of its tokens
    'tiny-phi3-long': 'phi-3',
    'tiny-phi3-short': 'phi-3',
};
// Made with a small vocabulary of their own: what is compared is the architecture.
const ARCHITECTURES = [
    ...['tiny-linear', 'tiny-yarn', 'tiny-gemma', 'tiny-gemma2', 'tiny-gemma3'],
    ...['tiny-phi2', 'tiny-olmo2', 'tiny-smollm3'],
    ...['tiny-granite', 'tiny-starcoder2', 'tiny-stablelm', 'tiny-gpt2', 'tiny-falcon'],
    ...['tiny-command-r', 'tiny-cohere2', 'tiny-gpt-oss'],
    ...['tiny-bitnet', 'tiny-deepseek', 'tiny-deepseek2', 'tiny-deepseek2-q', 'tiny-deepseek2-all'],
    ...['tiny-deepseek2-split', 'tiny-deepseek3'],
];
// What the oracle cannot answer for.
const BEYOND = {
    'tiny-mistral': 'llama.cpp leaves out the sliding window of llama files',
    'tiny-bitnet-b1.58': 'an architecture that llama.cpp does not have',
};
// Of seeds 1 and up the first with which no two experts at the border of a route are as close as the
// engines round: there another expert runs in one of them. With one of tiny-deepseek2's other seeds
// these are 2e-5 to 4e-5 of a route's logits apart. tiny-deepseek2-all has no such borders, and with
// all experts in use tiny-deepseek3 is 2e-3 to 3e-3 from exact with every seed, else up to 2e-2.
const SEEDS = { 'tiny-mixtral': 2, 'tiny-deepseek2-split': 2, 'tiny-deepseek3': 8 };
// Quantized attn_k_b and attn_v_b, which llama.cpp opens and then aborts on (GGML_ASSERT in
// ggml-backend.cpp): chord is compared with exact alone, and no further from it than MOST_ALONE.
const ABORTS = ['tiny-deepseek2-split', 'tiny-deepseek3'];
const MOST_ALONE = 5e-3;

// ---- the oracle's process: { open: path } -> { nVocab, f32: whether the file says that all its
// weights are F32 }; { ids, at, cache } -> one Float64Array of log-probabilities per position, with
// keys and values of the type `cache`

function serveOracle(folder) {
    let llama;
    let model;
    serve(async ({ open, ids, at, cache = 'F16' }) => {
        if (open !== undefined) {
            llama ??= await openOracle(folder);
            await model?.dispose();
            model = await llama.loadModel({ modelPath: open });
            const { tokenizer, general } = model.fileInfo.metadata;
            return { nVocab: tokenizer.ggml.tokens.length, f32: general.file_type === 0 };
        }
        const context = await model.createContext({
            contextSize: CONTEXT,
            threads: 2,
            flashAttention: false,
            experimentalKvCacheKeyType: cache,
            experimentalKvCacheValueType: cache,
        });
        const wanted = new Set(at);
        const results = await context
            .getSequence()
            .controlledEvaluate(
                ids.map((id, i) =>
                    wanted.has(i) ? [id, { generateNext: { probabilities: true } }] : id,
                ),
            );
        const answer = at.map((i) => {
            const { probabilities } = results[i].next;
            const logprobs = new Float64Array(probabilities.size).fill(NaN);
            for (const [id, p] of probabilities) logprobs[id] = Math.log(p);
            return logprobs;
        });
        await context.dispose();
        return answer;
    });
}

// ---- the comparison

function logSoftmax(logits) {
    let max = -Infinity;
    for (const x of logits) max = Math.max(max, x);
    let sum = 0;
    for (const x of logits) sum += Math.exp(x - max);
    const shift = max + Math.log(sum);
    return Float64Array.from(logits, (x) => x - shift);
}

/** The largest, second largest, and smallest of finite numbers: { top: id, gap, range }. */
function summary(logprobs) {
    let top = 0;
    let second = -Infinity;
    let least = Infinity;
    for (let i = 0; i < logprobs.length; i++) {
        const x = logprobs[i];
        if (x < least && x > -Infinity) least = x;
        if (i === 0) continue;
        if (x > logprobs[top]) {
            second = logprobs[top];
            top = i;
        } else if (x > second) {
            second = x;
        }
    }
    const range = logprobs[top] - least;
    return { top, range, gap: (logprobs[top] - second) / range };
}

function pseudoRandomIds(n, nVocab) {
    let state = 20240817;
    return Array.from({ length: n }, () => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return Math.floor((state / 4294967296) * nVocab);
    });
}

/**
 * One row of the table. worst: largest difference / range of `positions` prefixes; sameTops: of
 * those, with the oracle's top token; judged: prefixes and generated tokens with a gap wide enough
 * to ask for the same token. distances: { ours, theirs } from exact.
 */
function emptyRow(model) {
    return {
        model,
        f32: null,
        positions: 0,
        worst: 0,
        sameTops: 0,
        judged: 0,
        generated: 0,
        sameGenerated: 0,
        distances: null,
        failures: [],
    };
}

/** Writes the model with every tensor as F32. */
async function writeExact(model, from, to) {
    const { pairs, tensors } = await readHeader(from);
    const all = tensors.map(({ name, shape }) => {
        const bytes = 4 * shape.reduce((a, b) => a * b, 1);
        return { name, shape, typeId: 0, bytes };
    });
    const kept = pairs.filter(({ key }) => key !== 'general.file_type').map((p) => p.bytes);
    const { header, bytes } = encodeHeader(
        [...kept, encodePair('general.file_type', 'u32', 0)],
        all,
    );
    const file = fs.openSync(to, 'w');
    try {
        fs.writeSync(file, header, 0, header.length, 0);
        for (const t of all) {
            const { data } = await model.tensor(t.name);
            fs.writeSync(file, new Uint8Array(data.buffer), 0, t.bytes, header.length + t.offset);
        }
        fs.ftruncateSync(file, bytes);
    } finally {
        fs.closeSync(file);
    }
}

/** { rms, worst } of the differences of two lists of log-probabilities, in ranges of the second. */
function distanceOf(some, exact) {
    let sum = 0;
    let n = 0;
    let worst = 0;
    for (const [k, x] of exact.entries()) {
        const { range } = summary(x);
        for (let i = 0; i < x.length; i++) {
            if (x[i] === -Infinity || some[k][i] === -Infinity) continue;
            const difference = Math.abs(some[k][i] - x[i]) / range;
            sum += difference * difference;
            n++;
            worst = Math.max(worst, difference);
        }
    }
    return { rms: Math.sqrt(sum / n), worst };
}

/** Compares one file. Returns a row of the table; row.failures lists what broke a rule. */
async function compareModel(chord, oracle, { name, file, exactFile, aborts }) {
    const model = await chord.loadModel(file, { context: CONTEXT });
    try {
        if (exactFile) await writeExact(model, file, exactFile);
        const { nVocab, f32 } = await oracle.call({ open: aborts ? exactFile : file });
        const cache = aborts ? 'F32' : 'F16';
        const row = { ...emptyRow(name), f32: f32 && !aborts };
        const ids = pseudoRandomIds(PREFIXES.at(-1), nVocab);
        const at = PREFIXES.map((n) => n - 1);
        const theirs = await oracle.call({ ids, at, cache });
        const ours = [];
        for (const n of PREFIXES) {
            const logits = await model.evaluate(ids.slice(0, n));
            if (logits.length !== nVocab)
                throw new Error(`${logits.length} logits, the vocabulary has ${nVocab}`);
            ours.push(logSoftmax(logits));
        }
        const start = ids.slice(0, GENERATE_FROM);
        const { tokens } = await model.generate(start, {
            maxTokens: GENERATED,
            temperature: 0,
            ignoreEos: true,
        });
        if (tokens.length !== GENERATED)
            throw new Error(`generate() gave ${tokens.length} tokens of ${GENERATED}`);
        const generated = {
            ids: [...start, ...tokens.slice(0, -1)],
            at: tokens.map((_, i) => start.length - 1 + i),
        };
        const afterEach = await oracle.call({ ...generated, cache });
        let exact = theirs;
        let exactAfterEach = afterEach;
        if (aborts) {
            row.distances = { ours: distanceOf(ours, exact).rms, theirs: null };
        } else if (exactFile) {
            await oracle.call({ open: exactFile });
            exact = await oracle.call({ ids, at, cache: 'F32' });
            exactAfterEach = await oracle.call({ ...generated, cache: 'F32' });
            row.distances = {
                ours: distanceOf(ours, exact).rms,
                theirs: distanceOf(theirs, exact).rms,
            };
        }
        for (const [i, n] of PREFIXES.entries()) judgePrefix(row, n, ours[i], theirs[i], exact[i]);
        judgeGeneration(row, tokens, afterEach, exactAfterEach);
        judgeDistance(row);
        if (!row.f32 && row.judged === 0)
            row.failures.push(`no position with a gap above ${percent(TOP_GAP)} to judge by`);
        return row;
    } finally {
        await model.close();
    }
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

function judgePrefix(row, n, ours, theirs, exact) {
    row.positions++;
    if (!ours.every(Number.isFinite)) {
        row.failures.push(`prefix ${n}: logits that are no finite numbers`);
        return;
    }
    row.worst = Math.max(row.worst, distanceOf([ours], [theirs]).worst);
    const { top } = summary(ours);
    if (top === summary(theirs).top) row.sameTops++;
    judgeTop(row, `prefix ${n}`, top, theirs, exact);
}

function judgeTop(row, where, top, theirs, exact) {
    const { top: wanted, gap } = summary(exact);
    if (gap <= Math.max(TOP_GAP, 2 * distanceOf([theirs], [exact]).worst)) return;
    row.judged++;
    if (top !== wanted)
        row.failures.push(`${where}: top ${top}, not ${wanted} with a gap of ${percent(gap)}`);
}

function judgeGeneration(row, tokens, theirs, exact) {
    for (const [i, token] of tokens.entries()) {
        row.generated++;
        if (token === summary(theirs[i]).top) row.sameGenerated++;
        judgeTop(row, `generated token ${i}`, token, theirs[i], exact[i]);
    }
}

function judgeDistance(row) {
    const { ours, theirs } = row.distances ?? { ours: 0, theirs: 1 };
    if (theirs === null) {
        if (!(ours <= MOST_ALONE)) row.failures.push(`${ours.toExponential(1)} from exact`);
        return;
    }
    if (row.f32 && !(row.worst < F32_TOLERANCE) && !(row.distances && ours <= theirs))
        row.failures.push(`differs by ${row.worst.toExponential(1)} of the range`);
    if (!row.f32 && !(ours <= MOST_DISTANCE * theirs))
        row.failures.push(`${(ours / theirs).toFixed(2)} times as far from exact as the oracle`);
}

// ---- the models

/**
 * Yields { name, file } and removes what it made; a model that cannot be had is yielded with
 * `skipped`.
 */
async function* modelsToCompare(wanted) {
    const group = wanted.length === 0 ? 'all' : wanted.length === 1 ? wanted[0] : '';
    if (group !== 'all' && group !== 'architectures') {
        for (const file of wanted) yield { name: path.basename(file), file: path.resolve(file) };
        return;
    }
    const files = ['stories260K-f32.gguf', 'llama-2-tiny-random.gguf'];
    for (const name of group === 'all' ? files : []) {
        const file = path.join(FIXTURES, 'models', name);
        yield fs.existsSync(file)
            ? { name, file }
            : { name, skipped: `not in ${path.dirname(file)} (CHORD_FIXTURES)` };
    }
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'chord-compare-'));
    const remove = () => fs.rmSync(folder, { recursive: true, force: true });
    process.on('exit', remove);
    // A small vocabulary will do, but that llama.cpp asks for some of phi3's tokens.
    const made = [
        ...Object.entries(MADE).map(([geometry, vocabulary]) => [
            geometry,
            group === 'all' || geometry.startsWith('tiny-phi3') ? vocabulary : undefined,
        ]),
        ...ARCHITECTURES.map((geometry) => [geometry]),
    ];
    for (const [geometry, vocabulary] of made) {
        const real = path.join(FIXTURES, 'vocab', `ggml-vocab-${vocabulary}.gguf`);
        const vocab = vocabulary && fs.existsSync(real) ? real : undefined;
        for (const mix of group === 'all' ? MADE_MIXES : ARCHITECTURE_MIXES) {
            const file = path.join(folder, `${geometry}-${mix}.gguf`);
            const exactFile = path.join(folder, `${geometry}-${mix}-exact.gguf`);
            await makeModel({ geometry, mix, vocab, out: file, seed: SEEDS[geometry] });
            const aborts = mix !== 'F32' && ABORTS.includes(geometry);
            yield { name: `${geometry} ${mix}`, file, exactFile, aborts };
            fs.rmSync(file);
            fs.rmSync(exactFile, { force: true });
        }
    }
    remove();
    for (const [name, skipped] of Object.entries(BEYOND)) yield { name, skipped };
}

function distances(row, between) {
    if (!row.distances) return '';
    const { ours, theirs } = row.distances;
    return `${ours.toExponential(1)}${between}${theirs?.toExponential(1) ?? 'aborts'}`;
}

function table(rows) {
    const head = [
        'model',
        'largest difference / range',
        'from exact: chord, oracle',
        'same top',
        'generated, same',
        'judged',
        'verdict',
    ];
    const cells = rows.map((r) =>
        r.skipped
            ? [r.model, '', '', '', '', '', `skipped: ${r.skipped}`]
            : [
                  r.model,
                  r.positions ? r.worst.toExponential(2) : '-',
                  distances(r, ', '),
                  `${r.sameTops} of ${r.positions}`,
                  `${r.sameGenerated} of ${r.generated}`,
                  String(r.judged),
                  r.failures.length ? 'FAILED' : 'ok',
              ],
    );
    const widths = head.map((h, i) =>
        Math.max(h.length, ...cells.map((c) => (i === head.length - 1 ? 0 : c[i].length))),
    );
    const line = (c) =>
        c.map((x, i) => (i === head.length - 1 ? x : x.padEnd(widths[i]))).join('  ') + '\n';
    return (
        line(head) +
        cells
            .map((c, i) => line(c) + (rows[i].failures ?? []).map((f) => `    ${f}\n`).join(''))
            .join('')
    );
}

/** The rows as a page of their own. */
function markdown(rows) {
    const lines = rows.map((r) =>
        r.skipped
            ? `| ${r.model} | | | | | | not compared: ${r.skipped} |`
            : `| ${r.model} | ${r.positions ? r.worst.toExponential(1) : ''} | ` +
              `${distances(r, ' | ') || ' | '} | ` +
              `${r.sameTops} of ${r.positions} | ${r.sameGenerated} of ${r.generated} | ` +
              `${r.failures.length ? `failed: ${r.failures[0]}` : 'agrees'} |`,
    );
    return `# Logits beside llama.cpp

Written by \`node bench/compare-oracle.mjs --oracle FOLDER --models architectures --table FILE\`:
random weights at toy size, prefixes of up to ${PREFIXES.at(-1)} tokens and ${GENERATED} generated ones, sliding windows of 16
tokens, RoPE scaled from 32 on. All differences are shares of the range of the logits.

Both engines round: activations to 8 bits for quantized matrices, keys and values to half precision.
"exact" is llama.cpp with the same weights as F32 and a cache in F32; the distances of both engines
from it are root mean squares. F32 models agree when the largest difference is below ${F32_TOLERANCE}, or
chord's distance no more than llama.cpp's. All others agree when chord's distance is at most
${MOST_DISTANCE} times llama.cpp's and its top token that of "exact" wherever the first two are further apart
than ${100 * TOP_GAP} % and than twice llama.cpp's largest difference there. "same top" and "generated" count
tokens that are llama.cpp's, ties included. Where llama.cpp aborts, these are of "exact", and chord's
distance is at most ${MOST_ALONE}. ${Object.keys(SEEDS).join(', ')} are
made with the first seed for which rounding does not choose between experts.

| model | largest difference | chord from exact | llama.cpp from exact | same top | generated, same | verdict |
|---|---|---|---|---|---|---|
${lines.join('\n')}
`;
}

async function main() {
    const { values, words } = oracleCommand({
        synopsis: 'node bench/compare-oracle.mjs --oracle FOLDER [FILE...]',
        about: "Compares chord's logits with node-llama-cpp's on the same files and token ids; how, and what has to agree: the head of the file.",
        options: {
            models: { value: 'all|architectures', read: text, multiple: true, help: 'models of random weights, made for the occasion; without files: all' },
            table: { value: 'FILE', read: text, help: 'also writes a table of Markdown' },
            json: { help: 'one JSON object on standard output' },
        },
    });
    process.once('SIGINT', () => process.exit(130));
    process.once('SIGTERM', () => process.exit(143));
    const chord = require('..');
    let oracle = null;
    const rows = [];
    for await (const model of modelsToCompare([...(values.models ?? []), ...words])) {
        if (model.skipped) {
            rows.push({ model: model.name, skipped: model.skipped });
            continue;
        }
        oracle ??= startChild('oracle', SELF, ['--serve', values.oracle]);
        try {
            rows.push(await compareModel(chord, oracle, model));
        } catch (error) {
            rows.push({ ...emptyRow(model.name), failures: [error.message] });
        }
        if (!values.json)
            process.stderr.write(
                `${model.name}: ${rows.at(-1).failures.length ? 'FAILED' : 'ok'}\n`,
            );
    }
    await oracle?.stop();
    if (values.table) fs.writeFileSync(values.table, markdown(rows));
    const failed = rows.filter((r) => r.failures?.length).length;
    const compared = rows.filter((r) => !r.skipped).length;
    process.stdout.write(
        values.json
            ? JSON.stringify({ rows, compared, failed }) + '\n'
            : `${table(rows)}${compared - failed} of ${compared} models agree with the oracle\n`,
    );
    return failed || !compared ? 1 : 0;
}

if (process.argv[2] === '--serve') {
    serveOracle(process.argv[3]);
} else {
    process.exitCode = await main().catch((error) => {
        process.stderr.write(`compare-oracle: ${error.message}\n`);
        return 1;
    });
}
