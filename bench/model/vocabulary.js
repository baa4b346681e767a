'use strict';
// Vocabularies for models that are made without a real one. For encoders WordPiece: special tokens, letters, digits and
// signs as they begin a word and within one, a few words, then syllables. For all others a small byte-level BPE vocabulary:
// the 256 bytes, a few frequent English pairs with their merges, three special tokens, and unused tokens up to the wanted
// size.
const { encodePair } = require('./gguf.js');

// Merges in order of rank; the two parts of one, joined, are a token. A leading blank is written as
// the byte alphabet's Ġ.
const MERGES = [
    'Ġ t,Ġ a,h e,i n,r e,o n,Ġt he,e r,Ġ s,a t,Ġ w,Ġ o,e n,Ġ c,i t,i s,a n,o r,e s,Ġ b',
    'e d,Ġ f,in g,Ġ p,o u,Ġa n,a l,a r,Ġt o,Ġ m,Ġo f,Ġ in,Ġ d,Ġ h,Ġan d,i c,a s,l e,Ġt h,i on',
    'o m,l l,en t,Ġ n,Ġ l,s t,Ġ re,v e,Ġ e,r o,l y,Ġb e,Ġ g,Ġ T,c t,Ġ S,i d,o t,Ġ I,u t',
].flatMap((line) => line.split(','));
const TOKEN_TYPE = { normal: 1, control: 3, unused: 5 };
const SMALLEST = 256 + MERGES.length + 3;

/**
 * The byte alphabet of GPT-2: printable Latin-1 bytes stand for themselves, the others for U+0100
 * and on.
 */
function byteAlphabet() {
    let next = 256;
    return Array.from({ length: 256 }, (_, b) => {
        const printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        return String.fromCodePoint(printable ? b : next++);
    });
}

const WORDS = [
    'the of and to in a is that for it as was with be by on not he his but at are this have from',
    'or had an they which one you were her all she there would their we him been has when who will',
    'cat dog house water time year people way day man thing woman life child world school state',
].flatMap((line) => line.split(' '));

/** Texts as they begin a word, with U+2581 before them, and within one. */
function wordPieces(nVocab) {
    const tokens = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];
    const seen = new Set(tokens);
    const add = (text) => {
        for (const token of ['\u2581' + text, text])
            if (tokens.length < nVocab && !seen.has(token)) {
                seen.add(token);
                tokens.push(token);
            }
    };
    for (let c = 33; c < 127; c++) if (c < 65 || c > 90) add(String.fromCharCode(c));
    WORDS.forEach(add);
    const between = ['', ...'aeiou'];
    const ends = [...'bcdfghklmnprstvw'];
    for (const first of ends)
        for (const vowel of between)
            for (const last of ['', ...ends]) for (const more of ['', ...between.slice(1)]) add(first + vowel + last + more);
    while (tokens.length < nVocab) tokens.push(`[unused${tokens.length}]`);
    return tokens;
}

function wordPieceVocabulary(nVocab, nTokenTypes) {
    const tokens = wordPieces(nVocab);
    const type = (text) => (text.startsWith('[unused') ? TOKEN_TYPE.unused : TOKEN_TYPE.normal);
    return [
        encodePair('tokenizer.ggml.model', 'string', 'bert'),
        encodePair('tokenizer.ggml.token_type_count', 'u32', nTokenTypes),
        encodePair('tokenizer.ggml.tokens', 'strings', tokens),
        encodePair('tokenizer.ggml.token_type', 'i32s', tokens.map((text, i) => (i < 5 ? TOKEN_TYPE.control : type(text)))),
        encodePair('tokenizer.ggml.padding_token_id', 'u32', 0),
        encodePair('tokenizer.ggml.unknown_token_id', 'u32', 1),
        encodePair('tokenizer.ggml.bos_token_id', 'u32', 2),
        encodePair('tokenizer.ggml.cls_token_id', 'u32', 2),
        encodePair('tokenizer.ggml.eos_token_id', 'u32', 3),
        encodePair('tokenizer.ggml.seperator_token_id', 'u32', 3), // spelled so
        encodePair('tokenizer.ggml.mask_token_id', 'u32', 4),
    ];
}

/** The tokenizer's key-value pairs for a geometry, encoded, of exactly its nVocab tokens. */
function syntheticVocabulary({ architecture, nVocab, nTokenTypes }) {
    if (architecture.endsWith('bert')) return wordPieceVocabulary(nVocab, nTokenTypes);
    if (nVocab < SMALLEST)
        throw new Error(
            `the synthetic vocabulary needs at least ${SMALLEST} tokens, got ${nVocab}`,
        );
    const tokens = [...byteAlphabet(), ...MERGES.map((m) => m.replace(' ', ''))];
    const types = tokens.map(() => TOKEN_TYPE.normal);
    const firstSpecial = tokens.length;
    for (const special of ['<|begin|>', '<|end|>', '<|pad|>']) {
        tokens.push(special);
        types.push(TOKEN_TYPE.control);
    }
    while (tokens.length < nVocab) {
        tokens.push(`<|unused_${tokens.length}|>`);
        types.push(TOKEN_TYPE.unused);
    }
    return [
        encodePair('tokenizer.ggml.model', 'string', 'gpt2'),
        encodePair('tokenizer.ggml.pre', 'string', architecture === 'llama' ? 'gpt-2' : 'qwen2'),
        encodePair('tokenizer.ggml.tokens', 'strings', tokens),
        encodePair('tokenizer.ggml.token_type', 'i32s', types),
        encodePair('tokenizer.ggml.merges', 'strings', MERGES),
        encodePair('tokenizer.ggml.bos_token_id', 'u32', firstSpecial),
        encodePair('tokenizer.ggml.eos_token_id', 'u32', firstSpecial + 1),
        encodePair('tokenizer.ggml.padding_token_id', 'u32', firstSpecial + 2),
        encodePair('tokenizer.ggml.add_bos_token', 'bool', architecture === 'llama'),
    ];
}

module.exports = { syntheticVocabulary };
