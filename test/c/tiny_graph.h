// The graph of a tiny model, from its file in memory (shapes only) or on disk (with weights).
#ifndef CHORD_TEST_TINY_GRAPH_H
#define CHORD_TEST_TINY_GRAPH_H

#include "gguf/header.h"
#include "models/arch.h"
#include "tiny_model.h"

struct built {
    struct gguf *gguf;
    struct hparams hparams;
    const struct arch *arch;
    struct weights *weights;
    struct graph *graph;
};

static inline void built_free(struct built *built)
{
    graph_free(built->graph);
    weights_close(built->weights);
    gguf_close(built->gguf);
    *built = (struct built){0};
}

static inline enum chord_status built_finish(struct built *built, enum weights_mode mode,
                                             struct memory_account *account, struct chord_error *err)
{
    enum chord_status status = hparams_load(built->gguf, &built->hparams, &built->arch, err);
    if (status == CHORD_OK)
        status = weights_open(&built->weights, built->gguf, mode, account, err);
    if (status == CHORD_OK)
        status =
            arch_build_graph(built->arch, &built->hparams, built->weights, built->gguf, account, &built->graph, err);
    if (status != CHORD_OK)
        built_free(built);
    return status;
}

// Shapes only: nothing of the tensors is read. On failure *built holds nothing.
static inline enum chord_status build_shapes(struct built *built, const struct tiny_model *m,
                                             struct memory_account *account, struct chord_error *err)
{
    struct maker made = {0};
    *built = (struct built){0};
    tiny_encode(m, &made);
    const struct gguf_source source = maker_source(&made, "tiny.gguf");
    enum chord_status status = gguf_open_source(&built->gguf, &source, false, account, err);
    free(made.bytes);
    return status == CHORD_OK ? built_finish(built, WEIGHTS_DIRECTORY, account, err) : status;
}

// With the weights, from a file that is written to `path`.
static inline enum chord_status build_mapped(struct built *built, const struct tiny_model *m, const char *path,
                                             struct memory_account *account, struct chord_error *err)
{
    *built = (struct built){0};
    tiny_write(m, path);
    const enum chord_status status = gguf_open(&built->gguf, path, account, err);
    return status == CHORD_OK ? built_finish(built, WEIGHTS_MAPPED, account, err) : status;
}

#endif
