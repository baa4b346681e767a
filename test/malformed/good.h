// Good GGUF files with one value of every type and tensors of several shapes and types: what the tests read back, cut
// short at every byte and damage at every byte.
#ifndef CHORD_TEST_MALFORMED_GOOD_H
#define CHORD_TEST_MALFORMED_GOOD_H

#include "maker.h"

#define GOOD_N_VALUES 21u
#define GOOD_N_TENSORS 4u

// The tensors lie in another order than the directory's, with a gap between two of them.
struct good_layout {
    uint64_t header_bytes;
    uint64_t data_at;
    uint64_t offsets[GOOD_N_TENSORS]; // into the data section
    uint64_t sizes[GOOD_N_TENSORS];
    uint64_t end; // of the last tensor; the file may be longer
};

static inline uint64_t good_align(uint64_t n, uint64_t alignment)
{
    return (n + alignment - 1) / alignment * alignment;
}

static inline struct good_layout put_good_file(struct maker *m, uint32_t version, uint32_t alignment)
{
    struct good_layout layout = {.sizes = {8 * 3 * 4, 64 * 2 / 32 * 18, 2 * 144, 5 * 2}};
    static const unsigned order[GOOD_N_TENSORS] = {2, 0, 3, 1}; // which lies first, second, ...
    uint64_t at = 0;
    for (unsigned i = 0; i < GOOD_N_TENSORS; i++) {
        layout.offsets[order[i]] = at;
        at = good_align(at + layout.sizes[order[i]], alignment) + (i == 1 ? alignment : 0); // a gap
    }

    put_head(m, version, GOOD_N_TENSORS, GOOD_N_VALUES);
    put_key_string(m, "general.architecture", "llama");
    put_key_u32(m, "general.alignment", alignment);
    put_key(m, "t.uint8", GGUF_UINT8), put_u8(m, 200);
    put_key(m, "t.int8", GGUF_INT8), put_u8(m, 0x80);
    put_key(m, "t.uint16", GGUF_UINT16), put_number(m, 65535, 2);
    put_key(m, "t.int16", GGUF_INT16), put_number(m, 0x8000, 2);
    put_key(m, "t.uint32", GGUF_UINT32), put_u32(m, UINT32_MAX);
    put_key(m, "t.int32", GGUF_INT32), put_u32(m, 0x80000000u);
    put_key(m, "t.float32", GGUF_FLOAT32), put_f32(m, 1e-5f);
    put_key(m, "t.bool", GGUF_BOOL), put_u8(m, 1);
    put_key(m, "t.uint64", GGUF_UINT64), put_u64(m, UINT64_MAX);
    put_key(m, "t.int64", GGUF_INT64), put_u64(m, UINT64_C(1) << 63);
    put_key(m, "t.float64", GGUF_FLOAT64), put_f64(m, 1e300);
    put_key_string(m, "t.string.empty", "");
    put_key_array(m, "t.strings", GGUF_STRING, 4);
    put_string(m, "<s>"), put_string(m, ""), put_string(m, "\xe2\x96\x81the"), put_string(m, "\xff");
    put_key_array(m, "t.strings.none", GGUF_STRING, 0);
    put_key_array(m, "t.int32s", GGUF_INT32, 3);
    put_u32(m, 1), put_u32(m, 0xfffffffeu), put_u32(m, 3);
    put_key_array(m, "t.float32s", GGUF_FLOAT32, 2);
    put_f32(m, 0.5f), put_f32(m, -2.25f);
    put_key_array(m, "t.bools", GGUF_BOOL, 3);
    put_u8(m, 1), put_u8(m, 0), put_u8(m, 1);
    put_key_array(m, "t.uint8s.none", GGUF_UINT8, 0);
    put_key_array(m, "t.uint64s", GGUF_UINT64, 2);
    put_u64(m, 7), put_u64(m, UINT64_MAX);

    put_tensor_2d(m, "token_embd.weight", 8, 3, 0, layout.offsets[0]); // F32
    put_tensor_2d(m, "blk.0.ffn_up.weight", 64, 2, 2, layout.offsets[1]); // Q4_0
    put_string(m, "blk.0.ffn_down_exps.weight");
    put_u32(m, 4);
    put_u64(m, 256), put_u64(m, 1), put_u64(m, 2), put_u64(m, 1);
    put_u32(m, 12); // Q4_K
    put_u64(m, layout.offsets[2]);
    put_string(m, "output_norm.weight.of.a.name.with.exactly.64.bytes.in.its.length"); // 64 bytes
    put_u32(m, 1);
    put_u64(m, 5);
    put_u32(m, 1); // F16
    put_u64(m, layout.offsets[3]);

    layout.header_bytes = m->n;
    layout.data_at = good_align(m->n, alignment);
    for (unsigned i = 0; i < GOOD_N_TENSORS; i++) {
        put_fill(m, 0xee, layout.data_at + layout.offsets[order[i]] - m->n); // padding need not be zero
        put_fill(m, (unsigned char)(order[i] + 1), layout.sizes[order[i]]);
    }
    layout.end = m->n;
    return layout;
}

#endif
