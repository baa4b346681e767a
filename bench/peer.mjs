#!/usr/bin/env node
// Speed and memory of chord and node-llama-cpp side by side, on the same file and the same token
// ids:
//   node bench/peer.mjs --oracle FOLDER MODEL.gguf [--prompt 128] [--tokens 32] [--rounds 3]
//                       [--threads N] [--json]
// FOLDER is where node-llama-cpp is installed. Each engine has a process of its own, loads the
// model once (the file is read once before, so both find it in the page cache) and then answers
// rounds in turn: chord, oracle, chord, oracle. Only one of them works at any time. The first round
// warms both up and does not count.
//
// prefill: prompt tokens per second. decode: generated tokens per second, from the first to the
// last of them. Every round has its own ids, so that no engine can reuse the round before. Ratios
// are chord / oracle, per round.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const require = createRequire(import.meta.url);
const { openOracle } = require('./model/oracle.js');
const { startChild, serve } = require('./model/child.js');
const SELF = fileURLToPath(import.meta.url);

/**
 * Resident memory of this process in MiB: now, at its highest, and the part that is not file
 * mappings.
 */
function memory() {
    let status;
    try {
        status = fs.readFileSync('/proc/self/status', 'utf8');
    } catch {
        const rss = process.memoryUsage().rss / 2 ** 20; // no /proc: the highest is not known
        return { rssMib: rss, highestMib: null, anonymousMib: null };
    }
    const mib = (key) =>
        Number(new RegExp(`^${key}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? NaN) / 1024;
    return { rssMib: mib('VmRSS'), highestMib: mib('VmHWM'), anonymousMib: mib('RssAnon') };
}

// ---- the two engines: start() loads the engine itself, load(file) the model, prepare(context) what
// a sequence of that many tokens needs; round(ids, tokens) -> { prefill, decode } in tokens per second

function chordEngine(threads) {
    let chord;
    let model;
    return {
        start() {
            chord = require('..');
        },
        async load(file) {
            model = await chord.loadModel(file, { threads });
        },
        prepare() {}, // the KV cache grows with the text
        async round(ids, maxTokens) {
            const options = { maxTokens, ignoreEos: true, temperature: 0 };
            const { tokens, timings } = await model.generate(ids, options);
            if (tokens.length !== maxTokens) {
                throw new Error(`generated ${tokens.length} tokens of ${maxTokens}`);
            }
            return { prefill: timings.promptPerSecond, decode: timings.completionPerSecond };
        },
    };
}

function oracleEngine(folder, threads) {
    let llama;
    let model;
    let context;
    return {
        async start() {
            llama = await openOracle(folder);
        },
        async load(file) {
            model = await llama.loadModel({ modelPath: file });
        },
        async prepare(contextSize) {
            context = await model.createContext({ contextSize, batchSize: 512, threads });
        },
        async round(ids, maxTokens) {
            const sequence = context.getSequence();
            const began = performance.now();
            await sequence.evaluateWithoutGeneratingNewTokens(ids.slice(0, -1));
            const prefilled = performance.now();
            let first = 0;
            let n = 0;
            const options = { temperature: 0, yieldEogToken: true };
            for await (const _ of sequence.evaluate([ids.at(-1)], options)) {
                if (n++ === 0) first = performance.now();
                if (n === maxTokens) break;
            }
            const ended = performance.now();
            sequence.dispose();
            return {
                prefill: ((ids.length - 1) / (prefilled - began)) * 1000,
                decode: ((n - 1) / (ended - first)) * 1000,
            };
        },
    };
}

function serveEngine(name, folder, threads) {
    const engine = name === 'chord' ? chordEngine(threads) : oracleEngine(folder, threads);
    const milliseconds = async (work) => {
        const began = performance.now();
        await work();
        return performance.now() - began;
    };
    serve(async ({ load, context, ids, tokens }) => {
        if (load === undefined) return { ...(await engine.round(ids, tokens)), ...memory() };
        const startMs = await milliseconds(() => engine.start());
        const loadMs = await milliseconds(() => engine.load(load));
        const loaded = memory();
        await engine.prepare(context);
        return { startMs, loadMs, loaded };
    });
}

// ---- the measurement

function roundIds(n, round) {
    let state = 12345 + round;
    return Array.from({ length: n }, () => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return 3 + ((state >>> 8) % 250); // legal in every vocabulary
    });
}

/** Reads the file once, if memory can hold it. */
async function warmPageCache(file) {
    if (fs.statSync(file).size > os.freemem()) return false;
    for await (const _ of fs.createReadStream(file, { highWaterMark: 4 << 20 })) {
        /* only read */
    }
    return true;
}

function median(numbers) {
    const sorted = [...numbers].sort((a, b) => a - b);
    const middle = sorted.length >> 1;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

const spread = (numbers) => ({
    median: median(numbers),
    least: Math.min(...numbers),
    most: Math.max(...numbers),
});

async function measure({ file, folder, threads, prompt, tokens, rounds }) {
    const warm = await warmPageCache(file);
    const engines = { chord: null, oracle: null };
    const result = {
        file,
        bytes: fs.statSync(file).size,
        warm,
        threads,
        prompt,
        tokens,
        engines: {},
    };
    const names = Object.keys(engines);
    try {
        for (const name of names) {
            engines[name] = startChild(name, SELF, ['--serve', name, folder, String(threads)]);
            const context = prompt + tokens + 64;
            const loaded = await engines[name].call({ load: file, context });
            result.engines[name] = { ...loaded, rounds: [] };
        }
        for (let round = 0; round <= rounds; round++) {
            const ids = roundIds(prompt, round);
            for (const name of names) {
                const measured = await engines[name].call({ ids, tokens });
                if (round > 0) result.engines[name].rounds.push(measured);
            }
        }
    } finally {
        await Promise.all(Object.values(engines).map((engine) => engine?.stop()));
    }
    const { chord, oracle } = result.engines;
    for (const engine of [chord, oracle]) {
        for (const what of ['prefill', 'decode'])
            engine[what] = spread(engine.rounds.map((r) => r[what]));
        const { rssMib, highestMib, anonymousMib } = engine.rounds.at(-1);
        engine.memory = { rssMib, highestMib, anonymousMib };
    }
    result.ratios = {};
    for (const what of ['prefill', 'decode']) {
        result.ratios[what] = spread(chord.rounds.map((r, i) => r[what] / oracle.rounds[i][what]));
    }
    return result;
}

function report(result) {
    const { engines, ratios } = result;
    const range = ({ median: m, least, most }, digits) =>
        `${m.toFixed(digits)} [${least.toFixed(digits)}-${most.toFixed(digits)}]`;
    const mib = (x) => (x === null ? '-' : x.toFixed(0));
    const rows = [['', 'chord', 'node-llama-cpp', 'ratio']];
    const add = (label, cell, ratio = '') =>
        rows.push([label, cell(engines.chord), cell(engines.oracle), ratio]);
    add('start of the engine, ms', (e) => e.startMs.toFixed(1));
    add('load of the model, ms', (e) => e.loadMs.toFixed(1));
    for (const what of ['prefill', 'decode']) {
        engines.chord.rounds.forEach((_, i) =>
            add(
                `${what} round ${i + 1}, tokens/s`,
                (e) => e.rounds[i][what].toFixed(2),
                (engines.chord.rounds[i][what] / engines.oracle.rounds[i][what]).toFixed(2),
            ),
        );
        add(`${what} median, tokens/s`, (e) => range(e[what], 2), range(ratios[what], 2));
    }
    add('resident after load, MiB', (e) => mib(e.loaded.rssMib));
    add('resident (VmRSS), MiB', (e) => mib(e.memory.rssMib));
    add('  of it not mapped (RssAnon)', (e) => mib(e.memory.anonymousMib));
    add('highest (VmHWM), MiB', (e) => mib(e.memory.highestMib));
    const widths = rows[0].map((_, i) => Math.max(...rows.map((r) => r[i].length)));
    const pad = (cell, i) => (i ? cell.padStart(widths[i]) : cell.padEnd(widths[i]));
    const head =
        `${path.basename(result.file)}, ${(result.bytes / 1e9).toFixed(2)} GB, ` +
        `${result.threads} threads, prompt ${result.prompt}, ${result.tokens} tokens, ` +
        `page cache ${result.warm ? 'warm' : 'not warmed: file too large'}`;
    return [head, ...rows.map((r) => r.map(pad).join('  ').trimEnd()), ''].join('\n');
}

async function main() {
    const { values, positionals } = parseArgs({
        allowPositionals: true,
        options: {
            oracle: { type: 'string' },
            prompt: { type: 'string', default: '128' },
            tokens: { type: 'string', default: '32' },
            rounds: { type: 'string', default: '3' },
            threads: { type: 'string' },
            json: { type: 'boolean' },
        },
    });
    if (!values.oracle || positionals.length !== 1) {
        process.stderr.write(
            'usage: node bench/peer.mjs --oracle FOLDER MODEL.gguf [--prompt 128] [--tokens 32] ' +
                '[--rounds 3] [--threads N] [--json]\n',
        );
        return 2;
    }
    const count = (name, least) => {
        const n = Number(values[name]);
        if (!Number.isInteger(n) || n < least)
            throw new Error(`--${name}: an integer >= ${least}, got ${values[name]}`);
        return n;
    };
    values.threads ??= String(os.cpus().length);
    const result = await measure({
        file: path.resolve(positionals[0]),
        folder: values.oracle,
        threads: count('threads', 1),
        prompt: count('prompt', 2),
        tokens: count('tokens', 2),
        rounds: count('rounds', 1),
    });
    process.stdout.write(values.json ? JSON.stringify(result) + '\n' : report(result));
    return 0;
}

if (process.argv[2] === '--serve') {
    serveEngine(process.argv[3], process.argv[4], Number(process.argv[5]));
} else {
    process.exitCode = await main().catch((error) => {
        process.stderr.write(`peer: ${error.message}\n`);
        return 1;
    });
}
