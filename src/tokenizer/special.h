// Finds special tokens written out in a text: "<|eot_id|>". Leftmost first, of those that begin at one place the
// longest.
//
// An Aho-Corasick automaton of the reversed spellings reads the text backwards; what it recognises at a byte is
// the longest special token that begins there. So the search is linear in the text, however many special tokens
// there are and however they overlap.
#ifndef CHORD_TOKENIZER_SPECIAL_H
#define CHORD_TOKENIZER_SPECIAL_H

#include "tokenizer/vocabulary.h"

struct special_edge {
    uint32_t node; // 0 as `next`: the slot is empty (no edge leads to the root)
    uint32_t next;
    uint32_t byte;
};

struct special_node {
    uint32_t fail;         // the longest proper suffix that is a node
    uint32_t user_defined; // the longest user-defined token that is a suffix, or TOKEN_NONE
    uint32_t any;          // the longest special token that is a suffix
};

struct special_matcher {
    const struct vocabulary *vocabulary;
    struct special_node *nodes; // [n_nodes], the root is 0
    uint32_t n_nodes;
    uint32_t root_next[256];
    struct special_edge *edges; // hashed by (node, byte); [n_slots], a power of two
    uint64_t n_slots;
    bool has_user_defined, has_any;
};

struct special_match {
    uint64_t at;
    uint32_t id;
};

// Matches of one search, in falling order of `at`: at most one for each byte; they may overlap.
// Zero-initialise, set the account, free with special_matches_free.
struct special_matches {
    struct special_match *items;
    uint64_t n, capacity;
    struct memory_account *account;
};

// `vocabulary` is kept. On failure nothing is held.
enum chord_status special_load(struct special_matcher *matcher, const struct vocabulary *vocabulary,
                               struct chord_error *err);
void special_free(struct special_matcher *matcher);

// User-defined tokens, and with `parse_special` control and unknown tokens too. False: out of memory.
bool special_search(const struct special_matcher *matcher, const char *text, uint64_t n_bytes, bool parse_special,
                    struct special_matches *matches);
void special_matches_free(struct special_matches *matches);

#endif
