// Typed reads of metadata values. Every value has been checked when the header was read: here nothing can be malformed,
// only of another type than the caller wants.
#include "gguf/gguf.h"

#include "base/half.h"
#include "gguf/cursor.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

const char *gguf_value_type_name(uint32_t type)
{
    static const char *const names[] = {
        [GGUF_UINT8] = "uint8",     [GGUF_INT8] = "int8",     [GGUF_UINT16] = "uint16",
        [GGUF_INT16] = "int16",     [GGUF_UINT32] = "uint32", [GGUF_INT32] = "int32",
        [GGUF_FLOAT32] = "float32", [GGUF_BOOL] = "bool",     [GGUF_STRING] = "string",
        [GGUF_ARRAY] = "array",     [GGUF_UINT64] = "uint64", [GGUF_INT64] = "int64",
        [GGUF_FLOAT64] = "float64",
    };
    return type < sizeof names / sizeof names[0] ? names[type] : NULL;
}

// An integer of any type: u64 and i64 both fit.
struct integer {
    bool negative;
    uint64_t bits; // two's complement when negative
};

// False: not an integer (nor bool), or no such element.
static bool load_integer(const struct gguf_value *value, uint64_t index, struct integer *out)
{
    const unsigned char *p = value->data;
    int64_t wide;
    if (index >= value->n_elements)
        return false;
    switch (value->element) {
    case GGUF_UINT8:
    case GGUF_BOOL:
        *out = (struct integer){.bits = p[index]};
        return true;
    case GGUF_UINT16:
        *out = (struct integer){.bits = p[2 * index] | (uint64_t)p[2 * index + 1] << 8};
        return true;
    case GGUF_UINT32:
        *out = (struct integer){.bits = gguf_load_u32(p + 4 * index)};
        return true;
    case GGUF_UINT64:
        *out = (struct integer){.bits = gguf_load_u64(p + 8 * index)};
        return true;
    case GGUF_INT8:
        wide = (int8_t)p[index];
        break;
    case GGUF_INT16:
        wide = (int16_t)(p[2 * index] | p[2 * index + 1] << 8);
        break;
    case GGUF_INT32:
        wide = (int32_t)gguf_load_u32(p + 4 * index);
        break;
    case GGUF_INT64:
        wide = (int64_t)gguf_load_u64(p + 8 * index);
        break;
    default:
        return false;
    }
    *out = (struct integer){.negative = wide < 0, .bits = (uint64_t)wide};
    return true;
}

bool gguf_element_i64(const struct gguf_value *value, uint64_t index, int64_t *out)
{
    struct integer integer;
    if (!load_integer(value, index, &integer) || (!integer.negative && integer.bits > INT64_MAX))
        return false;
    *out = (int64_t)integer.bits;
    return true;
}

bool gguf_element_f64(const struct gguf_value *value, uint64_t index, double *out)
{
    struct integer integer;
    if (load_integer(value, index, &integer)) {
        *out = integer.negative ? (double)(int64_t)integer.bits : (double)integer.bits;
        return true;
    }
    if (index >= value->n_elements)
        return false;
    if (value->element == GGUF_FLOAT32) {
        *out = (double)float_from_bits(gguf_load_u32(value->data + 4 * index));
        return true;
    }
    if (value->element == GGUF_FLOAT64) {
        const uint64_t bits = gguf_load_u64(value->data + 8 * index);
        memcpy(out, &bits, sizeof *out);
        return true;
    }
    return false;
}

struct gguf_string_walk gguf_strings(const struct gguf_value *value)
{
    return (struct gguf_string_walk){.at = value->data,
                                     .n_left = value->element == GGUF_STRING ? value->n_elements : 0};
}

bool gguf_next_string(struct gguf_string_walk *walk, struct gguf_string *out)
{
    if (walk->n_left == 0)
        return false;
    out->n_bytes = gguf_load_u64(walk->at);
    out->bytes = (const char *)walk->at + 8;
    walk->at += 8 + out->n_bytes;
    walk->n_left--;
    return true;
}

static const char *path_of(const struct gguf *gguf)
{
    return gguf_file(gguf, 0)->path;
}

static enum chord_status find(const struct gguf *gguf, const char *key, const struct gguf_value **out,
                              struct chord_error *err)
{
    *out = gguf_find(gguf, key);
    if (*out == NULL)
        return chord_fail(err, CHORD_NOT_FOUND, "%s: the metadata key '%s' is missing", path_of(gguf), key);
    return CHORD_OK;
}

static enum chord_status fail_type(const struct gguf *gguf, const char *key, const struct gguf_value *value,
                                   const char *wanted, struct chord_error *err)
{
    if (value->type == GGUF_ARRAY)
        return chord_fail(err, CHORD_GGUF_METADATA,
                          "%s: the metadata key '%s' is an array of %s, where %s is wanted", path_of(gguf), key,
                          gguf_value_type_name(value->element), wanted);
    return chord_fail(err, CHORD_GGUF_METADATA, "%s: the metadata key '%s' is of type %s, where %s is wanted",
                      path_of(gguf), key, gguf_value_type_name(value->type), wanted);
}

static enum chord_status get_unsigned(const struct gguf *gguf, const char *key, uint64_t most, uint64_t *out,
                                      struct chord_error *err)
{
    const struct gguf_value *value;
    struct integer integer;
    const enum chord_status status = find(gguf, key, &value, err);
    if (status != CHORD_OK)
        return status;
    if (value->type == GGUF_ARRAY || value->type == GGUF_BOOL || !load_integer(value, 0, &integer))
        return fail_type(gguf, key, value, "an integer", err);
    if (integer.negative)
        return chord_fail(err, CHORD_GGUF_METADATA, "%s: the metadata key '%s' is %" PRId64 ", below 0",
                          path_of(gguf), key, (int64_t)integer.bits);
    if (integer.bits > most)
        return chord_fail(err, CHORD_GGUF_METADATA,
                          "%s: the metadata key '%s' is %" PRIu64 ", above %" PRIu64, path_of(gguf), key,
                          integer.bits, most);
    *out = integer.bits;
    return CHORD_OK;
}

enum chord_status gguf_get_u64(const struct gguf *gguf, const char *key, uint64_t *out, struct chord_error *err)
{
    return get_unsigned(gguf, key, UINT64_MAX, out, err);
}

enum chord_status gguf_get_u32(const struct gguf *gguf, const char *key, uint32_t *out, struct chord_error *err)
{
    uint64_t wide = 0;
    const enum chord_status status = get_unsigned(gguf, key, UINT32_MAX, &wide, err);
    if (status == CHORD_OK)
        *out = (uint32_t)wide;
    return status;
}

enum chord_status gguf_get_f32(const struct gguf *gguf, const char *key, float *out, struct chord_error *err)
{
    const struct gguf_value *value;
    double wide = 0;
    const enum chord_status status = find(gguf, key, &value, err);
    if (status != CHORD_OK)
        return status;
    if (value->type == GGUF_ARRAY || value->type == GGUF_BOOL || !gguf_element_f64(value, 0, &wide))
        return fail_type(gguf, key, value, "a number", err);
    if (isfinite(wide) && fabs(wide) > (double)float_from_bits(0x7f7fffff))
        return chord_fail(err, CHORD_GGUF_METADATA, "%s: the metadata key '%s' is %g, beyond single precision",
                          path_of(gguf), key, wide);
    *out = (float)wide;
    return CHORD_OK;
}

enum chord_status gguf_get_bool(const struct gguf *gguf, const char *key, bool *out, struct chord_error *err)
{
    const struct gguf_value *value;
    const enum chord_status status = find(gguf, key, &value, err);
    if (status != CHORD_OK)
        return status;
    if (value->type != GGUF_BOOL)
        return fail_type(gguf, key, value, "a bool", err);
    *out = value->data[0] != 0;
    return CHORD_OK;
}

enum chord_status gguf_get_string(const struct gguf *gguf, const char *key, struct gguf_string *out,
                                  struct chord_error *err)
{
    const struct gguf_value *value;
    const enum chord_status status = find(gguf, key, &value, err);
    if (status != CHORD_OK)
        return status;
    if (value->type != GGUF_STRING)
        return fail_type(gguf, key, value, "a string", err);
    struct gguf_string_walk walk = gguf_strings(value);
    gguf_next_string(&walk, out);
    return CHORD_OK;
}

enum chord_status gguf_get_u32_or(const struct gguf *gguf, const char *key, uint32_t absent, uint32_t *out,
                                  struct chord_error *err)
{
    if (gguf_find(gguf, key) != NULL)
        return gguf_get_u32(gguf, key, out, err);
    *out = absent;
    return CHORD_OK;
}

enum chord_status gguf_get_f32_or(const struct gguf *gguf, const char *key, float absent, float *out,
                                  struct chord_error *err)
{
    if (gguf_find(gguf, key) != NULL)
        return gguf_get_f32(gguf, key, out, err);
    *out = absent;
    return CHORD_OK;
}

enum chord_status gguf_get_bool_or(const struct gguf *gguf, const char *key, bool absent, bool *out,
                                   struct chord_error *err)
{
    if (gguf_find(gguf, key) != NULL)
        return gguf_get_bool(gguf, key, out, err);
    *out = absent;
    return CHORD_OK;
}
