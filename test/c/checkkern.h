// Help for kernel tests in the manner of checkasm: memory between guard pages, canaries, a seeded generator, and a decoder
// of quantized rows that shares no code with the kernels or with quant/.
#ifndef CHORD_TEST_CHECKKERN_H
#define CHORD_TEST_CHECKKERN_H

#include "coded_cases.h"

#include "quant/blocks.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// ---- random numbers --------------------------------------------------------------------------------------------------

static uint64_t check_random_state;

// SEED=number in the environment replays a run; it is printed either way.
static void check_seed(void)
{
    const char *text = getenv("SEED");
    check_random_state = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)getpid() * 2654435761u;
    printf("SEED=%llu\n", (unsigned long long)check_random_state);
}

static uint64_t random_bits(void) // splitmix64
{
    uint64_t z = check_random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static int random_int(int low, int high)
{
    return low + (int)(random_bits() % (uint64_t)(high - low + 1));
}

static float random_float(float low, float high)
{
    return low + (high - low) * (float)(random_bits() >> 40) * 0x1p-24f;
}

// ---- guarded memory --------------------------------------------------------------------------------------------------

// Where an array stands between the guard pages. What is left beside it is filled with 0xff: NaN as half and as float.
enum place {
    PLACE_END,   // the byte after it cannot be read
    PLACE_START, // the byte before it cannot be read
    PLACE_ODD,   // one byte before PLACE_END, so that an array of an even number of bytes has an odd address
    N_PLACES
};

struct guarded {
    uint8_t *pages;
    size_t bytes; // between the guards
};

static struct guarded guarded_create(size_t capacity)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct guarded g = {.bytes = (capacity + page) / page * page};
    uint8_t *all = mmap(NULL, g.bytes + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(all, page, PROT_NONE) != 0 || mprotect(all + page + g.bytes, page, PROT_NONE) != 0) {
        perror("guard pages");
        exit(1);
    }
    g.pages = all + page;
    return g;
}

static void guarded_free(struct guarded *g)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    munmap(g->pages - page, g->bytes + 2 * page);
}

static void *guarded_place(struct guarded *g, size_t bytes, enum place place)
{
    if (bytes + 1 > g->bytes) {
        fprintf(stderr, "guarded memory of %zu bytes is too small for %zu\n", g->bytes, bytes);
        exit(1);
    }
    memset(g->pages, 0xff, g->bytes);
    if (place == PLACE_START)
        return g->pages;
    return g->pages + g->bytes - bytes - (place == PLACE_ODD ? 1 : 0);
}

// True when `bytes` from `p` on are all 0xff: the first is, and each is what the next is.
static bool guarded_filled(const uint8_t *p, size_t bytes)
{
    return bytes == 0 || (p[0] == 0xff && memcmp(p, p + 1, bytes - 1) == 0);
}

// True when everything beside the array is as guarded_place left it.
static __attribute__((unused)) bool guarded_untouched(const struct guarded *g, const void *array, size_t bytes)
{
    const uint8_t *begin = array, *end = begin + bytes;
    return guarded_filled(g->pages, (size_t)(begin - g->pages)) &&
           guarded_filled(end, (size_t)(g->pages + g->bytes - end));
}

// ---- rows in plain sight ---------------------------------------------------------------------------------------------

// One element: w = step * (code - zero) - min, all exact.
struct element {
    double step, min;
    int code, zero;
};

static struct element element_of_32(const uint8_t *d, const uint8_t *m, const uint8_t *qh, const uint8_t *qs, int e, int zero)
{
    struct element x = {.step = block_half(d), .min = m != NULL ? -(double)block_half(m) : 0.0, .zero = zero};
    x.code = e < 16 ? qs[e] & 15 : qs[e - 16] >> 4;
    if (qh != NULL)
        x.code += (qh[e / 8] >> e % 8 & 1) * 16;
    return x;
}

static struct element element_of_q4_k(const uint8_t *d, const uint8_t *dmin, const uint8_t *scales, const uint8_t *qh,
                                      const uint8_t *qs, int e)
{
    const int sub = e / 32;
    int32_t s, m;
    q4_k_scale_min(scales, sub, &s, &m);
    struct element x = {.step = (double)block_half(d) * s, .min = (double)block_half(dmin) * m};
    x.code = qs[e / 64 * 32 + e % 32] >> 4 * (sub % 2) & 15;
    if (qh != NULL)
        x.code += (qh[e % 32] >> sub & 1) * 16;
    return x;
}

// Element `e` of the row.
static __attribute__((unused)) struct element element_at(uint32_t type, const uint8_t *row, uint64_t e)
{
    struct quant_traits const *traits = quant_traits(type);
    const void *block = row + e / traits->block_size * traits->block_bytes;
    const int i = (int)(e % traits->block_size);
    switch (type) {
    case QUANT_F32: {
        float f;
        memcpy(&f, block, sizeof f);
        return (struct element){.step = f, .code = 1};
    }
    case QUANT_F16:
        return (struct element){.step = block_half(block), .code = 1};
    case QUANT_BF16:
        return (struct element){.step = float_from_bf16(block_u16(block)), .code = 1};
    case QUANT_Q4_0: {
        const struct block_q4_0 *b = block;
        return element_of_32(b->d, NULL, NULL, b->qs, i, 8);
    }
    case QUANT_Q4_1: {
        const struct block_q4_1 *b = block;
        return element_of_32(b->d, b->m, NULL, b->qs, i, 0);
    }
    case QUANT_Q5_0: {
        const struct block_q5_0 *b = block;
        return element_of_32(b->d, NULL, b->qh, b->qs, i, 16);
    }
    case QUANT_Q5_1: {
        const struct block_q5_1 *b = block;
        return element_of_32(b->d, b->m, b->qh, b->qs, i, 0);
    }
    case QUANT_Q8_0: {
        const struct block_q8_0 *b = block;
        return (struct element){.step = block_half(b->d), .code = b->qs[i] + 128, .zero = 128};
    }
    case QUANT_Q2_K: {
        const struct block_q2_k *b = block;
        return (struct element){.step = (double)block_half(b->d) * (b->scales[i / 16] & 15),
                                .min = (double)block_half(b->dmin) * (b->scales[i / 16] >> 4),
                                .code = b->qs[i / 128 * 32 + i % 32] >> 2 * (i % 128 / 32) & 3};
    }
    case QUANT_Q3_K: {
        const struct block_q3_k *b = block;
        const int low = b->qs[i / 128 * 32 + i % 32] >> 2 * (i % 128 / 32) & 3;
        return (struct element){.step = (double)block_half(b->d) * q3_k_scale(b->scales, i / 16),
                                .code = low + 4 * (b->hmask[i % 32] >> i / 32 & 1),
                                .zero = 4};
    }
    case QUANT_Q4_K: {
        const struct block_q4_k *b = block;
        return element_of_q4_k(b->d, b->dmin, b->scales, NULL, b->qs, i);
    }
    case QUANT_Q5_K: {
        const struct block_q5_k *b = block;
        return element_of_q4_k(b->d, b->dmin, b->scales, b->qh, b->qs, i);
    }
    case QUANT_Q6_K: {
        const struct block_q6_k *b = block;
        const int low = b->ql[i / 128 * 64 + i % 64] >> 4 * (i % 128 / 64) & 15;
        const int high = b->qh[i / 128 * 32 + i % 32] >> 2 * (i % 128 / 32) & 3;
        return (struct element){.step = (double)block_half(b->d) * b->scales[i / 16], .code = low + 16 * high, .zero = 32};
    }
    default:
        fprintf(stderr, "no decoder for type %u\n", type);
        exit(1);
    }
}

// All n of a row. Those of coded types by quant/coded.h, whose values test_quant.c compares with golden ones; the zero point is
// the kernels' own, and adds to what they sum.
static __attribute__((unused)) void decode_row(uint32_t type, const uint8_t *row, uint64_t n, struct element *out)
{
    if (!is_coded(type)) {
        for (uint64_t e = 0; e < n; e++)
            out[e] = element_at(type, row, e);
        return;
    }
    const struct quant_traits *traits = quant_traits(type);
    const int zero = type == QUANT_TQ1_0 || type == QUANT_TQ2_0     ? 1
                     : type == QUANT_MXFP4                          ? 16
                     : type == QUANT_IQ4_NL || type == QUANT_IQ4_XS ? 128
                                                                    : 0;
    for (uint64_t k = 0; k < n; k += SUPER_BLOCK) {
        struct coded_values values;
        const uint32_t count = n - k < SUPER_BLOCK ? (uint32_t)(n - k) : SUPER_BLOCK;
        unpack_coded(type, row + k / traits->block_size * traits->block_bytes, count, &values);
        for (uint32_t e = 0; e < count; e++) {
            // Signed codes lend their sign to the step: terms are summed by magnitude.
            const int code = zero != 0 ? values.q[e] + zero : abs(values.q[e]);
            const double step = (double)values.scale[e / 16];
            out[k + e] = (struct element){.step = zero == 0 && values.q[e] < 0 ? -step : step, .code = code, .zero = zero};
        }
    }
}

// The halves of one block: d, and the min's factor where the type has one (else *min is NULL).
static __attribute__((unused)) void block_halves(uint32_t type, uint8_t *block, uint8_t **d, uint8_t **min)
{
    *min = NULL;
    switch (type) {
    case QUANT_Q2_K:
        *d = block + offsetof(struct block_q2_k, d);
        *min = block + offsetof(struct block_q2_k, dmin);
        break;
    case QUANT_Q3_K:
        *d = block + offsetof(struct block_q3_k, d);
        break;
    case QUANT_Q6_K:
        *d = block + offsetof(struct block_q6_k, d);
        break;
    case QUANT_Q4_1:
    case QUANT_Q5_1:
    case QUANT_Q4_K:
    case QUANT_Q5_K:
        *d = block;
        *min = block + 2;
        break;
    default:
        *d = block;
        break;
    }
}

#endif
