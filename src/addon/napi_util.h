// Helpers over Node-API that the files of the addon share: checked calls, arguments, results, errors, typed handles.
//
// Everything here runs on the JavaScript thread of one environment. Functions that return napi_value return NULL, and those
// that return bool return false, when a JavaScript exception is pending.
#ifndef CHORD_ADDON_NAPI_UTIL_H
#define CHORD_ADDON_NAPI_UTIL_H

#include "chord.h"

#include <node_api.h>

// What one environment (the main thread or a worker) owns; its instance data.
struct addon {
    napi_ref error_class;     // of `new ChordError(message, { code })`
    bool stopping;            // the environment ends: JavaScript can no longer be called
    struct model_box *models; // open ones
    uint32_t n_references;    // of the environment and of the models, which are let go in any order at its end
};
struct addon *addon_of(napi_env env);
void addon_release(struct addon *addon);

// Returns from the calling function with an exception pending when a Node-API call fails.
#define NAPI_TRY(env, call)       \
    do {                          \
        if ((call) != napi_ok) {  \
            util_throw_last(env); \
            return 0;             \
        }                         \
    } while (0)

// Makes the failure of the last Node-API call the pending exception, unless there is one already.
void util_throw_last(napi_env env);

// A ChordError with the code and message of `error`. NULL only when JavaScript can't run.
napi_value util_make_error(napi_env env, const struct chord_error *error);
napi_value util_throw(napi_env env, const struct chord_error *error);
napi_value util_throw_code(napi_env env, enum chord_status code, const char *message);

// ---- Handles: objects that carry a pointer, told apart by their type tag ---------------------------------------------

enum handle_type {
    HANDLE_MODEL,
    HANDLE_JOB,
    HANDLE_CANCEL,
    HANDLE_TOKENIZER,
    HANDLE_FILE,
    HANDLE_SESSION,
    HANDLE_QUANTIZER,
    HANDLE_GRAMMAR
};

// `finalize` gets `data` when the object is collected or the environment ends. When this fails, `data` stays the caller's.
napi_value util_make_handle(napi_env env, enum handle_type type, void *data, napi_finalize finalize);
// NULL with an exception when `value` is no handle of that type.
void *util_get_handle(napi_env env, napi_value value, enum handle_type type);

// ---- Arguments -------------------------------------------------------------------------------------------------------

#define UTIL_MAX_ARGUMENTS 6

// Fetches exactly `n` arguments, undefined where fewer were given.
bool util_arguments(napi_env env, napi_callback_info info, size_t n, napi_value *out);
bool util_is_nullish(napi_env env, napi_value value);
// A copy in UTF-8, terminated, for free(). Lone surrogates come as U+FFFD.
char *util_get_string(napi_env env, napi_value value, size_t *n_bytes);
bool util_get_double(napi_env env, napi_value value, double *out);
bool util_get_bool(napi_env env, napi_value value, bool *out);
bool util_get_count(napi_env env, napi_value value, uint64_t *out); // an integer from 0 to 2^53
// The elements of a typed array; borrowed until the call from JavaScript returns.
bool util_get_u8s(napi_env env, napi_value value, uint8_t **out, size_t *n);
bool util_get_u32s(napi_env env, napi_value value, const uint32_t **out, size_t *n);
bool util_get_f32s(napi_env env, napi_value value, const float **out, size_t *n);

// Properties of an options object. Each leaves *out as it is when the property is undefined.
bool util_option_double(napi_env env, napi_value object, const char *name, double *out);
bool util_option_float(napi_env env, napi_value object, const char *name, float *out);
bool util_option_u64(napi_env env, napi_value object, const char *name, uint64_t *out);
bool util_option_u32(napi_env env, napi_value object, const char *name, uint32_t *out);
bool util_option_bool(napi_env env, napi_value object, const char *name, bool *out);

// ---- Results ---------------------------------------------------------------------------------------------------------

bool util_set(napi_env env, napi_value object, const char *name, napi_value value); // value may be NULL: false
bool util_set_double(napi_env env, napi_value object, const char *name, double value);
bool util_set_bool(napi_env env, napi_value object, const char *name, bool value);
bool util_set_string(napi_env env, napi_value object, const char *name, const char *text); // NULL: null
bool util_set_token(napi_env env, napi_value object, const char *name, uint32_t token);    // none: null
napi_value util_make_string(napi_env env, const char *bytes, size_t n_bytes);
napi_value util_make_u32s(napi_env env, const uint32_t *values, size_t n); // a Uint32Array with a copy
napi_value util_make_f32s(napi_env env, const float *values, size_t n);

// Hands a pending exception to 'uncaughtException'. Returns false when JavaScript can't run any more.
bool util_report_exception(napi_env env);

#endif
