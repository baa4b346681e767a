// IQ4_XS: 8 sub-blocks of 32, w = d * (s - 32) * T[q], T the table of IQ4_NL.
// Quantizing: the scale of each sub-block as for IQ4_NL; the largest of them becomes -32 * d (d at least the smallest half),
// and of the steps of d around each scale the one is taken whose best codes leave the smallest squared error.
#include "quant/codes.h"
#include "quant/iq4.h"
#include "quant/search.h"

#include <string.h>

static void unpack(const struct block_iq4_xs *b, int8_t *q, float *scale)
{
    const float d = block_half(b->d);
    for (int s = 0; s < 8; s++) {
        iq4_unpack_32(b->qs + 16 * s, q + 32 * s);
        coded_fill_scale(scale + 2 * s, 2, d * (float)iq4_xs_scale(b, s));
    }
}

DEFINE_CODED_PER_32(iq4_xs, SUPER_BLOCK)

// Of x[32], with the codes that suit the scale best, to q. `weights`: [32] or NULL.
static double squared_error(const float x[32], const float *weights, double scale, uint8_t q[32])
{
    double error = 0.0;
    iq4_choose_codes(x, scale, q);
    for (int e = 0; e < 32; e++) {
        const double difference = (double)x[e] - scale * iq4_table[q[e]];
        error += weights != NULL ? (double)weights[e] * difference * difference : difference * difference;
    }
    return error;
}

// The number of steps d, -32..31, that suits x[32] best, the wanted scale being `scale`; its codes to q.
static int choose_steps(const float x[32], const float *weights, double scale, double d, uint8_t q[32])
{
    const double wanted = scale / d;
    const int nearest = (int)floor((wanted > 31.0 ? 31.0 : wanted < -32.0 ? -32.0 : wanted) + 0.5);
    int best = 0;
    double least = squared_error(x, weights, 0.0, q);
    for (int steps = nearest - 1; steps <= nearest + 1; steps++) {
        uint8_t codes[32];
        const double error = steps >= -32 && steps <= 31 ? squared_error(x, weights, d * steps, codes) : INFINITY;
        if (error < least) {
            least = error;
            best = steps;
            memcpy(q, codes, sizeof codes);
        }
    }
    return best;
}

// `importance`: [n] or NULL.
static void quantize(const float *x, const float *importance, void *row, uint64_t n)
{
    struct block_iq4_xs *b = row;
    for (uint64_t i = 0; i < n / SUPER_BLOCK; i++, x += SUPER_BLOCK) {
        double scales[8];
        double largest = 0.0;
        const bool finite = all_finite(x, SUPER_BLOCK);
        float all_weights[SUPER_BLOCK];
        const float *weights = finite && importance != NULL ? all_weights : NULL;
        if (weights != NULL)
            search_weights(x, importance + SUPER_BLOCK * i, SUPER_BLOCK, all_weights);
        for (int s = 0; s < 8; s++) {
            scales[s] = finite ? iq4_search_scale(x + 32 * s, search_importance_at(weights, (uint64_t)32 * s)) : 0.0;
            largest = fabs(scales[s]) > fabs(largest) ? scales[s] : largest;
        }
        // Saturates, as the K types do, where the largest half is too small.
        double d = largest / -32.0;
        d = d > 65504.0 ? 65504.0 : d < -65504.0 ? -65504.0 : d;
        uint16_t half = finite ? half_from_float((float)d) : HALF_NAN;
        if ((half & 0x7fff) == 0 && largest != 0.0)
            half |= 1;
        uint16_t high = 0;
        uint8_t low[4] = {0};
        d = finite ? (double)float_from_half(half) : 0.0;
        for (int s = 0; s < 8; s++) {
            uint8_t q[32] = {0};
            const int code = 32 + (d != 0.0 ? choose_steps(x + 32 * s, search_importance_at(weights, (uint64_t)32 * s),
                                                           scales[s], d, q)
                                            : 0);
            iq4_pack_32(q, b[i].qs + 16 * s);
            low[s / 2] = (uint8_t)(low[s / 2] | (code & 15) << 4 * (s % 2));
            high = (uint16_t)(high | code >> 4 << 2 * s);
        }
        block_set_u16(b[i].d, half);
        block_set_u16(b[i].scales_h, high);
        for (int k = 0; k < 4; k++)
            b[i].scales_l[k] = low[k];
    }
}

DEFINE_QUANTIZERS(iq4_xs)
