// The vocabulary of a GGUF file, checked: token texts, types, scores, special ids and the way from a text to its id.
// Internal to the tokenizer. Immutable once loaded.
#ifndef CHORD_TOKENIZER_VOCABULARY_H
#define CHORD_TOKENIZER_VOCABULARY_H

#include "base/alloc.h"
#include "base/status.h"
#include "gguf/gguf.h"
#include "tokenizer/tokenizer.h"

#include <stdbool.h>
#include <stdint.h>

#define MAX_TOKEN_BYTES 65536u

enum vocabulary_model {
    VOCABULARY_SPM,       // "llama"
    VOCABULARY_BPE,       // "gpt2"
    VOCABULARY_WORDPIECE, // "bert"
    VOCABULARY_UNIGRAM,   // "t5"
};

struct vocabulary_token {
    const char *text; // in the GGUF header
    uint32_t n_bytes;
    uint8_t type;      // enum token_type
    bool is_end;       // ends a generation
    bool strips_right; // written out in a text, it swallows the white space behind it
};

struct vocabulary_slot {
    uint32_t tag; // upper half of the hash
    uint32_t id;  // TOKEN_NONE: empty
};

struct vocabulary {
    struct memory_account *account;
    enum vocabulary_model model;
    struct vocabulary_token *tokens; // [n_tokens]
    uint32_t n_tokens;
    uint32_t max_bytes;            // of any token's text
    struct vocabulary_slot *slots; // [n_slots], a power of two, at most half full
    uint64_t n_slots;
    uint64_t seed;
    float *scores;                    // SPM and UNIGRAM: [n_tokens], none is NaN; else NULL
    uint32_t bos, eos, eot, unk, pad, sep; // TOKEN_NONE where there is none
    uint32_t infill[3];               // prefix, suffix, middle: what stands before each part; TOKEN_NONE
    uint32_t byte_ids[256];           // the token that stands for one byte, or TOKEN_NONE
};

// Reads everything but the merges. On failure nothing is held, but vocabulary_free may be called.
// `seed` keeps the author of a hostile file from knowing how texts hash.
enum chord_status vocabulary_load(struct vocabulary *vocabulary, enum vocabulary_model model, const struct gguf *gguf,
                                  uint64_t seed, struct memory_account *account, struct chord_error *err);
void vocabulary_free(struct vocabulary *vocabulary);

// The id of the token spelled so, of any type, or TOKEN_NONE.
uint32_t vocabulary_find(const struct vocabulary *vocabulary, const char *text, uint64_t n_bytes);

// The same in steps, for many texts at once: a search waits for memory three times, and those waits can overlap.
// First the hash of every text, then prefetch steps 0, 1 and 2 for each, then what is found.
uint64_t vocabulary_hash(const struct vocabulary *vocabulary, const char *text, uint64_t n_bytes);
void vocabulary_prefetch(const struct vocabulary *vocabulary, uint64_t hash, int step);
uint32_t vocabulary_find_hashed(const struct vocabulary *vocabulary, const char *text, uint64_t n_bytes, uint64_t hash);

// True for tokens that plain text may become: control, unknown and byte tokens are none of its business.
static inline bool token_is_text(const struct vocabulary_token *token)
{
    return token->type == TOKEN_NORMAL || token->type == TOKEN_USER_DEFINED || token->type == TOKEN_UNUSED;
}

// Byte-level BPE writes a byte as a printable character: this is GPT-2's map. The code point for a byte, and back:
uint32_t byte_level_from_byte(unsigned char byte);
int byte_level_to_byte(uint32_t c);

// The byte that "<0xXX>" names, or -1.
int byte_of_token_name(const char *text, uint64_t n_bytes);

// A token's text for messages; `out` is returned.
#define TOKEN_NAME_BYTES 96
char *vocabulary_name(char out[TOKEN_NAME_BYTES], const char *text, uint64_t n_bytes);

#endif
