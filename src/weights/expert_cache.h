// Which experts of a mixture-of-experts model stay in memory: the policy alone, over indices. It reads nothing and holds no
// bytes; a frame is whatever its caller keeps an expert in.
//
// EXPERT_CACHE_PREDICTED evicts the expert whose next use is expected to be furthest away: the layers until its own layer comes
// round, plus n_layers * (1 - p) / p, where p is the share of recent tokens that used it (an average that forgets a fifth with
// every token). Of 64 experts picked at random the furthest goes. Knowing that layers come round in order is what least
// recently used lacks: that one hits nothing as soon as there are fewer frames than one token uses.
// EXPERT_CACHE_LRU evicts the expert whose use is longest ago.
//
// A prompt uses nearly every expert of a layer once and then those of the next layer: kept like those of generated tokens, they
// would push out what the next tokens are likely to use. They pass through: see expert_cache_pass.
//
// Nothing is allocated after the creation. Used by one thread at a time.
#ifndef CHORD_WEIGHTS_EXPERT_CACHE_H
#define CHORD_WEIGHTS_EXPERT_CACHE_H

#include "base/alloc.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

#define EXPERT_CACHE_NONE UINT32_MAX

enum expert_cache_policy { EXPERT_CACHE_PREDICTED, EXPERT_CACHE_LRU };

struct expert_cache; // opaque

// Experts 0..n_experts-1 of layers 0..n_layers-1; n_frames empty frames. All >= 1.
enum chord_status expert_cache_create(struct expert_cache **out, uint32_t n_layers, uint32_t n_experts,
                                      uint32_t n_frames, enum expert_cache_policy policy,
                                      struct memory_account *account, struct chord_error *err);
void expert_cache_free(struct expert_cache *cache); // NULL is fine

// What a cache of this size allocates.
uint64_t expert_cache_bytes(uint32_t n_layers, uint32_t n_experts, uint32_t n_frames);

// The experts of `layer` are used next. Layers are begun in ascending order; one that is not above the one before begins a token
// (or a chunk of a prompt).
void expert_cache_begin_layer(struct expert_cache *cache, uint32_t layer);

// The frame of an expert, or EXPERT_CACHE_NONE. Changes nothing.
uint32_t expert_cache_find(const struct expert_cache *cache, uint32_t layer, uint32_t expert);

// Counts a use of an expert of the layer begun last, once per token, and holds the expert: it is not evicted before it is
// released. *frame is its frame, or for one that had none a free one or that of the expert evicted, or EXPERT_CACHE_NONE
// when all are held: then nothing is held. True: it had one.
bool expert_cache_use(struct expert_cache *cache, uint32_t layer, uint32_t expert, uint32_t *frame);

// As expert_cache_use, of an expert that only tokens of a prompt use; it does not count as a use. One that had no frame gets a
// free one, to stay, as long as its layer has less than an even share of all frames; else it passes through: at most a sixteenth of
// the frames, and at least two, are lent to such experts, and go to others first, passing or used. Under EXPERT_CACHE_LRU the
// same as expert_cache_use.
bool expert_cache_pass(struct expert_cache *cache, uint32_t layer, uint32_t expert, uint32_t *frame);

void expert_cache_release(struct expert_cache *cache, uint32_t layer, uint32_t expert);

// The expert, which may be held, has no frame any more.
void expert_cache_drop(struct expert_cache *cache, uint32_t layer, uint32_t expert);

// Takes a frame out of use, a free one or that of the expert to evict; EXPERT_CACHE_NONE: all are held or taken out.
uint32_t expert_cache_retire(struct expert_cache *cache);
// Gives a retired frame back, empty.
void expert_cache_restore(struct expert_cache *cache, uint32_t frame);

uint64_t expert_cache_n_evictions(const struct expert_cache *cache);

// Checks that experts and frames name each other, and that free, retired and taken frames are all frames. For tests.
bool expert_cache_sane(const struct expert_cache *cache);

#endif
