// Writes random documents of JSON Schemas, and tells which documents a schema's grammar accepts: the other end of test/js/schema.test.js.
// Reads lines from standard input, and answers each with as many lines as it says here.
//   schema JSON          the schema of all that follows: "ok", or "error: " and why
//   write SEED N BYTES   N documents: "= " and one that is complete, or "~ " and one that was not at an end when it was three times as long
//                        as BYTES; from BYTES on it looks for its end. SEED also chooses how bytes are chosen.
//   read JSON            "yes", "unfinished", or "no " and the number of bytes that it accepted
//   time N               microseconds of the fastest of N compilations
#include "sampler/json_schema.h"
#include "sampler/recognizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct memory_account account;
static struct grammar *grammar;
static struct recognizer *recognizer;
static char *schema;

static uint64_t random_state;

static uint32_t random_below(uint32_t n) // splitmix64
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ z >> 31) >> 32) % n;
}

static void drop(void)
{
    recognizer_free(recognizer);
    grammar_free(grammar);
    free(schema);
    recognizer = NULL;
    grammar = NULL;
    schema = NULL;
}

static void take_schema(const char *text)
{
    struct chord_error error;
    drop();
    schema = strdup(text);
    enum chord_status status = json_schema_compile(text, strlen(text), &account, &grammar, &error);
    if (status == CHORD_OK)
        status = recognizer_create(&recognizer, grammar, 8, &account, &error);
    if (status == CHORD_OK)
        printf("ok\n");
    else
        printf("error: %s\n", error.message);
}

// The state after `byte`; when the recognizer is full it forgets all but *state.
static uint32_t next_state(uint32_t *state, unsigned char byte)
{
    uint32_t next = recognizer_next(recognizer, *state, byte);
    if (next == RECOGNIZER_FULL) {
        if (!recognizer_forget(recognizer, state, 1))
            exit(2);
        next = recognizer_next(recognizer, *state, byte);
    }
    if (recognizer_error(recognizer)->code != CHORD_OK) {
        printf("error: %s\n", recognizer_error(recognizer)->message);
        exit(2);
    }
    return next;
}

enum manner { ANY, LOWEST, HIGHEST, CLOSING, LETTERS, N_MANNERS };

// One of the bytes that `state` allows; closing: what brings the end nearer.
static int choose(uint32_t *state, enum manner manner, bool closing)
{
    static const char closers[] = "\"]},:";
    unsigned char allowed[256];
    unsigned n = 0;
    for (unsigned byte = 0; byte < 256; byte++)
        if (next_state(state, (unsigned char)byte) != RECOGNIZER_DEAD)
            allowed[n++] = (unsigned char)byte;
    if (n == 0)
        return -1;
    if (closing || (manner == CLOSING && random_below(2) == 0)) {
        for (const char *c = closers; *c != '\0'; c++)
            if (*c != ',' && memchr(allowed, *c, n) != NULL)
                return *c;
        if (closing && random_below(4) > 0)
            return allowed[n > 2 ? random_below(2) : 0];
    }
    if (manner == LOWEST && random_below(8) > 0)
        return allowed[0];
    if (manner == HIGHEST && random_below(8) > 0)
        return allowed[n - 1];
    if (manner == LETTERS) {
        for (unsigned tries = 0; tries < 8; tries++) {
            const unsigned char byte = allowed[random_below(n)];
            if (byte < 0x80)
                return byte;
        }
    }
    return allowed[random_below(n)];
}

static void write_document(uint64_t seed, unsigned n_bytes)
{
    random_state = seed;
    const enum manner manner = (enum manner)(random_below(N_MANNERS));
    char *text = malloc(3 * (size_t)n_bytes + 1);
    uint32_t state = recognizer_start(recognizer);
    unsigned n = 0;
    bool is_whole = false;
    while (n < 3 * n_bytes) {
        const bool closing = n >= n_bytes;
        if (recognizer_can_end(recognizer, state) &&
            (closing || !recognizer_can_go_on(recognizer, state) || random_below(4) == 0)) {
            is_whole = true;
            break;
        }
        const int byte = choose(&state, manner, closing);
        if (byte < 0) { // a state that is neither an end nor goes on is a fault of the grammar
            printf("error: no way on after %.*s\n", (int)n, text);
            exit(2);
        }
        text[n++] = (char)byte;
        state = next_state(&state, (unsigned char)byte);
    }
    printf("%c %.*s\n", is_whole ? '=' : '~', (int)n, text);
    free(text);
}

static void read_document(const char *text)
{
    uint32_t state = recognizer_start(recognizer);
    for (const char *p = text; *p != '\0'; p++) {
        state = next_state(&state, (unsigned char)*p);
        if (state == RECOGNIZER_DEAD) {
            printf("no %d\n", (int)(p - text));
            return;
        }
    }
    printf("%s\n", recognizer_can_end(recognizer, state) ? "yes" : "unfinished");
}

static void time_schema(unsigned n)
{
    double best = 1e9;
    for (unsigned i = 0; i < n; i++) {
        struct timespec from, to;
        struct chord_error error;
        struct grammar *made;
        clock_gettime(CLOCK_MONOTONIC, &from);
        if (json_schema_compile(schema, strlen(schema), &account, &made, &error) != CHORD_OK)
            exit(2);
        clock_gettime(CLOCK_MONOTONIC, &to);
        grammar_free(made);
        const double us = (double)(to.tv_sec - from.tv_sec) * 1e6 + (double)(to.tv_nsec - from.tv_nsec) / 1e3;
        best = us < best ? us : best;
    }
    printf("%.0f\n", best);
}

int main(void)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    memory_account_init(&account, UINT64_MAX);
    while ((n = getline(&line, &capacity, stdin)) > 0) {
        unsigned long long seed;
        unsigned count, n_bytes;
        if (line[n - 1] == '\n')
            line[n - 1] = '\0';
        if (strncmp(line, "schema ", 7) == 0) {
            take_schema(line + 7);
        } else if (recognizer == NULL) {
            printf("error: no schema\n");
        } else if (sscanf(line, "write %llu %u %u", &seed, &count, &n_bytes) == 3) {
            for (unsigned i = 0; i < count; i++)
                write_document(seed + i, n_bytes);
        } else if (strncmp(line, "read ", 5) == 0) {
            read_document(line + 5);
        } else if (sscanf(line, "time %u", &count) == 1) {
            time_schema(count);
        } else {
            printf("error: %s\n", line);
        }
    }
    drop();
    free(line);
    return atomic_load(&account.total) == 0 ? 0 : 3;
}
