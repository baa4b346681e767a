// The tokens of a vocabulary by their bytes, as a trie in one array: what a grammar is walked beside. Immutable once made; any
// number of threads may read it.
#ifndef CHORD_SAMPLER_TOKEN_TRIE_H
#define CHORD_SAMPLER_TOKEN_TRIE_H

#include "base/alloc.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

// What a token is to a grammar.
enum token_role {
    TOKEN_ROLE_NEVER, // control and unknown tokens, padding, what stands for no bytes: never chosen
    TOKEN_ROLE_TEXT,
    TOKEN_ROLE_END, // ends a generation
};

// Nodes are in the order of the bytes, each before those below it; the root is not among them.
struct token_trie_node {
    uint32_t skip;        // the next node that is not below this one
    uint32_t first_token; // its tokens: sorted[first_token .. first_token of the next node)
    uint32_t depth : 24;  // bytes up to here, >= 1
    uint32_t byte : 8;    // the last of them
};

struct token_trie {
    struct token_trie_node *nodes; // [n_nodes + 1]: the last one only ends the lists
    uint32_t n_nodes, max_depth;
    uint32_t *sorted; // text tokens by their bytes
    uint32_t *ends;   // [n_ends]: tokens that end a generation
    uint32_t n_sorted, n_ends;
    uint32_t n_tokens;
    unsigned char *bytes; // of token i: bytes[starts[i]..starts[i + 1]); none unless its role is TEXT
    uint32_t *starts;     // [n_tokens + 1]
    uint8_t *roles;       // [n_tokens], enum token_role
};

// Where the vocabulary comes from. Called for each token, twice.
struct token_source {
    uint32_t n_tokens;
    // The token's role, and for TEXT its bytes: *n_bytes of them to out, at most `capacity` (0 with out NULL: only count).
    enum token_role (*token)(void *user, uint32_t token, char *out, uint64_t capacity, uint64_t *n_bytes);
    void *user;
};

// Tokens without bytes never are text. Special tokens that a grammar may name are text too, spelled by grammar_spell_token. O(bytes log tokens); counted in MEMORY_TOKENIZER.
enum chord_status token_trie_create(struct token_trie **out, const struct token_source *source,
                                    struct memory_account *account, struct chord_error *err);
void token_trie_free(struct token_trie *trie, struct memory_account *account); // NULL is fine

#endif
