// Which part of a mixture's experts will be at hand when a router chooses them: routes, simulated or recorded, replayed through the
// cache's own policy (weights/expert_cache.h). For planning, before anything of a model but its header is read.
//
// A simulated expert's score for a token is the sum of its popularity, a liking that drifts from token to token, and noise; those
// with the largest scores are used. SCATTERED is the skew of routers with random weights (bench/make-model.js): no drift, popularity
// that grows from layer to layer. REPEATING is like traces of trained models that were published: of eight experts of 128 half are used again
// by the next token, and nine of ten uses hit when two of five experts stay (notes in bench/experts.mjs).
#ifndef CHORD_WEIGHTS_EXPERT_ROUTES_H
#define CHORD_WEIGHTS_EXPERT_ROUTES_H

#include "weights/expert_cache.h"

enum expert_routes_kind { EXPERT_ROUTES_SCATTERED, EXPERT_ROUTES_REPEATING, EXPERT_ROUTES_RECORDED };

struct expert_routes {
    enum expert_routes_kind kind;
    const uint32_t *experts; // RECORDED: [n_tokens, n_layers, n_used], each below n_experts
    uint32_t n_tokens;       // RECORDED: of text generated in one piece, >= 2
};

// A cache of n_frames frames for n_layers layers of n_experts experts, of which a token uses n_used of each layer. All >= 1.
struct expert_shape {
    uint32_t n_layers, n_experts, n_used, n_frames;
    enum expert_cache_policy policy;
};

// *share: of uses, those that hit once the cache has filled: the first half of the tokens is not counted. What is simulated is the
// same every time. Some milliseconds; allocates in `account` for a while.
enum chord_status expert_routes_hit_share(const struct expert_routes *routes, const struct expert_shape *shape,
                                          double *share, struct memory_account *account, struct chord_error *err);

#endif
