#include "tokenizer/pretokenizers.h"

#include <string.h>

// One character of a piece. Past the end of the piece: UNICODE_INVALID, no class, no bytes.
struct character {
    uint32_t c;
    uint32_t n_bytes;
    unsigned class;
};

static struct character character_at(const unsigned char *text, uint64_t at, uint64_t end)
{
    struct character x = {.c = UNICODE_INVALID};
    if (at < end) {
        x.c = unicode_decode(text + at, end - at, &x.n_bytes);
        x.class = unicode_class_of(x.c);
    }
    return x;
}

// End of the run of characters at `at` of which one of `classes` is a class.
static uint64_t end_of_run(const unsigned char *text, uint64_t at, uint64_t end, unsigned classes)
{
    while (at < end) {
        const struct character x = character_at(text, at, end);
        if ((x.class & classes) == 0)
            break;
        at += x.n_bytes;
    }
    return at;
}

// End of the run of characters of none of `classes`.
static uint64_t end_of_run_without(const unsigned char *text, uint64_t at, uint64_t end, unsigned classes)
{
    while (at < end) {
        const struct character x = character_at(text, at, end);
        if ((x.class & classes) != 0)
            break;
        at += x.n_bytes;
    }
    return at;
}

// End of a contraction at `at`, or `at` where there is none.
static uint64_t end_of_contraction(const unsigned char *text, uint64_t at, uint64_t end, enum contractions contractions)
{
    if (contractions == CONTRACTIONS_NONE || at >= end || text[at] != '\'')
        return at;
    struct character first = character_at(text, at + 1, end);
    struct character second = character_at(text, at + 1 + first.n_bytes, end);
    if (contractions == CONTRACTIONS_FOLDED) {
        first.c = unicode_fold_to_ascii(first.c);
        second.c = unicode_fold_to_ascii(second.c);
    }
    if (first.c == 's' || first.c == 't' || first.c == 'm' || first.c == 'd')
        return at + 1 + first.n_bytes;
    if ((first.c == 'r' && second.c == 'e') || (first.c == 'v' && second.c == 'e') ||
        (first.c == 'l' && second.c == 'l'))
        return at + 1 + first.n_bytes + second.n_bytes;
    return at;
}

#define CASED_BOTH (UNICODE_OTHER_LETTER | UNICODE_MARK)
#define CASED_UPPER (UNICODE_UPPER | CASED_BOTH)
#define CASED_LOWER (UNICODE_LOWER | CASED_BOTH)

// A character as cased words see it: what stands alone is of no class to them.
static struct character cased_character_at(const struct word_rules *rules, const unsigned char *text, uint64_t at,
                                           uint64_t end)
{
    struct character x = character_at(text, at, end);
    if (rules->alone != NULL && unicode_set_has(*rules->alone, x.c))
        x.class = 0;
    return x;
}

static uint64_t end_of_cased_run(const struct word_rules *rules, const unsigned char *text, uint64_t at, uint64_t end,
                                 unsigned classes)
{
    while (at < end) {
        const struct character x = cased_character_at(rules, text, at, end);
        if ((x.class & classes) == 0)
            break;
        at += x.n_bytes;
    }
    return at;
}

// upper* lower+ at `at`; `at` where that does not match. Where no lower follows the run of uppers, the run
// gives back what stands behind its last character that is both.
static uint64_t end_of_upper_lower(const struct word_rules *rules, const unsigned char *text, uint64_t at, uint64_t end)
{
    uint64_t after_both = at;
    uint64_t here = at;
    while (here < end) {
        const struct character x = cased_character_at(rules, text, here, end);
        if (x.class & UNICODE_LOWER)
            return end_of_cased_run(rules, text, here, end, CASED_LOWER);
        if ((x.class & CASED_UPPER) == 0)
            break;
        here += x.n_bytes;
        if (x.class & CASED_BOTH)
            after_both = here;
    }
    return after_both;
}

// upper+ lower* at `at`; `at` where that does not match.
static uint64_t end_of_upper(const struct word_rules *rules, const unsigned char *text, uint64_t at, uint64_t end)
{
    const uint64_t after = end_of_cased_run(rules, text, at, end, CASED_UPPER);
    return after == at ? at : end_of_cased_run(rules, text, after, end, CASED_LOWER);
}

static uint64_t end_of_cased_word(const struct word_rules *rules, const unsigned char *text, uint64_t at, uint64_t end,
                                  bool prefix, uint64_t after_prefix)
{
    uint64_t to;
    if (prefix && (to = end_of_upper_lower(rules, text, after_prefix, end)) != after_prefix)
        return to;
    if ((to = end_of_upper_lower(rules, text, at, end)) != at)
        return to;
    if (prefix && (to = end_of_upper(rules, text, after_prefix, end)) != after_prefix)
        return to;
    return end_of_upper(rules, text, at, end);
}

// End of \p{L}\p{M}*(?: ?\p{L}\p{M}*)* at `at`, or `at` where there is none.
static uint64_t end_of_phrase(const unsigned char *text, uint64_t at, uint64_t end)
{
    uint64_t to = at;
    for (;;) {
        const uint64_t from = to != at && to < end && text[to] == ' ' ? to + 1 : to;
        const struct character x = character_at(text, from, end);
        if ((x.class & UNICODE_LETTER) == 0)
            return to;
        to = end_of_run(text, from + x.n_bytes, end, UNICODE_MARK);
    }
}

// End of the word at `at`, or `at` where there is none.
static uint64_t end_of_word(const struct word_rules *rules, const unsigned char *text, uint64_t at, uint64_t end,
                            struct character first)
{
    const uint64_t after_first = at + first.n_bytes;
    bool prefix = first.c == ' ';
    if (rules->not_prefix != 0)
        prefix = first.c != '\r' && first.c != '\n' && (first.class & rules->not_prefix) == 0;
    if (rules->cased) {
        const uint64_t to = end_of_cased_word(rules, text, at, end, prefix, after_first);
        return to == at ? at : end_of_contraction(text, to, end, rules->suffix_contractions);
    }
    if (rules->phrases) {
        const uint64_t from = prefix ? after_first : at;
        const uint64_t to = end_of_phrase(text, from, end);
        return to == from ? at : to;
    }
    if (first.class & rules->letters)
        return end_of_run(text, after_first, end, rules->letters);
    if (prefix) {
        const uint64_t to = end_of_run(text, after_first, end, rules->letters);
        return to == after_first ? at : to;
    }
    return at;
}

static bool is_ascii_letter(unsigned char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

// End of an ASCII punctuation mark and the ASCII letters behind it, or `at` where there is none.
static uint64_t end_of_marked(const unsigned char *text, uint64_t at, uint64_t end)
{
    uint64_t to = at + 1;
    if (text[at] <= ' ' || text[at] >= 0x7f || is_ascii_letter(text[at]) || (text[at] >= '0' && text[at] <= '9'))
        return at;
    while (to < end && is_ascii_letter(text[to]))
        to++;
    return to == at + 1 ? at : to;
}

static uint64_t end_of_digits(const struct word_rules *rules, const unsigned char *text, uint64_t at, uint64_t end,
                              struct character first)
{
    uint64_t to = at;
    if (rules->no_digits)
        return at;
    if (first.class & UNICODE_NUMBER) {
        for (uint32_t n = 0; rules->n_digits == 0 || n < rules->n_digits; n++) {
            const struct character x = character_at(text, to, end);
            if ((x.class & UNICODE_NUMBER) == 0)
                break;
            to += x.n_bytes;
        }
    } else if (rules->space_before_digits && first.c == ' ') {
        const uint64_t after = end_of_run(text, at + 1, end, UNICODE_NUMBER);
        if (after != at + 1)
            to = after;
    }
    return to;
}

static uint64_t end_of_symbols(const struct word_rules *rules, const unsigned char *text, uint64_t at, uint64_t end,
                               struct character first)
{
    const uint64_t from = at + (first.c == ' ');
    uint64_t to = rules->symbols != 0 ? end_of_run(text, from, end, rules->symbols)
                                      : end_of_run_without(text, from, end, rules->not_symbol);
    if (to == from)
        return at;
    while (to < end && text[to] != 0 && text[to] < 0x80 && strchr(rules->symbol_tail, text[to]) != NULL) {
        to++;
        if (rules->one_tail)
            break;
    }
    return to;
}

// End of the first of \s{512}(?!\S), \s{256}(?!\S), ..., \s{4}(?!\S), \s{1,2}(?!\S), \s at `at`, within white space
// without line breaks up to known->end.
static uint64_t end_of_halved_spaces(const unsigned char *text, uint64_t at, uint64_t end,
                                     const struct known_run *known)
{
    uint64_t to = at, found = at;
    for (uint32_t n = 1; n <= 512 && to < known->end; n++) {
        to += character_at(text, to, known->end).n_bytes;
        const bool followed = to == known->end && to != end; // by what is no white space
        if (n == 1 || ((n & (n - 1)) == 0 && !followed))
            found = to;
    }
    return found;
}

// End of the white space at `at` (there is some): up to its last line break where the rules know line breaks, all
// of it at the end of the piece, and otherwise all but its last character, which belongs to what follows.
static uint64_t end_of_spaces(const struct word_rules *rules, const unsigned char *text, uint64_t at, uint64_t end,
                              struct known_run *known)
{
    uint64_t to = at, last = at, after_newline = at;
    if (rules->halved_spaces && at < known->end)
        return end_of_halved_spaces(text, at, end, known);
    while (to < end) {
        const struct character x = character_at(text, to, end);
        if ((x.class & UNICODE_SPACE) == 0)
            break;
        last = to;
        to += x.n_bytes;
        if (x.c == '\r' || x.c == '\n')
            after_newline = to;
    }
    if (rules->newlines && after_newline != at)
        return after_newline;
    if (rules->halved_spaces) {
        *known = (struct known_run){.end = to};
        return end_of_halved_spaces(text, at, end, known);
    }
    return to == end || last == at ? to : last;
}

static uint64_t end_of_alone(struct unicode_set alone, const unsigned char *text, uint64_t at, uint64_t end)
{
    struct character x = character_at(text, at, end);
    while (at < end && unicode_set_has(alone, x.c)) {
        at += x.n_bytes;
        x = character_at(text, at, end);
    }
    return at;
}

// End of the match at `at`, or `at` where no alternative matches.
static uint64_t end_of_match(const struct word_rules *rules, const unsigned char *text, uint64_t at, uint64_t end,
                             struct character first, struct known_run *known)
{
    if (rules->alone != NULL && unicode_set_has(*rules->alone, first.c))
        return end_of_alone(*rules->alone, text, at, end);
    uint64_t to = end_of_contraction(text, at, end, rules->contractions);
    if (to == at && rules->marked_ascii)
        to = end_of_marked(text, at, end);
    if (to == at)
        to = end_of_word(rules, text, at, end, first);
    if (to == at)
        to = end_of_digits(rules, text, at, end, first);
    if (to == at)
        to = end_of_symbols(rules, text, at, end, first);
    if (to == at && rules->lone_newlines && (first.c == '\r' || first.c == '\n'))
        to = at + 1;
    if (to == at && (first.class & UNICODE_SPACE))
        to = end_of_spaces(rules, text, at, end, known);
    return to;
}

static uint64_t next_word(const struct word_rules *rules, const unsigned char *text, uint64_t at, uint64_t end,
                          struct known_run *known)
{
    struct character first = character_at(text, at, end);
    uint64_t to = end_of_match(rules, text, at, end, first, known);
    if (to != at)
        return to;
    do {
        to += first.n_bytes;
        first = character_at(text, to, end);
    } while (to < end && end_of_match(rules, text, to, end, first, known) == to);
    return to;
}

static bool is_isolated(const struct isolate_rules *rules, struct character x)
{
    const bool in_classes = (x.class & rules->classes) != 0 && (x.c < 0x80 || !rules->ascii);
    const bool in_extra = x.c != 0 && x.c < 0x80 && strchr(rules->extra, (int)x.c) != NULL;
    return (in_classes || in_extra || unicode_set_has(rules->set, x.c)) != rules->negated;
}

// End of [set]{least,most} at `at`, or `at` where that does not match.
static uint64_t end_of_set(const struct isolate_rules *rules, const unsigned char *text, uint64_t at, uint64_t end)
{
    uint64_t to = at;
    uint32_t n = 0;
    while (to < end && (rules->most == 0 || n < rules->most)) {
        const struct character x = character_at(text, to, end);
        if (!is_isolated(rules, x))
            break;
        to += x.n_bytes;
        n += n < UINT32_MAX;
    }
    return n >= rules->least ? to : at;
}

static uint64_t end_of_isolated(const struct isolate_rules *rules, const unsigned char *text, uint64_t at, uint64_t end)
{
    const struct character first = character_at(text, at, end);
    if ((rules->space_before && (first.class & UNICODE_SPACE)) || (rules->blank_before && first.c == ' ')) {
        const uint64_t from = at + first.n_bytes;
        const uint64_t to = end_of_set(rules, text, from, end);
        if (to != from)
            return to;
    }
    return end_of_set(rules, text, at, end);
}

static uint64_t next_isolated(const struct isolate_rules *rules, const unsigned char *text, uint64_t at, uint64_t end)
{
    uint64_t to = end_of_isolated(rules, text, at, end);
    if (to != at)
        return to;
    do
        to += character_at(text, to, end).n_bytes;
    while (to < end && end_of_isolated(rules, text, to, end) == to);
    return to;
}

// Up to the white space at the end of the piece; that, where there is nothing before it.
static uint64_t next_before_tail(const unsigned char *text, uint64_t at, uint64_t end)
{
    uint64_t after_text = at;
    for (uint64_t to = at; to < end;) {
        const struct character x = character_at(text, to, end);
        to += x.n_bytes;
        if ((x.class & UNICODE_SPACE) == 0)
            after_text = to;
    }
    return after_text == at ? end : after_text;
}

static bool is_of_word(struct character x)
{
    return (x.class & (UNICODE_LETTER | UNICODE_MARK)) != 0 || unicode_set_has(unicode_joiners, x.c);
}

// The first run of digits at or behind `at` that the rules cut: where it begins and, in *run, where it ends. `end` where
// there is none.
static uint64_t find_digits(const struct three_rules *rules, const unsigned char *text, uint64_t at, uint64_t end,
                            struct known_run *run)
{
    uint64_t from = at;
    uint32_t n = 0;
    for (;;) {
        const struct character x = character_at(text, at, end);
        if (at < end && unicode_set_has(unicode_decimals, x.c)) {
            if (n++ == 0)
                from = at;
            n = n == 4 ? 1 : n; // 1 to 3: only the remainder counts
        } else if (n > 0) {
            if (!rules->before_boundary || at == end || !is_of_word(x)) {
                *run = (struct known_run){.end = at, .n_first = n};
                return from;
            }
            n = 0;
        }
        if (at >= end)
            return end;
        at += x.n_bytes;
    }
}

static uint64_t after_characters(const unsigned char *text, uint64_t at, uint64_t end, uint32_t n)
{
    for (; n > 0; n--)
        at += character_at(text, at, end).n_bytes;
    return at;
}

// A group of a run of digits, or what stands before the next run.
static uint64_t next_three(const struct three_rules *rules, const unsigned char *text, uint64_t at, uint64_t end,
                           struct known_run *run)
{
    if (at < run->end) // what is left of the run are whole groups
        return after_characters(text, at, end, 3);
    const uint64_t from = find_digits(rules, text, at, end, run);
    if (from == at)
        return after_characters(text, at, end, run->n_first);
    run->end = 0;
    return from;
}

// Up to the next cut between a digit of a run and a group of it: what precedes a run's first cut stays with what
// stands before it, and what follows a run with its last group.
static uint64_t next_before_three(const struct three_rules *rules, const unsigned char *text, uint64_t at, uint64_t end,
                                  struct known_run *run)
{
    uint64_t behind = at;
    if (at < run->end) {
        const uint64_t cut = after_characters(text, at, end, 3);
        if (cut < run->end)
            return cut;
        behind = run->end;
    }
    for (;; behind = run->end) {
        const uint64_t from = find_digits(rules, text, behind, end, run);
        if (from == end)
            return end;
        uint64_t cut = run->n_first == 3 ? from : after_characters(text, from, end, run->n_first);
        if (cut == at)
            cut = after_characters(text, from, end, 3);
        if (cut < run->end)
            return cut;
    }
}

static uint64_t next_of_stage(const struct split_stage *stage, const unsigned char *text, uint64_t at, uint64_t end,
                              struct known_run *known)
{
    switch (stage->kind) {
    case SPLIT_WORDS:
        return next_word(&stage->words, text, at, end, known);
    case SPLIT_ISOLATE:
        return next_isolated(&stage->isolate, text, at, end);
    case SPLIT_TAIL:
        return next_before_tail(text, at, end);
    case SPLIT_THREES:
        return stage->threes.only_before ? next_before_three(&stage->threes, text, at, end, known)
                                         : next_three(&stage->threes, text, at, end, known);
    case SPLIT_NONE:
        break;
    }
    return end;
}

void piece_walk_init(struct piece_walk *walk, const struct pretokenizer *pretokenizer, const char *text,
                     uint64_t n_bytes)
{
    *walk = (struct piece_walk){.pretokenizer = pretokenizer, .text = (const unsigned char *)text};
    walk->end[0] = n_bytes;
    while (walk->n_stages < MAX_SPLIT_STAGES && pretokenizer->stages[walk->n_stages].kind != SPLIT_NONE)
        walk->n_stages++;
}

bool piece_walk_next(struct piece_walk *walk, uint64_t *from, uint64_t *to)
{
    if (walk->at >= walk->end[0])
        return false;
    for (uint32_t i = 0; i < walk->n_stages; i++) {
        if (walk->end[i + 1] > walk->at)
            continue; // the inner stages are still at work within this stage's piece
        walk->end[i + 1] =
            next_of_stage(&walk->pretokenizer->stages[i], walk->text, walk->at, walk->end[i], &walk->known[i]);
    }
    *from = walk->at;
    *to = walk->end[walk->n_stages];
    walk->at = *to;
    return true;
}
