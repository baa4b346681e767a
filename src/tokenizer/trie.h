// A trie of token texts: which tokens begin at a place of a text. Internal to the tokenizer. Immutable once loaded.
#ifndef CHORD_TOKENIZER_TRIE_H
#define CHORD_TOKENIZER_TRIE_H

#include "tokenizer/vocabulary.h"

struct trie_edge {
    uint32_t node; // edges are hashed by (node, byte)
    uint32_t next; // 0: the slot is empty (no edge leads to the root)
    uint32_t byte;
};

struct trie {
    struct memory_account *account;
    uint32_t *ids; // [n_nodes] the token spelled so far, or TOKEN_NONE; node 0 is the root
    uint32_t n_nodes;
    struct trie_edge *edges; // [n_slots], a power of two, at most half full
    uint64_t n_slots;
    uint64_t seed;
};

// All tokens that text may become (token_is_text) and that have a text. False: out of memory; nothing is held then.
bool trie_load(struct trie *trie, const struct vocabulary *vocabulary);
void trie_free(struct trie *trie); // of a zeroed one: fine

// The node behind `node` and `byte`, or 0 where there is none.
uint32_t trie_next(const struct trie *trie, uint32_t node, unsigned char byte);

// The longest token that text[0 .. n_bytes) begins with, and its length in bytes in *n; TOKEN_NONE and 0 where there is none.
uint32_t trie_longest(const struct trie *trie, const unsigned char *text, uint64_t n_bytes, uint64_t *n);

#endif
