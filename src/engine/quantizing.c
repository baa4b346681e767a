// chord.h's view of the quantizer: an account of its own, as many threads as there are processors.
#include "chord.h"
#include "os/cpu.h"
#include "os/thread.h"
#include "quantize/quantize.h"

#include <stdlib.h>

struct chord_quantizer {
    struct memory_account account;
    struct quantizer *quantizer;
    _Atomic bool stopped; // by chord_quantize_stop
    uv_mutex_t mutex;     // held while the quantizer works
};

enum chord_status chord_quantize_open(const char *input, const char *output,
                                      const struct chord_quantize_options *options, struct chord_quantizer **out,
                                      struct chord_error *err)
{
    struct chord_quantizer *q = calloc(1, sizeof *q);
    *out = NULL;
    if (q == NULL)
        return chord_fail(err, CHORD_OUT_OF_MEMORY, "the system has no memory left to quantize '%s'", input);
    if (uv_mutex_init(&q->mutex) != 0) {
        free(q);
        return chord_fail(err, CHORD_THREAD, "the system refused to make a lock");
    }
    memory_account_init(&q->account, UINT64_MAX);
    const struct quantizer_options native = {
        .type = options->type,
        .n_threads = options->n_threads > 0 ? options->n_threads : cpu_count(),
        .requantize = options->requantize,
        .imatrix = options->imatrix,
    };
    const enum chord_status status = quantizer_open(&q->quantizer, input, output, &native, &q->account, err);
    if (status != CHORD_OK) {
        uv_mutex_destroy(&q->mutex);
        free(q);
        return status;
    }
    *out = q;
    return CHORD_OK;
}

enum chord_status chord_quantize_run(struct chord_quantizer *q, double seconds, struct chord_cancel *cancel,
                                     uint64_t *done, uint64_t *total, struct chord_error *err)
{
    enum chord_status status;
    uv_mutex_lock(&q->mutex);
    if (atomic_load(&q->stopped))
        status = chord_fail(err, CHORD_CANCELLED, "quantizing was stopped");
    else
        status = quantizer_run(q->quantizer, seconds, cancel != NULL ? &cancel->requested : NULL, &q->stopped, done,
                               total, err);
    uv_mutex_unlock(&q->mutex);
    return status;
}

void chord_quantize_stop(struct chord_quantizer *q)
{
    atomic_store(&q->stopped, true);
    uv_mutex_lock(&q->mutex);
    quantizer_discard(q->quantizer);
    uv_mutex_unlock(&q->mutex);
}

void chord_quantize_info(const struct chord_quantizer *q, struct chord_quantize_info *out)
{
    *out = (struct chord_quantize_info){
        .type = quantizer_type(q->quantizer),
        .input_bytes = quantizer_input_bytes(q->quantizer),
        .output_bytes = quantizer_output_bytes(q->quantizer),
        .memory_peak = atomic_load(&q->account.peak),
    };
    quantizer_weighted(q->quantizer, &out->n_weighted, &out->n_unweighted);
}

void chord_quantize_close(struct chord_quantizer *q)
{
    if (q == NULL)
        return;
    quantizer_free(q->quantizer);
    uv_mutex_destroy(&q->mutex);
    free(q);
}
