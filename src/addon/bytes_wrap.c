// A model's bytes for guests: synchronous, since a WebAssembly module waits for what it imports.
#include "addon/wraps.h"

static bool get_layer(napi_env env, napi_value value, uint32_t *out)
{
    uint64_t layer;
    if (!util_get_count(env, value, &layer))
        return false;
    *out = layer < UINT32_MAX ? (uint32_t)layer : UINT32_MAX; // a file has room for fewer
    return true;
}

// readBytes(model, offset, target: Uint8Array): fills the target
napi_value wrap_bytes_read(napi_env env, napi_callback_info info)
{
    struct chord_error error = {0};
    napi_value arguments[3];
    uint64_t offset;
    uint8_t *target;
    size_t n_bytes;
    if (!util_arguments(env, info, 3, arguments))
        return NULL;
    struct model_box *box = model_box_get(env, arguments[0]);
    if (box == NULL || !util_get_count(env, arguments[1], &offset) ||
        !util_get_u8s(env, arguments[2], &target, &n_bytes))
        return NULL;
    if (chord_model_read(box->model, offset, n_bytes, target, &error) != CHORD_OK)
        return util_throw(env, &error);
    return NULL;
}

// layerBytes(model, layer) -> number of bytes that readLayer fills
napi_value wrap_layer_bytes(napi_env env, napi_callback_info info)
{
    struct chord_error error = {0};
    napi_value arguments[2];
    napi_value out;
    uint32_t layer;
    uint64_t n_bytes;
    if (!util_arguments(env, info, 2, arguments))
        return NULL;
    struct model_box *box = model_box_get(env, arguments[0]);
    if (box == NULL || !get_layer(env, arguments[1], &layer))
        return NULL;
    if (chord_model_layer_bytes(box->model, layer, &n_bytes, &error) != CHORD_OK)
        return util_throw(env, &error);
    NAPI_TRY(env, napi_create_double(env, (double)n_bytes, &out));
    return out;
}

// readLayer(model, layer, target: Uint8Array of layerBytes(model, layer))
napi_value wrap_layer_read(napi_env env, napi_callback_info info)
{
    struct chord_error error = {0};
    napi_value arguments[3];
    uint32_t layer;
    uint64_t n_bytes;
    uint8_t *target;
    size_t n_target;
    if (!util_arguments(env, info, 3, arguments))
        return NULL;
    struct model_box *box = model_box_get(env, arguments[0]);
    if (box == NULL || !get_layer(env, arguments[1], &layer) || !util_get_u8s(env, arguments[2], &target, &n_target))
        return NULL;
    if (chord_model_layer_bytes(box->model, layer, &n_bytes, &error) != CHORD_OK)
        return util_throw(env, &error);
    if (n_target != n_bytes)
        return util_throw_code(env, CHORD_INVALID_ARGUMENT, "the target is not of the layer's size");
    if (chord_model_read_layer(box->model, layer, target, &error) != CHORD_OK)
        return util_throw(env, &error);
    return NULL;
}
