// A finished grammar as a program that reads bytes: a nondeterministic automaton with a stack of frames. Internal to the sampler.
//
// A frame is where to go on when a rule has matched (a step), how often a loop has run, or how much of what a guard forbids has been read. Steps that read no byte are followed at once; no
// way through them is endless, as finishing refuses left recursion and a loop whose body can be empty does not count empty turns.
#ifndef CHORD_SAMPLER_GRAMMAR_PROGRAM_H
#define CHORD_SAMPLER_GRAMMAR_PROGRAM_H

#include "sampler/grammar.h"

enum grammar_op {
    GRAMMAR_FAIL,     // no way on
    GRAMMAR_END,      // the whole text has matched
    GRAMMAR_READ,     // a byte of sets[a], then b
    GRAMMAR_SPLIT,    // a as well as b
    GRAMMAR_CALL,     // entries[a] with b as a new frame
    GRAMMAR_RETURN,   // the top frame's step, which is dropped
    GRAMMAR_LOOP,     // loops[a] begins: a new frame that counts, or its exit
    GRAMMAR_LOOP_END, // a turn of loops[a] ends: its frame, on top, counts on
    GRAMMAR_GUARD,    // guards[a] begins: a new frame that watches each byte
    GRAMMAR_GUARD_END // guards[a] ends: its frame, on top, is dropped
};

struct grammar_step {
    uint32_t op, a, b;
};

struct grammar_set {
    uint64_t bits[4]; // byte i: bits[i / 64] >> i % 64 & 1
};

struct grammar_loop {
    uint32_t min, max; // max UINT32_MAX: unbounded, then counts stop at min
    uint32_t body, exit;
    bool may_be_empty; // the body; then min is 0, and a turn that has read no byte is none
};

// Watches what is read between its beginning and its end: a way on which the n bytes are complete is none.
struct grammar_guard {
    uint32_t body, exit, n;
    uint8_t bytes[GRAMMAR_MAX_FORBIDDEN];
    // The longest beginning of the bytes, shorter than i, that bytes[0..i) end with (Knuth, Morris, Pratt 1977); of 0: 0.
    uint8_t shorter[GRAMMAR_MAX_FORBIDDEN];
};

struct grammar {
    struct memory_account *account;
    struct grammar_step *steps; // step 0 is FAIL, 1 END, 2 RETURN
    uint32_t *entries;          // the first step of each rule; 0 for one that is not used
    struct grammar_set *sets;
    struct grammar_loop *loops;
    struct grammar_guard *guards;
    uint32_t n_steps, n_rules, n_sets, n_loops, n_guards;
    uint32_t start;
    // Bytes that no set tells apart are of one class.
    uint8_t class_of_byte[256];
    uint8_t byte_of_class[256]; // one of them
    uint32_t n_classes;
};

#define GRAMMAR_STEP_FAIL 0u
#define GRAMMAR_STEP_END 1u
#define GRAMMAR_STEP_RETURN 2u

// How many of the guard's bytes the text ends with after one more, where it has ended with `n_read` of them; guard->n: it is complete.
static inline uint32_t grammar_guard_next(const struct grammar_guard *guard, uint32_t n_read, unsigned char byte)
{
    while (n_read > 0 && guard->bytes[n_read] != byte)
        n_read = guard->shorter[n_read];
    return n_read + (guard->bytes[n_read] == byte);
}

static inline bool grammar_set_has(const struct grammar_set *set, unsigned char byte)
{
    return set->bits[byte >> 6] >> (byte & 63) & 1;
}

#endif
