'use strict';
// Why llama.cpp's ids differ from those of the published expressions. A cause is a way to take out of a text what it is about:
// where nothing else is the matter, the ids of what is left are equal.
const { byteCharacters } = require('./published.js');

const WORD = '[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]';
const without = (pattern) => (text) => text.replaceAll(pattern, '');

const MARKS = ['combining marks', without(/\p{M}/gu)];
const FOREIGN_CASE = ['letters with case beyond ASCII', without(/(?![A-Za-z])[\p{Lu}\p{Ll}\p{Lt}]/gu)];
const CASE = ['upper case', (text) => text.toLowerCase().replaceAll(/[\p{Lu}\p{Lt}]/gu, '')];
const SPACES = ['white space beyond ASCII', without(/(?![\t-\r ])\p{White_Space}/gu)];
const FOREIGN_DIGITS = ['digits beyond ASCII', without(/(?![0-9])\p{N}/gu)];
const DIGITS_OF_WORDS = ['digits before letters', without(new RegExp(`\\p{N}+(?=${WORD})`, 'gu'))];
// Of the script, but none of the blocks of ideographs.
const HAN_SIGNS = ['Han characters that are no ideographs', without(/(?=\p{Script=Han})[\u2e80-\u303f\u{16fe0}-\u{16fff}]/gu)];

/**
 * By pre-tokenizer, the causes that llama.cpp's own expressions or code for it bring along:
 * - it takes apart by its own categories, in which a letter is a letter of any case; only A-Z and a-z are told apart where
 *   it spells them out (gpt-4o, tekken), and marks are no letters there;
 * - white space beyond ASCII is no member of any range of characters;
 * - its Han characters are the blocks of ideographs;
 * - its \d is 0-9, and its groups of three do not ask what follows the digits.
 */
const CAUSES = {
    'gpt-4o': [MARKS, FOREIGN_CASE],
    'granite-embed-multi-97m': [FOREIGN_CASE],
    tekken: [MARKS, FOREIGN_CASE],
    tiny_aya: [CASE, DIGITS_OF_WORDS, FOREIGN_DIGITS],
    'kimi-k2': [CASE, MARKS, HAN_SIGNS],
    youtu: [CASE, SPACES],
    superbpe: [FOREIGN_DIGITS],
    'deepseek-llm': [SPACES],
    'jais-2': [SPACES],
    bloom: [SPACES],
    viking: [SPACES],
};

/** All ways to choose some of the causes, fewest first. */
function choices(causes) {
    const all = [[]];
    for (const cause of causes) all.push(...all.map((some) => [...some, cause]));
    return all.slice(1).sort((a, b) => a.length - b.length);
}

/**
 * The characters of the text that llama.cpp knows no category of and Unicode has one for. `tokenize` is llama.cpp's on a
 * vocabulary cut as deepseek-v3, whose only merges are those of a space with a byte (probePairs): a space and a letter, mark,
 * punctuation or symbol behind it are one piece there, so that they merge, and with another character they are two.
 */
function unknownCharacters(tokenize, texts) {
    const all = [...new Set(texts.join(''))].filter((c) => c > '\u007f' && /[\p{L}\p{M}\p{P}\p{S}]/u.test(c));
    // The pre-tokenizer sets these apart whatever their category.
    const asked = all.filter((c) => !/[\u4e00-\u9fa5\u3040-\u30ff]/.test(c));
    const unknown = new Set();
    for (const c of asked) if (tokenize(` ${c}`)[0] < 256) unknown.add(c);
    return unknown;
}

/** [key, type, value] of the vocabulary that unknownCharacters needs: bytes, and a space with each byte. */
function probePairs() {
    const bytes = byteCharacters();
    const space = bytes[0x20];
    return [
        ['tokenizer.ggml.pre', 'string', 'deepseek-v3'],
        ['tokenizer.ggml.tokens', 'strings', [...bytes, ...bytes.map((c) => space + c)]],
        ['tokenizer.ggml.token_type', 'i32s', Array.from({ length: 512 }, () => 1)],
        ['tokenizer.ggml.merges', 'strings', bytes.map((c) => `${space} ${c}`)],
        ['tokenizer.ggml.bos_token_id', 'u32', 0],
        ['tokenizer.ggml.eos_token_id', 'u32', 0],
    ];
}

/** A cause: characters of this set. */
const ofCharacters = (name, set) => [name, (text) => [...text].filter((c) => !set.has(c)).join('')];

module.exports = { CAUSES, choices, ofCharacters, probePairs, unknownCharacters };
