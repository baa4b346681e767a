'use strict';
// Engines run in child processes of their own: a crash is reported and not suffered, memory can be
// told apart, and the two never compute at the same time. Requests are answered one after the
// other.
const { fork } = require('node:child_process');

/**
 * Starts `file` with `args` as a child that serve()s. call(request) -> Promise of its answer;
 * stop() ends it.
 */
function startChild(name, file, args) {
    const child = fork(file, args, {
        serialization: 'advanced',
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    let waiting = null;
    let ended = null;
    const end = (reason) => {
        ended ??= new Error(`${name}: ${reason}`);
        waiting?.reject(ended);
        waiting = null;
    };
    child.on('error', (error) => end(error.message));
    child.on('exit', (code, signal) => end(`the process ended (${signal ?? `exit code ${code}`})`));
    child.on('message', ({ error, answer }) => {
        const { resolve, reject } = waiting;
        waiting = null;
        if (error) reject(new Error(`${name}: ${error}`));
        else resolve(answer);
    });
    return {
        call(request) {
            if (waiting) throw new Error(`${name}: asked while it was answering`);
            if (ended) return Promise.reject(ended);
            return new Promise((resolve, reject) => {
                waiting = { resolve, reject };
                child.send(request);
            });
        },
        stop() {
            if (ended) return Promise.resolve();
            return new Promise((resolve) => {
                child.once('exit', resolve);
                child.disconnect();
                setTimeout(() => child.kill('SIGKILL'), 10000).unref();
            });
        },
    };
}

/** The child's side: answer(request) may be asynchronous; an error it throws becomes the answer. */
function serve(answer) {
    process.on('message', async (request) => {
        let reply;
        try {
            reply = { answer: await answer(request) };
        } catch (error) {
            reply = { error: error.message ?? String(error) };
        }
        process.send(reply);
    });
    // exit() and not a quiet end: an engine's own threads may keep the process alive.
    process.on('disconnect', () => process.exit(0));
}

module.exports = { startChild, serve };
