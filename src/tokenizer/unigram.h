// Unigram ("t5"): of all ways to write a text as tokens the one whose scores add up to most (Viterbi). A character that begins no
// token is unknown, at a score below that of all tokens; unknown characters side by side are one unknown token.
//
// The text is normalized first: the longest beginning that the file's character map (tokenizer.ggml.precompiled_charsmap) has is
// replaced, bytes that are no UTF-8 become U+FFFD, spaces become "▁", and as the metadata says runs of them are one, those at the ends
// go, and a text begins with one. Method and ids: those of llama.cpp, sums in double precision.
//
// The character map is what SentencePiece compiles: u32 size of an array in bytes, the array of u32 (a double-array trie,
// https://github.com/s-yata/darts-clone), texts that end with a zero.
#ifndef CHORD_TOKENIZER_UNIGRAM_H
#define CHORD_TOKENIZER_UNIGRAM_H

#include "tokenizer/trie.h"

struct unigram {
    const struct vocabulary *vocabulary;
    struct trie trie;
    double unknown_score;
    const unsigned char *units; // [n_units] u32, unaligned; in the GGUF header
    uint64_t n_units;
    const char *texts; // [n_text_bytes], of which the last is 0
    uint64_t n_text_bytes;
    bool merge_spaces;
};

// GGUF_METADATA or TOKENIZER for a character map that is none, memory codes.
enum chord_status unigram_load(struct unigram *unigram, const struct vocabulary *vocabulary, const struct gguf *gguf,
                               struct chord_error *err);
void unigram_free(struct unigram *unigram); // of a zeroed one: fine

// Appends the ids of the text, with a space before it where `prefix`. O(n_bytes times the longest token). False: out of memory.
bool unigram_encode(const struct unigram *unigram, const char *text, uint64_t n_bytes, bool prefix,
                    struct token_list *list);

#endif
