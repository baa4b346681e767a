// A generation held to a grammar: which tokens may come next.
//
// A token of text is allowed where its bytes go on with a text of the grammar, from the middle of a character too; one that ends the generation
// where the text so far is of the grammar; others never are. Tokens beyond the trie's are padding.
//
// What is found out of a grammar beside a vocabulary, states of the recognizer and masks, is kept in a cache, which all generations held to
// that grammar share, those at the same time and later ones. They do not depend on each other but for the time they take.
//
// A cache and all that share it are used by one thread at a time.
#ifndef CHORD_SAMPLER_CONSTRAINT_H
#define CHORD_SAMPLER_CONSTRAINT_H

#include "sampler/grammar.h"
#include "sampler/token_trie.h"

struct constraint;       // opaque
struct constraint_cache; // opaque

// Grammar and trie are borrowed; n_vocab: logits of a step, at least the trie's tokens.
enum chord_status constraint_cache_create(struct constraint_cache **out, const struct grammar *grammar,
                                          const struct token_trie *trie, uint32_t n_vocab,
                                          struct memory_account *account, struct chord_error *err);
void constraint_cache_free(struct constraint_cache *cache);            // NULL is fine; no constraint is left
uint64_t constraint_cache_bytes(const struct constraint_cache *cache); // that it holds, about
void constraint_cache_forget_states(struct constraint_cache *cache);   // but for those of its constraints; masks stay

// At the beginning of a text. The cache is borrowed.
enum chord_status constraint_create(struct constraint **out, struct constraint_cache *cache, struct chord_error *err);
void constraint_free(struct constraint *constraint); // NULL is fine

// Whether `token` may come next. Takes time by the token's bytes only.
bool constraint_allows(struct constraint *constraint, uint32_t token);

// The mask of all tokens that may come next: bit token % 64 of word token / 64, [(n_vocab + 63) / 64]. Valid until the next call, of any
// constraint of the cache. Known for states where one has asked for it lately (or where nothing but large counts is different); else the
// trie is walked. NULL after an error.
const uint64_t *constraint_mask(struct constraint *constraint);
bool constraint_has_mask(struct constraint *constraint); // it is known

// logits[n_vocab]: -INFINITY for all tokens that are not in the mask. False, and logits as they were, after an error.
bool constraint_apply(struct constraint *constraint, float *logits);

// The token is now part of the text. False, and nothing changes, when it is not allowed.
bool constraint_accept(struct constraint *constraint, uint32_t token);

bool constraint_can_end(const struct constraint *constraint);  // the text so far is one of the grammar
bool constraint_must_end(const struct constraint *constraint); // and of no longer one the beginning

// Why the grammar could not be followed: CHORD_OK unless memory or ways to read the text were at an end. It stays, and from then on
// nothing is allowed.
const struct chord_error *constraint_error(const struct constraint *constraint);

#endif
