// UTF-8 and the character classes that pre-tokenizers ask for. Stateless; any thread.
#ifndef CHORD_TOKENIZER_UNICODE_H
#define CHORD_TOKENIZER_UNICODE_H

#include <stdbool.h>
#include <stdint.h>

// What a character is: bits, so that a set of classes is a mask. Unassigned, control, format and private-use
// characters have none (but some control characters are white space).
enum unicode_class {
    UNICODE_UPPER = 0x01,        // Lu, Lt
    UNICODE_LOWER = 0x02,        // Ll
    UNICODE_OTHER_LETTER = 0x04, // Lm, Lo
    UNICODE_NUMBER = 0x08,       // Nd, Nl, No
    UNICODE_MARK = 0x10,         // Mn, Mc, Me
    UNICODE_PUNCTUATION = 0x20,  // Pc, Pd, Ps, Pe, Pi, Pf, Po
    UNICODE_SYMBOL = 0x40,       // Sm, Sc, Sk, So
    UNICODE_SPACE = 0x80,        // White_Space, which is what \s means to the reference tokenizers
};
#define UNICODE_LETTER (UNICODE_UPPER | UNICODE_LOWER | UNICODE_OTHER_LETTER)

// Stands for a byte that is not part of well-formed UTF-8. Of no class.
#define UNICODE_INVALID UINT32_MAX

// The generated tables (unicode_tables.c, by tools/unicode-tables.js).
struct unicode_fold {
    uint32_t from; // beyond ASCII
    char to;       // the ASCII letter it folds to
};
extern const uint8_t unicode_ascii_classes[128];
extern const uint32_t unicode_ranges[]; // first code point << 8 | class, ascending
extern const uint32_t unicode_n_ranges;
extern const uint16_t unicode_index[513]; // of the range that begins at block * 256
extern const struct unicode_fold unicode_folds[];
extern const uint32_t unicode_n_folds;

// And unicode_fold.c, likewise: runs of characters that become others, ascending.
struct unicode_run {
    uint32_t first, last;
    uint32_t to; // what the first becomes
    bool shifts; // the others go as far as the first; else all become `to`
};
extern const struct unicode_run unicode_accents[], unicode_lowers[];
extern const uint32_t unicode_n_accents, unicode_n_lowers;
extern const uint32_t unicode_controls[][2];
extern const uint32_t unicode_n_controls;

// A set of characters: ranges, ascending.
struct unicode_range {
    uint32_t first, last; // code points
};
struct unicode_set {
    const struct unicode_range *ranges; // [n]
    uint32_t n;
};
// And unicode_sets.c, likewise.
extern const struct unicode_set unicode_han;      // the script
extern const struct unicode_set unicode_decimals; // Nd
extern const struct unicode_set unicode_joiners;  // characters of words (UTS #18) that are neither letter nor mark

bool unicode_set_has(struct unicode_set set, uint32_t c);

// unicode_decode and unicode_class_of beyond ASCII.
uint32_t unicode_decode_long(const unsigned char *text, uint64_t n_bytes, uint32_t *n_used);
unsigned unicode_class_of_long(uint32_t c);

// The character at `text` (n_bytes >= 1 follow) and how many bytes it takes, 1 to 4. What is not well formed
// (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF) gives UNICODE_INVALID and 1.
static inline uint32_t unicode_decode(const unsigned char *text, uint64_t n_bytes, uint32_t *n_used)
{
    if (text[0] < 0x80) {
        *n_used = 1;
        return text[0];
    }
    return unicode_decode_long(text, n_bytes, n_used);
}

// Class bits of a character; 0 for UNICODE_INVALID.
static inline unsigned unicode_class_of(uint32_t c)
{
    return c < 0x80 ? unicode_ascii_classes[c] : unicode_class_of_long(c);
}

// `c` in UTF-8, 1 to 4 bytes; returns how many. `c` is a scalar value.
uint32_t unicode_encode(uint32_t c, char out[4]);

// The first character of the canonical decomposition: letters lose their accents.
uint32_t unicode_without_accent(uint32_t c);
// The (first) lower-case character.
uint32_t unicode_lower(uint32_t c);
// Of the categories Cc, Cf and Co. Some of these are white space.
bool unicode_is_control(uint32_t c);

// The ASCII lower-case letter that `c` equals when case is ignored, else `c`.
uint32_t unicode_fold_to_ascii(uint32_t c);

#endif
