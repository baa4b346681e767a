// Quantizers of JavaScript: files that are being written in other types, a stretch of work at a time.
#include "addon/wraps.h"

#include <stdlib.h>

struct quantizer_box {
    struct chord_quantizer *quantizer;
    bool is_running;       // one stretch at a time
    uint32_t n_references; // of the handle and of tasks; JavaScript thread
};

static void box_release(struct quantizer_box *box)
{
    if (box == NULL || --box->n_references > 0)
        return;
    chord_quantize_close(box->quantizer);
    free(box);
}

static void box_finalize(napi_env env, void *data, void *hint)
{
    (void)env, (void)hint;
    box_release(data);
}

// ---- Opening ---------------------------------------------------------------------------------------------------------

struct open_task {
    struct task task;
    char *input, *output, *type, *imatrix;
    struct chord_quantize_options options;
    struct chord_quantizer *quantizer;
};

static enum chord_status open_execute(struct task *task, struct chord_error *error)
{
    struct open_task *t = (struct open_task *)task;
    return chord_quantize_open(t->input, t->output, &t->options, &t->quantizer, error);
}

static napi_value open_resolve(napi_env env, struct task *task)
{
    struct open_task *t = (struct open_task *)task;
    struct quantizer_box *box = calloc(1, sizeof *box);
    if (box == NULL)
        return util_throw_code(env, CHORD_OUT_OF_MEMORY, "no memory left");
    box->quantizer = t->quantizer;
    box->n_references = 1;
    t->quantizer = NULL;
    napi_value handle = util_make_handle(env, HANDLE_QUANTIZER, box, box_finalize);
    if (handle == NULL)
        box_release(box);
    return handle;
}

static void open_destroy(napi_env env, struct task *task)
{
    (void)env;
    struct open_task *t = (struct open_task *)task;
    chord_quantize_close(t->quantizer);
    free(t->input);
    free(t->output);
    free(t->type);
    free(t->imatrix);
    free(t);
}

static bool read_imatrix(napi_env env, napi_value value, struct open_task *t)
{
    napi_value imatrix;
    napi_valuetype type;
    NAPI_TRY(env, napi_get_named_property(env, value, "imatrix", &imatrix));
    NAPI_TRY(env, napi_typeof(env, imatrix, &type));
    if (type == napi_undefined)
        return true;
    t->imatrix = util_get_string(env, imatrix, NULL);
    t->options.imatrix = t->imatrix;
    return t->imatrix != NULL;
}

static bool read_options(napi_env env, napi_value value, struct open_task *t)
{
    napi_value type;
    NAPI_TRY(env, napi_get_named_property(env, value, "type", &type));
    t->type = util_get_string(env, type, NULL);
    t->options.type = t->type;
    return t->type != NULL && util_option_u32(env, value, "threads", &t->options.n_threads) &&
           util_option_bool(env, value, "requantize", &t->options.requantize) && read_imatrix(env, value, t);
}

// openQuantizer(input, output, { type, threads, requantize, imatrix }) -> Promise<quantizer handle>
napi_value wrap_quantizer_open(napi_env env, napi_callback_info info)
{
    napi_value arguments[3];
    if (!util_arguments(env, info, 3, arguments))
        return NULL;
    struct open_task *t = calloc(1, sizeof *t);
    if (t == NULL)
        return util_throw_code(env, CHORD_OUT_OF_MEMORY, "no memory left");
    t->task.execute = open_execute;
    t->task.resolve = open_resolve;
    t->task.destroy = open_destroy;
    t->input = util_get_string(env, arguments[0], NULL);
    t->output = t->input != NULL ? util_get_string(env, arguments[1], NULL) : NULL;
    if (t->output == NULL || !read_options(env, arguments[2], t)) {
        open_destroy(env, &t->task);
        return NULL;
    }
    napi_value promise = task_prepare(env, &t->task, NULL);
    return promise != NULL ? task_queue(env, &t->task, promise) : NULL;
}

// ---- Running ---------------------------------------------------------------------------------------------------------

struct run_task {
    struct task task;
    struct quantizer_box *box;
    double seconds;
    uint64_t done, total;
};

static enum chord_status run_execute(struct task *task, struct chord_error *error)
{
    struct run_task *t = (struct run_task *)task;
    return chord_quantize_run(t->box->quantizer, t->seconds, task_cancel(task), &t->done, &t->total, error);
}

static napi_value run_resolve(napi_env env, struct task *task)
{
    struct run_task *t = (struct run_task *)task;
    napi_value out;
    NAPI_TRY(env, napi_create_object(env, &out));
    const bool ok =
        util_set_double(env, out, "done", (double)t->done) && util_set_double(env, out, "total", (double)t->total);
    return ok ? out : NULL;
}

static void run_destroy(napi_env env, struct task *task)
{
    (void)env;
    struct run_task *t = (struct run_task *)task;
    t->box->is_running = false;
    box_release(t->box);
    free(t);
}

static struct quantizer_box *idle_box(napi_env env, napi_value handle)
{
    struct quantizer_box *box = util_get_handle(env, handle, HANDLE_QUANTIZER);
    if (box == NULL || (box->quantizer != NULL && !box->is_running))
        return box;
    util_throw_code(env, CHORD_CLOSED, "the quantizer is closed, or at work");
    return NULL;
}

// runQuantizer(quantizer, seconds, cancel | undefined) -> Promise<{ done, total }>: one stretch
napi_value wrap_quantizer_run(napi_env env, napi_callback_info info)
{
    napi_value arguments[3];
    double seconds;
    if (!util_arguments(env, info, 3, arguments))
        return NULL;
    struct quantizer_box *box = idle_box(env, arguments[0]);
    if (box == NULL || !util_get_double(env, arguments[1], &seconds))
        return NULL;
    struct run_task *t = calloc(1, sizeof *t);
    if (t == NULL)
        return util_throw_code(env, CHORD_OUT_OF_MEMORY, "no memory left");
    t->task.execute = run_execute;
    t->task.resolve = run_resolve;
    t->task.destroy = run_destroy;
    t->box = box;
    t->seconds = seconds;
    box->is_running = true;
    box->n_references++;
    napi_value promise = task_prepare(env, &t->task, arguments[2]);
    return promise != NULL ? task_queue(env, &t->task, promise) : NULL;
}

// quantizerInfo(quantizer) -> { type, inputBytes, outputBytes, peakBytes, weighted, unweighted }
napi_value wrap_quantizer_info(napi_env env, napi_callback_info info)
{
    napi_value argument;
    napi_value out;
    struct chord_quantize_info i;
    if (!util_arguments(env, info, 1, &argument))
        return NULL;
    const struct quantizer_box *box = idle_box(env, argument);
    if (box == NULL)
        return NULL;
    chord_quantize_info(box->quantizer, &i);
    NAPI_TRY(env, napi_create_object(env, &out));
    const bool ok = util_set_string(env, out, "type", i.type) &&
                    util_set_double(env, out, "inputBytes", (double)i.input_bytes) &&
                    util_set_double(env, out, "outputBytes", (double)i.output_bytes) &&
                    util_set_double(env, out, "peakBytes", (double)i.memory_peak) &&
                    util_set_double(env, out, "weighted", (double)i.n_weighted) &&
                    util_set_double(env, out, "unweighted", (double)i.n_unweighted);
    return ok ? out : NULL;
}

// stopQuantizer(quantizer): ends it, also while it is at work, and removes what is not whole
napi_value wrap_quantizer_stop(napi_env env, napi_callback_info info)
{
    napi_value argument;
    if (!util_arguments(env, info, 1, &argument))
        return NULL;
    struct quantizer_box *box = util_get_handle(env, argument, HANDLE_QUANTIZER);
    if (box != NULL && box->quantizer != NULL)
        chord_quantize_stop(box->quantizer);
    return NULL;
}

// closeQuantizer(quantizer): what is not whole is removed
napi_value wrap_quantizer_close(napi_env env, napi_callback_info info)
{
    napi_value argument;
    if (!util_arguments(env, info, 1, &argument))
        return NULL;
    struct quantizer_box *box = idle_box(env, argument);
    if (box == NULL)
        return NULL;
    chord_quantize_close(box->quantizer);
    box->quantizer = NULL;
    return NULL;
}
