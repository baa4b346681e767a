// Files of JavaScript, for inspection: metadata and tensor directory.
#include "addon/wraps.h"

#include <stdlib.h>

// Arrays are handed out to this many elements; a vocabulary of a million tokens is beyond any model's.
#define MAX_ELEMENTS (UINT64_C(1) << 20)

struct file_box {
    struct chord_file *file;
    // Elements of the value last asked for, so that a long array can be fetched in pieces.
    uint64_t cached_index;
    struct chord_element_value *cached;
    uint64_t n_cached;
};

struct file_task {
    struct task task;
    char *path;
    struct chord_file *file;
};

static enum chord_status file_execute(struct task *task, struct chord_error *error)
{
    struct file_task *t = (struct file_task *)task;
    return chord_file_open(t->path, &t->file, error);
}

static void file_finalize(napi_env env, void *data, void *hint)
{
    (void)env, (void)hint;
    struct file_box *box = data;
    chord_file_close(box->file);
    free(box->cached);
    free(box);
}

static napi_value file_resolve(napi_env env, struct task *task)
{
    struct file_task *t = (struct file_task *)task;
    struct file_box *box = calloc(1, sizeof *box);
    if (box == NULL)
        return util_throw_code(env, CHORD_OUT_OF_MEMORY, "no memory left");
    box->file = t->file;
    t->file = NULL;
    napi_value handle = util_make_handle(env, HANDLE_FILE, box, file_finalize);
    if (handle == NULL)
        file_finalize(env, box, NULL);
    return handle;
}

static void file_destroy(napi_env env, struct task *task)
{
    (void)env;
    struct file_task *t = (struct file_task *)task;
    chord_file_close(t->file);
    free(t->path);
    free(t);
}

// openFile(path) -> Promise<file handle>
napi_value wrap_file_open(napi_env env, napi_callback_info info)
{
    napi_value argument;
    if (!util_arguments(env, info, 1, &argument))
        return NULL;
    struct file_task *t = calloc(1, sizeof *t);
    if (t == NULL)
        return util_throw_code(env, CHORD_OUT_OF_MEMORY, "no memory left");
    t->task.execute = file_execute;
    t->task.resolve = file_resolve;
    t->task.destroy = file_destroy;
    t->path = util_get_string(env, argument, NULL);
    if (t->path == NULL) {
        file_destroy(env, &t->task);
        return NULL;
    }
    napi_value promise = task_prepare(env, &t->task, NULL);
    return promise != NULL ? task_queue(env, &t->task, promise) : NULL;
}

static napi_value make_part(napi_env env, const struct chord_file *file, uint32_t index)
{
    uint64_t n_bytes;
    uint32_t version;
    napi_value out;
    const char *path = chord_file_part(file, index, &n_bytes, &version);
    NAPI_TRY(env, napi_create_object(env, &out));
    bool ok = util_set_string(env, out, "path", path) && util_set_double(env, out, "bytes", (double)n_bytes) &&
              util_set_double(env, out, "version", version);
    return ok ? out : NULL;
}

static napi_value make_value(napi_env env, const struct chord_file *file, uint64_t index)
{
    struct chord_value value;
    napi_value out;
    chord_file_value(file, index, &value);
    NAPI_TRY(env, napi_create_object(env, &out));
    bool ok = util_set(env, out, "key", util_make_string(env, value.key.bytes, (size_t)value.key.n_bytes)) &&
              util_set_string(env, out, "type", value.type) && util_set_string(env, out, "element", value.element) &&
              util_set_double(env, out, "count", (double)value.n_elements);
    return ok ? out : NULL;
}

static napi_value make_tensor(napi_env env, const struct chord_file *file, uint64_t index)
{
    struct chord_file_tensor tensor;
    napi_value out, shape, dimension;
    chord_file_tensor(file, index, &tensor);
    NAPI_TRY(env, napi_create_object(env, &out));
    NAPI_TRY(env, napi_create_array_with_length(env, tensor.n_dimensions, &shape));
    for (uint32_t i = 0; i < tensor.n_dimensions; i++) {
        NAPI_TRY(env, napi_create_double(env, (double)tensor.ne[i], &dimension));
        NAPI_TRY(env, napi_set_element(env, shape, tensor.n_dimensions - 1 - i, dimension));
    }
    bool ok = util_set(env, out, "name", util_make_string(env, tensor.name.bytes, (size_t)tensor.name.n_bytes)) &&
              util_set_string(env, out, "type", tensor.type) && util_set(env, out, "shape", shape) &&
              util_set_double(env, out, "bytes", (double)tensor.n_bytes) &&
              util_set_double(env, out, "part", tensor.file) &&
              util_set_double(env, out, "offset", (double)tensor.offset);
    return ok ? out : NULL;
}

typedef napi_value (*make_row)(napi_env env, const struct chord_file *file, uint64_t index);

static napi_value make_part_row(napi_env env, const struct chord_file *file, uint64_t index)
{
    return make_part(env, file, (uint32_t)index);
}

// Rows [from, from + n) of a list of n_all, as an array.
static napi_value make_rows(napi_env env, const struct chord_file *file, uint64_t from, uint64_t n, uint64_t n_all,
                            make_row make)
{
    napi_value rows;
    from = from < n_all ? from : n_all;
    n = n < n_all - from ? n : n_all - from;
    NAPI_TRY(env, napi_create_array_with_length(env, (size_t)n, &rows));
    for (uint64_t i = 0; i < n; i++) {
        napi_handle_scope scope;
        NAPI_TRY(env, napi_open_handle_scope(env, &scope));
        napi_value row = make(env, file, from + i);
        napi_status status = row != NULL ? napi_set_element(env, rows, (uint32_t)i, row) : napi_ok;
        napi_close_handle_scope(env, scope);
        if (row == NULL)
            return NULL;
        NAPI_TRY(env, status);
    }
    return rows;
}

// fileDirectory(file, 0 parts | 1 values | 2 tensors, from, n) -> array of at most n rows
napi_value wrap_file_directory(napi_env env, napi_callback_info info)
{
    napi_value arguments[4];
    uint64_t which, from, n;
    if (!util_arguments(env, info, 4, arguments))
        return NULL;
    struct file_box *box = util_get_handle(env, arguments[0], HANDLE_FILE);
    if (box == NULL || !util_get_count(env, arguments[1], &which) || !util_get_count(env, arguments[2], &from) ||
        !util_get_count(env, arguments[3], &n))
        return NULL;
    if (which == 0)
        return make_rows(env, box->file, from, n, chord_file_n_parts(box->file), make_part_row);
    if (which == 1)
        return make_rows(env, box->file, from, n, chord_file_n_values(box->file), make_value);
    return make_rows(env, box->file, from, n, chord_file_n_tensors(box->file), make_tensor);
}

static napi_value make_element(napi_env env, const struct chord_element_value *e)
{
    const int64_t safe = INT64_C(1) << 53;
    napi_value out = NULL;
    switch (e->kind) {
    case CHORD_ELEMENT_BOOL:
        NAPI_TRY(env, napi_get_boolean(env, e->i != 0, &out));
        break;
    case CHORD_ELEMENT_INT:
        if (e->i > -safe && e->i < safe)
            NAPI_TRY(env, napi_create_int64(env, e->i, &out));
        else
            NAPI_TRY(env, napi_create_bigint_int64(env, e->i, &out));
        break;
    case CHORD_ELEMENT_UINT:
        if (e->u < (uint64_t)safe)
            NAPI_TRY(env, napi_create_double(env, (double)e->u, &out));
        else
            NAPI_TRY(env, napi_create_bigint_uint64(env, e->u, &out));
        break;
    case CHORD_ELEMENT_FLOAT:
        NAPI_TRY(env, napi_create_double(env, e->f, &out));
        break;
    case CHORD_ELEMENT_STRING:
        out = util_make_string(env, e->s.bytes, (size_t)e->s.n_bytes);
        break;
    }
    return out;
}

static bool cache_elements(napi_env env, struct file_box *box, uint64_t index)
{
    struct chord_value value;
    if (box->cached != NULL && box->cached_index == index)
        return true;
    free(box->cached);
    chord_file_value(box->file, index, &value);
    box->n_cached = value.n_elements < MAX_ELEMENTS ? value.n_elements : MAX_ELEMENTS;
    box->cached_index = index;
    box->cached = calloc((size_t)box->n_cached + 1, sizeof *box->cached);
    if (box->cached == NULL) {
        util_throw_code(env, CHORD_OUT_OF_MEMORY, "no memory left for a metadata array");
        return false;
    }
    chord_value_elements(&value, box->n_cached, box->cached);
    return true;
}

// fileElements(file, index of the value, from, n) -> array of at most n elements; empty at the end
napi_value wrap_file_elements(napi_env env, napi_callback_info info)
{
    napi_value arguments[4];
    napi_value out;
    uint64_t index, from, n;
    if (!util_arguments(env, info, 4, arguments))
        return NULL;
    struct file_box *box = util_get_handle(env, arguments[0], HANDLE_FILE);
    if (box == NULL || !util_get_count(env, arguments[1], &index) || !util_get_count(env, arguments[2], &from) ||
        !util_get_count(env, arguments[3], &n))
        return NULL;
    if (index >= chord_file_n_values(box->file)) {
        napi_throw_range_error(env, NULL, "no value of that index");
        return NULL;
    }
    if (!cache_elements(env, box, index))
        return NULL;
    from = from < box->n_cached ? from : box->n_cached;
    n = n < box->n_cached - from ? n : box->n_cached - from;
    NAPI_TRY(env, napi_create_array_with_length(env, (size_t)n, &out));
    for (uint64_t i = 0; i < n; i++) {
        napi_value element = make_element(env, &box->cached[from + i]);
        if (element == NULL)
            return NULL;
        NAPI_TRY(env, napi_set_element(env, out, (uint32_t)i, element));
    }
    return out;
}
