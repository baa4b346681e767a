// The loaded model: everything that chord.h's functions work on.
#ifndef CHORD_ENGINE_MODEL_H
#define CHORD_ENGINE_MODEL_H

#include "backend/backend.h"
#include "base/alloc.h"
#include "chord.h"
#include "engine/speculate.h"
#include "gguf/gguf.h"
#include "graph/graph.h"
#include "graph/kv_spill.h"
#include "kernels/kernels.h"
#include "models/arch.h"
#include "os/pool.h"
#include "os/thread.h"
#include "sampler/token_trie.h"
#include "tokenizer/tokenizer.h"
#include "weights/weights.h"

// Token rows of one batch at most. A batch that also holds generated tokens takes fewer prompt tokens, so that streams beside
// a long prompt keep moving.
#define BATCH_MAX_ROWS 512u
#define BATCH_MAX_PROMPT_ROWS_BESIDE_GENERATION 64u
// Rows whose logits are computed at once.
#define BATCH_MAX_OUTPUTS 16u

struct chord_tokenizer {
    struct memory_account own_account; // of a tokenizer without a model
    struct gguf *own_gguf;             // the same; NULL within a model
    struct tokenizer *tokenizer;
};

struct scheduler {
    uv_mutex_t mutex;
    struct chord_job *incoming;     // guarded by the mutex; newest first
    uint32_t n_jobs;                // guarded by the mutex: incoming and active
    struct chord_session *sessions; // guarded by the mutex (session.h)
    // Of the thread in chord_model_run:
    struct chord_job *active; // in order of arrival
    struct batch_row *rows;   // [model_batch_rows]
    struct batch_output {
        struct chord_job *job;
        uint32_t row;
    } * outputs; // [model_batch_rows]
    uint32_t n_rows, n_outputs;
    uint64_t backend_ns; // of this step
    uint64_t n_ended;    // jobs that have left the scheduler
    uint32_t kv_stamp;   // of the last count of KV blocks
    struct step_costs costs;
    struct guess_rates rates;            // of all jobs: what a new one starts from
    const struct draft_host *rated_host; // whose drafts the rate of drafts is of
    double trial_ns;                     // time that may be spent on finding out whether drafts pay by now
};

struct draft_host;
struct known_grammar;

struct chord_model {
    struct memory_account account;
    struct gguf *gguf;
    const struct arch *arch;
    struct hparams hparams;
    struct chord_tokenizer tokenizer;
    struct weights *weights;
    struct graph *graph;
    struct kernels kernels;
    struct kv_layout kv_layout;
    struct kv_spill *kv_spill; // NULL: none
    struct pool *pool;
    struct backend *backend;
    struct scheduler scheduler;
    bool has_scheduler;
    struct token_trie *trie;        // of the run thread; NULL until a generation has a grammar
    struct known_grammar *grammars; // of the run thread (grammars.h): the one used last first
    struct draft_host *host;        // what those hold of the model that it drafts for
    uint64_t budget; // bytes for everything; the account's ceiling is less while mapped weights take their part
    uint64_t spare;  // paged: what the account keeps free between steps
    uint32_t n_ctx, n_threads;
    uint64_t n_params, file_bytes;
    char *name; // general.name, terminated
    const char *quantization;

    _Atomic uint64_t n_steps, n_prompt_tokens, n_generated_tokens, n_guessed_tokens, n_accepted_tokens, compute_ns;
    _Atomic uint64_t n_drafted_tokens, n_accepted_draft_tokens; // of those guessed and accepted
    _Atomic uint64_t n_reused_tokens;
    _Atomic uint64_t kv_tokens, kv_blocks; // positions stored by jobs in the scheduler, and the blocks they hold
};

// What options leave open, decided; chord_model_open and chord_model_plan decide alike.
uint64_t model_memory_budget(const struct chord_model_options *options);
enum chord_status model_choose_kernels(const struct chord_model_options *options, struct kernels *kernels,
                                       struct chord_error *err);
uint32_t model_choose_threads(const struct chord_model_options *options);

// Rows of the largest batch: BATCH_MAX_ROWS, or, if an encoder's context of n_ctx tokens is more, those of one text.
static inline uint32_t model_batch_rows(const struct hparams *hparams, uint32_t n_ctx)
{
    return hparams->is_encoder && n_ctx > BATCH_MAX_ROWS ? n_ctx : BATCH_MAX_ROWS;
}

// What the scheduler holds for them.
static inline uint64_t model_batch_bytes(uint32_t n_rows)
{
    return n_rows * (uint64_t)(sizeof(struct batch_row) + sizeof(struct batch_output));
}

// MEMORY_BUDGET when options->memory_scratch is too little for the largest batch.
enum chord_status model_check_scratch(const struct chord_model_options *options, const struct hparams *hparams,
                                      uint64_t scratch_bytes, struct chord_error *err);

// The context: what was asked for, else the model's own cut to what `budget` bytes hold beside `fixed_bytes`.
// MEMORY_BUDGET when even 64 tokens do not fit, or what was asked for does not.
enum chord_status model_choose_context(const struct chord_model_options *options, const struct hparams *hparams,
                                       const struct kv_layout *kv, uint64_t budget, uint64_t fixed_bytes,
                                       uint32_t *n_ctx, struct chord_error *err);

// Memory of a job that fills a context of n_tokens, its KV cache included.
uint64_t model_context_bytes(const struct hparams *hparams, const struct kv_layout *kv, uint64_t n_tokens);

// How many KV blocks one step reads back from the spill file at most: some 32 MiB, at least one.
static inline uint32_t model_kv_reads(const struct chord_model *model)
{
    return 1 + (uint32_t)((32u << 20) / model->kv_layout.block_bytes);
}

// Elements of what the graph's embedding part gives for a row: n_embd, or the labels of a classifier.
static inline uint32_t model_n_embedding(const struct chord_model *model)
{
    return model->graph->values[model->graph->embedding].width;
}

static inline bool model_has_head(const struct chord_model *model)
{
    return model->graph->head_begin < model->graph->embedding_begin;
}

// Memory of a job besides its tokens and its KV cache.
uint64_t model_job_bytes(const struct hparams *hparams);

// "Q4_K_M" by general.file_type, else the type that most weight bytes have. Static.
const char *model_quantization(const struct gguf *gguf);

// What AUTO is with this model.
enum chord_pooling model_pooling(const struct chord_model *model);

const char *model_mode_name(const struct chord_model *model); // "mapped", "paged"

enum chord_status scheduler_init(struct chord_model *model, struct chord_error *err);
void scheduler_free(struct chord_model *model);

#endif
