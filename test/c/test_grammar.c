// Grammars against a naive matcher that tries everything, on random grammars and all short texts over a tiny alphabet; masks of random
// vocabularies against asking about every token.

#include "sampler/constraint.h"
#include "sampler/gbnf.h"
#include "sampler/grammar.h"
#include "sampler/random.h"
#include "sampler/recognizer.h"
#include "sampler/sampler.h"
#include "account_helpers.h"
#include "quick.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- Random grammars and the naive matcher ---------------------------------------------------------------------------

#define MAX_PARTS 64
#define N_RULES 3
#define MAX_TEXT 7 // bytes: ends are bits of a byte

struct part {
    enum { LITERAL, CLASS, SEQUENCE, CHOICE, REPEAT, WITHOUT, REFERENCE } kind;
    char text[4];     // of a literal, or forbidden: n bytes
    unsigned letters; // of a class: bit i is 'a' + i
    int children[3], n;
    uint32_t min, max;
    int rule;
};

struct random_grammar {
    struct part parts[MAX_PARTS];
    int n_parts;
    int rules[N_RULES];
    bool forbids; // some part is WITHOUT
};

static int make_part(struct random_grammar *g, struct random_state *random, int depth, int rule)
{
    static const uint32_t bounds[][2] = {{0, 1},
                                         {0, GRAMMAR_UNBOUNDED},
                                         {1, GRAMMAR_UNBOUNDED},
                                         {2, GRAMMAR_UNBOUNDED},
                                         {0, 2},
                                         {2, 3},
                                         {3, 3},
                                         {0, 1000},
                                         {1, 4},
                                         {0, 0},
                                         {1, 1}};
    if (g->n_parts >= MAX_PARTS - 4)
        depth = 0;
    const uint64_t kind = random_next(random) % (depth > 0 ? 11 : 3);
    struct part part = {.kind = LITERAL};
    if (kind < 2) {
        part.n = (int)(random_next(random) % 3);
        for (int i = 0; i < part.n; i++)
            part.text[i] = (char)('a' + random_next(random) % 3);
    } else if (kind == 2) {
        part.kind = CLASS;
        part.letters = 1 + (unsigned)(random_next(random) % 7);
    } else if (kind < 8) {
        part.kind = kind < 5 ? SEQUENCE : CHOICE;
        part.n = 1 + (int)(random_next(random) % 3);
        for (int i = 0; i < part.n; i++)
            part.children[i] = make_part(g, random, depth - 1, rule);
        if (kind == 7 && g->n_parts < MAX_PARTS - 8) { // a reference, behind a letter where it would be recursion
            struct part letter = {.kind = LITERAL, .text = "a", .n = 1};
            struct part reference = {.kind = REFERENCE, .rule = (int)(random_next(random) % N_RULES)};
            g->parts[g->n_parts] = letter;
            g->parts[g->n_parts + 1] = reference;
            struct part both = {.kind = SEQUENCE, .children = {g->n_parts, g->n_parts + 1}, .n = 2};
            g->parts[g->n_parts + 2] = both;
            part.children[part.n - 1] = g->n_parts + 2;
            g->n_parts += 3;
        }
    } else if (kind == 10) {
        part.kind = WITHOUT;
        part.children[0] = make_part(g, random, depth - 1, rule);
        part.n = 1 + (int)(random_next(random) % 4);
        for (int i = 0; i < part.n; i++)
            part.text[i] = (char)('a' + random_next(random) % 2);
        g->forbids = true;
    } else {
        const uint32_t *b = bounds[random_next(random) % (sizeof bounds / sizeof *bounds)];
        part.kind = REPEAT;
        part.children[0] = make_part(g, random, depth - 1, rule);
        part.min = b[0];
        part.max = b[1];
    }
    g->parts[g->n_parts] = part;
    return g->n_parts++;
}

static void make_grammar(struct random_grammar *g, struct random_state *random)
{
    memset(g, 0, sizeof *g);
    for (int i = 0; i < N_RULES; i++)
        g->rules[i] = make_part(g, random, 3, i);
}

// The builder's node of a part.
static uint32_t build(struct grammar_builder *b, const struct random_grammar *g, int id, const uint32_t *rules)
{
    const struct part *part = &g->parts[id];
    uint32_t nodes[3] = {0};
    struct grammar_range ranges[3];
    uint32_t n = 0;
    for (int i = 0; (part->kind == SEQUENCE || part->kind == CHOICE) && i < part->n; i++)
        nodes[i] = build(b, g, part->children[i], rules);
    switch (part->kind) {
    case LITERAL:
        return grammar_literal(b, part->text, (uint64_t)part->n);
    case CLASS:
        for (uint32_t i = 0; i < 3; i++)
            if (part->letters >> i & 1)
                ranges[n++] = (struct grammar_range){'a' + i, 'a' + i};
        return grammar_class(b, ranges, n, false);
    case SEQUENCE:
        return grammar_sequence(b, nodes, (uint32_t)part->n);
    case CHOICE:
        return grammar_choice(b, nodes, (uint32_t)part->n);
    case REPEAT:
        return grammar_repeat(b, build(b, g, part->children[0], rules), part->min, part->max);
    case WITHOUT:
        return grammar_without(b, build(b, g, part->children[0], rules), part->text, (uint64_t)part->n);
    case REFERENCE:
        break;
    }
    return grammar_reference(b, rules[part->rule]);
}

static enum chord_status finish_random(const struct random_grammar *g, struct grammar **out, struct chord_error *err)
{
    struct grammar_builder *b;
    uint32_t rules[N_RULES];
    assert_int_equal(grammar_builder_create(&b, &account, err), CHORD_OK);
    for (int i = 0; i < N_RULES; i++)
        rules[i] = grammar_rule(b, "rule");
    for (int i = 0; i < N_RULES; i++)
        grammar_define(b, rules[i], build(b, g, g->rules[i], rules));
    const enum chord_status status = grammar_finish(b, grammar_reference(b, rules[0]), out, err);
    grammar_builder_free(b);
    return status;
}

// Where matches of a part that begin at any of `starts` can end; sets of places are bits.
static unsigned naive_ends(const struct random_grammar *g, int id, const char *text, int n, unsigned starts)
{
    const struct part *part = &g->parts[id];
    unsigned ends = 0;
    if (starts == 0)
        return 0;
    switch (part->kind) {
    case LITERAL:
        for (int i = 0; i + part->n <= n; i++)
            if (starts >> i & 1 && memcmp(text + i, part->text, (size_t)part->n) == 0)
                ends |= 1u << (i + part->n);
        return ends;
    case CLASS:
        for (int i = 0; i < n; i++)
            if (starts >> i & 1 && part->letters >> (text[i] - 'a') & 1)
                ends |= 1u << (i + 1);
        return ends;
    case SEQUENCE:
        ends = starts;
        for (int i = 0; i < part->n; i++)
            ends = naive_ends(g, part->children[i], text, n, ends);
        return ends;
    case CHOICE:
        for (int i = 0; i < part->n; i++)
            ends |= naive_ends(g, part->children[i], text, n, starts);
        return ends;
    case REPEAT: {
        // A turn that matches nothing can stand for any number of them, so more than n + min turns reach nothing new.
        unsigned reached = starts;
        const uint32_t enough = part->min + (uint32_t)n + 1;
        if (part->min == 0)
            ends = starts;
        for (uint32_t turn = 1; turn <= part->max && turn <= enough; turn++) {
            reached = naive_ends(g, part->children[0], text, n, reached);
            if (turn >= part->min)
                ends |= reached;
        }
        return ends;
    }
    case WITHOUT:
        for (int i = 0; i <= n; i++) {
            unsigned from_here = starts >> i & 1 ? naive_ends(g, part->children[0], text, n, 1u << i) : 0;
            for (int k = i; k + part->n <= n; k++)
                if (memcmp(text + k, part->text, (size_t)part->n) == 0)
                    from_here &= (1u << (k + part->n)) - 1; // ends before the forbidden text does
            ends |= from_here;
        }
        return ends;
    case REFERENCE:
        break;
    }
    return naive_ends(g, g->rules[part->rule], text, n, starts);
}

// Breadth first over states.
static bool reaches_end(struct recognizer *r, uint32_t from)
{
    enum { MOST = 20000 };
    static uint32_t queue[MOST];
    static bool is_queued[MOST];
    uint32_t n = 0;
    memset(is_queued, 0, sizeof is_queued);
    is_queued[from] = true;
    queue[n++] = from;
    for (uint32_t i = 0; i < n; i++) {
        if (recognizer_can_end(r, queue[i]))
            return true;
        for (unsigned char byte = 'a'; byte <= 'c'; byte++) {
            const uint32_t next = recognizer_next(r, queue[i], byte);
            if (next == RECOGNIZER_DEAD || next >= MOST || is_queued[next])
                continue;
            is_queued[next] = true;
            queue[n++] = next;
        }
    }
    return false;
}

static void compare_all_texts(const struct random_grammar *g, struct recognizer *r, char *text, int n, uint32_t state)
{
    const bool matches = naive_ends(g, g->rules[0], text, n, 1) >> n & 1;
    assert_int_equal(recognizer_can_end(r, state), matches);
    if (n == (quick() ? 4 : 6))
        return;
    for (char c = 'a'; c <= 'c'; c++) {
        text[n] = c;
        compare_all_texts(g, r, text, n + 1, recognizer_next(r, state, (unsigned char)c));
    }
}

static void test_random_grammars(void **state)
{
    (void)state;
    struct random_state random;
    struct chord_error err;
    int n_compared = 0, n_forbidding = 0;
    random_seed(&random, 11);
    for (int i = 0; i < (quick() ? 60 : 250); i++) {
        struct random_grammar g;
        struct grammar *grammar;
        struct recognizer *r;
        char text[MAX_TEXT];
        make_grammar(&g, &random);
        if (finish_random(&g, &grammar, &err) != CHORD_OK) { // left-recursive or endless
            assert_int_equal(err.code, CHORD_INVALID_ARGUMENT);
            continue;
        }
        assert_int_equal(recognizer_create(&r, grammar, 8, &account, &err), CHORD_OK);
        const uint32_t start = recognizer_start(r);
        compare_all_texts(&g, r, text, 0, start);
        // A text that is not dead can be completed.
        uint32_t at = start;
        for (int k = 0; k < 5; k++) {
            const uint32_t next = recognizer_next(r, at, (unsigned char)('a' + random_next(&random) % 3));
            if (next != RECOGNIZER_DEAD)
                at = next;
        }
        assert_true(g.forbids || reaches_end(r, at));
        // Forgetting changes nothing.
        uint32_t kept[2] = {start, at};
        assert_true(recognizer_forget(r, kept, 2));
        assert_int_equal(recognizer_start(r), kept[0]);
        compare_all_texts(&g, r, text, 0, kept[0]);
        recognizer_free(r);
        grammar_free(grammar);
        n_compared++;
        n_forbidding += g.forbids;
    }
    assert_true(n_compared > (quick() ? 30 : 120) && n_forbidding > (quick() ? 8 : 30));
}

// ---- Characters ------------------------------------------------------------------------------------------------------

static uint32_t encode(uint32_t c, unsigned char *out)
{
    if (c < 0x80) {
        out[0] = (unsigned char)c;
        return 1;
    }
    const uint32_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (uint32_t i = n; --i > 0; c >>= 6)
        out[i] = (unsigned char)(0x80 | (c & 0x3f));
    out[0] = (unsigned char)(0xf00u >> n | c);
    return n;
}

static bool accepts(struct recognizer *r, const void *bytes, uint64_t n)
{
    uint32_t state = recognizer_start(r);
    for (uint64_t i = 0; i < n; i++)
        state = recognizer_next(r, state, ((const unsigned char *)bytes)[i]);
    return recognizer_can_end(r, state);
}

// Every code point, and encodings that are none.
static void test_classes(void **state)
{
    (void)state;
    static const struct grammar_range sets[][3] = {
        {{'a', 'z'}, {0x7f, 0x80}, {0x7ff, 0x800}},
        {{0, 0x10ffff}, {0, 0}, {0, 0}},
        {{0xd000, 0xe000}, {0xfffe, 0x10001}, {0x10fffe, 0x10ffff}},
        {{0x400, 0x4ff}, {0x4e00, 0x9fff}, {0x1f600, 0x1f64f}},
        {{'b', 'b'}, {'a', 'c'}, {'c', 0x3000}},
    };
    struct chord_error err;
    const uint32_t high_step = quick() ? 97 : 5;
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        for (int negated = 0; negated < 2; negated++) {
            struct grammar_builder *b;
            struct grammar *grammar;
            struct recognizer *r;
            assert_int_equal(grammar_builder_create(&b, &account, &err), CHORD_OK);
            const enum chord_status status = grammar_finish(b, grammar_class(b, sets[i], 3, negated), &grammar, &err);
            grammar_builder_free(b);
            assert_int_equal(status, i == 1 && negated ? CHORD_INVALID_ARGUMENT : CHORD_OK);
            if (status != CHORD_OK)
                continue;
            assert_int_equal(recognizer_create(&r, grammar, 8, &account, &err), CHORD_OK);
            for (uint32_t c = 0; c <= 0x10ffff; c += c > 0x3000 ? high_step : 1) {
                unsigned char bytes[4];
                bool in = false;
                for (int k = 0; k < 3; k++)
                    in |= c >= sets[i][k].first && c <= sets[i][k].last;
                in = in != (negated != 0) && (c < 0xd800 || c > 0xdfff);
                if (accepts(r, bytes, encode(c, bytes)) != in)
                    fail_msg("set %zu, negated %d, U+%X", i, negated, c);
            }
            assert_false(accepts(r, "\xc0\x80", 2));
            assert_false(accepts(r, "\xc1\xa1", 2));
            assert_false(accepts(r, "\xe0\x81\xa1", 3));
            assert_false(accepts(r, "\xf0\x80\x81\xa1", 4));
            assert_false(accepts(r, "\xf4\x90\x80\x80", 4));
            assert_false(accepts(r, "\xff", 1));
            assert_false(accepts(r, "\x80", 1));
            recognizer_free(r);
            grammar_free(grammar);
        }
}

// ---- Counting --------------------------------------------------------------------------------------------------------

static struct grammar *compile(const char *text)
{
    struct grammar *grammar;
    struct chord_error err;
    if (gbnf_compile(text, strlen(text), &account, &grammar, &err) != CHORD_OK)
        fail_msg("%s", err.message);
    return grammar;
}

// A count of ten thousand takes no more memory than one of ten, and is exact.
static void test_counts(void **state)
{
    (void)state;
    struct chord_error err;
    uint64_t bytes[2];
    for (int i = 0; i < 2; i++) {
        const uint32_t max = i == 0 ? 10 : 10000;
        char text[100];
        struct recognizer *r;
        snprintf(text, sizeof text, "root ::= \"<\" [^<>]{3,%u} (\"(\" [a-c]{%u} \")\")? \">\"", max, max);
        struct grammar *grammar = compile(text);
        bytes[i] = atomic_load(&account.total);
        assert_int_equal(recognizer_create(&r, grammar, 8, &account, &err), CHORD_OK);
        uint32_t at = recognizer_next(r, recognizer_start(r), '<');
        for (uint32_t k = 0; k <= max; k++) {
            const uint32_t end = recognizer_next(r, at, '>');
            assert_int_equal(end != RECOGNIZER_DEAD, k >= 3);
            if (k == max)
                break;
            at = recognizer_next(r, at, 0xc3);
            assert_int_equal(recognizer_next(r, at, '>'), RECOGNIZER_DEAD);
            at = recognizer_next(r, at, 0xa4);
        }
        assert_int_equal(recognizer_next(r, at, 'a'), RECOGNIZER_DEAD);
        at = recognizer_next(r, at, '(');
        for (uint32_t k = 0; k < max; k++) {
            assert_int_equal(recognizer_next(r, at, ')'), RECOGNIZER_DEAD);
            at = recognizer_next(r, at, 'b');
        }
        assert_int_equal(recognizer_next(r, at, 'b'), RECOGNIZER_DEAD);
        at = recognizer_next(r, recognizer_next(r, at, ')'), '>');
        assert_true(recognizer_can_end(r, at));
        assert_false(recognizer_can_go_on(r, at));
        recognizer_free(r);
        grammar_free(grammar);
    }
    assert_int_equal(bytes[0], bytes[1]);
}

// What is remembered has a limit: a long text passes it many times.
static void test_long_text(void **state)
{
    (void)state;
    struct chord_error err;
    struct recognizer *r;
    struct grammar *grammar = compile("root ::= item* \"end\"\nitem ::= \"[\" item* \"]\" | [a-z ]{1,1000000} \";\"");
    struct random_state random;
    random_seed(&random, 3);
    assert_int_equal(recognizer_create(&r, grammar, 8, &account, &err), CHORD_OK);
    uint32_t at = recognizer_start(r);
    int depth = 0, n_forgotten = 0;
    const int n = quick() ? 20000 : 200000;
    for (int i = 0; i < n; i++) {
        const uint64_t kind = random_next(&random) % 4000;
        unsigned char byte = (unsigned char)('a' + kind % 26);
        uint32_t next = RECOGNIZER_DEAD;
        if (kind == 0)
            byte = '[';
        else if (kind == 1 && depth > 0)
            byte = ']';
        for (int tries = 0; tries < 2; tries++) {
            next = recognizer_next(r, at, byte);
            if (next != RECOGNIZER_FULL)
                break;
            assert_true(recognizer_forget(r, &at, 1));
            n_forgotten++;
        }
        if (next == RECOGNIZER_DEAD)
            continue; // a bracket within an item
        depth += byte == '[' ? 1 : byte == ']' ? -1 : 0;
        at = next;
        assert_true(recognizer_can_go_on(r, at));
    }
    assert_true(quick() || n_forgotten > 0);
    assert_true(atomic_load(&account.peak) < 4 * (uint64_t)RECOGNIZER_MAX_BYTES);
    recognizer_free(r);
    grammar_free(grammar);
}

static void test_refusals(void **state)
{
    (void)state;
    struct chord_error err;
    struct grammar *grammar;
    struct grammar_builder *b;
    assert_int_equal(grammar_builder_create(&b, &account, &err), CHORD_OK);
    const uint32_t rule = grammar_rule(b, "list");
    const uint32_t optional = grammar_repeat(b, grammar_literal(b, "x", 1), 0, 3);
    const uint32_t parts[] = {optional, grammar_reference(b, rule), grammar_literal(b, "y", 1)};
    assert_int_equal(grammar_finish(b, parts[1], &grammar, &err), CHORD_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "'list' is not defined"));
    grammar_define(b, rule, grammar_sequence(b, parts, 3));
    assert_int_equal(grammar_finish(b, parts[1], &grammar, &err), CHORD_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "'list' is left-recursive"));
    grammar_define(b, rule, optional);
    assert_int_equal(grammar_finish(b, parts[1], &grammar, &err), CHORD_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "'list' is defined twice"));
    grammar_builder_free(b);

    assert_int_equal(grammar_builder_create(&b, &account, &err), CHORD_OK);
    assert_int_equal(grammar_finish(b, grammar_choice(b, NULL, 0), &grammar, &err), CHORD_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "no text matches"));
    uint32_t deep = grammar_literal(b, "x", 1);
    for (uint32_t i = 0; i < GRAMMAR_MAX_DEPTH; i++)
        deep = grammar_repeat(b, deep, 0, 2);
    assert_int_equal(grammar_finish(b, deep, &grammar, &err), CHORD_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "nested"));
    grammar_builder_free(b);
}

// More ways to read a text than are followed end in an error, in bounded time.
static void test_ambiguity(void **state)
{
    (void)state;
    struct chord_error err;
    struct recognizer *r;
    struct grammar *grammar = compile("root ::= (([a-z]{1,300}){1,300}){1,300} \"!\"");
    assert_int_equal(recognizer_create(&r, grammar, 8, &account, &err), CHORD_OK);
    uint32_t at = recognizer_start(r);
    for (int i = 0; i < 1000 && at != RECOGNIZER_DEAD && at != RECOGNIZER_FULL; i++)
        at = recognizer_next(r, at, 'a');
    assert_int_equal(at, RECOGNIZER_DEAD);
    assert_int_equal(recognizer_error(r)->code, CHORD_INVALID_ARGUMENT);
    assert_non_null(strstr(recognizer_error(r)->message, "ambiguous"));
    recognizer_free(r);
    grammar_free(grammar);
}

// ---- Masks -----------------------------------------------------------------------------------------------------------

#define MAX_VOCABULARY 600

struct vocabulary {
    struct token {
        char bytes[12];
        uint32_t n;
        enum token_role role;
    } tokens[MAX_VOCABULARY];
    uint32_t n;
};

static enum token_role token_of(void *user, uint32_t id, char *out, uint64_t capacity, uint64_t *n_bytes)
{
    const struct token *token = &((const struct vocabulary *)user)->tokens[id];
    *n_bytes = token->n;
    for (uint32_t i = 0; i < token->n && i < capacity; i++)
        out[i] = token->bytes[i];
    return token->role;
}

// All bytes, some of the alphabet's words, some twice; ends, control tokens and tokens of no bytes among them.
static struct token_trie *make_vocabulary(struct vocabulary *v, struct random_state *random, const char *alphabet)
{
    const struct token_source source = {.n_tokens = MAX_VOCABULARY, .token = token_of, .user = v};
    const uint64_t n_letters = strlen(alphabet);
    struct token_trie *trie;
    struct chord_error err;
    memset(v, 0, sizeof *v);
    v->n = MAX_VOCABULARY;
    for (uint32_t i = 0; i < MAX_VOCABULARY; i++) {
        struct token *token = &v->tokens[i];
        token->role = TOKEN_ROLE_TEXT;
        if (i < 256) {
            token->bytes[token->n++] = (char)i;
            continue;
        }
        if (i % 50 == 0)
            token->role = i % 100 == 0 ? TOKEN_ROLE_END : TOKEN_ROLE_NEVER;
        token->n = (uint32_t)(random_next(random) % sizeof token->bytes);
        for (uint32_t k = 0; k < token->n; k++)
            token->bytes[k] = alphabet[random_next(random) % n_letters];
    }
    assert_int_equal(token_trie_create(&trie, &source, &account, &err), CHORD_OK);
    return trie;
}

// What the token makes of the text, by a recognizer of its own.
static bool allowed_naively(struct grammar *grammar, const struct token *token, const char *text, uint64_t n_text)
{
    struct recognizer *r;
    struct chord_error err;
    assert_int_equal(recognizer_create(&r, grammar, 1, &account, &err), CHORD_OK);
    uint32_t at = recognizer_start(r);
    for (uint64_t i = 0; i < n_text; i++)
        at = recognizer_next(r, at, (unsigned char)text[i]);
    bool allowed = token->role == TOKEN_ROLE_END && recognizer_can_end(r, at);
    if (token->role == TOKEN_ROLE_TEXT && token->n > 0) {
        for (uint32_t i = 0; i < token->n; i++)
            at = recognizer_next(r, at, (unsigned char)token->bytes[i]);
        allowed = at != RECOGNIZER_DEAD;
    }
    recognizer_free(r);
    return allowed;
}

static const char *const grammars[] = {
    "root ::= object\n"
    "object ::= \"{\" (pair (\",\" pair)*)? \"}\"\n"
    "pair ::= string \":\" value\n"
    "value ::= string | object | \"[\" (value (\",\" value){0,9})? \"]\" | number\n"
    "string ::= \"\\\"\" [^\"\\\\]{0,12} \"\\\"\"\n"
    "number ::= \"-\"? [0-9]{1,3} (\".\" [0-9]+)?\n",
    "root ::= [a-z]{1,5} (\" \" [a-z]{1,5}){0,20} \".\"?",
    "root ::= (\"a\" | \"ab\" | \"b\" root \"c\")* [0-9]{2,7}",
    "root ::= \"\" | \"{\" root \"}\" root",
};

static struct constraint_cache *make_cache(const struct grammar *grammar, const struct token_trie *trie, uint32_t n)
{
    struct constraint_cache *cache;
    struct chord_error err;
    assert_int_equal(constraint_cache_create(&cache, grammar, trie, n, &account, &err), CHORD_OK);
    return cache;
}

static struct constraint *make_constraint(struct constraint_cache *cache)
{
    struct constraint *c;
    struct chord_error err;
    assert_int_equal(constraint_create(&c, cache, &err), CHORD_OK);
    return c;
}

static void test_masks(void **state)
{
    (void)state;
    struct random_state random;
    random_seed(&random, 5);
    for (size_t i = 0; i < sizeof grammars / sizeof *grammars; i++) {
        static struct vocabulary v;
        struct grammar *grammar = compile(grammars[i]);
        struct token_trie *trie = make_vocabulary(&v, &random, "{}[]\",:abc019.- ");
        struct constraint_cache *cache = make_cache(grammar, trie, v.n);
        for (int text = 0; text < (quick() ? 1 : 4); text++) {
            struct constraint *c = make_constraint(cache);
            char written[400];
            uint64_t n_written = 0;
            while (n_written < (quick() ? 20 : 60) && !constraint_must_end(c)) {
                uint32_t chosen = UINT32_MAX, n_allowed = 0;
                const uint64_t *mask = constraint_mask(c);
                assert_non_null(mask);
                for (uint32_t token = 0; token < v.n; token++) {
                    const bool in_mask = mask[token / 64] >> token % 64 & 1;
                    if (in_mask != allowed_naively(grammar, &v.tokens[token], written, n_written))
                        fail_msg("grammar %zu, after '%.*s': token %u", i, (int)n_written, written, token);
                }
                for (uint32_t token = 0; token < v.n; token++) {
                    const bool in_mask = mask[token / 64] >> token % 64 & 1;
                    assert_int_equal(in_mask, constraint_allows(c, token));
                    if (in_mask && v.tokens[token].role == TOKEN_ROLE_TEXT && random_next(&random) % ++n_allowed == 0)
                        chosen = token;
                    mask = constraint_mask(c); // of the same state still
                }
                assert_true(chosen < v.n);
                assert_true(constraint_accept(c, chosen));
                memcpy(written + n_written, v.tokens[chosen].bytes, v.tokens[chosen].n);
                n_written += v.tokens[chosen].n;
            }
            assert_int_equal(constraint_error(c)->code, CHORD_OK);
            constraint_free(c);
        }
        constraint_cache_free(cache);
        token_trie_free(trie, &account);
        grammar_free(grammar);
    }
}

// Any way to cut a text of the grammar into tokens is allowed, token by token.
static void test_no_text_is_forbidden(void **state)
{
    (void)state;
    static struct vocabulary v;
    struct random_state random;
    random_seed(&random, 6);
    struct grammar *grammar = compile(grammars[0]);
    struct token_trie *trie = make_vocabulary(&v, &random, "{}[]\",:abc019.- ");
    struct constraint_cache *cache = make_cache(grammar, trie, v.n);
    static const char *const texts[] = {
        "{}",
        "{\"abc\":-1.10,\"\":[\"a\",{\"b\":[]},0,9.9]}",
        "{\"a\":\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\",\"cab\":[[[[[\"aaaaaaaaaaaa\"]]]]]}",
        "{\"a\":[0,1,2,3,4,5,6,7,8,9]}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (int cut = 0; cut < (quick() ? 5 : 60); cut++) {
            struct constraint *c = make_constraint(cache);
            const uint64_t n = strlen(texts[i]);
            for (uint64_t at = 0; at < n;) {
                uint32_t chosen = (unsigned char)texts[i][at], n_fitting = 1; // the byte's own token
                for (uint32_t token = 256; token < v.n; token++) {
                    const struct token *t = &v.tokens[token];
                    if (t->role == TOKEN_ROLE_TEXT && t->n > 0 && t->n <= n - at &&
                        memcmp(t->bytes, texts[i] + at, t->n) == 0 && random_next(&random) % ++n_fitting == 0)
                        chosen = token;
                }
                assert_false(constraint_can_end(c));
                assert_true(constraint_mask(c)[chosen / 64] >> chosen % 64 & 1);
                assert_true(constraint_accept(c, chosen));
                at += v.tokens[chosen].n;
            }
            assert_true(constraint_must_end(c));
            assert_true(constraint_allows(c, 300));
            assert_false(constraint_allows(c, '}'));
            constraint_free(c);
        }
    constraint_cache_free(cache);
    token_trie_free(trie, &account);
    grammar_free(grammar);
}

// ---- Sampling --------------------------------------------------------------------------------------------------------

// The token is the one that comes of masking all logits first, whatever the chain; texts that end are texts of the grammar.
static void test_sampling(void **state)
{
    (void)state;
    static struct vocabulary v;
    struct random_state random;
    struct chord_error err;
    static const struct sampler_options chains[] = {
        {.temperature = 0, .top_p = 1, .typical_p = 1, .repeat_penalty = 1, .n_logprobs = 3},
        {.temperature = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f, .typical_p = 1, .repeat_penalty = 1},
        {.temperature = 1, .top_p = 1, .min_p = 0.1f, .typical_p = 1, .repeat_penalty = 1.2f, .penalty_last_n = 8},
        {.temperature = 2, .top_p = 1, .typical_p = 1, .repeat_penalty = 1, .n_logprobs = -1},
        {.temperature = 1, .top_k = 3, .top_p = 1, .typical_p = 0.5f, .repeat_penalty = 1, .n_logprobs = -1},
    };
    int n_whole = 0;
    random_seed(&random, 8);
    struct token_trie *trie = make_vocabulary(&v, &random, "{}[]\",:abc019.- ");
    for (size_t i = 0; i < sizeof grammars / sizeof *grammars; i++)
        for (size_t chain = 0; chain < sizeof chains / sizeof *chains; chain++) {
            struct grammar *grammar = compile(grammars[i]);
            struct sampler *lazy, *masked;
            struct sampler_choice a, b;
            assert_int_equal(sampler_create(&lazy, &chains[chain], v.n, &account, &err), CHORD_OK);
            assert_int_equal(sampler_create(&masked, &chains[chain], v.n, &account, &err), CHORD_OK);
            struct constraint_cache *caches[2] = {make_cache(grammar, trie, v.n), make_cache(grammar, trie, v.n)};
            struct constraint *c = make_constraint(caches[0]), *whole = make_constraint(caches[1]);
            for (int step = 0; step < (quick() ? 20 : 120) && !constraint_must_end(c); step++) {
                float logits[MAX_VOCABULARY], copy[MAX_VOCABULARY];
                for (uint32_t k = 0; k < v.n; k++)
                    logits[k] = step % 2 ? floorf(10 * (float)random_unit(&random)) : 10 * (float)random_unit(&random);
                if (step % 3 == 0) // what the grammar forbids stands at the head
                    for (uint32_t k = 0; k < v.n; k++)
                        logits[k] += v.tokens[k].n > 0 && v.tokens[k].bytes[0] == 'z' ? 30 : 0;
                memcpy(copy, logits, sizeof copy);
                assert_true(constraint_apply(whole, copy));
                // Penalties keep what is forbidden at -INFINITY, so masking before them is masking after them.
                sampler_choose(masked, copy, &b);
                sampler_choose_within(lazy, c, logits, &a);
                assert_int_equal(a.token, b.token);
                assert_true(a.token < v.n);
                if (v.tokens[a.token].role == TOKEN_ROLE_END) {
                    assert_true(constraint_can_end(c));
                    break;
                }
                assert_true(constraint_accept(c, a.token));
                assert_true(constraint_accept(whole, a.token));
                sampler_accept(lazy, a.token);
                sampler_accept(masked, a.token);
            }
            n_whole += constraint_can_end(c);
            constraint_free(c);
            constraint_free(whole);
            constraint_cache_free(caches[0]);
            constraint_cache_free(caches[1]);
            sampler_free(lazy, &account);
            sampler_free(masked, &account);
            grammar_free(grammar);
        }
    assert_true(n_whole > 3);
    token_trie_free(trie, &account);
}

// Constraints of one cache are at their own places, whatever others do and whatever is forgotten; what one has asked for is known to the next.
static void test_shared_cache(void **state)
{
    enum { N = 6 };
    static struct vocabulary v;
    struct random_state random;
    (void)state;
    random_seed(&random, 10);
    struct token_trie *trie = make_vocabulary(&v, &random, "{}[]\",:abc019.- ");
    for (size_t i = 0; i < sizeof grammars / sizeof *grammars; i++) {
        struct grammar *grammar = compile(grammars[i]);
        struct constraint_cache *cache = make_cache(grammar, trie, v.n), *own[N];
        struct constraint *shared[N], *alone[N];
        for (int k = 0; k < N; k++) {
            own[k] = make_cache(grammar, trie, v.n);
            shared[k] = make_constraint(cache);
            alone[k] = make_constraint(own[k]);
        }
        for (int step = 0; step < (quick() ? 40 : 400); step++) {
            const int k = (int)(random_next(&random) % N);
            const uint64_t *mask = constraint_mask(alone[k]);
            uint32_t chosen = UINT32_MAX, n_allowed = 0;
            assert_memory_equal(constraint_mask(shared[k]), mask, (v.n + 63) / 64 * sizeof *mask);
            for (uint32_t token = 0; token < v.n; token++)
                if (mask[token / 64] >> token % 64 & 1 && v.tokens[token].role == TOKEN_ROLE_TEXT &&
                    random_next(&random) % ++n_allowed == 0)
                    chosen = token;
            if (step % 7 == 0)
                constraint_cache_forget_states(cache);
            if (chosen == UINT32_MAX || step % 50 == 49) { // it leaves, and another one comes
                constraint_free(shared[k]);
                constraint_free(alone[k]);
                shared[k] = make_constraint(cache);
                assert_true(constraint_has_mask(shared[k])); // all have begun so
                alone[k] = make_constraint(own[k]);
                continue;
            }
            assert_true(constraint_accept(shared[k], chosen));
            assert_true(constraint_accept(alone[k], chosen));
            assert_int_equal(constraint_can_end(shared[k]), constraint_can_end(alone[k]));
        }
        for (int k = 0; k < N; k++) {
            constraint_free(shared[k]);
            constraint_free(alone[k]);
            constraint_cache_free(own[k]);
        }
        constraint_cache_forget_states(cache);
        assert_true(constraint_cache_bytes(cache) < 1u << 20);
        constraint_cache_free(cache);
        grammar_free(grammar);
    }
    token_trie_free(trie, &account);
}

// Each allocation fails once: an error, and nothing is kept.
static void test_no_memory(void **state)
{
    (void)state;
    static struct vocabulary v;
    struct random_state random;
    struct chord_error err;
    int n_failed = 0;
    random_seed(&random, 9);
    for (int64_t fail_after = 1;; fail_after += quick() ? 7 : 1) {
        struct grammar *grammar = NULL;
        struct token_trie *trie = make_vocabulary(&v, &random, "{}\",:ab01");
        struct constraint_cache *cache = NULL;
        struct constraint *c = NULL;
        atomic_store(&account.fail_after, fail_after);
        enum chord_status status = gbnf_compile(grammars[0], strlen(grammars[0]), &account, &grammar, &err);
        if (status == CHORD_OK)
            status = constraint_cache_create(&cache, grammar, trie, v.n, &account, &err);
        if (status == CHORD_OK)
            status = constraint_create(&c, cache, &err);
        for (const char *text = "{\"a\":[[[\"b\"]]]}"; status == CHORD_OK && *text != 0; text++)
            if (constraint_mask(c) == NULL || !constraint_accept(c, (unsigned char)*text))
                status = constraint_error(c)->code;
        atomic_store(&account.fail_after, -1);
        // What one could not do for want of memory another can, with the same cache.
        struct constraint *other = cache != NULL ? make_constraint(cache) : NULL;
        for (const char *text = "{\"a\":1}"; other != NULL && *text != 0; text++) {
            assert_true(constraint_mask(other)[(unsigned char)*text / 64] >> *text % 64 & 1);
            assert_true(constraint_accept(other, (unsigned char)*text));
        }
        assert_true(other == NULL || constraint_must_end(other));
        constraint_free(other);
        constraint_free(c);
        constraint_cache_free(cache);
        grammar_free(grammar);
        token_trie_free(trie, &account);
        assert_int_equal(atomic_load(&account.total), 0);
        if (status == CHORD_OK)
            break;
        assert_true(status == CHORD_OUT_OF_MEMORY || status == CHORD_MEMORY_BUDGET);
        n_failed++;
    }
    assert_true(n_failed > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_random_grammars), TEST(test_classes),      TEST(test_counts),    TEST(test_long_text),
        TEST(test_refusals),        TEST(test_ambiguity),    TEST(test_masks),     TEST(test_no_text_is_forbidden),
        TEST(test_sampling),        TEST(test_shared_cache), TEST(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
