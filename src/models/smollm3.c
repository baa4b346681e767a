// smollm3: SmolLM 3. As llama; every fourth layer has no RoPE.
#include "models/blocks.h"

static void leave_out_rope(const struct hparams *h, uint32_t layer, struct attention_options *attention)
{
    (void)h;
    attention->no_rope = (layer + 1) % 4 == 0;
}

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    const struct transformer t = {
        .rope = ROPE_NORMAL, .attention = {.bias = OPTIONAL, .output_bias = OPTIONAL}, .layer = leave_out_rope};
    return build_transformer(b, h, &t);
}

const struct arch arch_smollm3 = {.name = "smollm3", .build = build};
