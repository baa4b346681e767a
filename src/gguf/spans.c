// Where tensors lie in their file: inside it, aligned, apart from each other.
#include "base/checked.h"
#include "gguf/header.h"
#include "quant/quant.h"

#include <inttypes.h>
#include <string.h>

struct span {
    uint64_t at;
    uint64_t index; // into the directory
};

// Type 39 is MXFP4, and TL2 in files of bitnet.cpp: 4 bits for two or 5 for three elements, which is less than half as much.
static bool is_tl2(const struct gguf_tensor *tensor, uint64_t room)
{
    const uint64_t n_elements = tensor->n_bytes / 17 * 32;
    return tensor->type == QUANT_MXFP4 && room >= n_elements / 5 && room < tensor->n_bytes / 2;
}

static bool fail_tl2(struct gguf_cursor *cursor, const struct gguf_tensor *tensor, uint64_t room)
{
    char shown[80];
    cursor->item = NULL; // the message names it
    return gguf_cursor_fail(
        cursor, CHORD_GGUF_TENSOR_TYPE,
        "the tensor '%s' is of type 39 and has room for %" PRIu64 " bytes, where MXFP4 takes %" PRIu64
        "; TL2 of bitnet.cpp has that number too and chord does not read it: use the I2_S or "
        "TQ2_0 file",
        chord_printable(shown, sizeof shown, tensor->name.bytes, (size_t)tensor->name.n_bytes), room, tensor->n_bytes);
}

// Of the tensor that is to be placed, those before it have been: from `at` to the next one or the file's end.
static uint64_t room_at(const struct gguf_tensor *tensors, uint64_t n_tensors, uint64_t index, uint64_t data_at,
                        uint64_t at, uint64_t file_bytes)
{
    uint64_t next = file_bytes, other;
    for (uint64_t i = 0; i < n_tensors; i++)
        if (i != index && checked_add(i < index ? 0 : data_at, tensors[i].offset, &other) && other >= at &&
            other < next)
            next = other;
    return next > at ? next - at : 0;
}

static bool place_tensor(struct gguf_cursor *cursor, struct gguf_tensor *tensors, uint64_t n_tensors, uint64_t index,
                         uint64_t data_at, uint32_t alignment)
{
    struct gguf_tensor *tensor = &tensors[index];
    uint64_t at, end;
    cursor->item = "tensor";
    cursor->name_at = (uint64_t)((const unsigned char *)tensor->name.bytes - cursor->bytes);
    cursor->n_name_bytes = tensor->name.n_bytes;
    if (tensor->offset % alignment != 0)
        return gguf_cursor_fail(cursor, CHORD_GGUF_TENSOR,
                                "its offset %" PRIu64 " is no multiple of the alignment %" PRIu32, tensor->offset,
                                alignment);
    if (!checked_add(data_at, tensor->offset, &at) || !checked_add(at, tensor->n_bytes, &end))
        return gguf_cursor_fail(cursor, CHORD_GGUF_TENSOR,
                                "its offset %" PRIu64 " and size %" PRIu64 " reach beyond 2^64", tensor->offset,
                                tensor->n_bytes);
    if (end > cursor->source->n_bytes) {
        const uint64_t room = room_at(tensors, n_tensors, index, data_at, at, cursor->source->n_bytes);
        if (is_tl2(tensor, room))
            return fail_tl2(cursor, tensor, room);
        return gguf_cursor_fail(cursor, CHORD_GGUF_TRUNCATED,
                                "its data lies at bytes %" PRIu64 " to %" PRIu64 ", but the file ends at byte %" PRIu64
                                "; it was probably not copied whole",
                                at, end, cursor->source->n_bytes);
    }
    tensor->offset = at;
    return true;
}

static bool is_ascending(const struct gguf_tensor *tensors, uint64_t n_tensors)
{
    for (uint64_t i = 1; i < n_tensors; i++)
        if (tensors[i].offset < tensors[i - 1].offset)
            return false;
    return true;
}

// Radix sort by `at`, a byte at a time from the lowest, so O(n). `other` is as large. The eight passes end where they
// began, in `spans`; equal offsets keep the directory's order.
static void sort_spans(struct span *spans, struct span *other, uint64_t n)
{
    for (unsigned shift = 0; shift < 64; shift += 8) {
        uint64_t first[257] = {0};
        for (uint64_t i = 0; i < n; i++)
            first[(spans[i].at >> shift & 0xff) + 1]++;
        for (unsigned digit = 1; digit < 256; digit++)
            first[digit] += first[digit - 1];
        for (uint64_t i = 0; i < n; i++)
            other[first[spans[i].at >> shift & 0xff]++] = spans[i];
        struct span *swapped = spans;
        spans = other;
        other = swapped;
    }
}

// Type 36 is I2_S in files of bitnet.cpp. Before, it was a type that takes more than twice as much, of which files may
// still be about: a tensor that is followed by more room than alignment asks for is not I2_S.
static bool check_room(struct gguf_cursor *cursor, const struct gguf_tensor *tensor, uint64_t next, uint32_t alignment)
{
    if (tensor->type != QUANT_I2_S || next - tensor->offset - tensor->n_bytes < alignment)
        return true;
    char shown[80];
    return gguf_cursor_fail(cursor, CHORD_GGUF_TENSOR_TYPE,
                            "the tensor '%s' is of type 36 and has room for %" PRIu64
                            " bytes, where I2_S of bitnet.cpp takes %" PRIu64
                            "; IQ4_NL_4_4, which had that number before, is no longer part of the format: use "
                            "the IQ4_NL file",
                            chord_printable(shown, sizeof shown, tensor->name.bytes, (size_t)tensor->name.n_bytes),
                            next - tensor->offset, tensor->n_bytes);
}

static bool check_apart(struct gguf_cursor *cursor, const struct gguf_tensor *tensors, uint64_t n_tensors,
                        const struct span *order, uint32_t alignment)
{
    const struct gguf_tensor *before = NULL; // the last one that takes bytes
    for (uint64_t i = 0; i < n_tensors; i++) {
        const struct gguf_tensor *tensor = &tensors[order != NULL ? order[i].index : i];
        if (tensor->n_bytes == 0) // of a type that is not read: its size is not known
            continue;
        if (before != NULL && tensor->offset < before->offset + before->n_bytes) {
            if (is_tl2(before, tensor->offset - before->offset))
                return fail_tl2(cursor, before, tensor->offset - before->offset);
            char a[80], b[80];
            return gguf_cursor_fail(cursor, CHORD_GGUF_TENSOR,
                                    "the tensors '%s' (to byte %" PRIu64 ") and '%s' (from byte %" PRIu64 ") overlap",
                                    chord_printable(a, sizeof a, before->name.bytes, (size_t)before->name.n_bytes),
                                    before->offset + before->n_bytes,
                                    chord_printable(b, sizeof b, tensor->name.bytes, (size_t)tensor->name.n_bytes),
                                    tensor->offset);
        }
        if (before != NULL && !check_room(cursor, before, tensor->offset, alignment))
            return false;
        before = tensor;
    }
    return before == NULL || check_room(cursor, before, cursor->source->n_bytes, alignment);
}

bool gguf_check_spans(struct gguf_cursor *cursor, struct gguf_tensor *tensors, uint64_t n_tensors, uint64_t data_at,
                      uint32_t alignment)
{
    for (uint64_t i = 0; i < n_tensors; i++)
        if (!place_tensor(cursor, tensors, n_tensors, i, data_at, alignment))
            return false;
    cursor->item = NULL;
    if (is_ascending(tensors, n_tensors)) // as every known writer does it
        return check_apart(cursor, tensors, n_tensors, NULL, alignment);

    struct span *spans = memory_zalloc(cursor->account, MEMORY_METADATA, n_tensors * 2, sizeof *spans);
    if (spans == NULL) {
        cursor->status = memory_account_fail(cursor->account, cursor->err, n_tensors * 2 * sizeof *spans,
                                             "sorting the tensor directory");
        return false;
    }
    for (uint64_t i = 0; i < n_tensors; i++)
        spans[i] = (struct span){.at = tensors[i].offset, .index = i};
    sort_spans(spans, spans + n_tensors, n_tensors);
    const bool apart = check_apart(cursor, tensors, n_tensors, spans, alignment);
    memory_free(cursor->account, spans);
    return apart;
}
