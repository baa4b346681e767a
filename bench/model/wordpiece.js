'use strict';
// Published WordPiece vocabularies, as GGUF files have them.
const fs = require('node:fs');
const { encodePair } = require('./gguf.js');

const UNKNOWN = '[UNK]';
const CONTROL = ['[PAD]', '[CLS]', '[SEP]', '[MASK]'];

/**
 * The tokens of a vocabulary as GGUF files spell them: "▁" before what begins a word, nothing before what goes on with
 * one. The file: a token a line, where what goes on with a word begins with "##" and what begins one is as it is; or a
 * JSON array of tokens with "▁" before what begins a word. Tokens in brackets stay as they are.
 */
function readWordpieceTokens(file) {
    const text = fs.readFileSync(file, 'utf8');
    if (!text.startsWith('[PAD]\n') && text.trimStart().startsWith('["')) {
        // "▁" alone is in no published vocabulary: the array has it where these have [unused0].
        return JSON.parse(text).map((token) => (token === '▁' ? '[unused0]' : token));
    }
    const spell = (token) => {
        if (token.startsWith('[') && token.endsWith(']')) return token;
        return token.startsWith('##') ? token.slice(2) : `▁${token}`;
    };
    return text.replace(/\r?\n$/, '').split(/\r?\n/).map(spell);
}

/** The pairs of a WordPiece tokenizer of these tokens, among which are [UNK], [CLS], [SEP] and [PAD]. */
function wordpieceTokenizer(tokens) {
    const type = (token) => (token === UNKNOWN ? 2 : CONTROL.includes(token) ? 3 : 1);
    const ids = { unknown: UNKNOWN, cls: '[CLS]', seperator: '[SEP]', padding: '[PAD]', mask: '[MASK]' };
    const pairs = [
        encodePair('tokenizer.ggml.model', 'string', 'bert'),
        encodePair('tokenizer.ggml.tokens', 'strings', tokens),
        encodePair('tokenizer.ggml.token_type', 'i32s', tokens.map(type)),
    ];
    for (const [name, token] of Object.entries(ids)) {
        const id = tokens.indexOf(token);
        if (id >= 0) pairs.push(encodePair(`tokenizer.ggml.${name}_token_id`, 'u32', id));
    }
    return pairs;
}

module.exports = { readWordpieceTokens, wordpieceTokenizer };
