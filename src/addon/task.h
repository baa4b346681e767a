// A task: one bounded piece of work on a thread of Node's pool, with a promise for its result.
//
// A task of a model takes its turn in the model's own queue (model_queue.c), so that a model never holds more than one thread
// of the pool; a task of no model (opening a file) is queued at once.
#ifndef CHORD_ADDON_TASK_H
#define CHORD_ADDON_TASK_H

#include "addon/napi_util.h"

// A flag to stop a task by, shared by its JavaScript handle and the tasks it was handed to.
struct cancel_box {
    struct chord_cancel cancel;
    uint32_t n_references; // JavaScript thread
};

// Concrete tasks begin with this struct. `execute` runs on the pool and may touch nothing of Node-API; the others run on the
// JavaScript thread.
struct task {
    struct task *next; // in the model's queue
    enum chord_status (*execute)(struct task *task, struct chord_error *error);
    napi_value (*resolve)(napi_env env, struct task *task); // the result; NULL with an exception pending rejects
    void (*destroy)(napi_env env, struct task *task);       // frees what the concrete task holds and itself
    // Of a task of a model that goes on in several slices: called after each while `unfinished`. May be NULL.
    void (*progress)(napi_env env, struct task *task);
    bool unfinished; // set by `execute`, which is then called again when other work of the model has had its turn
    struct cancel_box *cancel; // may be NULL
    napi_deferred deferred;
    napi_async_work work; // of a task of no model
    napi_env env;
    enum chord_status status;
    struct chord_error error;
};

// For `execute`: the flag to hand to chord, or NULL.
static inline struct chord_cancel *task_cancel(const struct task *task)
{
    return task->cancel != NULL ? &task->cancel->cancel : NULL;
}

// Sets the fields up, takes `cancel_handle` (a handle, undefined or null) and makes the promise. On failure the task is
// destroyed and NULL returned with an exception pending.
napi_value task_prepare(napi_env env, struct task *task, napi_value cancel_handle);
// Queues a task of no model; takes it over. Returns `promise`, or NULL with an exception pending.
napi_value task_queue(napi_env env, struct task *task, napi_value promise);
// Settles the promise by what `execute` left, and destroys the task.
void task_settle(napi_env env, struct task *task);
// Rejects the promise of a task that has not run, and destroys it.
void task_reject(napi_env env, struct task *task, enum chord_status code, const char *message);

// makeCancel() and requestCancel(handle).
napi_value wrap_cancel_make(napi_env env, napi_callback_info info);
napi_value wrap_cancel_request(napi_env env, napi_callback_info info);

#endif
