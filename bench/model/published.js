'use strict';
// Byte-level BPE without chord's C: pieces by JavaScript's regular expressions from the expressions that the
// models were published with (test/golden/pretokenizers.js), ids by the merges of a GGUF vocabulary.
const { split } = require('../../test/golden/pretokenizers.js');
const { readHeader } = require('./gguf.js');

/** The strings of a pair whose value is an array of strings. */
function stringsOf({ key, bytes }) {
    let at = 8 + Buffer.byteLength(key) + 4 + 4;
    const n = Number(bytes.readBigUInt64LE(at));
    at += 8;
    return Array.from({ length: n }, () => {
        const length = Number(bytes.readBigUInt64LE(at));
        at += 8 + length;
        return bytes.toString('utf8', at - length, at);
    });
}

/** The character that stands for each byte: itself where it prints, else one from U+0100 on. */
function byteCharacters() {
    let next = 0x100;
    return Array.from({ length: 256 }, (_, b) => {
        const prints = (b > 0x20 && b < 0x7f) || (b > 0xa0 && b !== 0xad);
        return String.fromCharCode(prints ? b : next++);
    });
}

/**
 * A tokenizer: (text) => ids. `name`: of the expressions; `whole`: a piece that is a token as it stands is that token,
 * whatever the merges say. Merges: again and again the one that comes first in the list, wherever it occurs.
 */
async function openPublished(file, name, whole) {
    const { pairs } = await readHeader(file);
    const strings = (key) => stringsOf(pairs.find((p) => p.key === `tokenizer.ggml.${key}`));
    const ids = new Map(strings('tokens').map((token, id) => [token, id]));
    const ranks = new Map(strings('merges').map((merge, rank) => [merge, rank]));
    const characters = byteCharacters();
    const known = new Map();

    function merge(piece) {
        let parts = Array.from(Buffer.from(piece), (byte) => characters[byte]);
        if (whole && ids.has(parts.join(''))) return [ids.get(parts.join(''))];
        const rankAt = (i) => (i + 1 < parts.length ? (ranks.get(`${parts[i]} ${parts[i + 1]}`) ?? Infinity) : Infinity);
        let at = parts.map((_, i) => rankAt(i));
        for (;;) {
            let best = Infinity;
            for (const rank of at) if (rank < best) best = rank;
            if (best === Infinity) return parts.map((part) => ids.get(part));
            const [next, kept] = [[], []];
            for (let i = 0; i < parts.length; i++) {
                const joins = at[i] === best && i + 1 < parts.length;
                next.push(joins ? parts[i] + parts[i + 1] : parts[i]);
                kept.push(joins ? NaN : at[i]);
                if (joins) i++;
            }
            parts = next;
            // What stands beside a joined part is another pair than before.
            at = kept.map((rank, i) => (Number.isNaN(rank) || Number.isNaN(kept[i + 1]) ? rankAt(i) : rank));
        }
    }

    return (text) =>
        split(name, text).flatMap((piece) => {
            if (piece.length > 64) return merge(piece);
            if (!known.has(piece)) known.set(piece, merge(piece));
            return known.get(piece);
        });
}

module.exports = { byteCharacters, openPublished };
