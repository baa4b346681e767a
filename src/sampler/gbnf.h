// Grammars as text, in llama.cpp's GBNF:
//
//   # a comment
//   root ::= "yes" | "no" reason?
//   reason ::= ", because " [^.\n]{1,200} "."
//
// Rules are named by letters, digits, '-' and '_'; `root` is the whole text. Items: "text", [classes] of characters and ranges, [^others], . for
// any character, names of rules, (groups). After an item: * + ? {n} {n,} {n,m}. Escapes in texts and classes: \n \r \t \\ \" \[ \] \- \^
// \xHH \uHHHH \UHHHHHHHH, each a Unicode code point. A rule goes on in the next line inside of a group, after ::= and |, and before |.
// What is repeated is counted, not written out, so {1,10000} is fine.
#ifndef CHORD_SAMPLER_GBNF_H
#define CHORD_SAMPLER_GBNF_H

#include "sampler/grammar.h"

#define GBNF_MAX_BYTES (1u << 22)
#define GBNF_MAX_GROUPS 200u // one in the other

// INVALID_ARGUMENT says what is wrong, and in which line and column (of characters, from 1). The text need not end with 0.
enum chord_status gbnf_compile(const char *text, uint64_t n_bytes, struct memory_account *account, struct grammar **out,
                               struct chord_error *err);

#endif
