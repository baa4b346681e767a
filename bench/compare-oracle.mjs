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
//   F32 models: the largest difference stays below 1e-3 of the range.
//   All others: the same top token, wherever the oracle's first two are further apart than 2 % of
//   the range.
// Two paths are compared: evaluate() of prefixes of one sequence of ids (prompt), and each token of
// a greedy generate() against what the oracle finds most likely there (generation). Exit code 1
// when anything fails.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const require = createRequire(import.meta.url);
const { makeModel } = require('./make-model.js');
const { openOracle } = require('./model/oracle.js');
const { startChild, serve } = require('./model/child.js');

const SELF = fileURLToPath(import.meta.url);
const FIXTURES =
    process.env.CHORD_FIXTURES ?? path.resolve(path.dirname(SELF), '../../shared/fixtures');
const PREFIXES = [1, 2, 3, 4, 5, 7, 9, 12, 16, 17, 24, 32, 33, 48, 63, 64];
const GENERATE_FROM = 9;
const GENERATED = 16;
const CONTEXT = 256;
const F32_TOLERANCE = 1e-3;
const TOP_GAP = 0.02;

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
    ...['tiny-bitnet', 'tiny-deepseek', 'tiny-deepseek2', 'tiny-deepseek2-q'],
];
// What the oracle cannot answer for.
const BEYOND = {
    'tiny-mistral': 'llama.cpp leaves out the sliding window of llama files',
    'tiny-bitnet-b1.58': 'an architecture that llama.cpp does not have',
};
// Of seeds 1 and up the first with which no two experts at the border of a route are so close that the
// rounding of activations, in which engines differ, decides.
// llama.cpp takes GELU from a table of half-precision numbers, which brings models with it, and
// with two norms around each part, close to the tolerance.
const SEEDS = { 'tiny-mixtral': 2, 'tiny-gemma3': 3 };

// ---- the oracle's process: { open: path } -> { nVocab, f32: whether the file says that all its
// weights are F32 }; { ids, at } -> one Float64Array of log-probabilities per position

function serveOracle(folder) {
    let llama;
    let model;
    serve(async ({ open, ids, at }) => {
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
 * to ask for the same token.
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
        failures: [],
    };
}

/** Compares one file. Returns a row of the table; row.failures lists what broke a rule. */
async function compareModel(chord, oracle, { name, file }) {
    const { nVocab, f32 } = await oracle.call({ open: file });
    const row = { ...emptyRow(name), f32 };
    const ids = pseudoRandomIds(PREFIXES.at(-1), nVocab);
    const theirs = await oracle.call({ ids, at: PREFIXES.map((n) => n - 1) });

    const model = await chord.loadModel(file, { context: CONTEXT });
    try {
        for (const [i, n] of PREFIXES.entries()) {
            const logits = await model.evaluate(ids.slice(0, n));
            if (logits.length !== nVocab)
                throw new Error(`${logits.length} logits, the vocabulary has ${nVocab}`);
            judgePrefix(row, n, logSoftmax(logits), theirs[i]);
        }
        const start = ids.slice(0, GENERATE_FROM);
        const { tokens } = await model.generate(start, {
            maxTokens: GENERATED,
            temperature: 0,
            ignoreEos: true,
        });
        await judgeGeneration(row, oracle, start, tokens);
        if (!f32 && row.judged === 0)
            row.failures.push(`no position with a gap above ${100 * TOP_GAP} % to judge by`);
    } finally {
        await model.close();
    }
    return row;
}

function judgePrefix(row, n, ours, theirs) {
    row.positions++;
    if (!ours.every(Number.isFinite)) {
        row.failures.push(`prefix ${n}: logits that are no finite numbers`);
        return;
    }
    const { top, gap, range } = summary(theirs);
    let worst = 0;
    for (let i = 0; i < ours.length; i++) {
        // The oracle's probability can be below the smallest float: no evidence.
        if (theirs[i] !== -Infinity) worst = Math.max(worst, Math.abs(ours[i] - theirs[i]));
    }
    const relative = worst / range;
    row.worst = Math.max(row.worst, relative);
    if (row.f32 && !(relative < F32_TOLERANCE)) {
        row.failures.push(`prefix ${n}: differs by ${relative.toExponential(1)} of the range`);
    }
    const ourTop = summary(ours).top;
    if (ourTop === top) row.sameTops++;
    if (gap > TOP_GAP) {
        row.judged++;
        if (ourTop !== top) {
            const percent = (100 * gap).toFixed(1);
            row.failures.push(`prefix ${n}: top ${ourTop}, oracle ${top}, gap ${percent} %`);
        }
    }
}

async function judgeGeneration(row, oracle, start, tokens) {
    if (tokens.length !== GENERATED) {
        row.failures.push(`generate() gave ${tokens.length} tokens of ${GENERATED}`);
        return;
    }
    const ids = [...start, ...tokens.slice(0, -1)];
    const theirs = await oracle.call({ ids, at: tokens.map((_, i) => start.length - 1 + i) });
    const least = row.f32 ? F32_TOLERANCE : TOP_GAP;
    for (const [i, token] of tokens.entries()) {
        const { top, gap } = summary(theirs[i]);
        row.generated++;
        if (token === top) row.sameGenerated++;
        if (gap > TOP_GAP) row.judged++;
        if (token !== top && gap > least) {
            row.failures.push(
                `generated token ${i}: ${token}, oracle ${top}, gap ${(100 * gap).toFixed(1)} %`,
            );
        }
    }
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
    const phi3 = Object.entries(MADE).filter(([geometry]) => geometry.startsWith('tiny-phi3'));
    const made = [
        ...(group === 'all' ? Object.entries(MADE) : phi3),
        ...ARCHITECTURES.map((geometry) => [geometry]),
    ];
    for (const [geometry, vocabulary] of made) {
        const real = path.join(FIXTURES, 'vocab', `ggml-vocab-${vocabulary}.gguf`);
        const vocab = vocabulary && fs.existsSync(real) ? real : undefined;
        for (const mix of group === 'all' ? MADE_MIXES : ARCHITECTURE_MIXES) {
            const file = path.join(folder, `${geometry}-${mix}.gguf`);
            await makeModel({ geometry, mix, vocab, out: file, seed: SEEDS[geometry] });
            yield { name: `${geometry} ${mix}`, file };
            fs.rmSync(file);
        }
    }
    remove();
    for (const [name, skipped] of Object.entries(BEYOND)) yield { name, skipped };
}

function table(rows) {
    const head = [
        'model',
        'largest difference / range',
        'same top',
        'generated, same',
        'judged',
        'verdict',
    ];
    const cells = rows.map((r) =>
        r.skipped
            ? [r.model, '', '', '', '', `skipped: ${r.skipped}`]
            : [
                  r.model,
                  r.positions ? r.worst.toExponential(2) : '-',
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
            ? `| ${r.model} | | | | not compared: ${r.skipped} |`
            : `| ${r.model} | ${r.positions ? r.worst.toExponential(1) : ''} | ` +
              `${r.sameTops} of ${r.positions} | ${r.sameGenerated} of ${r.generated} | ` +
              `${r.failures.length ? `failed: ${r.failures[0]}` : 'agrees'} |`,
    );
    return [
        '# Logits beside llama.cpp',
        '',
        `Written by \`node bench/compare-oracle.mjs --oracle FOLDER --table FILE\`: random weights at`,
        `toy size, prefixes of ${PREFIXES.at(-1)} tokens and ${GENERATED} generated ones, sliding`,
        'windows of 16 tokens, RoPE scaled from 32. F32 models must differ by less than',
        `${F32_TOLERANCE} of the range of the logits, others must have the same top token wherever the`,
        `first two are further apart than ${100 * TOP_GAP} % of it.`,
        '',
        '| model | largest difference / range | same top | generated, same | verdict |',
        '|---|---|---|---|---|',
        ...lines,
        '',
    ].join('\n');
}

async function main() {
    const { values, positionals } = parseArgs({
        allowPositionals: true,
        options: {
            oracle: { type: 'string' },
            json: { type: 'boolean' },
            models: { type: 'string', multiple: true },
            table: { type: 'string' },
        },
    });
    if (!values.oracle) {
        process.stderr.write(
            'usage: node bench/compare-oracle.mjs --oracle FOLDER [--json] [--table FILE] ' +
                '[--models all|architectures | FILE...]\n',
        );
        return 2;
    }
    process.once('SIGINT', () => process.exit(130));
    process.once('SIGTERM', () => process.exit(143));
    const chord = require('..');
    let oracle = null;
    const rows = [];
    for await (const model of modelsToCompare([...(values.models ?? []), ...positionals])) {
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
