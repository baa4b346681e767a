#!/usr/bin/env node
// Compares chord's vectors of texts, and its scores of pairs of them, with llama.cpp's (through node-llama-cpp) on the same
// files, and how many texts per second each makes vectors of:
//   node bench/compare-embeddings.mjs --oracle FOLDER [--json] [--speed] [--rounds N] [FILE...]
// FOLDER is where node-llama-cpp is installed. Without files, models with random weights of the architectures for
// embeddings are made for the occasion, in F32 and Q8_0; with --speed, of real geometries, in F16 and Q8_0.
//
// Vectors: both engines read the same tokens, and the smallest cosine is above 0.9999 in F32, above 0.99 in other types,
// where rounding of activations is each engine's own.
// Scores, of models for ranking: the oracle is given the tokens that its own tokenizer makes of query, document and the file's
// template. Of BERT's kin those with one token type are compared, as llama.cpp gives documents type 0 where BERT was trained
// with 1. Scores are from 0 to 1, and in F32 no two are further apart than LARGEST_F32_DIFFERENCE, which is what halves cost, more on
// random weights than on trained ones; in other types the difference is shown and not judged. Beside a reference in double
// precision, chord's scores are off by 1.5e-4 (tiny-xlmr-rank) and 1.2e-3 (tiny-qwen3-rank; 2e-4 when the reference, too, rounds keys
// and values to halves), llama.cpp's by 5e-4 and 2.5e-3.
// Speed: the oracle's best number of threads is found first. Then 64 short texts in one call, in turns with the oracle, which
// takes them one by one as that is what its call does, all asked for at once. Medians of the rounds. Exit code 1 when anything
// fails.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const { makeModel } = require('./make-model.js');
const { openOracle } = require('./model/oracle.js');
const { startChild, serve } = require('./model/child.js');
const { integer, oracleCommand } = require('./options.js');
const { median } = require('../lib/cli/format.js');

const SELF = fileURLToPath(import.meta.url);
const LEAST_COSINE = { F32: 0.9999, other: 0.99 };
const LARGEST_F32_DIFFERENCE = 5e-3;
const N_SHORT = 64;
const N_TRIAL = 16; // texts, for the number of threads
const N_TURNS = 3; // of trying them

const GEOMETRIES = ['tiny-bert', 'tiny-bert-cls', 'tiny-nomic-bert', 'tiny-qwen3-embedding'];
const RANKING = ['tiny-xlmr-rank', 'tiny-qwen3-rank', 'tiny-qwen3-reranker'];
const REAL = ['all-minilm-l6', 'bge-base', 'nomic-embed-v1.5', 'qwen3-embedding-0.6b'];

const SENTENCES = [
    'The cat is old.',
    'where was the water when it was in the house',
    'A man; a woman -- and 3 dogs (all of them big)!',
    'bu ko ba, di lo fa tu: ne mi so ra vu hi te ga wo pel',
    'Which state had this school in that year?',
];
const LONG = Array.from({ length: 40 }, (_, i) => SENTENCES[i % SENTENCES.length]).join(' ');
const TEXTS = [...SENTENCES, 'x', LONG.slice(0, 300), LONG];
const SHORT = Array.from(
    { length: N_SHORT },
    (_, i) => `${SENTENCES[i % SENTENCES.length]} ${SENTENCES[(i * 3 + 1) % SENTENCES.length]} ${i}`,
);

// ---- the oracle's process: { open: path, threads } -> null; { texts } -> [vector]; { time: texts } -> seconds;
// { pairs: [[query, document]] } -> [score]

function serveOracle(folder) {
    let llama;
    let model;
    let file;
    let context;
    const sizes = { contextSize: 512, batchSize: 512 };
    serve(async ({ open, threads, texts, time, pairs }) => {
        if (open !== undefined) {
            llama ??= await openOracle(folder);
            await context?.dispose();
            if (open !== file) {
                await model?.dispose();
                model = await llama.loadModel({ modelPath: open });
                file = open;
            }
            context = await model.createEmbeddingContext({ ...sizes, threads });
            return null;
        }
        if (pairs !== undefined) {
            const ranking = await model.createRankingContext({ ...sizes, threads: 1, template: '{{query}}{{document}}' });
            const scores = [];
            for (const [query, document] of pairs) scores.push(await ranking.rank(pairTokens(model, query, document), []));
            await ranking.dispose();
            return scores;
        }
        if (time !== undefined) {
            const began = performance.now();
            await Promise.all(time.map((text) => context.getEmbeddingFor(text)));
            return (performance.now() - began) / 1000;
        }
        const answers = [];
        for (const tokens of texts) {
            const { vector } = await context.getEmbeddingFor(tokens);
            answers.push(vector);
        }
        return answers;
    });
}

/** A pair as models were trained with it; node-llama-cpp itself leaves out BERT's last [SEP]. */
function pairTokens(model, query, document) {
    const { bos, eos, sep, shouldPrependBosToken } = model.tokens;
    const template = model.fileInfo.metadata.tokenizer['chat_template.rerank'];
    if (template) return model.tokenize(template.replace('{query}', query).replace('{document}', document), true);
    const begin = shouldPrependBosToken || model.fileInfo.metadata.general.architecture === 'bert' ? [bos] : [];
    const end = eos ?? sep;
    return [...begin, ...model.tokenize(query), end, ...model.tokenize(document), end];
}

// ---- the comparison

function compareVectors(ours, theirs) {
    const length = Math.sqrt(theirs.reduce((sum, x) => sum + x * x, 0));
    let cosine = 0;
    let difference = 0;
    for (let i = 0; i < ours.length; i++) {
        const their = theirs[i] / length;
        cosine += ours[i] * their;
        difference = Math.max(difference, Math.abs(ours[i] - their));
    }
    return { cosine, difference };
}

const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);

async function compareModel(chord, oracle, { name, file }, { speed, rounds }) {
    await oracle.call({ open: file, threads: os.availableParallelism() });
    const model = await chord.loadModel(file, { context: 512 });
    try {
        const { quantization, pooling } = model.info;
        if (pooling === 'rank') return await compareScores(model, oracle, name);
        const row = { model: name, cosine: 1, difference: 0, apart: 1, failures: [] };
        // The oracle would add a token for begin and end where they are missing.
        const texts = TEXTS.filter((text) => model.tokenize(text).length < 511);
        const vectors = await model.embed(texts);
        const theirs = await oracle.call({ texts });
        for (const [i, vector] of vectors.entries()) {
            if (theirs[i].length !== vector.length) throw new Error(`${vector.length} numbers, the oracle has ${theirs[i].length}`);
            const { cosine, difference } = compareVectors(vector, theirs[i]);
            row.cosine = Math.min(row.cosine, cosine);
            row.difference = Math.max(row.difference, difference);
            // Proof that the vectors tell texts apart at all.
            if (i > 0) row.apart = Math.min(row.apart, dot(vector, vectors[0]));
        }
        const least = LEAST_COSINE[quantization] ?? LEAST_COSINE.other;
        if (!(row.cosine > least)) row.failures.push(`a cosine of ${row.cosine}, not above ${least}`);
        if (speed) await measure(row, model, oracle, { file, rounds });
        return row;
    } finally {
        await model.close();
    }
}

async function compareScores(model, oracle, name) {
    const pairs = TEXTS.slice(0, 3).flatMap((query) => TEXTS.slice(0, -1).map((document) => [query, document]));
    const theirs = await oracle.call({ pairs });
    const ours = [];
    for (const [query, document] of pairs) ours.push((await model.rerank(query, [document]))[0].score);
    const row = { model: name, scores: ours.length, difference: 0, least: Math.min(...ours), most: Math.max(...ours), failures: [] };
    ours.forEach((score, i) => (row.difference = Math.max(row.difference, Math.abs(score - theirs[i]))));
    if (model.info.quantization === 'F32' && !(row.difference <= LARGEST_F32_DIFFERENCE))
        row.failures.push(`a difference of ${row.difference}, more than ${LARGEST_F32_DIFFERENCE}`);
    return row;
}

/** The number of threads with which the oracle is fastest, by the median of tries in turn; it goes on with that. */
async function bestThreads(oracle, file) {
    const tries = Array.from({ length: os.availableParallelism() }, (_, i) => ({ threads: i + 1, rates: [] }));
    for (let turn = 0; turn < N_TURNS; turn++)
        for (const { threads, rates } of tries) {
            await oracle.call({ open: file, threads });
            await oracle.call({ time: SHORT.slice(0, N_TRIAL / 4) }); // the first of a context finds everything cold
            rates.push(N_TRIAL / (await oracle.call({ time: SHORT.slice(0, N_TRIAL) })));
        }
    const measured = tries.map(({ threads, rates }) => ({ threads, textsPerSecond: median(rates) }));
    const best = measured.reduce((a, b) => (b.textsPerSecond > a.textsPerSecond ? b : a));
    await oracle.call({ open: file, threads: best.threads });
    return { best: best.threads, tries: measured };
}

async function measure(row, model, oracle, { file, rounds }) {
    const ours = [];
    const theirs = [];
    const { best, tries } = await bestThreads(oracle, file);
    row.oracleThreads = best;
    row.oracleTries = tries;
    for (let round = 0; round <= rounds; round++) {
        const began = performance.now();
        await model.embed(SHORT);
        const seconds = (performance.now() - began) / 1000;
        const their = await oracle.call({ time: SHORT });
        if (round === 0) continue; // both have read the file by then
        ours.push(seconds);
        theirs.push(their);
    }
    row.tokens = SHORT.reduce((n, text) => n + model.tokenize(text).length, 0);
    row.textsPerSecond = N_SHORT / median(ours);
    row.oracleTextsPerSecond = N_SHORT / median(theirs);
    row.ratios = ours.map((seconds, i) => theirs[i] / seconds);
    row.ratio = median(row.ratios);
}

async function* modelsToCompare(files, speed) {
    for (const file of files) yield { name: path.basename(file), file: path.resolve(file) };
    if (files.length > 0) return;
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'chord-embeddings-'));
    const remove = () => fs.rmSync(folder, { recursive: true, force: true });
    process.on('exit', remove);
    for (const geometry of speed ? REAL : [...GEOMETRIES, ...RANKING]) {
        for (const mix of speed ? ['F16', 'Q8_0'] : ['F32', 'Q8_0']) {
            const file = path.join(folder, `${geometry}-${mix}.gguf`);
            await makeModel({ geometry, mix, out: file });
            yield { name: `${geometry} ${mix}`, file };
            fs.rmSync(file);
        }
    }
    remove();
}

function describe(row) {
    const { model, cosine, difference, apart, scores, least, most, failures } = row;
    let line = `${model}: `;
    if (cosine !== undefined)
        line +=
            `smallest cosine ${cosine.toFixed(7)}, largest difference ${difference.toExponential(1)}, ` +
            `other texts as far as ${apart.toFixed(3)}`;
    if (scores) line += `${scores} scores from ${least.toFixed(3)} to ${most.toFixed(3)}, largest difference ${difference.toExponential(1)}`;
    if (row.textsPerSecond)
        line +=
            `; ${row.textsPerSecond.toFixed(0)} texts/s (${row.tokens} tokens), oracle ${row.oracleTextsPerSecond.toFixed(0)} ` +
            `on ${row.oracleThreads} of up to ${row.oracleTries.length} threads: ` +
            `${row.ratio.toFixed(2)} times (${Math.min(...row.ratios).toFixed(2)} to ${Math.max(...row.ratios).toFixed(2)})`;
    return `${line}${failures.map((text) => `\n    FAILED: ${text}`).join('')}\n`;
}

async function main() {
    const { values, words } = oracleCommand({
        synopsis: 'node bench/compare-embeddings.mjs --oracle FOLDER [FILE...]',
        about: "Compares chord's vectors and scores of texts with node-llama-cpp's; how, and what has to agree: the head of the file.",
        options: {
            speed: { help: 'also how many texts per second; without files, of real geometries' },
            rounds: { value: 'N', read: integer(1), initial: 7, help: 'of that' },
            json: { help: 'one JSON object on standard output' },
        },
    });
    process.once('SIGINT', () => process.exit(130));
    process.once('SIGTERM', () => process.exit(143));
    const chord = require('..');
    const oracle = startChild('oracle', SELF, ['--serve', values.oracle]);
    const rows = [];
    for await (const model of modelsToCompare(words, values.speed)) {
        try {
            rows.push(await compareModel(chord, oracle, model, { speed: values.speed, rounds: values.rounds }));
        } catch (error) {
            rows.push({ model: model.name, failures: [error.message] });
        }
        if (!values.json) process.stdout.write(describe(rows.at(-1)));
    }
    await oracle.stop();
    const failed = rows.filter((row) => row.failures.length > 0).length;
    if (values.json) process.stdout.write(JSON.stringify({ rows, failed }) + '\n');
    return failed > 0 ? 1 : 0;
}

if (process.argv[2] === '--serve') {
    serveOracle(process.argv[3]);
} else {
    process.exitCode = await main().catch((error) => {
        process.stderr.write(`compare-embeddings: ${error.message}\n`);
        return 1;
    });
}
