// WordPiece ("bert"): words, each the longest token that it begins with, then the longest that the rest begins with, and
// so on; a word that cannot be made so is one unknown token. A token that begins a word is written with "▁" before it,
// one that continues it without.
//
// The text is folded first: characters lose case and accent (unicode_fold.c), marks, control characters and bytes
// that are no UTF-8 go. Vocabularies with case keep case, accents and marks: tokenizer.ggml.normalizer.lowercase false,
// and tokenizer.ggml.normalizer.strip_accents, which is as `lowercase` where it is absent. White space parts words;
// punctuation marks, ASCII symbols and Chinese characters are words of their own.
//
// Method and ids: those of llama.cpp. Beside the tokenizer that BERT was published with they differ in: Hangul, as
// folding keeps one character for each (a syllable becomes its first letter); marks that take room or enclose (general
// categories Mc and Me), which go like the others; U+000B, U+000C and U+0085, which part words; U+2B820 to U+2B91F,
// which are no words of their own; words of more than 100 characters, which BERT takes for unknown.
#ifndef CHORD_TOKENIZER_WORDPIECE_H
#define CHORD_TOKENIZER_WORDPIECE_H

#include "tokenizer/trie.h"

struct wordpiece {
    const struct vocabulary *vocabulary;
    struct trie trie;
    bool lowers_case, strips_accents;
};

enum chord_status wordpiece_load(struct wordpiece *wordpiece, const struct vocabulary *vocabulary,
                                 const struct gguf *gguf, struct chord_error *err);
void wordpiece_free(struct wordpiece *wordpiece); // of a zeroed one: fine

// Appends the ids of the text. O(n_bytes times the longest token). False: out of memory.
bool wordpiece_encode(const struct wordpiece *wordpiece, const char *text, uint64_t n_bytes, struct token_list *list);

#endif
