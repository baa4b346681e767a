// Runs a graph over a batch of token rows.
//
// A batch mixes rows of any number of sequences: first those of generated tokens, then those of prompts; rows of one sequence
// in ascending order of position. A row's results depend on its sequence's tokens up to it, and which of them were prompt,
// never on its batch mates.
#ifndef CHORD_BACKEND_BACKEND_H
#define CHORD_BACKEND_BACKEND_H

#include "base/alloc.h"
#include "base/status.h"
#include "graph/graph.h"
#include "graph/kv.h"
#include "kernels/kernels.h"
#include "os/pool.h"
#include "weights/weights.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct batch_row {
    uint32_t token;
    uint32_t position;
    bool in_prompt;      // multiplied by the GEMM; generated tokens by the matvec family, whatever stands beside them
    struct kv_cache *kv; // reserved up to position + 1, and up to n_keys
    uint32_t token_type; // row of TOKEN_TYPE's weight
    // 0: the row sees the keys up to its own. Else the first n_keys of its sequence: the batch has all rows of that sequence.
    uint32_t n_keys;
};

struct backend; // opaque

// Borrows everything; one backend per model, used by one thread at a time.
enum chord_status backend_create(struct backend **out, const struct graph *graph, struct weights *weights,
                                 const struct kernels *kernels, struct pool *pool, const struct kv_layout *kv_layout,
                                 struct memory_account *account, struct chord_error *err);
void backend_free(struct backend *backend); // NULL is fine

// Bytes of scratch memory that n_threads threads and batches of n_rows need (n_outputs: rows whose logits are computed at
// once).
uint64_t backend_scratch_bytes(const struct graph *graph, const struct kernels *kernels, uint32_t n_threads,
                               uint32_t n_rows, uint32_t n_outputs);

// Grows scratch memory so that batches of n_rows run; a no-op when it suffices. On failure it is as before.
enum chord_status backend_reserve(struct backend *backend, uint32_t n_rows, uint32_t n_outputs,
                                  struct chord_error *err);

// Gives scratch memory for more than n_rows back; backend_reserve before the next run.
void backend_trim(struct backend *backend, uint32_t n_rows);

// Computes the trunk over rows[n_rows] (n_rows <= what was reserved) and writes their keys and values.
// `abort_requested(user)` is asked before every operation: CANCELLED when it says so, and the batch may be run again.
enum chord_status backend_run_trunk(struct backend *backend, const struct batch_row *rows, uint32_t n_rows,
                                    bool (*abort_requested)(void *user), void *user, struct chord_error *err);

// Logits of the trunk's rows output_rows[n_outputs] (n_outputs <= what was reserved), always by the matvec family:
// *logits [n_outputs, n_vocab], the backend's, may be overwritten by the caller, valid until the next run.
enum chord_status backend_run_head(struct backend *backend, const uint32_t *output_rows, uint32_t n_outputs,
                                   float **logits, struct chord_error *err);

// The embedding part (graph/graph.h) over rows of the trunk, likewise: *out [n_outputs, width of graph->embedding].
enum chord_status backend_run_embedding(struct backend *backend, const uint32_t *output_rows, uint32_t n_outputs,
                                        float **out, struct chord_error *err);

// What decode uses on this machine, found while the first tokens are generated (backend/tuning.h).
struct backend_tuning {
    struct prefetch prefetch;
    uint32_t n_threads;
};
// On any thread.
struct backend_tuning backend_tuning(const struct backend *backend);

// Time that runs spent in the nodes of a layer so far (graph->n_layer: in those of none). From any thread.
uint64_t backend_layer_ns(const struct backend *backend, uint32_t layer);

// Experts that one row's router has chosen, the one with the largest weight first: experts[n_used].
typedef void backend_route_trace(void *user, uint32_t layer, const uint32_t *experts, uint32_t n_used);
// Calls trace(user, ...) on the running thread for every row and layer of every run to come; NULL: no more. Not during a run.
void backend_trace_routes(struct backend *backend, backend_route_trace *trace, void *user);

// Bytes of weights handed to kernels so far.
uint64_t backend_weight_bytes(const struct backend *backend);

#endif
