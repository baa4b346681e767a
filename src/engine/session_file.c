#include "engine/session_file.h"

#include "base/checked.h"
#include "base/xxh64.h"

#include <string.h>

#define BYTE_ORDER_MARK 0x01020304u
#define HEADER_CHECK_AT 88u

static void store_u32(unsigned char *out, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (unsigned char)(value >> 8 * i);
}

void session_file_store_u64(unsigned char *out, uint64_t value)
{
    store_u32(out, (uint32_t)value);
    store_u32(out + 4, (uint32_t)(value >> 32));
}

static uint32_t load_u32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t load_u64(const unsigned char *p)
{
    return load_u32(p) | (uint64_t)load_u32(p + 4) << 32;
}

static uint64_t blocks_of(uint64_t n_done)
{
    return n_done / KV_BLOCK_TOKENS + (n_done % KV_BLOCK_TOKENS != 0);
}

// False: more than 64 bits count.
static bool lay_out(struct session_file_header *header, uint64_t n_tokens, uint64_t n_done, uint64_t n_note,
                    uint64_t block_bytes)
{
    uint64_t text_bytes, block_span, blocks_bytes;
    const uint64_t note_span = n_note > 0 ? n_note + SESSION_FILE_CHECK_BYTES : 0;
    header->n_tokens = n_tokens;
    header->n_done = n_done;
    header->n_note = n_note;
    header->n_blocks = blocks_of(n_done);
    return checked_mul(n_tokens, sizeof(uint32_t) + 1, &text_bytes) &&
           checked_add(text_bytes, SESSION_FILE_HEADER_BYTES + SESSION_FILE_CHECK_BYTES, &header->note_at) &&
           checked_add(header->note_at, note_span, &header->blocks_at) &&
           checked_add(block_bytes, SESSION_FILE_CHECK_BYTES, &block_span) &&
           checked_mul(header->n_blocks, block_span, &blocks_bytes) &&
           checked_add(header->blocks_at, blocks_bytes, &header->n_bytes);
}

void session_file_write_header(const struct session_file_kind *kind, uint64_t n_tokens, uint64_t n_done,
                               uint64_t n_note, unsigned char *out, struct session_file_header *header)
{
    const struct kv_layout *kv = kind->kv;
    const uint32_t mark = BYTE_ORDER_MARK;
    lay_out(header, n_tokens, n_done, n_note, kv->block_bytes); // what is in memory can be counted
    memset(out, 0, SESSION_FILE_HEADER_BYTES);
    memcpy(out, SESSION_FILE_MAGIC, 8);
    store_u32(out + 8, n_note > 0 ? SESSION_FILE_VERSION_NOTE : SESSION_FILE_VERSION);
    memcpy(out + 12, &mark, sizeof mark);
    session_file_store_u64(out + 16, kind->fingerprint);
    session_file_store_u64(out + 24, n_tokens);
    session_file_store_u64(out + 32, n_done);
    session_file_store_u64(out + 40, kv->block_bytes);
    store_u32(out + 48, kv->type == KV_Q8_0 ? 1 : 0);
    store_u32(out + 52, KV_BLOCK_TOKENS);
    store_u32(out + 56, kv->n_layer);
    store_u32(out + 60, kv->n_head_kv);
    store_u32(out + 64, kv->head_dim);
    store_u32(out + 68, (uint32_t)n_note);
    memcpy(out + 72, kind->tier, strnlen(kind->tier, SESSION_FILE_TIER_BYTES));
    session_file_store_u64(out + HEADER_CHECK_AT, xxh64(out, HEADER_CHECK_AT, 0));
}

static enum chord_status damaged(const struct session_source *source, uint64_t offset, const char *what,
                                 struct chord_error *err)
{
    return chord_fail(err, CHORD_SESSION_DAMAGED, "%s: the file is damaged: %s at offset %llu", source->name, what,
                      (unsigned long long)offset);
}

// What the header says that the model is not.
static enum chord_status check_kind(const struct session_source *source, const struct session_file_kind *kind,
                                    const unsigned char *header, struct chord_error *err)
{
    const struct kv_layout *kv = kind->kv;
    char tier[SESSION_FILE_TIER_BYTES + 1] = {0}, shown[2 * SESSION_FILE_TIER_BYTES];
    uint32_t mark;
    memcpy(&mark, header + 12, sizeof mark);
    if (mark != BYTE_ORDER_MARK)
        return chord_fail(err, CHORD_SESSION_FOREIGN, "%s: was saved on a machine of another byte order than this one",
                          source->name);
    if (load_u64(header + 16) != kind->fingerprint)
        return chord_fail(err, CHORD_SESSION_FOREIGN,
                          "%s: was saved with another model, or with another version of this one: load the files that "
                          "it was saved with",
                          source->name);
    if (load_u32(header + 48) != (kv->type == KV_Q8_0 ? 1u : 0u))
        return chord_fail(err, CHORD_SESSION_FOREIGN,
                          "%s: holds keys and values in %s: load the model with kv.type '%s'", source->name,
                          load_u32(header + 48) == 1 ? "q8_0" : "f16", load_u32(header + 48) == 1 ? "q8_0" : "f16");
    if (load_u64(header + 40) != kv->block_bytes || load_u32(header + 52) != KV_BLOCK_TOKENS ||
        load_u32(header + 56) != kv->n_layer || load_u32(header + 60) != kv->n_head_kv ||
        load_u32(header + 64) != kv->head_dim)
        return chord_fail(err, CHORD_SESSION_FOREIGN, "%s: holds keys and values in another layout than this model's",
                          source->name);
    memcpy(tier, header + 72, SESSION_FILE_TIER_BYTES);
    if (strncmp(tier, kind->tier, SESSION_FILE_TIER_BYTES) != 0)
        return chord_fail(err, CHORD_SESSION_FOREIGN,
                          "%s: was computed by the kernels '%s', whose numbers are not quite those of '%s', which this "
                          "model uses: where the processor has them, the environment variable CHORD_CPU chooses",
                          source->name, chord_printable(shown, sizeof shown, tier, strlen(tier)), kind->tier);
    return CHORD_OK;
}

enum chord_status session_file_read_header(const struct session_source *source, const struct session_file_kind *kind,
                                           struct session_file_header *out, struct chord_error *err)
{
    unsigned char bytes[SESSION_FILE_HEADER_BYTES] = {0};
    const uint64_t n = source->n_bytes < sizeof bytes ? source->n_bytes : sizeof bytes;
    enum chord_status status = source->read(source->context, 0, bytes, n, err);
    if (status != CHORD_OK)
        return status;
    if (n < 8 || memcmp(bytes, SESSION_FILE_MAGIC, 8) != 0)
        return chord_fail(err, CHORD_NOT_SESSION, "%s: is not a session that chord saved", source->name);
    const uint32_t version = load_u32(bytes + 8);
    if (n >= 12 && version != SESSION_FILE_VERSION && version != SESSION_FILE_VERSION_NOTE)
        return chord_fail(err, CHORD_SESSION_VERSION,
                          "%s: is of version %u of the format; this chord reads versions %u and %u", source->name,
                          version, SESSION_FILE_VERSION, SESSION_FILE_VERSION_NOTE);
    if (n < sizeof bytes)
        return chord_fail(err, CHORD_SESSION_TRUNCATED, "%s: ends after %llu bytes, within its header", source->name,
                          (unsigned long long)n);
    if (load_u64(bytes + HEADER_CHECK_AT) != xxh64(bytes, HEADER_CHECK_AT, 0))
        return damaged(source, 0, "the check of the header is wrong", err);
    status = check_kind(source, kind, bytes, err);
    if (status != CHORD_OK)
        return status;
    const uint64_t n_tokens = load_u64(bytes + 24), n_done = load_u64(bytes + 32), n_note = load_u32(bytes + 68);
    if (n_note > SESSION_FILE_MOST_NOTE || (n_note > 0) != (version == SESSION_FILE_VERSION_NOTE))
        return damaged(source, 68, "an impossible size of the note", err);
    if (n_done > n_tokens || !lay_out(out, n_tokens, n_done, n_note, kind->kv->block_bytes))
        return damaged(source, 24, "impossible numbers of tokens", err);
    if (source->n_bytes < out->n_bytes)
        return chord_fail(err, CHORD_SESSION_TRUNCATED, "%s: ends after %llu of its %llu bytes", source->name,
                          (unsigned long long)source->n_bytes, (unsigned long long)out->n_bytes);
    if (source->n_bytes > out->n_bytes)
        return damaged(source, out->n_bytes, "bytes beyond the end", err);
    if (n_tokens > kind->n_ctx)
        return chord_fail(
            err, CHORD_CONTEXT_FULL,
            "%s: a text of %llu tokens does not fit the context of %u: load the model with a larger `context`",
            source->name, (unsigned long long)n_tokens, kind->n_ctx);
    return CHORD_OK;
}

// Reads the text into the arrays and checks it.
static enum chord_status read_arrays(const struct session_source *source, const struct session_file_kind *kind,
                                     struct session_text *text, struct chord_error *err)
{
    unsigned char check[SESSION_FILE_CHECK_BYTES];
    const uint64_t n = text->n_tokens, flags_at = SESSION_FILE_HEADER_BYTES + n * sizeof *text->tokens;
    enum chord_status status =
        source->read(source->context, SESSION_FILE_HEADER_BYTES, text->tokens, n * sizeof *text->tokens, err);
    if (status == CHORD_OK)
        status = source->read(source->context, flags_at, text->generated, n, err);
    if (status == CHORD_OK)
        status = source->read(source->context, flags_at + n, check, sizeof check, err);
    if (status != CHORD_OK)
        return status;
    struct xxh64 hash;
    xxh64_init(&hash, 0);
    xxh64_add(&hash, text->tokens, n * sizeof *text->tokens);
    xxh64_add(&hash, text->generated, n);
    if (load_u64(check) != xxh64_value(&hash))
        return damaged(source, SESSION_FILE_HEADER_BYTES, "the check of the tokens is wrong", err);
    text->n_pure = n;
    for (uint64_t i = n; i-- > 0;) {
        text->tokens[i] = load_u32((const unsigned char *)&text->tokens[i]);
        if (text->tokens[i] >= kind->n_vocab || text->generated[i] > 1)
            return damaged(source, SESSION_FILE_HEADER_BYTES + i * sizeof *text->tokens,
                           "a token that the model does not have", err);
        if (text->generated[i] == 1)
            text->n_pure = i;
    }
    return CHORD_OK;
}

enum chord_status session_file_read_text(const struct session_source *source, const struct session_file_kind *kind,
                                         const struct session_file_header *header, struct memory_account *account,
                                         struct session_text *out, struct chord_error *err)
{
    const uint64_t n = header->n_tokens;
    enum chord_status status;
    *out = (struct session_text){
        .tokens = memory_alloc(account, MEMORY_SCRATCH, n * sizeof *out->tokens, 16),
        .generated = memory_alloc(account, MEMORY_SCRATCH, n, 16),
        .n_tokens = n,
        .n_done = header->n_done,
    };
    if (out->tokens == NULL || out->generated == NULL)
        status = memory_account_fail(account, err, n * (sizeof *out->tokens + 1), "a session's tokens");
    else
        status = read_arrays(source, kind, out, err);
    if (status != CHORD_OK) {
        memory_free(account, out->tokens);
        memory_free(account, out->generated);
        *out = (struct session_text){0};
    }
    return status;
}

enum chord_status session_file_read_note(const struct session_source *source, const struct session_file_header *header,
                                         void *out, struct chord_error *err)
{
    unsigned char check[SESSION_FILE_CHECK_BYTES];
    if (header->n_note == 0)
        return CHORD_OK;
    enum chord_status status = source->read(source->context, header->note_at, out, header->n_note, err);
    if (status == CHORD_OK)
        status = source->read(source->context, header->note_at + header->n_note, check, sizeof check, err);
    if (status != CHORD_OK)
        return status;
    if (load_u64(check) != xxh64(out, header->n_note, 0))
        return damaged(source, header->note_at, "the check of the note is wrong", err);
    return CHORD_OK;
}

enum chord_status session_file_read_block(const struct session_source *source, const struct session_file_kind *kind,
                                          const struct session_file_header *header, uint64_t index, void *out,
                                          struct chord_error *err)
{
    unsigned char check[SESSION_FILE_CHECK_BYTES];
    const uint64_t n_bytes = kind->kv->block_bytes;
    const uint64_t at = header->blocks_at + index * (n_bytes + sizeof check);
    enum chord_status status = source->read(source->context, at, out, n_bytes, err);
    if (status == CHORD_OK)
        status = source->read(source->context, at + n_bytes, check, sizeof check, err);
    if (status != CHORD_OK)
        return status;
    if (load_u64(check) != xxh64(out, n_bytes, index + 1))
        return damaged(source, at, "the check of a block of keys and values is wrong", err);
    return CHORD_OK;
}

// ---- The model -------------------------------------------------------------------------------------------------------

#define SAMPLES 16u
#define SAMPLE_BYTES 64u

static void add_u64(struct xxh64 *hash, uint64_t value)
{
    unsigned char bytes[8];
    session_file_store_u64(bytes, value);
    xxh64_add(hash, bytes, sizeof bytes);
}

static void add_string(struct xxh64 *hash, struct gguf_string string)
{
    add_u64(hash, string.n_bytes);
    xxh64_add(hash, string.bytes, string.n_bytes);
}

static enum chord_status add_sample(struct xxh64 *hash, const struct gguf *gguf, const struct gguf_tensor *tensor,
                                    struct chord_error *err)
{
    unsigned char bytes[SAMPLE_BYTES] = {0};
    const uint64_t n = tensor->n_bytes < sizeof bytes ? tensor->n_bytes : sizeof bytes;
    const uint64_t at = tensor->offset + (tensor->n_bytes - n) / 2;
    const struct gguf_file *file = gguf_file(gguf, tensor->file);
    struct chord_error read_error;
    if (os_file_read(&file->os, at, bytes, n, &read_error) != CHORD_OK)
        return chord_fail(err, read_error.code, "%s: %s", file->path, read_error.message);
    xxh64_add(hash, bytes, n);
    return CHORD_OK;
}

enum chord_status session_fingerprint(const struct gguf *gguf, uint64_t *out, struct chord_error *err)
{
    struct xxh64 hash;
    const uint64_t n_tensors = gguf_n_tensors(gguf);
    enum chord_status status = CHORD_OK;
    xxh64_init(&hash, 0);
    for (uint32_t i = 0; i < gguf_n_files(gguf); i++)
        add_u64(&hash, gguf_file(gguf, i)->os.size);
    for (uint64_t i = 0; i < gguf_n_values(gguf); i++) {
        const struct gguf_value *value = gguf_value(gguf, i);
        add_string(&hash, value->key);
        add_u64(&hash, (uint64_t)value->type << 32 | (uint64_t)value->element);
        add_u64(&hash, value->n_elements);
        xxh64_add(&hash, value->data, value->n_data_bytes);
    }
    for (uint64_t i = 0; i < n_tensors; i++) {
        const struct gguf_tensor *tensor = gguf_tensor(gguf, i);
        add_string(&hash, tensor->name);
        add_u64(&hash, (uint64_t)tensor->type << 32 | tensor->file);
        for (int k = 0; k < GGUF_MAX_DIMENSIONS; k++)
            add_u64(&hash, tensor->ne[k]);
        add_u64(&hash, tensor->offset);
    }
    for (uint64_t i = 0; i < SAMPLES && i < n_tensors && status == CHORD_OK; i++)
        status = add_sample(&hash, gguf, gguf_tensor(gguf, n_tensors < SAMPLES ? i : i * n_tensors / SAMPLES), err);
    *out = xxh64_value(&hash);
    return status;
}
