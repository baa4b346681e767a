// Compute kernels: contracts, and the table that holds one tier's implementations.
//
// A tier is one folder (scalar/, avx2/, avx512gfni/, ...) built with its own compiler flags and exporting one function,
// kernels_init_<tier>, which overrides the slots it has. The scalar tier fills every slot and is the specification:
// integer parts of every other tier equal it exactly, float parts lie within a bound derived from the number of terms.
//
// Kernels allocate nothing, keep no state, never fail and may run in any number of threads. Pointers to weights have no
// alignment (GGUF gives 32 bytes, a window may give 1); activations prepared by the table are aligned to 64 bytes;
// float arrays are aligned to 4. A kernel never reads outside the arrays it is given (software prefetch may run past).
// Results of a column do not depend on how many columns or rows a call has, so batching never changes a logit.
#ifndef CHORD_KERNELS_KERNELS_H
#define CHORD_KERNELS_KERNELS_H

#include "kernels/gemm.h"
#include "quant/quant.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MATVEC_MAX_COLUMNS 4
#define ACTIVATION_ALIGNMENT 64
#define N_QUANT_TYPE_IDS 64 // type ids are below this

// Activations as one tier's matvec family wants them. The integers and scales are those of quant/quant.h
// (activation_q8_32, activation_q8_256); their order in memory is the tier's own.
struct activation_kernel {
    // Bytes of one prepared column of n elements: a multiple of ACTIVATION_ALIGNMENT. n is a multiple of the type's 32 or
    // 256 (any n for F32).
    uint64_t (*bytes)(uint64_t n);
    // out = x[n] prepared. `out` aligned to ACTIVATION_ALIGNMENT, not overlapping x.
    void (*quantize)(const float *x, void *out, uint64_t n);
};

// Bytes ahead of what a matvec reads: the far level starts the trip from memory to L2, the near one brings the line to L1.
// Running past the end of the weights is harmless. No effect on results.
struct prefetch {
    uint32_t far, near;
};

// On two cores of an AVX-512 server, 3 KB read 2 to 13 % more than 8 KB with large pages, 4 to 9 % more with small ones.
#define PREFETCH_DEFAULT ((struct prefetch){.far = 3072, .near = 1024})

// out[c][r] = dot(row r of w, column c), for r in 0..n_rows-1, c in 0..n_columns-1.
// w [n_rows, n] in blocks of the kernel's type, rows row_bytes apart; columns[c]: prepared by the tier's
// activation_kernel for the type's activation; 1 <= n_columns <= MATVEC_MAX_COLUMNS; out[c] holds n_rows floats.
typedef void matvec_kernel(const void *w, uint64_t row_bytes, uint64_t n_rows, uint64_t n, const void *const *columns,
                           uint32_t n_columns, float *const *out, struct prefetch ahead);

// RoPE pairs: NORMAL rotates (x[2i], x[2i+1]); NEOX rotates (x[i], x[i + n_rot/2]).
enum rope_kind { ROPE_NORMAL, ROPE_NEOX };

// Gated linear units, f(gate) * up, by their f:
//   SILU     x / (1 + exp(-x))
//   GELU     by its tanh form, 0.5 x (1 + tanh(u)) with u = sqrt(2 / pi) (x + 0.044715 x^3), which is x / (1 + exp(-2u))
//   CLAMPED  x / (1 + exp(-1.702 x)) of x = min(gate, 7), times (1 + up), up within +-7
//   RELU2    max(x, 0)^2
enum glu_kind { GLU_SILU, GLU_GELU, GLU_CLAMPED, GLU_RELU2, N_GLU_KINDS };
#define CLAMPED_SLOPE 1.702f
#define CLAMPED_MOST 7.0f
#define GELU_SLOPE 0.7978845608f // sqrt(2 / pi)
#define GELU_CUBIC 0.044715f

// KV cache: blocks of KV_BLOCK_TOKENS tokens. Within one block, each layer and KV head has keys and values of
// kv_part_bytes() each. Keys are panels of KV_PANEL_KEYS (lanes are keys: a score needs no horizontal sum), values rows:
//
// KV_F16   keys f16 [KV_BLOCK_TOKENS / KV_PANEL_KEYS][head_dim][KV_PANEL_KEYS]; values f16 [KV_BLOCK_TOKENS][head_dim].
// KV_Q8_0  the same with int8 codes, followed by their scales, f16: one for every KV_SCALE_DIMS elements of a token (the last
//          ones of a head_dim that is no multiple: fewer), of keys [KV_BLOCK_TOKENS / KV_PANEL_KEYS][groups][KV_PANEL_KEYS],
//          of values [KV_BLOCK_TOKENS][groups]. An element is code * scale, rounded to f32.
enum kv_type { KV_F16, KV_Q8_0, N_KV_TYPES };
#define KV_BLOCK_TOKENS 64
#define KV_PANEL_KEYS 16
#define KV_SCALE_DIMS 32

static inline uint32_t kv_scale_groups(uint32_t head_dim)
{
    return (head_dim + KV_SCALE_DIMS - 1) / KV_SCALE_DIMS;
}

// Bytes of the keys, and of the values, of one block, layer and KV head: a multiple of 64.
static inline uint64_t kv_part_bytes(enum kv_type type, uint32_t head_dim)
{
    return type == KV_F16 ? (uint64_t)KV_BLOCK_TOKENS * head_dim * 2
                          : (uint64_t)KV_BLOCK_TOKENS * (head_dim + 2 * kv_scale_groups(head_dim));
}

// Attention takes a sequence's keys in spans of KV_SPAN_TOKENS: span s holds positions s * KV_SPAN_TOKENS and up. The keys of
// a span that a row sees give a partial result; partial results are merged in ascending order of the spans. Who computes
// which span does not matter to the bits.
#define KV_SPAN_TOKENS 512

// A partial result of one query head: the sum over keys of e^(score - max) * value [head_dim], up to the next multiple of 16
// undefined, then max and the sum of e^(score - max); -INFINITY and 0 where the row sees no key of the span.
static inline uint32_t attention_partial_floats(uint32_t head_dim)
{
    return (head_dim + 15) / 16 * 16 + 16;
}

#define ATTENTION_MAX_HEADS 16   // query heads of one call
#define ATTENTION_MAX_COLUMNS 96 // rows times query heads of one call

// Bytes of working space of one call.
static inline uint64_t attention_scratch_bytes(uint32_t head_dim)
{
    const uint64_t padded = (head_dim + 15) / 16 * 16, columns = ATTENTION_MAX_COLUMNS;
    return sizeof(float) * (columns * padded + KV_BLOCK_TOKENS * padded + columns * KV_BLOCK_TOKENS + columns +
                            2 * columns * attention_partial_floats(head_dim));
}

// n_rows rows of one sequence at consecutive positions, the query heads of one KV head. Row r, at position + r, sees the keys
// up to its own position, and of them the last `window` where that is not 0; with n_keys not 0, every row sees the first n_keys
// keys. What it sees must be finite; other slots may hold anything that is no row's of this call.
struct attention_args {
    const float *q;      // row r, head h: q[r * row_stride + h * head_dim], after RoPE
    float *out;          // the same shape; not overlapping q
    uint64_t row_stride; // in floats
    uint32_t n_rows;     // >= 1; n_rows * n_q <= ATTENTION_MAX_COLUMNS
    uint32_t n_q;        // 1..ATTENTION_MAX_HEADS
    uint32_t head_dim;   // 1..1024, any number
    float scale;         // multiplies q . k before the softmax
    float soft_cap;      // where not 0, a scaled score s becomes soft_cap * tanh(s / soft_cap)
    uint32_t position;   // of row 0
    uint32_t window;     // 0: none
    uint32_t n_keys;     // 0: as positions say; else window is 0
    const float
        *sinks; // [n_q], or NULL: a score that each head's softmax sums over beside its keys, with a value of zeros
    const void *const *blocks; // the sequence's KV blocks, in order, aligned to 2 bytes
    uint64_t k_offset;         // bytes from a block's start to the keys of this layer and KV head (a multiple of 2)
    uint64_t v_offset;         // the same for its values
    float *partials;           // NULL: writes out. Else (n_rows = 1): writes the heads' partial results of span `span`
    uint64_t partial_stride;   // floats from one head's partial result to the next one's
    uint32_t span;
    const void *next; // NULL, or keys that the thread is likely to read next: fetched meanwhile
    void *scratch;    // attention_scratch_bytes(head_dim), aligned to 64, the call's own
};

struct kernels {
    const char *tier; // "scalar", "avx2", "avx512gfni", ...: of the highest ladder step that was taken
    struct activation_kernel activation[N_ACTIVATION_TYPES];
    matvec_kernel *matvec[N_QUANT_TYPE_IDS]; // by quant type id; NULL for ids that are no type
    struct gemm_kernels gemm;                // prompts: kernels/gemm.h

    // out = x / sqrt(mean(x^2) + eps) * weight, all [n]; out may be x. weight may be NULL (all ones).
    void (*rms_norm)(const float *x, const float *weight, float eps, float *out, uint64_t n);
    // Rotates n_heads heads of head_dim, of which the first n_rot (even) elements turn, in place.
    // cos, sin [n_rot / 2] for this position (already scaled by YaRN's magnitude where that applies).
    void (*rope)(float *x, uint32_t n_heads, uint32_t head_dim, uint32_t n_rot, enum rope_kind kind, const float *cos,
                 const float *sin);
    // out = (x - mean) / sqrt(mean((x - mean)^2) + eps) * weight + bias, all [n]; out may be x; bias may be NULL (zeros).
    void (*layer_norm)(const float *x, const float *weight, const float *bias, float eps, float *out, uint64_t n);
    // out[i] = f(gate[i]) * up[i]; out may be gate or up; up may be NULL (all ones), except of CLAMPED.
    void (*glu[N_GLU_KINDS])(const float *gate, const float *up, float *out, uint64_t n);
    // out[i] = a[i] + b[i]; out may be a or b.
    void (*add)(const float *a, const float *b, float *out, uint64_t n);
    // Writes one token's key and value of one KV head (head_dim floats each) into slot 0 <= slot < KV_BLOCK_TOKENS of a block's
    // keys and values. f16 rounds to nearest even. Of q8_0, the scale of a group is its largest |x| / 127 rounded to f16
    // and a code x * (1 / scale) rounded to nearest even, within +-127 (0 where the scale is 0).
    void (*kv_store[N_KV_TYPES])(const float *k, const float *v, uint32_t head_dim, uint32_t slot, void *keys,
                                 void *values);
    // out = softmax(scale * q K^T over the visible keys) V for each row and query head, in f32, by online softmax over KV blocks
    // in ascending order within each span, spans merged in ascending order. A row's bits depend on its q and keys and values
    // alone, not on n_rows, n_q or whether its spans were computed by calls of their own.
    void (*attention[N_KV_TYPES])(const struct attention_args *args);
    // Sinks join a partial result that holds all keys of its row and head.
    // Merges partials[n >= 1] of one query head, of spans in ascending order and attention_partial_floats(head_dim) apart, into
    // partials[0]; where out is not NULL, writes the result [head_dim] to it.
    void (*attention_merge)(float *partials, uint32_t n, uint32_t head_dim, float *out);
    // The largest of x[n] (n >= 1; NaN never wins), and sum of exp(x[i] - max) over x[n] in f32 with f64 totals per 1024.
    float (*max)(const float *x, uint64_t n);
    double (*sum_exp)(const float *x, float max, uint64_t n);
};

// Fills *k with the scalar tier, then climbs the ladder of tiers that both this build and `features` (cpu_features(), or
// a subset of it) allow, each overriding what it does better.
void kernels_init(struct kernels *k, uint32_t features);

// The features that belong to a tier's name ("scalar" -> 0, "avx2", "avx512gfni", ...: what CHORD_CPU takes), cut down to
// what `available` has. False when the name is unknown or the CPU lacks the tier.
bool kernels_features_of_tier(const char *name, uint32_t available, uint32_t *out);

// Tier names, lowest first, NULL-terminated: for messages and tests.
const char *const *kernels_tier_names(void);

// A sink joins the partial result of all keys that its row sees, before attention_merge writes it out. On every tier.
void attention_add_sink(float *partial, uint32_t head_dim, float sink);

// One per tier folder; declared here so that kernels.c and tests can call them. Overrides slots of *k.
void kernels_init_scalar(struct kernels *k);
void kernels_init_avx2(struct kernels *k);
void kernels_init_avxvnni(struct kernels *k);
void kernels_init_avx512(struct kernels *k);
void kernels_init_avx512vnni(struct kernels *k);
void kernels_init_avx512gfni(struct kernels *k);
void kernels_init_amx(struct kernels *k);
void kernels_init_neon(struct kernels *k);
void kernels_init_neon_dotprod(struct kernels *k);
void kernels_init_neon_i8mm(struct kernels *k);

#endif
