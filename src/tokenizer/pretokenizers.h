// Pre-tokenizers: how a text is cut into the pieces within which byte-level BPE merges.
//
// The reference tokenizers describe this by regular expressions, applied one after another: each cuts every piece
// that the one before it left, into its matches and what lies between them. Here an expression is one
// `struct split_stage`: a family with parameters, matched by hand in one pass, O(n), without backtracking.
// A pre-tokenizer is one row of the table in pretokenizers.c.
#ifndef CHORD_TOKENIZER_PRETOKENIZERS_H
#define CHORD_TOKENIZER_PRETOKENIZERS_H

#include <stdbool.h>
#include <stdint.h>

enum split_kind {
    SPLIT_NONE,    // no further stage
    SPLIT_WORDS,   // the family of GPT-2, GPT-4 and GPT-4o expressions
    SPLIT_ISOLATE, // runs of the characters of one set become pieces of their own
    SPLIT_TAIL,    // white space at the end of a piece becomes a piece of its own: \s+$
};

enum contractions {
    CONTRACTIONS_NONE,
    CONTRACTIONS_EXACT,  // 's|'t|'re|'ve|'m|'ll|'d
    CONTRACTIONS_FOLDED, // (?i:'s|'t|'re|'ve|'m|'ll|'d)
};

// SPLIT_WORDS. The alternatives, in this order; what none matches stays together up to the next match:
//   contraction
//   marked      [!-/:-@[-`{-~][A-Za-z]+
//   word        prefix? [letters]+, or with `cased`
//               prefix? upper* lower+ contraction? | prefix? upper+ lower* contraction?
//               where upper is [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] and lower is [\p{Ll}\p{Lm}\p{Lo}\p{M}]
//   digits      \p{N}{1,n_digits}, or \p{N}+ where n_digits is 0
//   symbols     space? [^not_symbol]+ [symbol_tail]*, or with `symbols` space? [symbols]+ [symbol_tail]*
//   newlines    \s*[\r\n]+
//   spaces      \s+(?!\S)|\s+
struct word_rules {
    enum contractions contractions;        // the first alternative
    enum contractions suffix_contractions; // after a cased word
    uint8_t not_prefix;                    // prefix: [^\r\n not_prefix], these classes; where there are none, a space
    bool marked_ascii;                     // the alternative `marked` exists
    bool space_before_digits;              // a space may also stand before digits
    bool newlines;                         // the alternative exists
    bool cased;
    uint8_t letters;    // classes
    uint8_t not_symbol; // classes
    uint8_t symbols;    // classes, or 0
    bool no_digits;     // the alternative is missing
    uint32_t n_digits;
    const char *symbol_tail; // ASCII
};

struct code_range {
    uint32_t first, last; // code points
};

// SPLIT_ISOLATE: [set]{least,most}, with most = 0 for any number; with `space_before`, \s?[set]{least,most}.
struct isolate_rules {
    uint8_t classes; // of the set
    bool ascii;      // only ASCII characters
    bool space_before;
    const char *extra;               // ASCII characters that belong to the set too
    const struct code_range *ranges; // and these, ascending, [n_ranges]
    uint32_t n_ranges;
    uint32_t least, most;
};

struct split_stage {
    enum split_kind kind;
    struct word_rules words;
    struct isolate_rules isolate;
};

#define MAX_SPLIT_STAGES 6
#define MAX_PRETOKENIZER_NAMES 20

struct pretokenizer {
    const char *names[MAX_PRETOKENIZER_NAMES]; // values of tokenizer.ggml.pre; NULL after the last
    struct split_stage stages[MAX_SPLIT_STAGES];
    bool ignore_merges; // a piece that is a token as it stands is that token, whatever the merges say
    bool add_bos;       // where the metadata does not say
};

// The row for a value of tokenizer.ggml.pre, and the name as a static string in *name. NULL: none.
const struct pretokenizer *pretokenizer_find(const char *text, uint64_t n_bytes, const char **name);

// Walks the pieces of text[0 .. n_bytes) in order; together they are the whole text. Invalid UTF-8 counts as
// characters of no class, one per byte. Allocates nothing.
struct piece_walk {
    const struct pretokenizer *pretokenizer;
    const unsigned char *text;
    uint64_t at;
    uint64_t end[MAX_SPLIT_STAGES + 1]; // of the current piece of each stage; [0]: of the text
    uint32_t n_stages;
};
void piece_walk_init(struct piece_walk *walk, const struct pretokenizer *pretokenizer, const char *text,
                     uint64_t n_bytes);
bool piece_walk_next(struct piece_walk *walk, uint64_t *from, uint64_t *to); // false: no more

#endif
