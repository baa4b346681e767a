// Grammars of generations: chord.h's objects, and jobs that are held to them.
#ifndef CHORD_ENGINE_GRAMMARS_H
#define CHORD_ENGINE_GRAMMARS_H

#include "engine/job.h"
#include "sampler/grammar.h"

// Compiles a description. Memory of what it makes and of its work is of `account`.
typedef enum chord_status grammar_compiler(const char *text, uint64_t n_bytes, struct memory_account *account,
                                           struct grammar **out, struct chord_error *err);
// An object of what the compiler makes of the text, with an account of its own.
enum chord_status grammar_object_create(grammar_compiler *compile, const char *text, uint64_t n_bytes,
                                        struct chord_grammar **out, struct chord_error *err);
struct chord_grammar *grammar_object_keep(struct chord_grammar *grammar); // another reference, for chord_grammar_free

// What a token of the tokenizer `user` is to a grammar (struct token_source).
enum token_role grammar_token_role(void *user, uint32_t token, char *out, uint64_t capacity, uint64_t *n_bytes);

// What a model knows of a grammar. The reference keeps it one object, so that it is told by its address.
struct known_grammar {
    struct chord_grammar *grammar;
    struct constraint_cache *cache;
    uint64_t grammar_bytes; // of the grammar, counted as the model's
    uint32_t n_jobs;        // held to it at the time
    struct known_grammar *next;
};

// Sees to it that the job has the constraint of its grammar, and the model its trie. What the model finds out of a grammar (states, masks) it
// keeps for the generations that have it later. On the run thread, as all of these.
enum chord_status job_create_constraint(struct chord_job *job, struct chord_error *err);
void job_free_constraint(struct chord_job *job); // also without one

// What is known of grammars that no job has is dropped, those unused for longest first, until it is at most `most_bytes`. False: nothing was.
bool model_forget_grammars(struct chord_model *model, uint64_t most_bytes);

// Why nothing could be chosen within the grammar of a job.
void job_explain_constraint(const struct chord_job *job, struct chord_error *err);

#endif
