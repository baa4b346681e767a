// SentencePiece BPE ("llama"): the characters of the whole text, with "▁" for a space, merge to tokens by score.
// Characters the vocabulary does not have are given byte by byte (<0xXX>).
// Source: Kudo and Richardson 2018 (SentencePiece), model type BPE.
#ifndef CHORD_TOKENIZER_SPM_H
#define CHORD_TOKENIZER_SPM_H

#include "tokenizer/merge.h"
#include "tokenizer/vocabulary.h"

struct spm {
    const struct vocabulary *vocabulary;
    uint32_t ascii_ids[128]; // the token that an ASCII character is, or TOKEN_NONE
    uint64_t *neighbours;    // bitmap over a hash of two characters: unset where no token has them side by side
    uint64_t seed;
};

// `vocabulary` is kept. False, with nothing held: out of memory.
bool spm_load(struct spm *spm, const struct vocabulary *vocabulary);
void spm_free(struct spm *spm);

// Appends the ids of a text that holds no special tokens, with a space before it if `prefix`. False: out of memory.
bool spm_encode(const struct spm *spm, const char *text, uint64_t n_bytes, bool prefix, struct merge_scratch *scratch,
                struct token_list *list);

#endif
