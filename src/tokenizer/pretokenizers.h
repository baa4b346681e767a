// Pre-tokenizers: how a text is cut into the pieces within which byte-level BPE merges.
//
// The reference tokenizers describe this by regular expressions, applied one after another: each cuts every piece
// that the one before it left, into its matches and what lies between them. Here an expression is one
// `struct split_stage`: a family with parameters, matched by hand in one pass, O(n), without backtracking (piece_walk.c).
// A pre-tokenizer is one row of the table in pretokenizers.c.
#ifndef CHORD_TOKENIZER_PRETOKENIZERS_H
#define CHORD_TOKENIZER_PRETOKENIZERS_H

#include "tokenizer/unicode.h"

#include <stdbool.h>
#include <stdint.h>

enum split_kind {
    SPLIT_NONE,    // no further stage
    SPLIT_WORDS,   // the family of GPT-2, GPT-4 and GPT-4o expressions
    SPLIT_ISOLATE, // runs of the characters of one set become pieces of their own
    SPLIT_TAIL,    // white space at the end of a piece becomes a piece of its own: \s+$
    SPLIT_THREES,  // runs of digits are cut in threes, counted from their end
};

enum contractions {
    CONTRACTIONS_NONE,
    CONTRACTIONS_EXACT,  // 's|'t|'re|'ve|'m|'ll|'d
    CONTRACTIONS_FOLDED, // (?i:'s|'t|'re|'ve|'m|'ll|'d)
};

// SPLIT_WORDS. The alternatives, in this order; what none matches stays together up to the next match:
//   alone       [alone]+, whose characters are no letters and no marks to a cased word
//   contraction
//   marked      [!-/:-@[-`{-~][A-Za-z]+
//   word        prefix? [letters]+, or with `cased`
//               prefix? upper* lower+ contraction? | prefix? upper+ lower* contraction?
//               where upper is [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] and lower is [\p{Ll}\p{Lm}\p{Lo}\p{M}]
//               or with `phrases` prefix? \p{L}\p{M}*(?: ?\p{L}\p{M}*)*
//   digits      \p{N}{1,n_digits}, or \p{N}+ where n_digits is 0
//   symbols     space? [^not_symbol]+ [symbol_tail]*, or with `symbols` space? [symbols]+ [symbol_tail]*
//               with `one_tail` [symbol_tail]? behind them
//   newlines    \s*[\r\n]+, or with `lone_newlines` [\r\n]
//   spaces      \s+(?!\S)|\s+, or with `halved_spaces` \s{512}(?!\S)|\s{256}(?!\S)|...|\s{4}(?!\S)|\s{1,2}(?!\S)|\s
struct word_rules {
    enum contractions contractions;        // the first alternative
    enum contractions suffix_contractions; // after a cased word
    uint8_t not_prefix;                    // prefix: [^\r\n not_prefix], these classes; where there are none, a space
    bool marked_ascii;                     // the alternative `marked` exists
    bool space_before_digits;              // a space may also stand before digits
    bool newlines;                         // the alternative exists
    bool lone_newlines;                    // it exists, of one
    bool cased;
    bool phrases;
    bool halved_spaces;              // needs `newlines`
    bool one_tail;                   // at most one of symbol_tail
    const struct unicode_set *alone; // NULL: none; for cased words only
    uint8_t letters;                 // classes
    uint8_t not_symbol;              // classes
    uint8_t symbols;                 // classes, or 0
    bool no_digits;                  // the alternative is missing
    uint32_t n_digits;
    const char *symbol_tail; // ASCII
};

// SPLIT_ISOLATE: [set]{least,most}, with most = 0 for any number; with `space_before`, \s?[set]{least,most}, and with
// `blank_before`, " ?" instead of \s?.
struct isolate_rules {
    uint8_t classes; // of the set
    bool ascii;      // of the classes, only ASCII characters
    bool negated;    // the set is what is not in it
    bool space_before, blank_before;
    const char *extra;      // ASCII characters that belong to the set too
    struct unicode_set set; // and these
    uint32_t least, most;
};

// SPLIT_THREES: groups of three decimal digits (\d, which is \p{Nd}), the first of a run of one to three.
struct three_rules {
    bool before_boundary; // only runs that no character of a word follows (\b of UTS #18)
    bool only_before;     // a cut before each whole group, (?=(\d{3})+(?!\d)), and no other
};

struct split_stage {
    enum split_kind kind;
    struct word_rules words;
    struct isolate_rules isolate;
    struct three_rules threes;
};

#define MAX_SPLIT_STAGES 6
#define MAX_PRETOKENIZER_NAMES 20

struct pretokenizer {
    const char *names[MAX_PRETOKENIZER_NAMES]; // values of tokenizer.ggml.pre; NULL after the last
    struct split_stage stages[MAX_SPLIT_STAGES];
    bool ignore_merges; // a piece that is a token as it stands is that token, whatever the merges say
    bool add_bos;       // where the metadata does not say
    bool add_sep;       // likewise: a separator between two texts that are read as one
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
    // What a stage has found out of a run that it cuts more than once, so that it reads it once.
    struct known_run {
        uint64_t end;
        uint32_t n_first; // digits in the run's first group
    } known[MAX_SPLIT_STAGES];
};
void piece_walk_init(struct piece_walk *walk, const struct pretokenizer *pretokenizer, const char *text,
                     uint64_t n_bytes);
bool piece_walk_next(struct piece_walk *walk, uint64_t *from, uint64_t *to); // false: no more

#endif
