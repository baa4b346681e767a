// IQ4_NL: 32 elements, w = d * T[q], T a table of 16 steps.
// Quantizing: of scales that put the value of largest magnitude onto the table's first step or a little beyond (to either
// side), each improved by least squares for the codes it gives, the one with the smallest squared error (weighted, with importances).
#include "quant/codes.h"
#include "quant/iq4.h"
#include "quant/search.h"

static void unpack(const struct block_iq4_nl *b, int8_t *q, float *scale)
{
    iq4_unpack_32(b->qs, q);
    coded_fill_scale(scale, 2, block_half(b->d));
}

DEFINE_CODED_PER_32(iq4_nl, 32)

static double weighted_scale(const float x[32], const float importance[32])
{
    float weights[32];
    search_weights(x, importance, 32, weights);
    return iq4_search_scale(x, weights);
}

// `importance`: [n] or NULL.
static void quantize(const float *x, const float *importance, void *row, uint64_t n)
{
    struct block_iq4_nl *b = row;
    for (uint64_t i = 0; i < n / 32; i++, x += 32) {
        uint8_t q[32] = {0};
        uint16_t d = HALF_NAN;
        if (all_finite(x, 32)) {
            d = half_from_float(
                (float)(importance == NULL ? iq4_search_scale(x, NULL) : weighted_scale(x, importance + 32 * i)));
            iq4_choose_codes(x, float_from_half(d), q);
        }
        block_set_u16(b[i].d, d);
        iq4_pack_32(q, b[i].qs);
    }
}

DEFINE_QUANTIZERS(iq4_nl)
