// Attention over spans and blocks, the part that tiers share: which rows see which keys, in which order partial results
// arise and are merged. A tier gives the steps of one block and calls attend() with constants, so that all is inlined.
//
// The columns of a call are its rows' query heads, row by row. Few columns read keys and values as they lie in the cache; many
// share one conversion of each block to f32. Sums run over the same terms in the same order either way.
#ifndef CHORD_KERNELS_ATTENTION_BLOCKS_H
#define CHORD_KERNELS_ATTENTION_BLOCKS_H

#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

#define ATTENTION_INLINE static inline __attribute__((always_inline))

// Keys or values of one block.
struct attention_part {
    const void *cached; // as kernels.h describes them
    const float *tile;  // NULL, or converted: keys [KV_BLOCK_TOKENS / KV_PANEL_KEYS][head_dim][KV_PANEL_KEYS], values
                        // [KV_BLOCK_TOKENS][padded]
    // What will be read after this part and after that, of the same type and size: to be prefetched by the offset of what is
    // read, `next` close to the core, `far` on its way there. `cached` where nothing is to be.
    const void *next, *far;
    uint32_t head_dim, padded; // padded: head_dim up to a multiple of 16
};

struct attention_steps {
    uint32_t direct_columns; // calls of at most so many columns whose head_dim is a multiple of 16 use `cached`
    uint32_t score_columns;  // most columns of `scores`
    uint32_t value_columns;  // most columns of `values`
    // Converts panels first..end-1 to tile.
    void (*load_keys)(const void *keys, uint32_t head_dim, uint32_t first, uint32_t end, float *tile);
    // Converts rows first..end-1 to tile; padding is zero.
    void (*load_values)(const void *values, uint32_t head_dim, uint32_t first, uint32_t end, float *tile);
    // scores[c][16 * panel + lane] = scale * (q[.][c] . key) for panels first..end-1, q [head_dim][n_columns] packed, each
    // score one chain of fused multiply-adds over d.
    void (*scores)(const struct attention_part *keys, const float *q, uint32_t n_columns, uint32_t first, uint32_t end,
                   float scale, float (*scores)[KV_BLOCK_TOKENS]);
    // scores[0..KV_BLOCK_TOKENS) = cap * tanh(scores / cap); those that nobody sees may be anything.
    void (*soft_cap)(float *scores, float cap);
    // Turns scores into e^(score - max), zero outside low..high-1 (which may be empty), where scores may be anything;
    // updates max and sum and returns the factor for what was summed before.
    float (*softmax)(float *scores, uint32_t low, uint32_t high, float *max, float *sum);
    // out[c][0..padded) (stride apart) = out * shrink[c] + sum over slots first..end-1 of weights[c][slot] * values[slot]
    void (*values)(const struct attention_part *values, const float (*weights)[KV_BLOCK_TOKENS], const float *shrink,
                   uint32_t n_columns, uint32_t first, uint32_t end, float *out, uint64_t stride);
};

struct attention_state {
    const struct attention_args *args;
    enum kv_type type;
    uint32_t n_columns, padded;
    uint64_t stride;       // floats from one partial result to the next
    uint32_t tile_columns; // columns of all tiles of q but the last
    bool direct;
    float *q;    // packed: tiles of up to tile_columns columns, each [head_dim][columns]
    float *tile; // keys or values of one block in f32
    float (*scores)[KV_BLOCK_TOKENS];
    float *shrink;
};

// The slots of the block at `start` that a row sees: low..high-1, empty when high <= low.
ATTENTION_INLINE void visible_slots(const struct attention_args *args, uint32_t row, uint32_t start, uint32_t *low,
                                    uint32_t *high)
{
    const uint32_t end = args->n_keys != 0 ? args->n_keys : args->position + row + 1;
    const uint32_t first = args->window != 0 && end > args->window ? end - args->window : 0;
    *low = first <= start ? 0 : first - start < KV_BLOCK_TOKENS ? first - start : KV_BLOCK_TOKENS;
    *high = end <= start ? 0 : end - start < KV_BLOCK_TOKENS ? end - start : KV_BLOCK_TOKENS;
}

// The slots that any of the columns first..first+n-1 sees: ends only grow with the row.
ATTENTION_INLINE bool columns_slots(const struct attention_args *args, uint32_t first, uint32_t n, uint32_t start,
                                    uint32_t *low, uint32_t *high)
{
    uint32_t ignored;
    visible_slots(args, first / args->n_q, start, low, &ignored);
    visible_slots(args, (first + n - 1) / args->n_q, start, &ignored, high);
    return *low < *high;
}

ATTENTION_INLINE void attention_pack(struct attention_state *s)
{
    const struct attention_args *args = s->args;
    for (uint32_t c = 0; c < s->n_columns; c++) {
        const uint32_t first = c / s->tile_columns * s->tile_columns;
        const uint32_t width = s->n_columns - first < s->tile_columns ? s->n_columns - first : s->tile_columns;
        const float *q = args->q + c / args->n_q * args->row_stride + (uint64_t)(c % args->n_q) * args->head_dim;
        float *to = s->q + (size_t)first * args->head_dim + (c - first);
        for (uint32_t d = 0; d < args->head_dim; d++)
            to[(size_t)d * width] = q[d];
    }
}

ATTENTION_INLINE void prefetch_part(const void *p, enum kv_type type, uint32_t head_dim)
{
    // The scales of q8_0 only: their codes are prefetched as those of this block are read.
    const uint64_t codes = (uint64_t)KV_BLOCK_TOKENS * head_dim;
    for (uint64_t at = type == KV_F16 ? UINT64_MAX : codes; at < kv_part_bytes(type, head_dim); at += 64)
        __builtin_prefetch((const void *)((uintptr_t)p + at));
}

ATTENTION_INLINE void attend_block(const struct attention_state *s, const struct attention_steps *steps, uint32_t b,
                                   const void *next_keys, float *partials)
{
    const struct attention_args *args = s->args;
    const uint32_t start = b * KV_BLOCK_TOKENS, head_dim = args->head_dim;
    uint32_t low, high;
    if (!columns_slots(args, 0, s->n_columns, start, &low, &high))
        return;
    const char *block = args->blocks[b];
    struct attention_part keys = {block + args->k_offset, NULL, block + args->v_offset, next_keys, head_dim, s->padded};
    struct attention_part values = {block + args->v_offset, NULL, next_keys, NULL, head_dim, s->padded};
    if (next_keys != NULL) {
        values.far = (const char *)next_keys + (args->v_offset - args->k_offset);
    } else {
        keys.far = keys.cached;
        values.next = values.far = values.cached;
    }
    prefetch_part(keys.next, s->type, head_dim);
    if (!s->direct) {
        steps->load_keys(keys.cached, head_dim, low / KV_PANEL_KEYS, (high + KV_PANEL_KEYS - 1) / KV_PANEL_KEYS,
                         s->tile);
        keys.tile = s->tile;
    }
    for (uint32_t c = 0, n; c < s->n_columns; c += n) {
        n = s->n_columns - c < s->tile_columns ? s->n_columns - c : s->tile_columns;
        if (!columns_slots(args, c, n, start, &low, &high))
            continue;
        steps->scores(&keys, s->q + (size_t)c * head_dim, n, low / KV_PANEL_KEYS,
                      (high + KV_PANEL_KEYS - 1) / KV_PANEL_KEYS, args->scale, s->scores + c);
        keys.next = keys.far = keys.cached;
    }
    for (uint32_t c = 0; c < s->n_columns; c++) {
        float *max = partials + c * s->stride + s->padded;
        visible_slots(args, c / args->n_q, start, &low, &high);
        if (args->soft_cap != 0.0f)
            steps->soft_cap(s->scores[c], args->soft_cap);
        s->shrink[c] = steps->softmax(s->scores[c], low, high, max, max + 1);
    }
    prefetch_part(values.next, s->type, head_dim);
    if (!s->direct) {
        columns_slots(args, 0, s->n_columns, start, &low, &high);
        steps->load_values(values.cached, head_dim, low, high, s->tile);
        values.tile = s->tile;
    }
    for (uint32_t c = 0, n; c < s->n_columns; c += n) {
        n = s->n_columns - c < steps->value_columns ? s->n_columns - c : steps->value_columns;
        if (!columns_slots(args, c, n, start, &low, &high))
            continue;
        steps->values(&values, (const float(*)[KV_BLOCK_TOKENS])(s->scores + c), s->shrink + c, n, low, high,
                      partials + c * s->stride, s->stride);
        values.next = values.far = values.cached;
    }
}

// Blocks first..end-1, all of one span.
ATTENTION_INLINE void attend_blocks(const struct attention_state *s, const struct attention_steps *steps,
                                    uint32_t first, uint32_t end, const void *next, float *partials)
{
    for (uint32_t c = 0; c < s->n_columns; c++) {
        float *partial = partials + c * s->stride;
        memset(partial, 0, (s->padded + 2) * sizeof *partial);
        partial[s->padded] = -INFINITY;
    }
    for (uint32_t b = first; b < end; b++)
        attend_block(s, steps, b, b + 1 < end ? (const char *)s->args->blocks[b + 1] + s->args->k_offset : next,
                     partials);
}

// `merge` is the tier's attention_merge.
ATTENTION_INLINE void attend(const struct attention_args *args, enum kv_type type, const struct attention_steps *steps,
                             void (*merge)(float *partials, uint32_t n, uint32_t head_dim, float *out))
{
    const uint32_t n_columns = args->n_rows * args->n_q, padded = (args->head_dim + 15) / 16 * 16;
    const uint32_t n_tiles = (n_columns + steps->score_columns - 1) / steps->score_columns;
    struct attention_state s = {
        .args = args,
        .type = type,
        .n_columns = n_columns,
        .padded = padded,
        .stride = attention_partial_floats(args->head_dim),
        .direct = n_columns <= steps->direct_columns && args->head_dim % 16 == 0,
        .tile_columns = (n_columns + n_tiles - 1) / n_tiles,
        .q = args->scratch,
    };
    s.tile = s.q + (size_t)ATTENTION_MAX_COLUMNS * padded;
    float *scores = s.tile + (size_t)KV_BLOCK_TOKENS * padded;
    s.scores = (float(*)[KV_BLOCK_TOKENS])(void *)scores;
    s.shrink = scores + (size_t)ATTENTION_MAX_COLUMNS * KV_BLOCK_TOKENS;
    // Pairs: a column's result so far, and the next span's.
    float *pairs = s.shrink + ATTENTION_MAX_COLUMNS;
    attention_pack(&s);

    // Of the last row; the first row's window begins first.
    const uint32_t end = args->n_keys != 0 ? args->n_keys : args->position + args->n_rows;
    const uint32_t first =
        args->window != 0 && args->position + 1 > args->window ? args->position + 1 - args->window : 0;
    const uint32_t span_blocks = KV_SPAN_TOKENS / KV_BLOCK_TOKENS;
    uint32_t block = first / KV_BLOCK_TOKENS, end_block = (end + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS;
    if (args->partials != NULL) {
        const uint32_t begin = args->span * span_blocks;
        block = block > begin ? block : begin;
        end_block = end_block < begin + span_blocks ? end_block : begin + span_blocks;
        s.stride = args->partial_stride;
        attend_blocks(&s, steps, block, end_block, args->next, args->partials);
        return;
    }
    const size_t stride = s.stride;
    s.stride *= 2;
    for (bool begun = false; block < end_block; begun = true) {
        const uint32_t span_end = (block / span_blocks + 1) * span_blocks;
        const uint32_t stop = span_end < end_block ? span_end : end_block;
        const void *next = stop < end_block ? (const char *)args->blocks[stop] + args->k_offset : args->next;
        attend_blocks(&s, steps, block, stop, next, begun ? pairs + stride : pairs);
        for (uint32_t c = 0; begun && c < n_columns; c++)
            merge(pairs + 2 * stride * c, 2, args->head_dim, NULL);
        block = stop;
    }
    for (uint32_t c = 0; args->sinks != NULL && c < n_columns; c++)
        attention_add_sink(pairs + 2 * stride * c, args->head_dim, args->sinks[c % args->n_q]);
    for (uint32_t c = 0; c < n_columns; c++)
        merge(pairs + 2 * stride * c, 1, args->head_dim,
              args->out + c / args->n_q * args->row_stride + (uint64_t)(c % args->n_q) * args->head_dim);
}

#endif
