#include "quantize/header.h"

#include "base/checked.h"
#include "quant/quant.h"

#include <string.h>

#define GGUF_VERSION_WRITTEN 3
#define QUANTIZATION_VERSION 2 // of the block formats, as every reader since 2023 wants it
#define BUFFER_BYTES (UINT64_C(64) << 10)

// Bytes on their way: counted, and with an output also written, by the buffer.
struct writer {
    const struct os_output *output; // NULL: only counts
    unsigned char *buffer;
    uint64_t n_buffered, n_written;
    enum chord_status status;
    struct chord_error *err;
};

static void flush(struct writer *w)
{
    if (w->output != NULL && w->n_buffered > 0 && w->status == CHORD_OK)
        w->status = os_output_write(w->output, w->n_written - w->n_buffered, w->buffer, w->n_buffered, w->err);
    w->n_buffered = 0;
}

static void put(struct writer *w, const void *bytes, uint64_t n)
{
    const unsigned char *from = bytes;
    while (w->output != NULL && n > 0) {
        const uint64_t room = BUFFER_BYTES - w->n_buffered;
        const uint64_t now = n < room ? n : room;
        memcpy(w->buffer + w->n_buffered, from, (size_t)now);
        w->n_buffered += now;
        w->n_written += now;
        from += now;
        n -= now;
        if (w->n_buffered == BUFFER_BYTES)
            flush(w);
    }
    w->n_written += n;
}

static void put_number(struct writer *w, uint64_t number, int n_bytes)
{
    unsigned char bytes[8];
    for (int i = 0; i < n_bytes; i++)
        bytes[i] = (unsigned char)(number >> 8 * i);
    put(w, bytes, (uint64_t)n_bytes);
}

static void put_string(struct writer *w, struct gguf_string s)
{
    put_number(w, s.n_bytes, 8);
    put(w, s.bytes, s.n_bytes);
}

static void put_string_pair(struct writer *w, const char *key, struct gguf_string text)
{
    put_string(w, (struct gguf_string){.bytes = key, .n_bytes = strlen(key)});
    put_number(w, GGUF_STRING, 4);
    put_string(w, text);
}

static void put_u32_pair(struct writer *w, const char *key, uint32_t value)
{
    put_string(w, (struct gguf_string){.bytes = key, .n_bytes = strlen(key)});
    put_number(w, GGUF_UINT32, 4);
    put_number(w, value, 4);
}

static bool equals(struct gguf_string s, const char *text)
{
    return s.n_bytes == strlen(text) && memcmp(s.bytes, text, (size_t)s.n_bytes) == 0;
}

// Pairs that say of the input what is not so of the output.
static bool is_dropped(const struct quantize_head *head, const struct gguf_value *value)
{
    static const char *const keys[] = {"general.file_type", "general.quantization_version", "split.no", "split.count",
                                       "split.tensors.count"};
    static const char of_imatrix[] = "quantize.imatrix.";
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (equals(value->key, keys[i]))
            return true;
    return head->imatrix != NULL && value->key.n_bytes >= sizeof of_imatrix &&
           memcmp(value->key.bytes, of_imatrix, sizeof of_imatrix - 1) == 0;
}

// The keys are those of llama.cpp's files. Of the matrix's path only the file's name is told.
static void put_imatrix(struct writer *w, const struct imatrix *imatrix)
{
    const char *path = imatrix_path(imatrix), *name = path;
    for (const char *at = path; *at != '\0'; at++)
        if (*at == '/' || *at == '\\')
            name = at + 1;
    put_string_pair(w, "quantize.imatrix.file", (struct gguf_string){.bytes = name, .n_bytes = strlen(name)});
    put_string_pair(w, "quantize.imatrix.dataset", imatrix_dataset(imatrix));
    put_u32_pair(w, "quantize.imatrix.entries_count", (uint32_t)imatrix_n_entries(imatrix));
    put_u32_pair(w, "quantize.imatrix.chunks_count", imatrix_n_chunks(imatrix));
}

static void put_pair(struct writer *w, const struct gguf_value *value)
{
    put_string(w, value->key);
    put_number(w, value->type, 4);
    if (value->type == GGUF_ARRAY) {
        put_number(w, value->element, 4);
        put_number(w, value->n_elements, 8);
    }
    put(w, value->data, value->n_data_bytes);
}

static void put_header(struct writer *w, const struct quantize_head *head)
{
    const struct gguf *gguf = head->gguf;
    const uint64_t n_tensors = gguf_n_tensors(gguf);
    uint64_t n_pairs = head->imatrix != NULL ? 6 : 2;
    for (uint64_t i = 0; i < gguf_n_values(gguf); i++)
        n_pairs += !is_dropped(head, gguf_value(gguf, i));
    put(w, "GGUF", 4);
    put_number(w, GGUF_VERSION_WRITTEN, 4);
    put_number(w, n_tensors, 8);
    put_number(w, n_pairs, 8);
    for (uint64_t i = 0; i < gguf_n_values(gguf); i++)
        if (!is_dropped(head, gguf_value(gguf, i)))
            put_pair(w, gguf_value(gguf, i));
    put_u32_pair(w, "general.quantization_version", QUANTIZATION_VERSION);
    put_u32_pair(w, "general.file_type", head->mix->file_type);
    if (head->imatrix != NULL)
        put_imatrix(w, head->imatrix);
    for (uint64_t i = 0; i < n_tensors; i++) {
        const struct gguf_tensor *tensor = head->items[i].tensor;
        put_string(w, tensor->name);
        put_number(w, tensor->n_dimensions, 4);
        for (uint32_t d = 0; d < tensor->n_dimensions; d++)
            put_number(w, tensor->ne[d], 8);
        put_number(w, head->items[i].type->type, 4);
        put_number(w, head->items[i].offset, 8);
    }
}

uint32_t quantize_alignment(const struct gguf *gguf)
{
    uint32_t alignment = GGUF_DEFAULT_ALIGNMENT;
    (void)gguf_get_u32_or(gguf, "general.alignment", GGUF_DEFAULT_ALIGNMENT, &alignment, NULL);
    return alignment;
}

uint64_t quantize_data_at(const struct quantize_head *head)
{
    struct writer w = {0};
    uint64_t data_at;
    put_header(&w, head);
    return checked_align(w.n_written, quantize_alignment(head->gguf), &data_at) ? data_at : 0;
}

enum chord_status quantize_write_header(const struct quantize_head *head, const struct os_output *output,
                                        struct memory_account *account, struct chord_error *err)
{
    struct writer w = {.output = output, .err = err};
    w.buffer = memory_alloc(account, MEMORY_SCRATCH, BUFFER_BYTES, 16);
    if (w.buffer == NULL)
        return memory_account_fail(account, err, BUFFER_BYTES, "the header of the new file");
    put_header(&w, head);
    flush(&w);
    memory_free(account, w.buffer);
    return w.status;
}
