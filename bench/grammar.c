// Times what a grammar adds to the choice of a token, on a vocabulary, along a text of the grammar.
//   build/Release/bench_grammar VOCABULARY.gguf [milliseconds of a step, default 25]
// For each grammar, means over the text's tokens, the text being written from its beginning by a new constraint:
//   choose  one choice with the default chain within the grammar, and its share of a step; without the grammar beside it
//   mask    the mask of the whole vocabulary for the same states: made (the trie is walked) and known already
// And compile: a JSON Schema of 200 properties of eight kinds.
// Logits are random, with the text's next token likely and a third of the tokens before it in the order forbidden ones.

#include "engine/grammars.h"
#include "gguf/gguf.h"
#include "os/thread.h"
#include "sampler/gbnf.h"
#include "sampler/json_schema.h"
#include "sampler/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_RUNS 5

static const struct {
    const char *name, *grammar;
} grammars[] = {
    {"any JSON", "root ::= \" \"? value\n"
                 "value ::= object | array | string | number | \"true\" | \"false\" | \"null\"\n"
                 "object ::= \"{\" ws (string ws \":\" ws value (ws \",\" ws string ws \":\" ws value)*)? ws \"}\"\n"
                 "array ::= \"[\" ws (value (ws \",\" ws value)*)? ws \"]\"\n"
                 "string ::= \"\\\"\" ([^\"\\\\\\x00-\\x1f] | \"\\\\\" [\"\\\\/bfnrtu])* \"\\\"\"\n"
                 "number ::= \"-\"? (\"0\" | [1-9] [0-9]*) (\".\" [0-9]+)? ([eE] [-+]? [0-9]+)?\n"
                 "ws ::= [ \\t\\n]*\n"},
    {"JSON, everything counted",
     "root ::= \" \"? value\n"
     "value ::= object | array | string | number | \"true\" | \"false\" | \"null\"\n"
     "object ::= \"{\" ws (string ws \":\" ws value (ws \",\" ws string ws \":\" ws value){0,999})? ws \"}\"\n"
     "array ::= \"[\" ws (value (ws \",\" ws value){0,10000})? ws \"]\"\n"
     "string ::= \"\\\"\" ([^\"\\\\\\x00-\\x1f] | \"\\\\\" [\"\\\\/bfnrtu]){0,5000} \"\\\"\"\n"
     "number ::= \"-\"? (\"0\" | [1-9] [0-9]{0,15}) (\".\" [0-9]{1,15})? ([eE] [-+]? [0-9]{1,3})?\n"
     "ws ::= [ \\t\\n]{0,40}\n"},
    {"JSON, short strings", "root ::= \" \"? value\n"
                            "value ::= object | array | string | number | \"true\" | \"false\" | \"null\"\n"
                            "object ::= \"{\" ws (string \": \" value (ws \",\" ws string \": \" value)*)? ws \"}\"\n"
                            "array ::= \"[\" ws (value (ws \",\" ws value)*)? ws \"]\"\n"
                            "string ::= \"\\\"\" [^\"\\\\]{0,150} \"\\\"\"\n"
                            "number ::= \"-\"? [0-9]{1,9} (\".\" [0-9]{1,9})? (\"e\" [0-9])?\n"
                            "ws ::= [ \\n]{0,30}\n"},
};

static const char text[] =
    "{\n  \"name\": \"The Wind in the Willows\",\n  \"author\": {\"first\": \"Kenneth\", \"last\": \"Grahame\", "
    "\"born\": 1859},\n"
    "  \"chapters\": [\"The River Bank\", \"The Open Road\", \"The Wild Wood\", \"Mr. Badger\", \"Dulce Domum\", \"Mr. "
    "Toad\"],\n"
    "  \"rating\": 4.75,\n  \"in print\": true,\n  \"summary\": \"The Mole had been working very hard all the morning, "
    "spring-cleaning his little home. First with brooms, and then with dusters;\",\n"
    "  \"copies\": [[12, 3, 40], [5, 0, 17.5], [-1, 2e3, 8]],\n  \"editor\": null\n}";

struct bench {
    struct memory_account account;
    struct gguf *gguf;
    struct tokenizer *tokenizer;
    struct token_trie *trie;
    struct token_list tokens;
    float *logits, *copy;
    uint32_t n_vocab;
    double step_us;
};

static int fail(const char *what, const struct chord_error *err)
{
    fprintf(stderr, "%s: %s\n", what, err->message);
    return 1;
}

static double us_since(uint64_t started)
{
    return (double)(os_now_ns() - started) / 1000;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values)
{
    qsort(values, N_RUNS, sizeof *values, ascending);
    return values[N_RUNS / 2];
}

// The logits of step i, the same in every run.
static void fill(struct bench *b, uint64_t i)
{
    struct random_state random;
    random_seed(&random, i);
    const uint32_t shift = (uint32_t)(random_next(&random) % b->n_vocab);
    for (uint32_t k = 0; k < b->n_vocab; k++)
        b->copy[k] = b->logits[k + shift < b->n_vocab ? k + shift : k + shift - b->n_vocab];
    b->copy[b->tokens.ids[i]] = 20;
}

struct times {
    double free_us, within_us, made_us, known_us;
    uint32_t n_masks; // made by the choices
};

// One writing of the text.
static int write_text(struct bench *b, const struct grammar *grammar, const struct sampler_options *options,
                      struct times *out)
{
    struct chord_error err;
    struct sampler *sampler;
    struct constraint_cache *caches[2];
    struct constraint *c, *masks;
    struct sampler_choice choice;
    *out = (struct times){0};
    if (sampler_create(&sampler, options, b->n_vocab, &b->account, &err) != CHORD_OK ||
        constraint_cache_create(&caches[0], grammar, b->trie, b->n_vocab, &b->account, &err) != CHORD_OK ||
        constraint_cache_create(&caches[1], grammar, b->trie, b->n_vocab, &b->account, &err) != CHORD_OK ||
        constraint_create(&c, caches[0], &err) != CHORD_OK || constraint_create(&masks, caches[1], &err) != CHORD_OK)
        return fail("a constraint", &err);
    for (uint64_t i = 0; i < b->tokens.n; i++) {
        fill(b, i);
        uint64_t started = os_now_ns();
        sampler_choose(sampler, b->copy, &choice);
        out->free_us += us_since(started);
        fill(b, i);
        started = os_now_ns();
        sampler_choose_within(sampler, c, b->copy, &choice);
        const bool accepted = constraint_accept(c, b->tokens.ids[i]);
        out->within_us += us_since(started);
        out->n_masks += constraint_has_mask(masks) ? 0 : 1;
        started = os_now_ns();
        constraint_mask(masks);
        out->made_us += us_since(started);
        started = os_now_ns();
        constraint_apply(masks, b->copy);
        out->known_us += us_since(started);
        if (!accepted || !constraint_accept(masks, b->tokens.ids[i])) {
            fprintf(stderr, "token %u of the text is not of the grammar\n", (unsigned)i);
            return 1;
        }
    }
    constraint_free(masks);
    constraint_free(c);
    constraint_cache_free(caches[0]);
    constraint_cache_free(caches[1]);
    sampler_free(sampler, &b->account);
    return 0;
}

static int measure(struct bench *b, const char *name, const struct grammar *grammar, const char *chain,
                   const struct sampler_options *options)
{
    double runs[4][N_RUNS];
    const double n = (double)b->tokens.n;
    struct times t;
    for (int run = 0; run < N_RUNS; run++) {
        if (write_text(b, grammar, options, &t) != 0)
            return 1;
        runs[0][run] = t.free_us / n;
        runs[1][run] = t.within_us / n;
        runs[2][run] = t.n_masks > 0 ? t.made_us / t.n_masks : 0;
        runs[3][run] = t.known_us / n;
    }
    const double added = median(runs[1]) - median(runs[0]);
    printf(
        "%-26s %-8s choose %6.0f us, free %6.0f: %5.2f %% of a step   mask made %6.0f us (%u of %u), known %4.0f us\n",
        name, chain, runs[1][N_RUNS / 2], runs[0][N_RUNS / 2], 100 * added / b->step_us, median(runs[2]), t.n_masks,
        (unsigned)b->tokens.n, median(runs[3]));
    return 0;
}

static int open_vocabulary(struct bench *b, const char *path)
{
    struct chord_error err;
    struct tokenizer_info info;
    const struct encode_options encode = {.bos = TOKENIZER_BOS_NEVER};
    if (gguf_open(&b->gguf, path, &b->account, &err) != CHORD_OK ||
        tokenizer_create(&b->tokenizer, b->gguf, &b->account, &err) != CHORD_OK ||
        tokenizer_encode(b->tokenizer, text, strlen(text), encode, &b->tokens, &err) != CHORD_OK)
        return fail(path, &err);
    tokenizer_info(b->tokenizer, &info);
    b->n_vocab = info.n_vocab;
    const struct token_source source = {.n_tokens = info.n_vocab, .token = grammar_token_role, .user = b->tokenizer};
    const uint64_t started = os_now_ns();
    if (token_trie_create(&b->trie, &source, &b->account, &err) != CHORD_OK)
        return fail("the trie", &err);
    printf("%u tokens, a trie of %u nodes made in %.1f ms, a text of %u tokens\n", info.n_vocab, b->trie->n_nodes,
           us_since(started) / 1000, (unsigned)b->tokens.n);
    return 0;
}

static int measure_all(struct bench *b)
{
    const struct sampler_options greedy = {.top_p = 1, .typical_p = 1, .repeat_penalty = 1, .n_logprobs = -1};
    struct sampler_options sampled = greedy;
    sampled.temperature = 0.8f;
    sampled.top_k = 40;
    sampled.top_p = 0.95f;
    sampled.min_p = 0.05f;
    for (size_t i = 0; i < sizeof grammars / sizeof *grammars; i++) {
        struct chord_error err;
        struct grammar *grammar;
        if (gbnf_compile(grammars[i].grammar, strlen(grammars[i].grammar), &b->account, &grammar, &err) != CHORD_OK)
            return fail(grammars[i].name, &err);
        if (measure(b, grammars[i].name, grammar, "greedy", &greedy) != 0 ||
            measure(b, grammars[i].name, grammar, "default", &sampled) != 0)
            return 1;
        grammar_free(grammar);
    }
    return 0;
}

// The median of compiling a schema of 200 properties.
static int measure_schema(struct bench *b)
{
    enum { N_PROPERTIES = 200, ROUNDS = 21 };
    static const char *const kinds[] = {
        "{\"type\":\"string\"}",
        "{\"type\":\"integer\",\"minimum\":0,\"maximum\":%d}",
        "{\"type\":\"number\",\"minimum\":-1.%d}",
        "{\"enum\":[\"a\",\"b%d\",\"c\"]}",
        "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"maxLength\":%d},\"maxItems\":10}",
        "{\"type\":\"string\",\"pattern\":\"^[A-Z]{2}-[0-9]{%d}$\"}",
        "{\"type\":\"string\",\"format\":\"date-time\"}",
        "{\"type\":\"object\",\"properties\":{\"x%d\":{\"type\":\"boolean\"},\"y\":{\"type\":[\"string\",\"null\"]}},"
        "\"required\":[\"y\"]}",
    };
    static char schema[N_PROPERTIES * 160];
    double times[ROUNDS];
    size_t n = (size_t)sprintf(schema, "{\"type\":\"object\",\"properties\":{");
    for (int i = 0; i < N_PROPERTIES; i++) {
        n += (size_t)sprintf(schema + n, "%s\"property%d\":", i > 0 ? "," : "", i);
        n += (size_t)sprintf(schema + n, kinds[i % 8], i + 1);
    }
    n += (size_t)sprintf(schema + n, "}}");
    for (int i = 0; i < ROUNDS; i++) {
        struct grammar *grammar;
        struct chord_error err;
        const uint64_t started = os_now_ns();
        if (json_schema_compile(schema, n, &b->account, &grammar, &err) != CHORD_OK)
            return fail("schema", &err);
        times[i] = us_since(started);
        grammar_free(grammar);
    }
    qsort(times, ROUNDS, sizeof times[0], ascending);
    printf("schema of %d properties: compiled in %.0f us\n", N_PROPERTIES, times[ROUNDS / 2]);
    return 0;
}

int main(int n_arguments, char **arguments)
{
    struct bench b = {.step_us = n_arguments > 2 ? atof(arguments[2]) * 1000 : 25000};
    struct random_state random;
    if (n_arguments < 2) {
        fprintf(stderr, "usage: bench_grammar VOCABULARY.gguf [milliseconds of a step]\n");
        return 1;
    }
    memory_account_init(&b.account, UINT64_MAX);
    b.tokens.account = &b.account;
    int failed = open_vocabulary(&b, arguments[1]);
    b.logits = malloc((b.n_vocab + 1) * sizeof *b.logits);
    b.copy = malloc((b.n_vocab + 1) * sizeof *b.copy);
    if (b.logits == NULL || b.copy == NULL)
        failed = 1;
    random_seed(&random, 1);
    for (uint32_t i = 0; !failed && i < b.n_vocab; i++) // mostly far below a few likely ones
        b.logits[i] =
            (float)(3 * sqrt(-2 * log(1 - random_unit(&random))) * cos(6.283185307179586 * random_unit(&random)));
    failed = failed || measure_all(&b) || measure_schema(&b);
    free(b.logits);
    free(b.copy);
    token_trie_free(b.trie, &b.account);
    token_list_free(&b.tokens);
    tokenizer_free(b.tokenizer);
    gguf_close(b.gguf);
    return failed;
}
