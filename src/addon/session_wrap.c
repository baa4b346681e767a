// Sessions of JavaScript. Their work goes through the queue of their model: generations as jobs, all else as tasks.
#include "addon/wraps.h"

#include <stdlib.h>

struct session_box {
    struct model_box *model;       // referenced
    struct chord_session *session; // NULL once closed; gone with the model
    uint32_t n_references;         // of the handle, of jobs and tasks; JavaScript thread
};

void session_box_release(napi_env env, struct session_box *box)
{
    if (box == NULL || --box->n_references > 0)
        return;
    if (box->model->model != NULL)
        chord_session_free(box->session);
    model_box_release(env, box->model);
    free(box);
}

static void session_finalize(napi_env env, void *data, void *hint)
{
    (void)hint;
    session_box_release(env, data);
}

// A handle for a session, which it takes over.
static napi_value make_handle(napi_env env, struct model_box *model, struct chord_session *session)
{
    struct session_box *box = calloc(1, sizeof *box);
    if (box == NULL) {
        chord_session_free(session);
        return util_throw_code(env, CHORD_OUT_OF_MEMORY, "no memory left for a session");
    }
    *box = (struct session_box){.model = model, .session = session, .n_references = 1};
    model->n_references++;
    napi_value handle = util_make_handle(env, HANDLE_SESSION, box, session_finalize);
    if (handle == NULL)
        session_box_release(env, box);
    return handle;
}

struct session_box *session_box_get(napi_env env, napi_value handle, struct model_box **model,
                                    struct chord_session **session)
{
    struct session_box *box = util_get_handle(env, handle, HANDLE_SESSION);
    if (box == NULL)
        return NULL;
    if (box->session == NULL || box->model->closing || box->model->model == NULL) {
        util_throw_code(env, CHORD_CLOSED,
                        box->session == NULL ? "the session has been closed" : "the model has been closed");
        return NULL;
    }
    *model = box->model;
    *session = box->session;
    return box;
}

void session_box_hold(struct session_box *box)
{
    box->n_references++;
}

// sessionOpen(model) -> handle
napi_value wrap_session_open(napi_env env, napi_callback_info info)
{
    struct chord_error error = {0};
    struct chord_session *session;
    napi_value argument;
    if (!util_arguments(env, info, 1, &argument))
        return NULL;
    struct model_box *model = model_box_get(env, argument);
    if (model == NULL)
        return NULL;
    if (chord_session_open(model->model, &session, &error) != CHORD_OK)
        return util_throw(env, &error);
    return make_handle(env, model, session);
}

// sessionTokens(session) -> Uint32Array
napi_value wrap_session_tokens(napi_env env, napi_callback_info info)
{
    struct model_box *model;
    struct chord_session *session;
    napi_value argument;
    if (!util_arguments(env, info, 1, &argument) || session_box_get(env, argument, &model, &session) == NULL)
        return NULL;
    // The text may grow between the two looks, by what a generation leaves when it ends.
    uint64_t n_most = chord_session_tokens(session, NULL, 0);
    uint32_t *tokens = calloc((size_t)n_most + 1, sizeof *tokens);
    if (tokens == NULL)
        return util_throw_code(env, CHORD_OUT_OF_MEMORY, "no memory left for the tokens");
    uint64_t n = chord_session_tokens(session, tokens, n_most);
    napi_value out = util_make_u32s(env, tokens, (size_t)(n < n_most ? n : n_most));
    free(tokens);
    return out;
}

// ---- Tasks -----------------------------------------------------------------------------------------------------------

struct session_task {
    struct task task;
    struct model_box *model; // held by the slice that runs the task
    struct session_box *box; // referenced; NULL: the task is of no session yet
    struct chord_session *session;
    struct chord_session *made;
    struct chord_transfer *transfer;
    uint64_t done, total;
    napi_ref listener; // of progress; NULL: none
};

static void session_task_destroy(napi_env env, struct task *task)
{
    struct session_task *t = (struct session_task *)task;
    if (t->model->model != NULL) {
        chord_transfer_free(t->transfer);
        chord_session_free(t->made);
    }
    if (t->listener != NULL)
        napi_delete_reference(env, t->listener);
    session_box_release(env, t->box);
    free(t);
}

// For a session, or with `of_model` for the model that the handle is of.
static struct session_task *session_task_make(napi_env env, napi_value handle, bool of_model)
{
    struct session_task *t = calloc(1, sizeof *t);
    if (t == NULL) {
        util_throw_code(env, CHORD_OUT_OF_MEMORY, "no memory left");
        return NULL;
    }
    if (of_model)
        t->model = model_box_get(env, handle);
    else
        t->box = session_box_get(env, handle, &t->model, &t->session);
    if (t->model == NULL) {
        free(t);
        return NULL;
    }
    if (t->box != NULL)
        session_box_hold(t->box);
    t->task.destroy = session_task_destroy;
    return t;
}

static napi_value queue(napi_env env, struct session_task *t, napi_value cancel)
{
    struct model_box *model = t->model;
    napi_value promise = task_prepare(env, &t->task, cancel);
    return promise != NULL ? model_queue_task(env, model, &t->task, promise) : NULL;
}

static enum chord_status fork_execute(struct task *task, struct chord_error *error)
{
    struct session_task *t = (struct session_task *)task;
    return chord_session_fork(t->session, &t->made, error);
}

static napi_value make_resolve(napi_env env, struct task *task)
{
    struct session_task *t = (struct session_task *)task;
    struct chord_session *made = t->made;
    t->made = NULL;
    return make_handle(env, t->model, made);
}

// sessionFork(session) -> Promise<handle>
napi_value wrap_session_fork(napi_env env, napi_callback_info info)
{
    napi_value argument;
    if (!util_arguments(env, info, 1, &argument))
        return NULL;
    struct session_task *t = session_task_make(env, argument, false);
    if (t == NULL)
        return NULL;
    t->task.execute = fork_execute;
    t->task.resolve = make_resolve;
    return queue(env, t, NULL);
}

static enum chord_status close_execute(struct task *task, struct chord_error *error)
{
    struct session_task *t = (struct session_task *)task;
    (void)error;
    chord_session_free(t->session);
    chord_model_settle(t->model->model);
    return CHORD_OK;
}

static napi_value close_resolve(napi_env env, struct task *task)
{
    napi_value undefined;
    (void)task;
    NAPI_TRY(env, napi_get_undefined(env, &undefined));
    return undefined;
}

// sessionClose(session) -> Promise: cancels what the session generates and gives its memory back. Once only.
napi_value wrap_session_close(napi_env env, napi_callback_info info)
{
    napi_value argument;
    if (!util_arguments(env, info, 1, &argument))
        return NULL;
    struct session_task *t = session_task_make(env, argument, false);
    if (t == NULL)
        return NULL;
    t->box->session = NULL;
    t->task.execute = close_execute;
    t->task.resolve = close_resolve;
    return queue(env, t, NULL);
}

// ---- Saving and restoring --------------------------------------------------------------------------------------------

// Seconds of a transfer in one slice.
#define SLICE_SECONDS 0.01

static enum chord_status transfer_execute(struct task *task, struct chord_error *error)
{
    struct session_task *t = (struct session_task *)task;
    enum chord_status status =
        chord_transfer_step(t->transfer, SLICE_SECONDS, task_cancel(task), &t->done, &t->total, error);
    task->unfinished = status == CHORD_OK && t->done < t->total;
    if (status == CHORD_OK && !task->unfinished)
        t->made = chord_transfer_take(t->transfer);
    return status;
}

static void transfer_progress(napi_env env, struct task *task)
{
    struct session_task *t = (struct session_task *)task;
    napi_handle_scope scope;
    napi_value listener, receiver;
    napi_value arguments[2];
    if (t->listener == NULL || napi_open_handle_scope(env, &scope) != napi_ok)
        return;
    if (napi_get_reference_value(env, t->listener, &listener) == napi_ok &&
        napi_get_undefined(env, &receiver) == napi_ok &&
        napi_create_double(env, (double)t->done, &arguments[0]) == napi_ok &&
        napi_create_double(env, (double)t->total, &arguments[1]) == napi_ok)
        napi_call_function(env, receiver, listener, 2, arguments, NULL);
    napi_close_handle_scope(env, scope);
}

static napi_value save_resolve(napi_env env, struct task *task)
{
    transfer_progress(env, task);
    util_report_exception(env);
    return close_resolve(env, task);
}

static napi_value restore_resolve(napi_env env, struct task *task)
{
    struct session_task *t = (struct session_task *)task;
    uint64_t n_note;
    napi_value out, text;
    transfer_progress(env, task);
    util_report_exception(env);
    napi_value handle = make_resolve(env, task);
    if (handle == NULL)
        return NULL;
    const char *note = chord_transfer_note(t->transfer, &n_note);
    if (note != NULL)
        text = util_make_string(env, note, (size_t)n_note);
    else
        NAPI_TRY(env, napi_get_null(env, &text));
    NAPI_TRY(env, napi_create_object(env, &out));
    return util_set(env, out, "session", handle) && util_set(env, out, "note", text) ? out : NULL;
}

static bool set_note(napi_env env, struct session_task *t, napi_value note)
{
    struct chord_error error = {0};
    size_t n_bytes;
    char *text = util_get_string(env, note, &n_bytes);
    if (text == NULL)
        return false;
    const bool ok = chord_transfer_set_note(t->transfer, text, n_bytes, &error) == CHORD_OK;
    free(text);
    if (!ok)
        util_throw(env, &error);
    return ok;
}

// handle, path, cancel | undefined, listener | undefined, note | undefined
static napi_value start_transfer(napi_env env, napi_callback_info info, bool restores)
{
    struct chord_error error = {0};
    napi_value arguments[5];
    if (!util_arguments(env, info, 5, arguments))
        return NULL;
    struct session_task *t = session_task_make(env, arguments[0], restores);
    char *path = t != NULL ? util_get_string(env, arguments[1], NULL) : NULL;
    if (path == NULL) {
        if (t != NULL)
            session_task_destroy(env, &t->task);
        return NULL;
    }
    enum chord_status status = restores ? chord_session_restore(t->model->model, path, &t->transfer, &error)
                                        : chord_session_save(t->session, path, &t->transfer, &error);
    free(path);
    if (status != CHORD_OK) {
        session_task_destroy(env, &t->task);
        return util_throw(env, &error);
    }
    if (!util_is_nullish(env, arguments[4]) && !set_note(env, t, arguments[4])) {
        session_task_destroy(env, &t->task);
        return NULL;
    }
    if (!util_is_nullish(env, arguments[3]) && napi_create_reference(env, arguments[3], 1, &t->listener) != napi_ok) {
        util_throw_last(env);
        session_task_destroy(env, &t->task);
        return NULL;
    }
    t->task.execute = transfer_execute;
    t->task.progress = transfer_progress;
    t->task.resolve = restores ? restore_resolve : save_resolve;
    return queue(env, t, arguments[2]);
}

// sessionSave(session, path, cancel | undefined, listener | undefined, note | undefined) -> Promise. The note is a string to keep with it.
napi_value wrap_session_save(napi_env env, napi_callback_info info)
{
    return start_transfer(env, info, false);
}

// sessionRestore(model, path, cancel | undefined, listener | undefined) -> Promise<{ session: handle, note: string or null }>
napi_value wrap_session_restore(napi_env env, napi_callback_info info)
{
    return start_transfer(env, info, true);
}
