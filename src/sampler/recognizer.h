// Follows texts through a grammar, byte by byte.
//
// A state is what is known of a text after some bytes: all ways in which the grammar can have read them, each a step to go on at and a
// stack of frames. States are numbers of their recognizer, and equal ones are the same number; stacks share what they have in common. What
// a byte makes of a state is computed once and then looked up, so that a trie is walked by one look per byte, and going back is
// using an older number again.
//
// A recognizer belongs to one thread at a time.
#ifndef CHORD_SAMPLER_RECOGNIZER_H
#define CHORD_SAMPLER_RECOGNIZER_H

#include "sampler/grammar.h"

#define RECOGNIZER_DEAD 0u              // no text of the grammar begins so
#define RECOGNIZER_FULL UINT32_MAX      // what is remembered has reached its limit: recognizer_forget, and once more
#define RECOGNIZER_MAX_WAYS (1u << 14)  // of reading one text: more is INVALID_ARGUMENT
#define RECOGNIZER_MAX_BYTES (1u << 24) // remembered, about

struct recognizer; // opaque

// `grammar` is borrowed. n_ahead: how many bytes further recognizer_key looks.
enum chord_status recognizer_create(struct recognizer **out, const struct grammar *grammar, uint32_t n_ahead,
                                    struct memory_account *account, struct chord_error *err);
void recognizer_free(struct recognizer *recognizer); // NULL is fine

// The state before the first byte; RECOGNIZER_DEAD when there is no memory for it, or there are too many ways (recognizer_error).
uint32_t recognizer_start(struct recognizer *recognizer);

// After one more byte, or RECOGNIZER_DEAD, or RECOGNIZER_FULL. After an error (recognizer_error) it is RECOGNIZER_DEAD.
uint32_t recognizer_next(struct recognizer *recognizer, uint32_t state, unsigned char byte);

// Keeps states[n], whose numbers change, and drops all others. False: no memory; states are as they were, but
// the recognizer has failed.
bool recognizer_forget(struct recognizer *recognizer, uint32_t *states, uint32_t n);

bool recognizer_can_end(const struct recognizer *recognizer, uint32_t state);   // the text so far is one of the grammar
bool recognizer_can_go_on(const struct recognizer *recognizer, uint32_t state); // it is the beginning of a longer one

// States of one key allow the same `n_ahead` further bytes, and may end alike after each: what has been counted makes a difference only where
// it comes near its limits. 128 bits of a hash.
struct recognizer_key {
    uint64_t bits[2];
};
struct recognizer_key recognizer_key(const struct recognizer *recognizer, uint32_t state);

// Why there was no state: CHORD_OK unless memory or ways were at an end. It stays until recognizer_recover: then states are as they were.
const struct chord_error *recognizer_error(const struct recognizer *recognizer);
void recognizer_recover(struct recognizer *recognizer);

uint64_t recognizer_bytes(const struct recognizer *recognizer); // that it holds, about

#endif
