// Byte-level BPE learnt from a text: Sennrich, Haddow and Birch, "Neural machine translation of rare words with subword
// units" (ACL 2016), over bytes, within the pieces that GPT-2's pre-tokenizer cuts.
#ifndef CHORD_DEMO_MODEL_VOCABULARY_H
#define CHORD_DEMO_MODEL_VOCABULARY_H

#include <stddef.h>
#include <stdint.h>

#define TOKEN_BOS 0u
#define TOKEN_EOS 1u
#define FIRST_BYTE_TOKEN 2u // tokens 2 .. 257 are the bytes 0 .. 255
#define FIRST_MERGE_TOKEN (FIRST_BYTE_TOKEN + 256u)
// Stands between documents in a text, and in no document.
#define DOCUMENT_SEPARATOR '\f'

struct vocabulary {
    uint32_t n_tokens;
    uint32_t (*merges)[2]; // [n_tokens - FIRST_MERGE_TOKEN]: the pair that token FIRST_MERGE_TOKEN + i joins
    uint32_t *merged;      // [n_tokens, n_tokens]: token of a pair, 0 where the pair is not merged
};

// Learns n_tokens tokens. Deterministic: among equally frequent pairs the one of the lowest ids is merged first.
struct vocabulary *vocabulary_learn(const char *text, size_t n_bytes, uint32_t n_tokens);
void vocabulary_free(struct vocabulary *vocabulary);

// The text as tokens, each document between BOS and EOS. *out is malloc'ed.
size_t vocabulary_encode(const struct vocabulary *vocabulary, const char *text, size_t n_bytes, uint32_t **out);

// The bytes of a token (out: 256 at least); returns their number. BOS and EOS have none.
size_t vocabulary_bytes(const struct vocabulary *vocabulary, uint32_t token, unsigned char *out);

#endif
