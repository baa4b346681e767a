// Walks a header once with the cursor, checking as it goes; then points values and tensors into the buffer, which
// stays where it is from there on, and checks what needs the whole: duplicate keys, alignment, spans.
#include "gguf/header.h"

#include "base/checked.h"
#include "quant/quant.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LEAST_VALUE_BYTES 14u  // key length 8, key 1, type 4, value 1
#define LEAST_TENSOR_BYTES 33u // name length 8, name 1, dimensions 4 + 8, type 4, offset 8

struct parser {
    struct gguf_cursor cursor;
    struct gguf_header *header;
    bool any_type;
};

// Bytes of one element of a value type that has a fixed size, or 0.
static uint32_t fixed_bytes(uint32_t type)
{
    static const unsigned char bytes[] = {
        [GGUF_UINT8] = 1,   [GGUF_INT8] = 1, [GGUF_UINT16] = 2, [GGUF_INT16] = 2,
        [GGUF_UINT32] = 4,  [GGUF_INT32] = 4, [GGUF_FLOAT32] = 4, [GGUF_BOOL] = 1,
        [GGUF_STRING] = 0,  [GGUF_ARRAY] = 0, [GGUF_UINT64] = 8, [GGUF_INT64] = 8,
        [GGUF_FLOAT64] = 8,
    };
    return type < sizeof bytes ? bytes[type] : 0;
}

// What a file that does not begin with "GGUF" is likely to be.
static bool fail_magic(struct parser *parser)
{
    static const struct {
        const char *magic;
        const char *what;
    } others[] = {
        {"lmgg", "is a GGML file, a format older than GGUF; convert the original model to GGUF"},
        {"fmgg", "is a GGMF file, a format older than GGUF; convert the original model to GGUF"},
        {"tjgg", "is a GGJT file, a format older than GGUF; convert the original model to GGUF"},
        {"algg", "is a GGLA adapter, not a model; a format older than GGUF"},
        {"FUGG", "is a GGUF file with its bytes reversed; fetch the little-endian model"},
        {"vers", "begins like a git-lfs pointer: it stands for the model and is not it; run 'git lfs pull'"},
        {"<!DO", "is a web page; the download went to a page about the model instead of its file"},
        {"<htm", "is a web page; the download went to a page about the model instead of its file"},
        {"PK\3\4", "is a ZIP archive or PyTorch checkpoint; convert the model to GGUF"},
    };
    const unsigned char *bytes = parser->cursor.bytes;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (memcmp(bytes, others[i].magic, 4) == 0)
            return gguf_cursor_fail(&parser->cursor, CHORD_NOT_GGUF, "%s", others[i].what);
    if (parser->cursor.n_read > 9 && bytes[8] == '{' && bytes[9] == '"')
        return gguf_cursor_fail(&parser->cursor, CHORD_NOT_GGUF,
                                "is a safetensors file; convert the model to GGUF");
    return gguf_cursor_fail(&parser->cursor, CHORD_NOT_GGUF,
                            "is not a GGUF file: it begins with %02x %02x %02x %02x instead of \"GGUF\"",
                            bytes[0], bytes[1], bytes[2], bytes[3]);
}

static bool read_magic(struct parser *parser)
{
    static const unsigned char magic[4] = {'G', 'G', 'U', 'F'};
    struct gguf_cursor *cursor = &parser->cursor;
    uint32_t version;
    if (cursor->source->n_bytes == 0)
        return gguf_cursor_fail(cursor, CHORD_GGUF_TRUNCATED, "the file is empty");
    if (!gguf_cursor_need(cursor, 4))
        return false;
    if (memcmp(cursor->bytes, magic, 4) != 0)
        return fail_magic(parser);
    cursor->at = 4;
    if (!gguf_cursor_u32(cursor, &version))
        return false;
    if (version == 1)
        return gguf_cursor_fail(cursor, CHORD_GGUF_VERSION,
                                "GGUF version 1 counts in 32 bits and is no longer in use; chord reads versions "
                                "2 and 3: convert the original model again");
    if (version != 0 && (version & 0xffff) == 0)
        return gguf_cursor_fail(cursor, CHORD_GGUF_VERSION,
                                "a big-endian GGUF file; chord reads little-endian ones: fetch or convert "
                                "the model for little-endian machines");
    if (version != 2 && version != 3)
        return gguf_cursor_fail(cursor, CHORD_GGUF_VERSION,
                                "GGUF version %" PRIu32 "; chord reads versions 2 and 3%s", version,
                                version > 3 && version < 100 ? ": a newer chord may read it"
                                                             : ": the file is damaged");
    parser->header->version = version;
    return true;
}

// Steps over a name (key or tensor) and makes it the item of messages.
static bool read_name(struct gguf_cursor *cursor, uint64_t max_bytes, enum chord_status malformed,
                      uint64_t *n_bytes)
{
    cursor->n_name_bytes = 0;
    if (!gguf_cursor_skip_string(cursor, max_bytes, n_bytes))
        return false;
    if (*n_bytes == 0)
        return gguf_cursor_fail(cursor, malformed, "the name is empty");
    cursor->name_at = cursor->at - *n_bytes;
    cursor->n_name_bytes = *n_bytes;
    if (memchr(cursor->bytes + cursor->name_at, 0, (size_t)*n_bytes) != NULL)
        return gguf_cursor_fail(cursor, malformed, "the name holds a zero byte");
    return true;
}

static bool check_bools(struct gguf_cursor *cursor, uint64_t n)
{
    const unsigned char *bytes = cursor->bytes + cursor->at - n;
    for (uint64_t i = 0; i < n; i++)
        if (bytes[i] > 1)
            return gguf_cursor_fail(cursor, CHORD_GGUF_METADATA,
                                    "a bool is %u, where only 0 and 1 are allowed", bytes[i]);
    return true;
}

static bool skip_strings(struct gguf_cursor *cursor, uint64_t n)
{
    uint64_t n_bytes;
    for (uint64_t i = 0; i < n; i++)
        if (!gguf_cursor_skip_string(cursor, GGUF_MAX_ELEMENT_BYTES, &n_bytes))
            return false;
    return true;
}

static bool read_array_head(struct gguf_cursor *cursor, struct gguf_value *value)
{
    uint32_t element;
    if (!gguf_cursor_u32(cursor, &element) || !gguf_cursor_u64(cursor, &value->n_elements))
        return false;
    if (element == GGUF_ARRAY)
        return gguf_cursor_fail(cursor, CHORD_GGUF_METADATA, "an array of arrays, which chord does not read");
    if (gguf_value_type_name(element) == NULL)
        return gguf_cursor_fail(cursor, CHORD_GGUF_METADATA,
                                "an array of elements of type %" PRIu32 ", which does not exist", element);
    value->element = (enum gguf_value_type)element;
    return gguf_cursor_has_room(cursor, value->n_elements, element == GGUF_STRING ? 8 : fixed_bytes(element),
                                "array elements");
}

static bool read_value(struct gguf_cursor *cursor, struct gguf_value *value)
{
    uint32_t type;
    uint64_t n_bytes;
    if (!read_name(cursor, GGUF_MAX_KEY_BYTES, CHORD_GGUF_METADATA, &value->key.n_bytes) ||
        !gguf_cursor_u32(cursor, &type))
        return false;
    if (gguf_value_type_name(type) == NULL)
        return gguf_cursor_fail(cursor, CHORD_GGUF_METADATA, "value type %" PRIu32 ", which does not exist",
                                type);
    value->type = value->element = (enum gguf_value_type)type;
    value->n_elements = 1;
    if (type == GGUF_ARRAY && !read_array_head(cursor, value))
        return false;

    const uint64_t data_at = cursor->at;
    bool ok;
    if (type == GGUF_STRING)
        ok = gguf_cursor_skip_string(cursor, GGUF_MAX_STRING_BYTES, &n_bytes);
    else if (value->element == GGUF_STRING)
        ok = skip_strings(cursor, value->n_elements);
    else // no overflow: read_array_head has bounded the product
        ok = gguf_cursor_skip(cursor, value->n_elements * fixed_bytes(value->element));
    if (!ok || (value->element == GGUF_BOOL && !check_bools(cursor, value->n_elements)))
        return false;
    value->n_data_bytes = cursor->at - data_at;
    return true;
}

// Shape, type and size of a tensor; its span is checked when the data section's start is known.
static bool read_shape(struct parser *parser, struct gguf_tensor *tensor)
{
    struct gguf_cursor *cursor = &parser->cursor;
    uint64_t n_elements = 1;
    if (!gguf_cursor_u32(cursor, &tensor->n_dimensions))
        return false;
    if (tensor->n_dimensions < 1 || tensor->n_dimensions > GGUF_MAX_DIMENSIONS)
        return gguf_cursor_fail(cursor, CHORD_GGUF_TENSOR, "%" PRIu32 " dimensions; 1 to %d are allowed",
                                tensor->n_dimensions, GGUF_MAX_DIMENSIONS);
    for (uint32_t i = 0; i < GGUF_MAX_DIMENSIONS; i++) {
        tensor->ne[i] = 1;
        if (i < tensor->n_dimensions && !gguf_cursor_u64(cursor, &tensor->ne[i]))
            return false;
        if (tensor->ne[i] == 0)
            return gguf_cursor_fail(cursor, CHORD_GGUF_TENSOR, "dimension %" PRIu32 " is 0", i);
        if (!checked_mul(n_elements, tensor->ne[i], &n_elements) || n_elements > INT64_MAX)
            return gguf_cursor_fail(cursor, CHORD_GGUF_TENSOR,
                                    "its dimensions multiply to more than 2^63 elements");
    }
    if (!gguf_cursor_u32(cursor, &tensor->type) || !gguf_cursor_u64(cursor, &tensor->offset))
        return false;

    const struct quant_traits *traits = quant_traits(tensor->type);
    if (traits == NULL) {
        const char *unread = quant_unread_type_name(tensor->type);
        if (unread == NULL)
            return gguf_cursor_fail(cursor, CHORD_GGUF_TENSOR_TYPE, "type %" PRIu32 ", which does not exist",
                                    tensor->type);
        tensor->n_bytes = 0;
        return parser->any_type ||
               gguf_cursor_fail(cursor, CHORD_GGUF_TENSOR_TYPE,
                                "chord does not read type %" PRIu32 ", %s; use a file of another type, such "
                                "as Q4_K_M or Q8_0",
                                tensor->type, unread);
    }
    if (tensor->ne[0] % traits->block_size != 0)
        return gguf_cursor_fail(cursor, CHORD_GGUF_TENSOR,
                                "rows of %" PRIu64 " elements, which is no multiple of %s's block of %" PRIu32,
                                tensor->ne[0], traits->name, traits->block_size);
    if (!quant_tensor_bytes(tensor->type, tensor->ne[0], n_elements / tensor->ne[0], &tensor->n_bytes))
        return gguf_cursor_fail(cursor, CHORD_GGUF_TENSOR, "its size in bytes does not fit 64 bits");
    return true;
}

static bool read_counts(struct parser *parser)
{
    struct gguf_cursor *cursor = &parser->cursor;
    struct gguf_header *header = parser->header;
    if (!gguf_cursor_u64(cursor, &header->n_tensors) || !gguf_cursor_u64(cursor, &header->n_values))
        return false;
    if (header->n_tensors > GGUF_MAX_TENSORS)
        return gguf_cursor_fail(cursor, CHORD_GGUF_LIMIT,
                                "%" PRIu64 " tensors, where %u is the most that chord reads",
                                header->n_tensors, GGUF_MAX_TENSORS);
    if (header->n_values > GGUF_MAX_VALUES)
        return gguf_cursor_fail(cursor, CHORD_GGUF_LIMIT,
                                "%" PRIu64 " metadata keys, where %u is the most that chord reads",
                                header->n_values, GGUF_MAX_VALUES);
    return gguf_cursor_has_room(cursor, header->n_values, LEAST_VALUE_BYTES, "metadata keys") &&
           gguf_cursor_has_room(cursor, header->n_tensors, LEAST_TENSOR_BYTES, "tensors");
}

static bool fail_memory(struct gguf_cursor *cursor, uint64_t bytes, const char *what)
{
    cursor->status = memory_account_fail(cursor->account, cursor->err, bytes, what);
    return false;
}

static bool read_values(struct parser *parser)
{
    struct gguf_cursor *cursor = &parser->cursor;
    struct gguf_header *header = parser->header;
    header->values = memory_zalloc(cursor->account, MEMORY_METADATA, header->n_values, sizeof *header->values);
    if (header->values == NULL)
        return fail_memory(cursor, header->n_values * sizeof *header->values, "the file's metadata");
    cursor->item = "key";
    cursor->n_items = header->n_values;
    for (cursor->index = 0; cursor->index < header->n_values; cursor->index++)
        if (!read_value(cursor, &header->values[cursor->index]))
            return false;
    cursor->item = NULL;
    return true;
}

static bool read_tensors(struct parser *parser)
{
    struct gguf_cursor *cursor = &parser->cursor;
    struct gguf_header *header = parser->header;
    // Checked again: the values may have taken the room.
    if (!gguf_cursor_has_room(cursor, header->n_tensors, LEAST_TENSOR_BYTES, "tensors"))
        return false;
    header->tensors =
        memory_zalloc(cursor->account, MEMORY_METADATA, header->n_tensors, sizeof *header->tensors);
    if (header->tensors == NULL)
        return fail_memory(cursor, header->n_tensors * sizeof *header->tensors, "the tensor directory");
    cursor->item = "tensor";
    cursor->n_items = header->n_tensors;
    for (cursor->index = 0; cursor->index < header->n_tensors; cursor->index++) {
        struct gguf_tensor *tensor = &header->tensors[cursor->index];
        if (!read_name(cursor, GGUF_MAX_TENSOR_NAME_BYTES, CHORD_GGUF_TENSOR, &tensor->name.n_bytes) ||
            !read_shape(parser, tensor))
            return false;
    }
    cursor->item = NULL;
    return true;
}

// Gives the buffer to the header, without what was read beyond the directory unless that is little: the copy is a good
// part of the time that opening takes.
static bool keep_bytes(struct parser *parser)
{
    struct gguf_cursor *cursor = &parser->cursor;
    struct gguf_header *header = parser->header;
    header->n_bytes = cursor->at;
    if (cursor->n_read - cursor->at > cursor->at / 4) {
        unsigned char *fitting =
            memory_resize(cursor->account, MEMORY_METADATA, cursor->bytes, cursor->at);
        if (fitting == NULL)
            return fail_memory(cursor, cursor->at, "the file's header");
        cursor->bytes = fitting;
        cursor->n_read = cursor->at;
    }
    header->bytes = cursor->bytes;
    return true;
}

// Follows the layout a second time, by the lengths that the first pass has checked: only now does the buffer have
// its place, so only now can values and names point into it.
static void point_into_bytes(struct gguf_header *header)
{
    const unsigned char *at = header->bytes + 4 + 4 + 8 + 8;
    for (uint64_t i = 0; i < header->n_values; i++) {
        struct gguf_value *value = &header->values[i];
        value->key.bytes = (const char *)at + 8;
        at += 8 + value->key.n_bytes + 4 + (value->type == GGUF_ARRAY ? 4 + 8 : 0);
        value->data = at;
        at += value->n_data_bytes;
    }
    for (uint64_t i = 0; i < header->n_tensors; i++) {
        struct gguf_tensor *tensor = &header->tensors[i];
        tensor->name.bytes = (const char *)at + 8;
        at += 8 + tensor->name.n_bytes + 4 + 8 * (uint64_t)tensor->n_dimensions + 4 + 8;
    }
}

static bool index_keys(struct parser *parser, uint64_t seed)
{
    struct gguf_cursor *cursor = &parser->cursor;
    struct gguf_header *header = parser->header;
    char name[80];
    if (!string_table_init(&header->keys, cursor->account, MEMORY_METADATA, header->n_values, seed))
        return fail_memory(cursor, header->n_values * 96 + 1024, "the index of metadata keys");
    for (uint64_t i = 0; i < header->n_values; i++) {
        const struct gguf_string *key = &header->values[i].key;
        if (!string_table_insert(&header->keys, key->bytes, key->n_bytes, (uint32_t)i))
            return gguf_cursor_fail(cursor, CHORD_GGUF_METADATA, "the metadata key '%s' appears twice",
                                    chord_printable(name, sizeof name, key->bytes, (size_t)key->n_bytes));
    }
    return true;
}

static bool read_alignment(struct parser *parser)
{
    struct gguf_header *header = parser->header;
    const struct gguf_value *value = gguf_header_find(header, "general.alignment");
    header->alignment = GGUF_DEFAULT_ALIGNMENT;
    if (value == NULL)
        return true;
    if (value->type != GGUF_UINT32)
        return gguf_cursor_fail(&parser->cursor, CHORD_GGUF_ALIGNMENT,
                                "general.alignment is of type %s and must be uint32",
                                gguf_value_type_name(value->type));
    header->alignment = gguf_load_u32(value->data);
    if (!is_power_of_two(header->alignment))
        return gguf_cursor_fail(&parser->cursor, CHORD_GGUF_ALIGNMENT,
                                "general.alignment is %" PRIu32 ", which is not a power of two",
                                header->alignment);
    return true;
}

static bool locate_tensors(struct parser *parser)
{
    struct gguf_header *header = parser->header;
    // Cannot overflow: a header is at most 256 MiB, an alignment 2 GiB.
    const uint64_t alignment = header->alignment;
    const uint64_t data_at = (header->n_bytes + alignment - 1) & ~(alignment - 1);
    return gguf_check_spans(&parser->cursor, header->tensors, header->n_tensors, data_at, header->alignment);
}

enum chord_status gguf_header_read(struct gguf_header *out, const struct gguf_source *source, bool any_type,
                                   uint64_t seed, struct memory_account *account, struct chord_error *err)
{
    struct parser parser = {.header = out, .any_type = any_type};
    *out = (struct gguf_header){0};
    gguf_cursor_init(&parser.cursor, source, account, err);
    if (!read_magic(&parser) || !read_counts(&parser) || !read_values(&parser) || !read_tensors(&parser) ||
        !keep_bytes(&parser)) {
        gguf_cursor_free(&parser.cursor);
        gguf_header_free(out, account);
        return parser.cursor.status;
    }
    point_into_bytes(out);
    if (!index_keys(&parser, seed) || !read_alignment(&parser) || !locate_tensors(&parser))
        gguf_header_free(out, account);
    return parser.cursor.status;
}

void gguf_header_free(struct gguf_header *header, struct memory_account *account)
{
    string_table_free(&header->keys, account);
    memory_free(account, header->tensors);
    memory_free(account, header->values);
    memory_free(account, header->bytes);
    *header = (struct gguf_header){0};
}

const struct gguf_value *gguf_header_find(const struct gguf_header *header, const char *key)
{
    const int64_t index = string_table_find(&header->keys, key, strlen(key));
    return index < 0 ? NULL : &header->values[index];
}
