// Stop strings: finds the first of several strings in a stream of text that comes in pieces, and holds back what might
// yet become one.
#ifndef CHORD_SAMPLER_STOP_H
#define CHORD_SAMPLER_STOP_H

#include "base/alloc.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

struct stop_string {
    const char *bytes;
    uint64_t n_bytes; // >= 1
};

struct stop_matcher; // opaque: an Aho-Corasick automaton and the text held back

// Copies the strings. n_strings may be 0 (nothing is ever held back). INVALID_ARGUMENT: a string that is empty or begins within a
// UTF-8 character, or more than 64 KiB in all.
enum chord_status stop_matcher_create(struct stop_matcher **out, const struct stop_string *strings, uint32_t n_strings,
                                      struct memory_account *account, struct chord_error *err);
void stop_matcher_free(struct stop_matcher *matcher, struct memory_account *account);

// The most bytes that can be held back: the longest stop string less one.
uint64_t stop_matcher_max_held(const struct stop_matcher *matcher);

// Feeds `n_bytes` of text. Writes what can be given out now to `out` (capacity >= n_bytes + stop_matcher_max_held) and its length to
// *n_out: always whole UTF-8 characters when the input came in whole characters. Returns true when a stop string was completed, at
// the first byte that completes one: what was written ends just before the longest of those completed by that byte, which
// began first; the matcher takes no more text. How the text is cut into pieces changes nothing about what is written in all.
bool stop_matcher_push(struct stop_matcher *matcher, const char *text, uint64_t n_bytes, char *out, uint64_t *n_out);

// The end of the text without a stop: gives out what was held back, as push. Nothing after a stop.
void stop_matcher_finish(struct stop_matcher *matcher, char *out, uint64_t *n_out);

#endif
