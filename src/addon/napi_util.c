#include "addon/napi_util.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct addon *addon_of(napi_env env)
{
    void *data = NULL;
    napi_get_instance_data(env, &data);
    return data;
}

void addon_release(struct addon *addon)
{
    if (--addon->n_references == 0)
        free(addon);
}

void util_throw_last(napi_env env)
{
    const napi_extended_error_info *info = NULL;
    bool pending = false;
    napi_get_last_error_info(env, &info);
    const char *message =
        info != NULL && info->error_message != NULL ? info->error_message : "a call of Node-API failed";
    napi_is_exception_pending(env, &pending);
    if (!pending)
        napi_throw_error(env, NULL, message);
}

napi_value util_make_error(napi_env env, const struct chord_error *error)
{
    struct addon *addon = addon_of(env);
    napi_value constructor = NULL;
    napi_value arguments[2];
    napi_value made = NULL;
    if (napi_create_string_utf8(env, error->message, NAPI_AUTO_LENGTH, &arguments[0]) != napi_ok)
        return NULL;
    if (napi_create_object(env, &arguments[1]) != napi_ok ||
        !util_set_string(env, arguments[1], "code", chord_status_name(error->code)))
        return NULL;
    if (addon->error_class != NULL && napi_get_reference_value(env, addon->error_class, &constructor) == napi_ok &&
        constructor != NULL && napi_new_instance(env, constructor, 2, arguments, &made) == napi_ok)
        return made;
    return NULL;
}

napi_value util_throw(napi_env env, const struct chord_error *error)
{
    napi_value made = util_make_error(env, error);
    if (made != NULL)
        napi_throw(env, made);
    else
        util_throw_last(env);
    return NULL;
}

napi_value util_throw_code(napi_env env, enum chord_status code, const char *message)
{
    struct chord_error error = {.code = code};
    snprintf(error.message, sizeof error.message, "%s", message);
    return util_throw(env, &error);
}

// ---- Handles ---------------------------------------------------------------------------------------------------------

// Random numbers: a tag names a kind of object of this addon and of no other.
static const napi_type_tag handle_tags[] = {
    [HANDLE_MODEL] = {0x6d1c0f6c7f3b4f1bULL, 0x9a47e1f2c85d3e10ULL},
    [HANDLE_JOB] = {0x2b8d94e1a07c4c6eULL, 0x83f5b7d6e2194a5cULL},
    [HANDLE_CANCEL] = {0xe59a3d7b14f84207ULL, 0xb1c26f08d97a5e43ULL},
    [HANDLE_TOKENIZER] = {0x47f0c2b95d1e4a8bULL, 0xa6d81e3f7b092c54ULL},
    [HANDLE_FILE] = {0x91be5a3c68d74f20ULL, 0x8e0d7c4b3f2a1695ULL},
    [HANDLE_SESSION] = {0x5d27f08e9b3c416aULL, 0xb60f3a91c7e8254dULL},
    [HANDLE_QUANTIZER] = {0x3ad96c52e84b47f1ULL, 0xbc17f0a52d6e4983ULL},
    [HANDLE_GRAMMAR] = {0x70e4b9165fd2438cULL, 0x9d3c58a1f6027be4ULL},
};
static const char *const handle_names[] = {
    [HANDLE_MODEL] = "model",         [HANDLE_JOB] = "job",         [HANDLE_CANCEL] = "cancel",
    [HANDLE_TOKENIZER] = "tokenizer", [HANDLE_FILE] = "file",       [HANDLE_SESSION] = "session",
    [HANDLE_QUANTIZER] = "quantizer", [HANDLE_GRAMMAR] = "grammar",
};

napi_value util_make_handle(napi_env env, enum handle_type type, void *data, napi_finalize finalize)
{
    napi_value object;
    NAPI_TRY(env, napi_create_object(env, &object));
    NAPI_TRY(env, napi_type_tag_object(env, object, &handle_tags[type]));
    NAPI_TRY(env, napi_wrap(env, object, data, finalize, NULL, NULL));
    return object;
}

void *util_get_handle(napi_env env, napi_value value, enum handle_type type)
{
    napi_valuetype kind;
    bool matches = false;
    void *data = NULL;
    NAPI_TRY(env, napi_typeof(env, value, &kind));
    if (kind == napi_object)
        NAPI_TRY(env, napi_check_object_type_tag(env, value, &handle_tags[type], &matches));
    if (!matches) {
        char message[64];
        snprintf(message, sizeof message, "not a handle of a %s", handle_names[type]);
        napi_throw_type_error(env, NULL, message);
        return NULL;
    }
    NAPI_TRY(env, napi_unwrap(env, value, &data));
    return data;
}

// ---- Arguments -------------------------------------------------------------------------------------------------------

bool util_arguments(napi_env env, napi_callback_info info, size_t n, napi_value *out)
{
    size_t given = n;
    NAPI_TRY(env, napi_get_cb_info(env, info, &given, out, NULL, NULL));
    return true;
}

bool util_is_nullish(napi_env env, napi_value value)
{
    napi_valuetype kind = napi_undefined;
    napi_typeof(env, value, &kind);
    return kind == napi_undefined || kind == napi_null;
}

char *util_get_string(napi_env env, napi_value value, size_t *n_bytes)
{
    size_t n = 0;
    NAPI_TRY(env, napi_get_value_string_utf8(env, value, NULL, 0, &n));
    char *text = malloc(n + 1);
    if (text == NULL) {
        util_throw_code(env, CHORD_OUT_OF_MEMORY, "no memory left for a string");
        return NULL;
    }
    if (napi_get_value_string_utf8(env, value, text, n + 1, &n) != napi_ok) {
        free(text);
        util_throw_last(env);
        return NULL;
    }
    if (n_bytes != NULL)
        *n_bytes = n;
    return text;
}

bool util_get_double(napi_env env, napi_value value, double *out)
{
    NAPI_TRY(env, napi_get_value_double(env, value, out));
    return true;
}

bool util_get_bool(napi_env env, napi_value value, bool *out)
{
    NAPI_TRY(env, napi_get_value_bool(env, value, out));
    return true;
}

bool util_get_count(napi_env env, napi_value value, uint64_t *out)
{
    double number;
    if (!util_get_double(env, value, &number))
        return false;
    if (!(number >= 0 && number <= 9007199254740992.0)) {
        napi_throw_range_error(env, NULL, "not an integer from 0 to 2^53");
        return false;
    }
    *out = (uint64_t)number;
    return true;
}

static bool get_typed(napi_env env, napi_value value, napi_typedarray_type wanted, void **out, size_t *n)
{
    bool is = false;
    napi_typedarray_type type = napi_int8_array;
    NAPI_TRY(env, napi_is_typedarray(env, value, &is));
    if (is)
        NAPI_TRY(env, napi_get_typedarray_info(env, value, &type, n, out, NULL, NULL));
    if (!is || type != wanted) {
        napi_throw_type_error(env, NULL, "not a typed array of the right type");
        return false;
    }
    return true;
}

bool util_get_u8s(napi_env env, napi_value value, uint8_t **out, size_t *n)
{
    void *data = NULL;
    if (!get_typed(env, value, napi_uint8_array, &data, n))
        return false;
    *out = data;
    return true;
}

bool util_get_u32s(napi_env env, napi_value value, const uint32_t **out, size_t *n)
{
    void *data = NULL;
    if (!get_typed(env, value, napi_uint32_array, &data, n))
        return false;
    *out = data;
    return true;
}

bool util_get_f32s(napi_env env, napi_value value, const float **out, size_t *n)
{
    void *data = NULL;
    if (!get_typed(env, value, napi_float32_array, &data, n))
        return false;
    *out = data;
    return true;
}

// *found is false when the property is undefined.
static bool get_option(napi_env env, napi_value object, const char *name, napi_value *value, bool *found)
{
    NAPI_TRY(env, napi_get_named_property(env, object, name, value));
    *found = !util_is_nullish(env, *value);
    return true;
}

bool util_option_double(napi_env env, napi_value object, const char *name, double *out)
{
    napi_value value;
    bool found;
    if (!get_option(env, object, name, &value, &found))
        return false;
    return !found || util_get_double(env, value, out);
}

bool util_option_float(napi_env env, napi_value object, const char *name, float *out)
{
    double number = *out;
    if (!util_option_double(env, object, name, &number))
        return false;
    *out = (float)number;
    return true;
}

bool util_option_u64(napi_env env, napi_value object, const char *name, uint64_t *out)
{
    napi_value value;
    bool found;
    if (!get_option(env, object, name, &value, &found))
        return false;
    return !found || util_get_count(env, value, out);
}

bool util_option_u32(napi_env env, napi_value object, const char *name, uint32_t *out)
{
    uint64_t number = *out;
    if (!util_option_u64(env, object, name, &number))
        return false;
    *out = number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
    return true;
}

bool util_option_bool(napi_env env, napi_value object, const char *name, bool *out)
{
    napi_value value;
    bool found;
    if (!get_option(env, object, name, &value, &found))
        return false;
    return !found || util_get_bool(env, value, out);
}

// ---- Results ---------------------------------------------------------------------------------------------------------

bool util_set(napi_env env, napi_value object, const char *name, napi_value value)
{
    if (value == NULL)
        return false;
    NAPI_TRY(env, napi_set_named_property(env, object, name, value));
    return true;
}

bool util_set_double(napi_env env, napi_value object, const char *name, double number)
{
    napi_value value;
    NAPI_TRY(env, napi_create_double(env, number, &value));
    return util_set(env, object, name, value);
}

bool util_set_bool(napi_env env, napi_value object, const char *name, bool truth)
{
    napi_value value;
    NAPI_TRY(env, napi_get_boolean(env, truth, &value));
    return util_set(env, object, name, value);
}

bool util_set_string(napi_env env, napi_value object, const char *name, const char *text)
{
    napi_value value;
    if (text == NULL)
        NAPI_TRY(env, napi_get_null(env, &value));
    else
        NAPI_TRY(env, napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value));
    return util_set(env, object, name, value);
}

bool util_set_token(napi_env env, napi_value object, const char *name, uint32_t token)
{
    if (token == CHORD_TOKEN_NONE)
        return util_set_string(env, object, name, NULL);
    return util_set_double(env, object, name, token);
}

napi_value util_make_string(napi_env env, const char *bytes, size_t n_bytes)
{
    napi_value value;
    NAPI_TRY(env, napi_create_string_utf8(env, n_bytes > 0 ? bytes : "", n_bytes, &value));
    return value;
}

// Copied, for Electron has no array buffers on foreign memory.
static napi_value make_typed(napi_env env, napi_typedarray_type type, const void *values, size_t n)
{
    napi_value buffer;
    napi_value array;
    void *data = NULL;
    NAPI_TRY(env, napi_create_arraybuffer(env, n * 4, &data, &buffer));
    if (n > 0)
        memcpy(data, values, n * 4);
    NAPI_TRY(env, napi_create_typedarray(env, type, n, buffer, 0, &array));
    return array;
}

napi_value util_make_u32s(napi_env env, const uint32_t *values, size_t n)
{
    return make_typed(env, napi_uint32_array, values, n);
}

napi_value util_make_f32s(napi_env env, const float *values, size_t n)
{
    return make_typed(env, napi_float32_array, values, n);
}

bool util_report_exception(napi_env env)
{
    bool pending = false;
    napi_value exception;
    if (napi_is_exception_pending(env, &pending) != napi_ok || !pending)
        return false;
    if (napi_get_and_clear_last_exception(env, &exception) != napi_ok)
        return false;
    return napi_fatal_exception(env, exception) == napi_ok;
}
