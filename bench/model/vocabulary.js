'use strict';
// A small byte-level BPE vocabulary for models that are made without a real one: the 256 bytes, a
// few frequent English pairs with their merges, three special tokens, and unused tokens up to the
// wanted size.
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

/** The tokenizer's key-value pairs, encoded, for exactly nVocab tokens. */
function syntheticVocabulary(architecture, nVocab) {
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
