// Headers of model files, taken apart, changed and put together again, for fuzz_model. A change is 6 bytes of the input. Nothing here
// is checked but what the folder's own headers must be: these come from tools/test.js.
#ifndef CHORD_FUZZ_MODEL_HEADER_H
#define CHORD_FUZZ_MODEL_HEADER_H

#include "gguf/gguf.h"
#include "quant/quant.h"
#include "target.h"

#include <string.h>

#define MOST_MODELS 64
#define MOST_PAIRS 128
#define MOST_TENSORS 1024
#define MOST_FIELDS 8192
#define MOST_HEADER_BYTES (1u << 20)
#define MOST_FILE_BYTES (UINT64_C(1) << 30) // most of it zeros that take no room
#define CHANGE_BYTES 6
#define ALIGNMENT 32

struct text {
    const char *bytes;
    uint64_t n;
};

struct pair {
    struct text key;
    uint32_t type, element;
    uint64_t n_elements;   // of arrays
    const uint8_t *data;   // of arrays and strings, as in the file but for the length of strings
    uint64_t n_data_bytes; // of them
    uint64_t value;        // of all others, its bits
};

struct tensor {
    struct text name;
    uint32_t n_dimensions;
    uint64_t ne[GGUF_MAX_DIMENSIONS];
    uint32_t type;
    uint64_t offset;
};

struct model {
    uint32_t n_pairs, n_tensors;
    struct pair pairs[MOST_PAIRS];
    struct tensor tensors[MOST_TENSORS];
};

// A number of the serialized header that says how the rest is to be read.
struct field {
    uint32_t at, n_bytes;
};

struct serialized {
    uint32_t n, n_fields;
    struct field fields[MOST_FIELDS];
    uint8_t bytes[MOST_HEADER_BYTES];
};

static struct model models[MOST_MODELS];
static uint32_t n_models;
static char made_keys[1u << 18];
static uint64_t n_made_keys; // bytes

// ---- Reading the headers -----------------------------------------------------------------------------------------------

struct reader {
    const uint8_t *at, *end;
};

static const uint8_t *take(struct reader *r, uint64_t n)
{
    require(n <= (uint64_t)(r->end - r->at), "headers of the folder are whole");
    r->at += n;
    return r->at - n;
}

static uint64_t take_number(struct reader *r, unsigned n_bytes)
{
    uint64_t number = 0;
    memcpy(&number, take(r, n_bytes), n_bytes);
    return number;
}

static struct text take_text(struct reader *r)
{
    const uint64_t n = take_number(r, 8);
    return (struct text){(const char *)take(r, n), n};
}

// Of scalars; 0: strings, arrays, and types that do not exist.
static unsigned bytes_of(uint32_t type)
{
    static const uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type < sizeof bytes ? bytes[type] : 0;
}

static void read_pair(struct reader *r, struct pair *pair)
{
    pair->key = take_text(r);
    pair->type = pair->element = (uint32_t)take_number(r, 4);
    if (pair->type == GGUF_STRING) {
        const struct text text = take_text(r);
        pair->data = (const uint8_t *)text.bytes;
        pair->n_data_bytes = text.n;
    } else if (pair->type == GGUF_ARRAY) {
        pair->element = (uint32_t)take_number(r, 4);
        pair->n_elements = take_number(r, 8);
        pair->data = r->at;
        for (uint64_t i = 0; i < pair->n_elements; i++) {
            if (pair->element == GGUF_STRING)
                take_text(r);
            else
                take(r, bytes_of(pair->element));
        }
        pair->n_data_bytes = (uint64_t)(r->at - pair->data);
    } else {
        pair->value = take_number(r, bytes_of(pair->type));
    }
}

static void read_tensor(struct reader *r, struct tensor *tensor)
{
    tensor->name = take_text(r);
    tensor->n_dimensions = (uint32_t)take_number(r, 4);
    require(tensor->n_dimensions <= GGUF_MAX_DIMENSIONS, "headers of the folder are sound");
    for (uint32_t i = 0; i < tensor->n_dimensions; i++)
        tensor->ne[i] = take_number(r, 8);
    tensor->type = (uint32_t)take_number(r, 4);
    tensor->offset = take_number(r, 8);
}

static void read_model(const char *path)
{
    struct model *model = &models[n_models++];
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(MOST_HEADER_BYTES); // stays
    require(file != NULL && bytes != NULL, "headers of the folder can be read");
    struct reader r = {bytes, bytes + fread(bytes, 1, MOST_HEADER_BYTES, file)};
    fclose(file);
    take(&r, 8);
    model->n_tensors = (uint32_t)take_number(&r, 8);
    model->n_pairs = (uint32_t)take_number(&r, 8);
    require(model->n_pairs < MOST_PAIRS && model->n_tensors < MOST_TENSORS, "headers of the folder are small");
    for (uint32_t i = 0; i < model->n_pairs; i++)
        read_pair(&r, &model->pairs[i]);
    for (uint32_t i = 0; i < model->n_tensors; i++)
        read_tensor(&r, &model->tensors[i]);
}

// ---- Changing them -----------------------------------------------------------------------------------------------------

struct change {
    unsigned kind, which, how, raw;
};

// What `old` may become.
static uint64_t number(const struct change *c, uint64_t old)
{
    static const uint64_t numbers[] = {
        0,   1,    2,    3,    4,     5,     7,        8,         12,       16,         31,        32,
        33,  48,   64,   96,   127,   128,   192,      255,       256,      257,        512,       513,
        768, 1024, 4096, 7777, 65535, 65536, 1u << 20, INT32_MAX, 1u << 31, UINT32_MAX, INT64_MAX, UINT64_MAX};
    static const uint32_t floats[] = {0x80000000, 0x00000001, 0x322bcc77, 0x3f000000, 0x3f800000,
                                      0xbf800000, 0x41000000, 0x47c35000, 0x7149f2ca, 0xf149f2ca,
                                      0x7f800000, 0xff800000, 0x7fc00000};
    switch (c->how % 8) {
    case 0:
        return old + (c->raw & 0xff) % 9 - 4;
    case 1:
        return old << (c->raw % 64);
    case 2:
        return old >> (c->raw % 8);
    case 3:
        return old ^ UINT64_C(1) << c->raw % 64;
    case 4:
        return floats[c->raw % (sizeof floats / sizeof *floats)];
    case 5:
        return c->raw;
    default:
        return numbers[c->raw % (sizeof numbers / sizeof *numbers)];
    }
}

static struct text value_of(const struct model *model, const char *key)
{
    for (uint32_t i = 0; i < model->n_pairs; i++) {
        const struct pair *pair = &model->pairs[i];
        if (pair->type == GGUF_STRING && pair->key.n == strlen(key) && memcmp(pair->key.bytes, key, pair->key.n) == 0)
            return (struct text){(const char *)pair->data, pair->n_data_bytes};
    }
    return (struct text){"", 0};
}

// "llama.block_count" of an architecture, from the same key of another; lives until the next input.
static struct text key_of(struct text key, struct text from, struct text to)
{
    if (key.n <= from.n || key.bytes[from.n] != '.' || memcmp(key.bytes, from.bytes, from.n) != 0)
        return key;
    const uint64_t n = to.n + key.n - from.n;
    if (n > sizeof made_keys - n_made_keys)
        return key;
    char *made = made_keys + n_made_keys;
    memcpy(made, to.bytes, to.n);
    memcpy(made + to.n, key.bytes + from.n, key.n - from.n);
    n_made_keys += n;
    return (struct text){made, n};
}

// Only the name and the keys: hyperparameters and tensors stay those of the other architecture.
static void become(struct model *model, const struct model *other)
{
    const struct text from = value_of(model, "general.architecture"), to = value_of(other, "general.architecture");
    for (uint32_t i = 0; i < model->n_pairs; i++) {
        struct pair *pair = &model->pairs[i];
        if ((const char *)pair->data == from.bytes && pair->type == GGUF_STRING) {
            pair->data = (const uint8_t *)to.bytes;
            pair->n_data_bytes = to.n;
        }
        pair->key = key_of(pair->key, from, to);
    }
}

// A pair of another model, in place of this model's of that key.
static void adopt_pair(struct model *model, const struct model *other, unsigned which)
{
    struct pair pair = other->pairs[which % other->n_pairs];
    pair.key = key_of(pair.key, value_of(other, "general.architecture"), value_of(model, "general.architecture"));
    for (uint32_t i = 0; i < model->n_pairs; i++) {
        const struct text key = model->pairs[i].key;
        if (key.n == pair.key.n && memcmp(key.bytes, pair.key.bytes, key.n) == 0) {
            model->pairs[i] = pair;
            return;
        }
    }
    if (model->n_pairs < MOST_PAIRS)
        model->pairs[model->n_pairs++] = pair;
}

static void adopt_tensor(struct model *model, const struct model *other, unsigned which)
{
    const struct tensor tensor = other->tensors[which % other->n_tensors];
    for (uint32_t i = 0; i < model->n_tensors; i++) {
        const struct text name = model->tensors[i].name;
        if (name.n == tensor.name.n && memcmp(name.bytes, tensor.name.bytes, name.n) == 0) {
            model->tensors[i] = tensor;
            return;
        }
    }
    if (model->n_tensors < MOST_TENSORS)
        model->tensors[model->n_tensors++] = tensor;
}

static void cut_array(struct pair *pair, uint64_t n)
{
    struct reader r = {pair->data, pair->data + pair->n_data_bytes};
    pair->n_elements = n % (pair->n_elements + 1);
    for (uint64_t i = 0; i < pair->n_elements; i++) {
        if (pair->element == GGUF_STRING)
            take_text(&r);
        else
            take(&r, bytes_of(pair->element));
    }
    pair->n_data_bytes = (uint64_t)(r.at - pair->data);
}

static void change_pair(struct pair *pair, const struct change *c)
{
    const struct model *other = &models[c->how % n_models];
    if (pair->type == GGUF_ARRAY) {
        cut_array(pair, number(c, pair->n_elements));
    } else if (pair->type == GGUF_STRING) {
        for (uint32_t i = 0; i < other->n_pairs; i++) { // the text of another
            const struct pair *from = &other->pairs[(c->raw + i) % other->n_pairs];
            if (from->type == GGUF_STRING) {
                pair->data = from->data;
                pair->n_data_bytes = from->n_data_bytes;
                return;
            }
        }
    } else {
        pair->value = number(c, pair->value);
    }
}

// A hyperparameter, and all numbers and dimensions that are the same.
static void change_all(struct model *model, const struct change *c)
{
    const struct pair *chosen = &model->pairs[c->which % model->n_pairs];
    if (bytes_of(chosen->type) != 4)
        return;
    const uint64_t old = chosen->value, changed = number(c, old) & UINT32_MAX;
    for (uint32_t i = 0; i < model->n_pairs; i++)
        if (model->pairs[i].type == chosen->type && model->pairs[i].value == old)
            model->pairs[i].value = changed;
    for (uint32_t i = 0; i < model->n_tensors; i++)
        for (uint32_t k = 0; k < GGUF_MAX_DIMENSIONS; k++)
            if (model->tensors[i].ne[k] == old)
                model->tensors[i].ne[k] = changed;
}

static void change_tensor(struct tensor *tensor, const struct change *c)
{
    switch (c->how / 8 % 8) {
    case 0:
        tensor->n_dimensions = 1 + c->raw % GGUF_MAX_DIMENSIONS;
        for (uint32_t i = 0; i < GGUF_MAX_DIMENSIONS; i++)
            tensor->ne[i] += tensor->ne[i] == 0;
        break;
    case 1:
        tensor->offset = number(c, tensor->offset);
        break;
    case 2:
        tensor->type = (uint32_t)number(c, tensor->type);
        break;
    case 3:
    case 4:
        tensor->type = c->raw % 43;
        break;
    default:
        tensor->ne[c->raw / 256 % 3] = number(c, tensor->ne[c->raw / 256 % 3]);
    }
}

// Changes of the second kind are of the serialized header.
static void change_model(struct model *model, const struct change *c)
{
    if (model->n_pairs == 0 || model->n_tensors == 0)
        return;
    struct pair *pair = &model->pairs[c->which % model->n_pairs];
    struct tensor *tensor = &model->tensors[c->which % model->n_tensors];
    const struct model *other = &models[c->raw % n_models];
    switch (c->kind % 16) {
    case 0:
    case 1:
    case 2:
        change_pair(pair, c);
        break;
    case 3:
        change_all(model, c);
        break;
    case 4:
    case 5:
        change_tensor(tensor, c);
        break;
    case 6: // one type for all of one name
        for (uint32_t i = 0; i < model->n_tensors; i++)
            if (model->tensors[i].type == tensor->type)
                model->tensors[i].type = c->raw % 43;
        break;
    case 7:
        become(model, other);
        break;
    case 8:
        adopt_pair(model, other, c->which);
        break;
    case 9:
        adopt_tensor(model, other, c->which);
        break;
    case 10:
        memmove(pair, pair + 1, (size_t)(&model->pairs[--model->n_pairs] - pair) * sizeof *pair);
        break;
    case 11:
        memmove(tensor, tensor + 1, (size_t)(&model->tensors[--model->n_tensors] - tensor) * sizeof *tensor);
        break;
    case 12:
        if (bytes_of(pair->type) != 0 && bytes_of(c->raw % 13) != 0)
            pair->type = c->raw % 13;
        break;
    default:
        break;
    }
}

// What the tensor takes from its offset on; 0: more than a file may have, or none can say.
static uint64_t bytes_of_tensor(const struct tensor *tensor)
{
    uint64_t n_rows = 1, n_bytes;
    for (uint32_t k = 1; k < tensor->n_dimensions; k++)
        n_rows = tensor->ne[k] < 1u << 20 && n_rows < 1u << 20 ? n_rows * tensor->ne[k] : MOST_FILE_BYTES;
    if (tensor->ne[0] >= MOST_FILE_BYTES || n_rows >= MOST_FILE_BYTES ||
        !quant_tensor_bytes(tensor->type, tensor->ne[0], n_rows, &n_bytes) || n_bytes >= MOST_FILE_BYTES)
        return 0;
    return (n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

// Puts the tensors one behind the other.
static void place_tensors(struct model *model)
{
    uint64_t at = 0;
    for (uint32_t i = 0; i < model->n_tensors; i++) {
        model->tensors[i].offset = at;
        at += bytes_of_tensor(&model->tensors[i]);
    }
}

static uint64_t data_bytes(const struct model *model)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < model->n_tensors; i++) {
        const uint64_t offset = model->tensors[i].offset, n_bytes = bytes_of_tensor(&model->tensors[i]);
        if (offset < MOST_FILE_BYTES && offset + n_bytes > most)
            most = offset + n_bytes;
    }
    return most < MOST_FILE_BYTES ? most : MOST_FILE_BYTES;
}

static void put(struct serialized *s, const void *bytes, uint64_t n)
{
    require(n <= MOST_HEADER_BYTES - s->n, "headers stay small");
    memcpy(s->bytes + s->n, bytes, n);
    s->n += (uint32_t)n;
}

static void note_field(struct serialized *s, unsigned n_bytes)
{
    if (s->n_fields < MOST_FIELDS)
        s->fields[s->n_fields++] = (struct field){s->n, n_bytes};
}

static void put_number(struct serialized *s, uint64_t value, unsigned n_bytes)
{
    note_field(s, n_bytes);
    put(s, &value, n_bytes);
}

static void put_text(struct serialized *s, struct text text)
{
    put_number(s, text.n, 8);
    put(s, text.bytes, text.n);
}

static void serialize(struct serialized *s, const struct model *model)
{
    s->n = s->n_fields = 0;
    put(s, "GGUF", 4);
    put_number(s, 3, 4);
    put_number(s, model->n_tensors, 8);
    put_number(s, model->n_pairs, 8);
    for (uint32_t i = 0; i < model->n_pairs; i++) {
        const struct pair *pair = &model->pairs[i];
        put_text(s, pair->key);
        put_number(s, pair->type, 4);
        if (pair->type == GGUF_STRING) {
            put_text(s, (struct text){(const char *)pair->data, pair->n_data_bytes});
        } else if (pair->type == GGUF_ARRAY) {
            put_number(s, pair->element, 4);
            put_number(s, pair->n_elements, 8);
            if (pair->n_elements > 0) // its first: a number or the length of a string
                note_field(s, 1);
            put(s, pair->data, pair->n_data_bytes);
        } else {
            put_number(s, pair->value, bytes_of(pair->type));
        }
    }
    for (uint32_t i = 0; i < model->n_tensors; i++) {
        const struct tensor *tensor = &model->tensors[i];
        put_text(s, tensor->name);
        put_number(s, tensor->n_dimensions, 4);
        for (uint32_t k = 0; k < tensor->n_dimensions; k++)
            put_number(s, tensor->ne[k], 8);
        put_number(s, tensor->type, 4);
        put_number(s, tensor->offset, 8);
    }
}

static void change_serialized(struct serialized *s, const struct change *c)
{
    if (c->kind % 16 == 13) {
        const struct field *field = &s->fields[c->which % s->n_fields];
        uint64_t value = 0;
        memcpy(&value, s->bytes + field->at, field->n_bytes);
        value = number(c, value);
        memcpy(s->bytes + field->at, &value, field->n_bytes);
    } else if (c->kind % 16 == 14) { // the byte behind it: of a name, say
        const struct field *field = &s->fields[c->which % s->n_fields];
        s->bytes[field->at + field->n_bytes < s->n ? field->at + field->n_bytes : field->at] ^= 1u << c->raw % 8;
    } else if (c->kind % 16 == 15) {
        s->bytes[(c->which | c->how << 16) % s->n] = (uint8_t)c->raw;
    }
}

#endif
