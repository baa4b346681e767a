'use strict';
// node-llama-cpp, the engine that chord is compared with. It is no dependency: it is installed in a
// folder of its own (npm install node-llama-cpp @node-llama-cpp/linux-x64 --omit=optional
// --ignore-scripts) and found from there.
const path = require('node:path');
const { createRequire } = require('node:module');
const { pathToFileURL } = require('node:url');

/** Opens llama.cpp on the CPU, from the folder in which node-llama-cpp is installed. */
async function openOracle(folder) {
    let entry;
    try {
        entry = createRequire(path.join(path.resolve(folder), 'x.js')).resolve('node-llama-cpp');
    } catch {
        throw new Error(
            `no node-llama-cpp in ${folder}; install it there: ` +
                'npm install node-llama-cpp @node-llama-cpp/linux-x64 --omit=optional ' +
                '--ignore-scripts',
        );
    }
    const { getLlama } = await import(pathToFileURL(entry).href);
    return getLlama({ gpu: false, build: 'never', logLevel: 'error' });
}

module.exports = { openOracle };
