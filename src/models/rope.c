// Frequencies of RoPE: base, scaling, factors.
#include "models/blocks.h"

#include <math.h>

// The element of a head at which a wave has turned `turns` times over n_ctx positions (YaRN, arXiv 2309.00071, section 3.2).
static double yarn_dimension(const struct hparams *h, double turns)
{
    const double pi = 3.14159265358979323846;
    return h->n_rot * log(h->rope_n_ctx_orig / (turns * 2 * pi)) / (2 * log(h->rope_base));
}

// YaRN: high frequencies stay, low ones are interpolated, those between are blended by a ramp.
static void apply_yarn(const struct hparams *h, double *inverse_frequency)
{
    const uint32_t half = h->n_rot / 2;
    double low = floor(yarn_dimension(h, h->yarn_fast)), high = ceil(yarn_dimension(h, h->yarn_slow));
    low = low < 0 ? 0 : low;
    high = high > h->n_rot - 1 ? h->n_rot - 1 : high;
    for (uint32_t i = 0; i < half; i++) {
        double ramp = (i - low) / fmax(0.001, high - low);
        ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
        inverse_frequency[i] *= 1 - ramp + ramp / h->rope_factor;
    }
}

static void divide_by_factors(struct graph_builder *b, const char *name, const float *factors,
                              double *inverse_frequency, uint32_t n)
{
    for (uint32_t i = 0; factors != NULL && b->status == CHORD_OK && i < n; i++) {
        if (!(factors[i] > 0) || isinf(factors[i])) {
            graph_build_fail(b, CHORD_MODEL_TENSOR, "'%s' holds %g; factors must be positive", name,
                             (double)factors[i]);
            return;
        }
        inverse_frequency[i] /= factors[i];
    }
}

static void plain_frequencies(double *inverse_frequency, uint32_t n_rot, double base)
{
    for (uint32_t i = 0; i < n_rot / 2; i++)
        inverse_frequency[i] = pow(base, -2.0 * i / n_rot);
}

uint32_t build_plain_rope(struct graph_builder *b, enum rope_kind kind, uint32_t n_rot, float base)
{
    double inverse_frequency[256]; // n_rot is at most 512
    plain_frequencies(inverse_frequency, n_rot, base);
    return graph_add_rope(b, kind, n_rot, inverse_frequency, 1);
}

uint32_t build_rope(struct graph_builder *b, const struct hparams *h, enum rope_kind kind)
{
    double inverse_frequency[256]; // n_rot is at most 512
    const uint32_t half = h->n_rot / 2;
    double magnitude = h->rope_attn_factor;
    plain_frequencies(inverse_frequency, h->n_rot, h->rope_base);
    if (h->rope_scaling == ROPE_SCALING_YARN) {
        apply_yarn(h, inverse_frequency);
        magnitude *= 1 + 0.1 * log(h->rope_factor);
    } else if (h->rope_scaling == ROPE_SCALING_LINEAR) {
        for (uint32_t i = 0; i < half; i++)
            inverse_frequency[i] /= h->rope_factor;
    }
    static const char freqs[] = "rope_freqs.weight", near[] = "rope_factors_short.weight",
                      far[] = "rope_factors_long.weight";
    divide_by_factors(b, freqs, graph_optional_vector(b, freqs, half), inverse_frequency, half);
    const float *near_factors = graph_optional_vector(b, near, half),
                *far_factors = graph_optional_vector(b, far, half);
    const bool is_long = far_factors != NULL && h->n_ctx > h->rope_n_ctx_orig;
    divide_by_factors(b, is_long ? far : near, is_long ? far_factors : near_factors, inverse_frequency, half);
    return graph_add_rope(b, kind, h->n_rot, inverse_frequency, (float)magnitude);
}
