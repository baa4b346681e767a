// Mixes: which type each tensor of a model takes when the whole of it is quantized to a named type.
//
// The names and choices are those of llama.cpp's files, so that a "Q4_K_M" made here weighs what one made there does: the
// matrices that suffer most from few bits (output, values, the second matrix of the feed-forward part, first and last
// layers) get more of them. Vectors, norms, routers and what else is small stay as they are.
// Facts: https://github.com/ggml-org/llama.cpp, src/llama-quant.cpp.
//
// Pure functions, no allocation, any thread.
#ifndef CHORD_QUANTIZE_MIXES_H
#define CHORD_QUANTIZE_MIXES_H

#include "gguf/gguf.h"

#include <stdbool.h>
#include <stdint.h>

struct mix {
    const char *name;   // "Q4_K_M"
    const char *type;   // of most tensors: a name of quant/quant.h, of a type that chord writes
    uint32_t file_type; // general.file_type of the result
};

// The mix of that name in any case ("q4_k_m"; "Q4_K" means "Q4_K_M", as with llama.cpp), or NULL.
const struct mix *mix_by_name(const char *name);

// Names of all mixes, NULL behind the last.
const char *mix_name(uint32_t index);

// What the choice depends on beside the tensor.
struct mix_model {
    uint32_t n_layer, n_head, n_head_kv, n_expert; // n_head_kv: the largest of any layer; n_expert 0: no mixture
    bool is_falcon;
    bool is_tied;     // there is no output.weight: token_embd.weight is used as such
    bool has_imatrix; // importances are at hand: not the model's, so mix_model_of leaves it false
};
// From the metadata; a key that is missing or of another type counts as 0. For a file without tensors too.
struct mix_model mix_model_of(const struct gguf *gguf);

// The type that `tensor` takes: its own where it stays as it is.
uint32_t mix_type_of(const struct mix *mix, const struct mix_model *model, const struct gguf_tensor *tensor);

#endif
