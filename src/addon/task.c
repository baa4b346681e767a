#include "addon/task.h"

#include <stdio.h>
#include <stdlib.h>

static void cancel_release(struct cancel_box *box)
{
    if (box != NULL && --box->n_references == 0)
        free(box);
}

static void cancel_finalize(napi_env env, void *data, void *hint)
{
    (void)env, (void)hint;
    cancel_release(data);
}

napi_value wrap_cancel_make(napi_env env, napi_callback_info info)
{
    (void)info;
    struct cancel_box *box = calloc(1, sizeof *box);
    if (box == NULL)
        return util_throw_code(env, CHORD_OUT_OF_MEMORY, "no memory left");
    box->n_references = 1;
    napi_value handle = util_make_handle(env, HANDLE_CANCEL, box, cancel_finalize);
    if (handle == NULL)
        cancel_release(box);
    return handle;
}

napi_value wrap_cancel_request(napi_env env, napi_callback_info info)
{
    napi_value argument;
    if (!util_arguments(env, info, 1, &argument))
        return NULL;
    struct cancel_box *box = util_get_handle(env, argument, HANDLE_CANCEL);
    if (box != NULL)
        chord_cancel_request(&box->cancel);
    return NULL;
}

static void destroy(napi_env env, struct task *task)
{
    cancel_release(task->cancel);
    task->cancel = NULL;
    if (task->work != NULL)
        napi_delete_async_work(env, task->work);
    task->work = NULL;
    task->destroy(env, task);
}

napi_value task_prepare(napi_env env, struct task *task, napi_value cancel_handle)
{
    napi_value promise;
    task->env = env;
    task->next = NULL;
    task->work = NULL;
    task->cancel = NULL;
    if (cancel_handle != NULL && !util_is_nullish(env, cancel_handle)) {
        task->cancel = util_get_handle(env, cancel_handle, HANDLE_CANCEL);
        if (task->cancel == NULL) {
            destroy(env, task);
            return NULL;
        }
        task->cancel->n_references++;
    }
    if (napi_create_promise(env, &task->deferred, &promise) != napi_ok) {
        util_throw_last(env);
        destroy(env, task);
        return NULL;
    }
    return promise;
}

void task_settle(napi_env env, struct task *task)
{
    napi_value result = NULL;
    bool pending = false;
    if (task->status == CHORD_OK) {
        result = task->resolve(env, task);
    } else {
        task->error.code = task->status;
        napi_value error = util_make_error(env, &task->error);
        if (error != NULL)
            napi_throw(env, error);
    }
    if (result != NULL) {
        napi_resolve_deferred(env, task->deferred, result);
    } else if (napi_is_exception_pending(env, &pending) == napi_ok && pending) {
        napi_value exception;
        if (napi_get_and_clear_last_exception(env, &exception) == napi_ok)
            napi_reject_deferred(env, task->deferred, exception);
    }
    // Otherwise the environment is ending, and nobody is left to hear of it.
    destroy(env, task);
}

void task_reject(napi_env env, struct task *task, enum chord_status code, const char *message)
{
    task->status = code;
    snprintf(task->error.message, sizeof task->error.message, "%s", message);
    task_settle(env, task);
}

static void work_execute(napi_env env, void *data)
{
    (void)env;
    struct task *task = data;
    task->status = task->execute(task, &task->error);
}

static void work_complete(napi_env env, napi_status status, void *data)
{
    struct task *task = data;
    if (status != napi_ok)
        task_reject(env, task, CHORD_CANCELLED, "cancelled before it began");
    else
        task_settle(env, task);
    util_report_exception(env);
}

napi_value task_queue(napi_env env, struct task *task, napi_value promise)
{
    napi_value name = util_make_string(env, "chord", 5);
    if (name != NULL &&
        napi_create_async_work(env, NULL, name, work_execute, work_complete, task, &task->work) == napi_ok &&
        napi_queue_async_work(env, task->work) == napi_ok)
        return promise;
    task_reject(env, task, CHORD_THREAD, "the work could not be queued");
    return promise;
}
