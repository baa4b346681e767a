// Grammars: which texts a generation may write, as a context-free grammar over the bytes of UTF-8.
//
// A grammar is put together from nodes by a builder and finished once; it is then immutable and read by any number of threads.
// gbnf.h makes one from text. recognizer.h follows a text through it.
//
// Nodes are small numbers of their builder and may be used any number of times, in any number of places. What fails leaves its error in
// the builder: from then on the functions that make nodes do nothing and return 0, and grammar_finish gives that error. So a caller
// only checks grammar_finish.
//
// Repetition is counted while a text is read and never written out: grammar_repeat(b, node, 0, 10000) is as small as with 10.
#ifndef CHORD_SAMPLER_GRAMMAR_H
#define CHORD_SAMPLER_GRAMMAR_H

#include "base/alloc.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

#define GRAMMAR_UNBOUNDED UINT32_MAX
// What a builder takes; more is INVALID_ARGUMENT. Nodes as deep as this, one in the other (rules begin anew).
#define GRAMMAR_MAX_DEPTH 1000u
#define GRAMMAR_MAX_NODES (1u << 20)
#define GRAMMAR_MAX_RULES (1u << 16)
#define GRAMMAR_MAX_BYTES (1u << 24) // of all literals
#define GRAMMAR_MAX_STEPS \
    (1u << 20) // of the finished program: about one per byte of a literal, a few per class and repetition
#define GRAMMAR_MAX_FORBIDDEN 64u // bytes of grammar_without

struct grammar;         // opaque: a finished grammar
struct grammar_builder; // opaque; used by one thread at a time

// What stands for a special token in a text of tokens: a byte that is in no UTF-8, and the id, highest byte first.
#define GRAMMAR_TOKEN_BYTES 5u
void grammar_spell_token(uint32_t token, unsigned char out[GRAMMAR_TOKEN_BYTES]);

// Unicode code points first..last, first <= last <= 0x10ffff. Surrogates match nothing.
struct grammar_range {
    uint32_t first, last;
};

// Memory is of `account`, which must outlive the builder and what it finishes.
enum chord_status grammar_builder_create(struct grammar_builder **out, struct memory_account *account,
                                         struct chord_error *err);
void grammar_builder_free(struct grammar_builder *builder); // NULL is fine

// These bytes, copied; none: the empty text. They need not be UTF-8.
uint32_t grammar_literal(struct grammar_builder *builder, const void *bytes, uint64_t n_bytes);
// One character of any of the ranges (in any order, they may overlap), or with `negated` one of none of them, in its only valid UTF-8
// encoding. No ranges: nothing matches; negated: any character.
uint32_t grammar_class(struct grammar_builder *builder, const struct grammar_range *ranges, uint32_t n_ranges,
                       bool negated);
// A special token, which no text is: in recognizers whose vocabulary spells its special tokens as grammar_spell_token does.
uint32_t grammar_token(struct grammar_builder *builder, uint32_t token);
// One after another; none: the empty text.
uint32_t grammar_sequence(struct grammar_builder *builder, const uint32_t *nodes, uint32_t n_nodes);
// Any one of them; none: nothing matches.
uint32_t grammar_choice(struct grammar_builder *builder, const uint32_t *nodes, uint32_t n_nodes);
// min to max times (max GRAMMAR_UNBOUNDED: any number from min on).
uint32_t grammar_repeat(struct grammar_builder *builder, uint32_t node, uint32_t min, uint32_t max);

// What the node matches, but for texts in which these bytes occur: 1 to GRAMMAR_MAX_FORBIDDEN, copied. What follows is not looked at. A
// text that can go on in no other way than to these bytes ends nowhere: let the node leave others.
uint32_t grammar_without(struct grammar_builder *builder, uint32_t node, const void *bytes, uint64_t n_bytes);

// A rule, to be defined once; its name (NUL-terminated, copied, for messages) need not be unique. Returns the rule's number, which is no node.
uint32_t grammar_rule(struct grammar_builder *builder, const char *name);
void grammar_define(struct grammar_builder *builder, uint32_t rule, uint32_t node);
// What the rule defines; it may be defined later, and by itself but for left recursion.
uint32_t grammar_reference(struct grammar_builder *builder, uint32_t rule);

// An error of the builder's user: kept unless there is an earlier one. `format` as of printf.
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void grammar_builder_fail(struct grammar_builder *builder, const char *format, ...);
void grammar_builder_fail_with(struct grammar_builder *builder, const struct chord_error *error); // as it is
bool grammar_builder_failed(const struct grammar_builder *builder);

// The grammar of the texts that `root` matches. The builder may go on and finish others. INVALID_ARGUMENT names the rule: one that
// is not defined, defined twice, or left-recursive (reaches itself before it has matched a byte); a grammar that no text matches; a
// limit above. MEMORY_BUDGET, OUT_OF_MEMORY.
enum chord_status grammar_finish(struct grammar_builder *builder, uint32_t root, struct grammar **out,
                                 struct chord_error *err);
void grammar_free(struct grammar *grammar); // NULL is fine

#endif
