// Byte-level BPE ("gpt2"): a text is cut into pieces by a pre-tokenizer; in each piece, bytes merge by the ranks
// of a list. Source: Radford et al. 2019, and the tokenizers of the models that followed.
#ifndef CHORD_TOKENIZER_BPE_H
#define CHORD_TOKENIZER_BPE_H

#include "tokenizer/merge.h"
#include "tokenizer/pretokenizers.h"
#include "tokenizer/vocabulary.h"

struct bpe_merge {
    uint32_t left, right;   // ids of the pair
    struct merge_pair pair; // .rank MERGE_NONE: the slot is empty
};

struct bpe {
    const struct vocabulary *vocabulary;
    const struct pretokenizer *pretokenizer;
    struct bpe_merge *slots; // [n_slots], a power of two
    uint64_t n_slots;
    uint64_t seed;
};

// Reads tokenizer.ggml.merges: TOKENIZER names the merge that is malformed. `vocabulary` is kept. On failure nothing
// is held.
enum chord_status bpe_load(struct bpe *bpe, const struct vocabulary *vocabulary,
                           const struct pretokenizer *pretokenizer, const struct gguf *gguf, struct chord_error *err);
void bpe_free(struct bpe *bpe);

// Appends the ids of a text that holds no special tokens. False: out of memory.
bool bpe_encode(const struct bpe *bpe, const char *text, uint64_t n_bytes, struct merge_scratch *scratch,
                struct token_list *list);

#endif
