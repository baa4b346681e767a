// Bad GGUF files, one per way in which readers of the format have fallen or could fall, with the error each must give.
// Where an advisory describes such a fall it is named; counts, lengths and shapes whose products wrap go back to
// CVE-2024-21802, -21825, -21836, -23496 and -23605. The files are made anew from the arithmetic.
// As long as it is because it is one table.
#ifndef CHORD_TEST_MALFORMED_MALFORMED_H
#define CHORD_TEST_MALFORMED_MALFORMED_H

#include "base/status.h"
#include "maker.h"

#define TYPE_F32 0u
#define TYPE_Q4_0 2u
#define TYPE_Q4_K 12u

struct malformed {
    const char *name;
    enum chord_status code;
    const char *message; // must occur in the error's message
    void (*make)(struct maker *m);
};

// ---- What is not GGUF, or of another version ------------------------------------------------------------------------

static void make_empty(struct maker *m)
{
    (void)m;
}
static void make_cut_magic(struct maker *m)
{
    put(m, "GGU", 3);
}
static void make_noise(struct maker *m)
{
    put(m, "\1\2\3\4 something else", 19);
}
static void make_ggml(struct maker *m)
{
    put_u32(m, 0x67676d6c);
    put_fill(m, 0, 28);
}
static void make_ggmf(struct maker *m)
{
    put_u32(m, 0x67676d66);
    put_fill(m, 0, 28);
}
static void make_ggjt(struct maker *m)
{
    put_u32(m, 0x67676a74);
    put_fill(m, 0, 28);
}
static void make_reversed_magic(struct maker *m)
{
    put(m, "FUGG", 4);
    put_fill(m, 0, 20);
}
static void make_lfs_pointer(struct maker *m)
{
    static const char text[] = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n";
    put(m, text, sizeof text - 1);
}
static void make_web_page(struct maker *m)
{
    static const char text[] = "<!DOCTYPE html><html><body>Not found</body></html>";
    put(m, text, sizeof text - 1);
}
static void make_zip(struct maker *m)
{
    put(m, "PK\3\4", 4);
    put_fill(m, 0, 60);
}
static void make_safetensors(struct maker *m)
{
    static const char text[] = "{\"a\":{}}";
    put_u64(m, sizeof text - 1);
    put(m, text, sizeof text - 1);
}
static void make_version_0(struct maker *m)
{
    put_head(m, 0, 0, 0);
}
static void make_version_1(struct maker *m) // counts and lengths of 32 bits, as such files were
{
    put(m, "GGUF", 4);
    put_u32(m, 1);
    put_u32(m, 0);
    put_u32(m, 1);
    put_u32(m, 20);
    put(m, "general.architecture", 20);
    put_u32(m, GGUF_STRING);
    put_u32(m, 5);
    put(m, "llama", 5);
}
static void make_version_4(struct maker *m)
{
    put_head(m, 4, 0, 0);
}
static void make_version_noise(struct maker *m)
{
    put_head(m, 0x47474747, 0, 0);
}
static void make_big_endian(struct maker *m)
{
    put(m, "GGUF\0\0\0\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24);
}

// ---- Counts ---------------------------------------------------------------------------------------------------------

static void make_values_all_ones(struct maker *m)
{
    put_head(m, 3, 0, UINT64_MAX);
    put_fill(m, 0, 64);
}
static void make_values_wrap(struct maker *m) // times 48 bytes per value is 32
{
    put_head(m, 3, 0, UINT64_C(0x555555555555556));
    put_fill(m, 0, 64);
}
static void make_values_above_limit(struct maker *m)
{
    put_head(m, 3, 0, GGUF_MAX_VALUES + 1);
    m->sparse_bytes = UINT64_C(1) << 30;
}
static void make_values_missing(struct maker *m)
{
    put_head(m, 3, 0, 60000);
    put_fill(m, 0, 64);
}
static void make_tensors_all_ones(struct maker *m)
{
    put_head(m, 3, UINT64_MAX, 0);
    put_fill(m, 0, 64);
}
static void make_tensors_wrap(struct maker *m) // times 80 bytes per tensor is small again
{
    put_head(m, 3, UINT64_C(0x333333333333334), 0);
    put_fill(m, 0, 64);
}
static void make_tensors_above_limit(struct maker *m)
{
    put_head(m, 3, GGUF_MAX_TENSORS + 1, 0);
    m->sparse_bytes = UINT64_C(1) << 30;
}
static void make_tensors_missing(struct maker *m)
{
    put_head(m, 3, 200000, 0);
    put_fill(m, 0, 64);
}
static void make_tensors_crowded_out(struct maker *m) // there was room for both tensors until the value took it
{
    put_head(m, 3, 2, 1);
    put_key_string(m, "k", "................................................................");
}

// ---- Keys -----------------------------------------------------------------------------------------------------------

static void make_key_length_all_ones(struct maker *m)
{
    put_head(m, 3, 0, 1);
    put_u64(m, UINT64_MAX);
    put_fill(m, 'k', 64);
}
static void make_key_length_wrap(struct maker *m) // reading position plus length comes out before the key
{
    put_head(m, 3, 0, 1);
    put_u64(m, UINT64_MAX - 31);
    put_fill(m, 'k', 64);
}
static void make_key_too_long(struct maker *m)
{
    put_head(m, 3, 0, 1);
    put_u64(m, 65536);
    put_fill(m, 'k', 65536);
    put_u32(m, GGUF_UINT8);
    put_u8(m, 1);
}
static void make_key_cut(struct maker *m)
{
    put_head(m, 3, 0, 1);
    put_u64(m, 100);
    put_fill(m, 'k', 64);
}
static void make_key_empty(struct maker *m)
{
    put_head(m, 3, 0, 1);
    put_key_u32(m, "", 1);
    put_fill(m, 0, 8);
}
static void make_key_zero_byte(struct maker *m)
{
    put_head(m, 3, 0, 1);
    put_u64(m, 3);
    put(m, "a\0b", 3);
    put_u32(m, GGUF_UINT32);
    put_u32(m, 1);
}
static void make_key_twice(struct maker *m)
{
    put_head(m, 3, 0, 3);
    put_key_u32(m, "chord.twice", 1);
    put_key_u32(m, "chord.once", 1);
    put_key_u32(m, "chord.twice", 1);
}

// ---- Values ---------------------------------------------------------------------------------------------------------

static void make_value_type_13(struct maker *m)
{
    put_head(m, 3, 0, 1);
    put_key(m, "k", 13);
    put_fill(m, 0, 32);
}
static void make_value_type_all_ones(struct maker *m)
{
    put_head(m, 3, 0, 1);
    put_key(m, "k", UINT32_MAX);
    put_fill(m, 0, 32);
}
static void make_string_length_all_ones(struct maker *m) // plus one for a terminator is 0
{
    put_head(m, 3, 0, 1);
    put_key(m, "k", GGUF_STRING);
    put_u64(m, UINT64_MAX);
    put_fill(m, 'x', 32);
}
static void make_string_length_2_63(struct maker *m)
{
    put_head(m, 3, 0, 1);
    put_key(m, "k", GGUF_STRING);
    put_u64(m, UINT64_C(1) << 63);
    put_fill(m, 'x', 32);
}
static void make_string_too_long(struct maker *m)
{
    put_head(m, 3, 0, 1);
    put_key(m, "k", GGUF_STRING);
    put_u64(m, GGUF_MAX_STRING_BYTES + 1);
    m->sparse_bytes = UINT64_C(1) << 30;
}
static void make_string_1_gib_of_160_bytes(struct maker *m)
{
    put_head(m, 3, 0, 1);
    put_key(m, "k", GGUF_STRING);
    put_u64(m, UINT64_C(1) << 30);
    put_fill(m, 'x', 160 - m->n);
}
static void make_string_cut(struct maker *m)
{
    put_head(m, 3, 0, 1);
    put_key(m, "k", GGUF_STRING);
    put_u64(m, 33);
    put_fill(m, 'x', 32);
}
static void make_scalar_cut(struct maker *m)
{
    put_head(m, 3, 0, 1);
    put_key(m, "k", GGUF_UINT64);
    put_fill(m, 0, 7);
}
static void make_bool_2(struct maker *m)
{
    put_head(m, 3, 0, 1);
    put_key(m, "k", GGUF_BOOL);
    put_u8(m, 2);
}
static void make_array_length_2_63(struct maker *m)
{
    put_head(m, 3, 0, 1);
    put_key_array(m, "k", GGUF_UINT8, UINT64_C(1) << 63);
    put_fill(m, 0, 32);
}
static void make_array_length_all_ones(struct maker *m)
{
    put_head(m, 3, 0, 1);
    put_key_array(m, "k", GGUF_STRING, UINT64_MAX);
    put_fill(m, 0, 32);
}
static void make_array_size_wrap(struct maker *m) // times 8 bytes is 8
{
    put_head(m, 3, 0, 1);
    put_key_array(m, "k", GGUF_FLOAT64, (UINT64_C(1) << 61) + 1);
    put_fill(m, 0, 32);
}
static void make_array_above_limit(struct maker *m)
{
    put_head(m, 3, 0, 1);
    put_key_array(m, "k", GGUF_UINT8, GGUF_MAX_HEADER_BYTES + 1);
    m->sparse_bytes = UINT64_C(1) << 40;
}
static void make_arrays_above_limit(struct maker *m) // each may pass, both together not
{
    put_head(m, 3, 0, 2);
    put_key_array(m, "a", GGUF_UINT8, 64);
    put_fill(m, 0, 64);
    put_key_array(m, "b", GGUF_UINT8, GGUF_MAX_HEADER_BYTES);
    m->sparse_bytes = UINT64_C(1) << 40;
}
static void make_array_cut(struct maker *m)
{
    put_head(m, 3, 0, 1);
    put_key_array(m, "k", GGUF_INT32, 9);
    put_fill(m, 0, 32);
}
static void make_array_nested(struct maker *m)
{
    put_head(m, 3, 0, 1);
    put_key_array(m, "k", GGUF_ARRAY, 1);
    put_u32(m, GGUF_UINT8);
    put_u64(m, 1);
    put_u8(m, 1);
}
static void make_array_type_13(struct maker *m)
{
    put_head(m, 3, 0, 1);
    put_key_array(m, "k", 13, 1);
    put_fill(m, 0, 32);
}
static void make_array_bool_7(struct maker *m)
{
    put_head(m, 3, 0, 1);
    put_key_array(m, "k", GGUF_BOOL, 3);
    put(m, "\0\1\7", 3);
}
static void make_token_too_long(struct maker *m)
{
    put_head(m, 3, 0, 1);
    put_key_array(m, "tokenizer.ggml.tokens", GGUF_STRING, 2);
    put_string(m, "fine");
    put_u64(m, GGUF_MAX_ELEMENT_BYTES + 1);
    put_fill(m, 't', GGUF_MAX_ELEMENT_BYTES + 1);
}
static void make_token_length_negative(struct maker *m) // as int32 -1 (CVE-2025-49847)
{
    put_head(m, 3, 0, 1);
    put_key_array(m, "tokenizer.ggml.tokens", GGUF_STRING, 2);
    put_string(m, "fine");
    put_u64(m, UINT32_MAX);
    put_fill(m, 't', 32);
}
static void make_token_cut(struct maker *m)
{
    put_head(m, 3, 0, 1);
    put_key_array(m, "tokenizer.ggml.tokens", GGUF_STRING, 2);
    put_string(m, "fine");
    put_u64(m, 20);
    put_fill(m, 't', 19);
}

// ---- Alignment ------------------------------------------------------------------------------------------------------

static void put_alignment_file(struct maker *m, uint32_t alignment)
{
    put_head(m, 3, 1, 1);
    put_key_u32(m, "general.alignment", alignment);
    put_tensor_2d(m, "t", 4, 1, TYPE_F32, 0);
    put_padding(m, 64);
    put_fill(m, 0, 64);
}
static void make_alignment_0(struct maker *m)
{
    put_alignment_file(m, 0);
}
static void make_alignment_48(struct maker *m)
{
    put_alignment_file(m, 48);
}
static void make_alignment_all_ones(struct maker *m) // padding up wraps in 32 bits
{
    put_alignment_file(m, UINT32_MAX);
}
static void make_alignment_2_gib(struct maker *m) // may be, but then the data begins at 2 GiB
{
    put_alignment_file(m, UINT32_C(1) << 31);
}
static void make_alignment_u64(struct maker *m)
{
    put_head(m, 3, 0, 1);
    put_key(m, "general.alignment", GGUF_UINT64);
    put_u64(m, 32);
}
static void make_alignment_string(struct maker *m)
{
    put_head(m, 3, 0, 1);
    put_key_string(m, "general.alignment", "32");
}
static void make_alignment_array(struct maker *m)
{
    put_head(m, 3, 0, 1);
    put_key_array(m, "general.alignment", GGUF_UINT32, 1);
    put_u32(m, 32);
}

// ---- Tensors: names, shapes, types ----------------------------------------------------------------------------------

static void put_tensor_file(struct maker *m, uint64_t ne0, uint64_t ne1, uint32_t type, uint64_t offset)
{
    put_head(m, 3, 1, 0);
    put_tensor_2d(m, "blk.0.attn_q.weight", ne0, ne1, type, offset);
    put_padding(m, 32);
    put_fill(m, 0, 256);
}
static void put_dimensions_file(struct maker *m, uint32_t n)
{
    put_head(m, 3, 1, 0);
    put_string(m, "blk.0.attn_q.weight");
    put_u32(m, n);
    for (uint32_t i = 0; i < (n < 8 ? n : 8); i++)
        put_u64(m, 1);
    put_u32(m, TYPE_F32);
    put_u64(m, 0);
    put_padding(m, 32);
    put_fill(m, 0, 256);
}
static void make_dimensions_0(struct maker *m)
{
    put_dimensions_file(m, 0);
}
static void make_dimensions_5(struct maker *m) // one beyond the array of four
{
    put_dimensions_file(m, 5);
}
static void make_dimensions_all_ones(struct maker *m)
{
    put_dimensions_file(m, UINT32_MAX);
}
static void make_dimension_is_0(struct maker *m)
{
    put_tensor_file(m, 32, 0, TYPE_F32, 0);
}
static void make_elements_wrap_to_0(struct maker *m)
{
    put_tensor_file(m, UINT64_C(1) << 32, UINT64_C(1) << 32, TYPE_F32, 0);
}
static void make_elements_wrap_to_few(struct maker *m) // 64 * (2^58 + 1) is 64 (CVE-2026-33298)
{
    put_tensor_file(m, 64, (UINT64_C(1) << 58) + 1, TYPE_F32, 0);
}
static void make_elements_negative(struct maker *m) // as int64
{
    put_tensor_file(m, UINT64_C(1) << 63, 1, TYPE_Q4_0, 0);
}
static void make_bytes_wrap(struct maker *m) // 2^62 elements of 4 bytes are 0 bytes
{
    put_tensor_file(m, UINT64_C(1) << 62, 1, TYPE_F32, 0);
}
static void make_row_not_blocks_32(struct maker *m)
{
    put_tensor_file(m, 33, 1, TYPE_Q4_0, 0);
}
static void make_row_not_blocks_256(struct maker *m)
{
    put_tensor_file(m, 128, 2, TYPE_Q4_K, 0);
}
static void make_type_unknown(struct maker *m)
{
    put_tensor_file(m, 32, 1, 77, 0);
}
static void make_type_all_ones(struct maker *m)
{
    put_tensor_file(m, 32, 1, UINT32_MAX, 0);
}
static void make_type_q4_2(struct maker *m)
{
    put_tensor_file(m, 32, 1, 4, 0);
}
static void make_type_q4_0_4_4(struct maker *m)
{
    put_tensor_file(m, 32, 1, 31, 0);
}
static void make_type_i8(struct maker *m)
{
    put_tensor_file(m, 256, 1, 24, 0);
}
static void make_type_q8_1(struct maker *m)
{
    put_tensor_file(m, 32, 1, 9, 0);
}
static void put_named_file(struct maker *m, const char *name, uint64_t n)
{
    put_head(m, 3, 1, 0);
    put_u64(m, n);
    put(m, name, n);
    put_u32(m, 1);
    put_u64(m, 1);
    put_u32(m, TYPE_F32);
    put_u64(m, 0);
    put_padding(m, 32);
    put_fill(m, 0, 32);
}
static void make_name_empty(struct maker *m)
{
    put_named_file(m, "", 0);
}
static void make_name_zero_byte(struct maker *m)
{
    put_named_file(m, "a\0b", 3);
}
static void make_name_65(struct maker *m)
{
    put_named_file(m, "12345678901234567890123456789012345678901234567890123456789012345", 65);
}
static void make_name_length_all_ones(struct maker *m)
{
    put_head(m, 3, 1, 0);
    put_u64(m, UINT64_MAX);
    put_fill(m, 'n', 64);
}
static void make_name_twice(struct maker *m)
{
    put_head(m, 3, 2, 0);
    put_tensor_2d(m, "twice", 8, 1, TYPE_F32, 0);
    put_tensor_2d(m, "twice", 8, 1, TYPE_F32, 32);
    put_padding(m, 32);
    put_fill(m, 0, 64);
}

// ---- Tensors: where they lie ----------------------------------------------------------------------------------------

static void make_offset_misaligned(struct maker *m)
{
    put_tensor_file(m, 8, 1, TYPE_F32, 8);
}
static void make_offset_wrap(struct maker *m) // start of the data plus offset
{
    put_tensor_file(m, 8, 1, TYPE_F32, UINT64_MAX - 31);
}
static void make_end_wrap(struct maker *m) // offset plus size
{
    put_tensor_file(m, UINT64_C(1) << 61, 1, TYPE_F32, UINT64_C(1) << 63);
}
static void make_offset_beyond(struct maker *m)
{
    put_tensor_file(m, 8, 1, TYPE_F32, 1 << 20);
}
static void make_end_beyond(struct maker *m) // by one row (CVE-2026-7482 read what lay behind)
{
    put_tensor_file(m, 8, 9, TYPE_F32, 0);
}
static void make_size_sum_wraps(struct maker *m) // each size is fine in 64 bits, their sum is small (CVE-2025-53630)
{
    put_head(m, 3, 4, 0);
    for (int i = 0; i < 4; i++) {
        const char name[2] = {(char)('a' + i), 0};
        put_tensor_2d(m, name, UINT64_C(1) << 60, 1, TYPE_F32, (uint64_t)i << 62);
    }
    put_padding(m, 32);
    put_fill(m, 0, 256);
}
static void make_no_data(struct maker *m) // the file ends with its header
{
    put_head(m, 3, 1, 0);
    put_tensor_2d(m, "t", 8, 1, TYPE_F32, 0);
}
static void put_pair_file(struct maker *m, uint64_t offset_a, uint64_t offset_b)
{
    put_head(m, 3, 2, 0);
    put_tensor_2d(m, "a", 16, 1, TYPE_F32, offset_a);
    put_tensor_2d(m, "b", 16, 1, TYPE_F32, offset_b);
    put_padding(m, 32);
    put_fill(m, 0, 256);
}
static void make_overlap_whole(struct maker *m)
{
    put_pair_file(m, 0, 0);
}
static void make_overlap_part(struct maker *m)
{
    put_pair_file(m, 0, 32);
}
static void make_overlap_unsorted(struct maker *m)
{
    put_pair_file(m, 64, 32);
}
static void make_overlap_hidden(struct maker *m) // a long one reaches over two that lie apart
{
    put_head(m, 3, 3, 0);
    put_tensor_2d(m, "short", 8, 1, TYPE_F32, 192);
    put_tensor_2d(m, "long", 56, 1, TYPE_F32, 0);
    put_tensor_2d(m, "other", 8, 1, TYPE_F32, 224);
    put_padding(m, 32);
    put_fill(m, 0, 256);
}
// As bitnet.cpp writes TL2, of type 39: some 5 bits for 3 elements.
static void put_tl2_file(struct maker *m, uint64_t n_bytes, uint64_t offset_before, uint64_t offset, uint64_t offset_behind)
{
    put_head(m, 3, 3, 0);
    put_tensor_2d(m, "before", 8, 1, TYPE_F32, offset_before);
    put_tensor_2d(m, "w", 384, 10, 39, offset);
    put_tensor_2d(m, "behind", 8, 1, TYPE_F32, offset_behind);
    put_padding(m, 32);
    put_fill(m, 0, n_bytes);
}
static void make_tl2(struct maker *m)
{
    put_tl2_file(m, 4096, 0, 32, 864);
}
static void make_tl2_near_the_end(struct maker *m)
{
    put_tl2_file(m, 1024, 0, 32, 896);
}
static void make_tl2_last(struct maker *m)
{
    put_tl2_file(m, 960, 0, 64, 32);
}
static void make_tl1(struct maker *m)
{
    put_tensor_file(m, 384, 10, 38, 0);
}
static void make_mxfp4_cut(struct maker *m)
{
    put_tl2_file(m, 1120, 0, 64, 32);
}
static void make_mxfp4_overlap(struct maker *m)
{
    put_tl2_file(m, 4096, 0, 32, 672);
}

// ---- Split models ---------------------------------------------------------------------------------------------------

static void put_split_file(struct maker *m, uint16_t number, uint16_t count)
{
    put_head(m, 3, 0, 2);
    put_key_u16(m, "split.no", number);
    put_key_u16(m, "split.count", count);
}
static void make_split_second(struct maker *m)
{
    put_split_file(m, 1, 3);
}
static void make_split_number_beyond(struct maker *m)
{
    put_split_file(m, 3, 3);
}
static void make_split_of_60000(struct maker *m)
{
    put_split_file(m, 0, 60000);
}
static void make_split_count_string(struct maker *m)
{
    put_head(m, 3, 0, 1);
    put_key_string(m, "split.count", "3");
}
static void make_split_number_negative(struct maker *m)
{
    put_head(m, 3, 0, 1);
    put_key(m, "split.no", GGUF_INT32);
    put_u32(m, UINT32_MAX);
}

static const struct malformed malformed_files[] = {
    {"empty", CHORD_GGUF_TRUNCATED, "the file is empty", make_empty},
    {"cut-magic", CHORD_GGUF_TRUNCATED, "ends at byte 3", make_cut_magic},
    {"noise", CHORD_NOT_GGUF, "begins with 01 02 03 04", make_noise},
    {"ggml", CHORD_NOT_GGUF, "GGML file", make_ggml},
    {"ggmf", CHORD_NOT_GGUF, "GGMF file", make_ggmf},
    {"ggjt", CHORD_NOT_GGUF, "GGJT file", make_ggjt},
    {"reversed-magic", CHORD_NOT_GGUF, "bytes reversed", make_reversed_magic},
    {"lfs-pointer", CHORD_NOT_GGUF, "git lfs pull", make_lfs_pointer},
    {"web-page", CHORD_NOT_GGUF, "web page", make_web_page},
    {"zip", CHORD_NOT_GGUF, "ZIP archive", make_zip},
    {"safetensors", CHORD_NOT_GGUF, "safetensors", make_safetensors},
    {"version-0", CHORD_GGUF_VERSION, "GGUF version 0;", make_version_0},
    {"version-1", CHORD_GGUF_VERSION, "GGUF version 1 counts in 32 bits", make_version_1},
    {"version-4", CHORD_GGUF_VERSION, "GGUF version 4; chord reads versions 2 and 3: a newer chord", make_version_4},
    {"version-noise", CHORD_GGUF_VERSION, "GGUF version 1195853639; chord reads versions 2 and 3: the file is damaged",
     make_version_noise},
    {"big-endian", CHORD_GGUF_VERSION, "big-endian", make_big_endian},

    {"values-all-ones", CHORD_GGUF_LIMIT, "18446744073709551615 metadata keys", make_values_all_ones},
    {"values-wrap", CHORD_GGUF_LIMIT, "384307168202282326 metadata keys", make_values_wrap},
    {"values-above-limit", CHORD_GGUF_LIMIT, "65537 metadata keys, where 65536 is the most", make_values_above_limit},
    {"values-missing", CHORD_GGUF_TRUNCATED, "60000 metadata keys are promised", make_values_missing},
    {"tensors-all-ones", CHORD_GGUF_LIMIT, "18446744073709551615 tensors", make_tensors_all_ones},
    {"tensors-wrap", CHORD_GGUF_LIMIT, "230584300921369396 tensors", make_tensors_wrap},
    {"tensors-above-limit", CHORD_GGUF_LIMIT, "262145 tensors, where 262144 is the most", make_tensors_above_limit},
    {"tensors-missing", CHORD_GGUF_TRUNCATED, "200000 tensors are promised", make_tensors_missing},
    {"tensors-crowded-out", CHORD_GGUF_TRUNCATED, "2 tensors are promised at byte 109", make_tensors_crowded_out},

    {"key-length-all-ones", CHORD_GGUF_LIMIT, "key 1 of 1: a string of 18446744073709551615 bytes",
     make_key_length_all_ones},
    {"key-length-wrap", CHORD_GGUF_LIMIT, "key 1 of 1: a string of 18446744073709551584 bytes", make_key_length_wrap},
    {"key-too-long", CHORD_GGUF_LIMIT, "a string of 65536 bytes at byte 24, where 65535 is the most",
     make_key_too_long},
    {"key-cut", CHORD_GGUF_TRUNCATED, "key 1 of 1: the file ends at byte 96, inside its header", make_key_cut},
    {"key-empty", CHORD_GGUF_METADATA, "key 1 of 1: the name is empty", make_key_empty},
    {"key-zero-byte", CHORD_GGUF_METADATA, "key 'a?b': the name holds a zero byte", make_key_zero_byte},
    {"key-twice", CHORD_GGUF_METADATA, "the metadata key 'chord.twice' appears twice", make_key_twice},

    {"value-type-13", CHORD_GGUF_METADATA, "key 'k': value type 13", make_value_type_13},
    {"value-type-all-ones", CHORD_GGUF_METADATA, "key 'k': value type 4294967295", make_value_type_all_ones},
    {"string-length-all-ones", CHORD_GGUF_LIMIT, "key 'k': a string of 18446744073709551615 bytes",
     make_string_length_all_ones},
    {"string-length-2-63", CHORD_GGUF_LIMIT, "key 'k': a string of 9223372036854775808 bytes", make_string_length_2_63},
    {"string-too-long", CHORD_GGUF_LIMIT, "key 'k': a string of 16777217 bytes", make_string_too_long},
    {"string-1-gib-of-160-bytes", CHORD_GGUF_LIMIT, "key 'k': a string of 1073741824 bytes",
     make_string_1_gib_of_160_bytes},
    {"string-cut", CHORD_GGUF_TRUNCATED, "key 'k': the file ends at byte 77", make_string_cut},
    {"scalar-cut", CHORD_GGUF_TRUNCATED, "key 'k': the file ends at byte 44", make_scalar_cut},
    {"bool-2", CHORD_GGUF_METADATA, "key 'k': a bool is 2", make_bool_2},
    {"array-length-2-63", CHORD_GGUF_LIMIT, "key 'k': 9223372036854775808 array elements", make_array_length_2_63},
    {"array-length-all-ones", CHORD_GGUF_LIMIT, "key 'k': 18446744073709551615 array elements",
     make_array_length_all_ones},
    {"array-size-wrap", CHORD_GGUF_LIMIT, "key 'k': 2305843009213693953 array elements", make_array_size_wrap},
    {"array-above-limit", CHORD_GGUF_LIMIT, "key 'k': 268435457 array elements", make_array_above_limit},
    {"arrays-above-limit", CHORD_GGUF_LIMIT, "key 'b': the header is longer than 256 MiB", make_arrays_above_limit},
    {"array-cut", CHORD_GGUF_TRUNCATED, "key 'k': 9 array elements are promised at byte 49", make_array_cut},
    {"array-nested", CHORD_GGUF_METADATA, "key 'k': an array of arrays", make_array_nested},
    {"array-type-13", CHORD_GGUF_METADATA, "key 'k': an array of elements of type 13", make_array_type_13},
    {"array-bool-7", CHORD_GGUF_METADATA, "key 'k': a bool is 7", make_array_bool_7},
    {"token-too-long", CHORD_GGUF_LIMIT, "key 'tokenizer.ggml.tokens': a string of 65537 bytes", make_token_too_long},
    {"token-length-negative", CHORD_GGUF_LIMIT, "key 'tokenizer.ggml.tokens': a string of 4294967295 bytes",
     make_token_length_negative},
    {"token-cut", CHORD_GGUF_TRUNCATED, "key 'tokenizer.ggml.tokens': the file ends at byte 108", make_token_cut},

    {"alignment-0", CHORD_GGUF_ALIGNMENT, "general.alignment is 0,", make_alignment_0},
    {"alignment-48", CHORD_GGUF_ALIGNMENT, "general.alignment is 48,", make_alignment_48},
    {"alignment-all-ones", CHORD_GGUF_ALIGNMENT, "general.alignment is 4294967295,", make_alignment_all_ones},
    {"alignment-2-gib", CHORD_GGUF_TRUNCATED, "its data lies at bytes 2147483648 to 2147483664", make_alignment_2_gib},
    {"alignment-u64", CHORD_GGUF_ALIGNMENT, "of type uint64 and must be uint32", make_alignment_u64},
    {"alignment-string", CHORD_GGUF_ALIGNMENT, "of type string and must be uint32", make_alignment_string},
    {"alignment-array", CHORD_GGUF_ALIGNMENT, "of type array and must be uint32", make_alignment_array},

    {"dimensions-0", CHORD_GGUF_TENSOR, "tensor 'blk.0.attn_q.weight': 0 dimensions", make_dimensions_0},
    {"dimensions-5", CHORD_GGUF_TENSOR, "tensor 'blk.0.attn_q.weight': 5 dimensions", make_dimensions_5},
    {"dimensions-all-ones", CHORD_GGUF_TENSOR, "4294967295 dimensions", make_dimensions_all_ones},
    {"dimension-is-0", CHORD_GGUF_TENSOR, "dimension 1 is 0", make_dimension_is_0},
    {"elements-wrap-to-0", CHORD_GGUF_TENSOR, "multiply to more than 2^63", make_elements_wrap_to_0},
    {"elements-wrap-to-few", CHORD_GGUF_TENSOR, "multiply to more than 2^63", make_elements_wrap_to_few},
    {"elements-negative", CHORD_GGUF_TENSOR, "multiply to more than 2^63", make_elements_negative},
    {"bytes-wrap", CHORD_GGUF_TENSOR, "size in bytes does not fit 64 bits", make_bytes_wrap},
    {"row-not-blocks-32", CHORD_GGUF_TENSOR, "rows of 33 elements, which is no multiple of Q4_0's block of 32",
     make_row_not_blocks_32},
    {"row-not-blocks-256", CHORD_GGUF_TENSOR, "rows of 128 elements, which is no multiple of Q4_K's block of 256",
     make_row_not_blocks_256},
    {"type-unknown", CHORD_GGUF_TENSOR_TYPE, "tensor 'blk.0.attn_q.weight': type 77, which does not exist",
     make_type_unknown},
    {"type-all-ones", CHORD_GGUF_TENSOR_TYPE, "type 4294967295, which does not exist", make_type_all_ones},
    {"type-q4-2", CHORD_GGUF_TENSOR_TYPE, "chord does not read type 4, Q4_2", make_type_q4_2},
    {"type-q4-0-4-4", CHORD_GGUF_TENSOR_TYPE, "chord does not read type 31, Q4_0_4_4", make_type_q4_0_4_4},
    {"type-i8", CHORD_GGUF_TENSOR_TYPE, "'blk.0.attn_q.weight': chord does not read type 24, I8",
     make_type_i8},
    {"type-q8-1", CHORD_GGUF_TENSOR_TYPE, "chord does not read type 9, Q8_1", make_type_q8_1},
    {"name-empty", CHORD_GGUF_TENSOR, "tensor 1 of 1: the name is empty", make_name_empty},
    {"name-zero-byte", CHORD_GGUF_TENSOR, "tensor 'a?b': the name holds a zero byte", make_name_zero_byte},
    {"name-65", CHORD_GGUF_LIMIT, "tensor 1 of 1: a string of 65 bytes at byte 24, where 64 is the most", make_name_65},
    {"name-length-all-ones", CHORD_GGUF_LIMIT, "tensor 1 of 1: a string of 18446744073709551615 bytes",
     make_name_length_all_ones},
    {"name-twice", CHORD_GGUF_TENSOR, "the tensor 'twice' appears twice", make_name_twice},

    {"offset-misaligned", CHORD_GGUF_TENSOR, "offset 8 is no multiple of the alignment 32", make_offset_misaligned},
    {"offset-wrap", CHORD_GGUF_TENSOR, "offset 18446744073709551584 and size 32 reach beyond 2^64", make_offset_wrap},
    {"end-wrap", CHORD_GGUF_TENSOR, "offset 9223372036854775808 and size 9223372036854775808 reach beyond",
     make_end_wrap},
    {"offset-beyond", CHORD_GGUF_TRUNCATED, "its data lies at bytes 1048672 to 1048704", make_offset_beyond},
    {"end-beyond", CHORD_GGUF_TRUNCATED, "its data lies at bytes 96 to 384, but the file ends at byte 352",
     make_end_beyond},
    {"size-sum-wraps", CHORD_GGUF_TRUNCATED, "tensor 'a': its data lies at bytes", make_size_sum_wraps},
    {"no-data", CHORD_GGUF_TRUNCATED, "tensor 't': its data lies at bytes", make_no_data},
    {"overlap-whole", CHORD_GGUF_TENSOR, "'a' (to byte 192) and 'b' (from byte 128) overlap", make_overlap_whole},
    {"overlap-part", CHORD_GGUF_TENSOR, "'a' (to byte 192) and 'b' (from byte 160) overlap", make_overlap_part},
    {"overlap-unsorted", CHORD_GGUF_TENSOR, "'b' (to byte 224) and 'a' (from byte 192) overlap", make_overlap_unsorted},
    {"overlap-hidden", CHORD_GGUF_TENSOR, "'long' (to byte 384) and 'short' (from byte 352) overlap",
     make_overlap_hidden},
    {"tl2", CHORD_GGUF_TENSOR_TYPE, "TL2 of bitnet.cpp has that number too and chord does not read it", make_tl2},
    {"tl2-near-the-end", CHORD_GGUF_TENSOR_TYPE, "'w' is of type 39 and has room for 864 bytes, where MXFP4 takes 2040",
     make_tl2_near_the_end},
    {"tl2-last", CHORD_GGUF_TENSOR_TYPE, "'w' is of type 39 and has room for 896 bytes, where MXFP4 takes 2040",
     make_tl2_last},
    {"tl1", CHORD_GGUF_TENSOR_TYPE, "chord does not read type 38, TL1 of bitnet.cpp", make_tl1},
    {"mxfp4-cut", CHORD_GGUF_TRUNCATED, "tensor 'w': its data lies at bytes", make_mxfp4_cut},
    {"mxfp4-overlap", CHORD_GGUF_TENSOR, "'w' (to byte 2232) and 'behind' (from byte 832) overlap", make_mxfp4_overlap},

    {"split-second", CHORD_GGUF_SPLIT, "is file 2 of 3 of a split model; open the first", make_split_second},
    {"split-number-beyond", CHORD_GGUF_SPLIT, "says that it is file 4 of only 3", make_split_number_beyond},
    {"split-of-60000", CHORD_GGUF_SPLIT, "a model of 60000 files; chord reads at most 1024", make_split_of_60000},
    {"split-count-string", CHORD_GGUF_SPLIT, "split.count is no count", make_split_count_string},
    {"split-number-negative", CHORD_GGUF_SPLIT, "split.no is no count", make_split_number_negative},
};

#define N_MALFORMED_FILES (sizeof malformed_files / sizeof malformed_files[0])

#endif
