#include "addon/model_queue.h"

#include <stdlib.h>

// Seconds of steps in one slice. Long enough to make the hand-over negligible, short enough that a text flows.
#define SLICE_SECONDS 0.004

#define MEMORY_STEP_BYTES (INT64_C(1) << 20)

static void queue_next(napi_env env, struct model_box *box);

// Tells the garbage collector what the model holds; small changes are not worth a call.
static void report_memory(napi_env env, struct model_box *box)
{
    int64_t total;
    int64_t held = box->model != NULL ? (int64_t)chord_model_held(box->model) : 0;
    int64_t change = held - box->external_bytes;
    if (held > 0 && change > -MEMORY_STEP_BYTES && change < MEMORY_STEP_BYTES)
        return;
    box->external_bytes = held;
    napi_adjust_external_memory(env, change, &total);
}

struct model_box *model_box_make(napi_env env, struct chord_model *model)
{
    struct model_box *box = calloc(1, sizeof *box);
    if (box == NULL)
        return NULL;
    box->addon = addon_of(env);
    box->addon->n_references++;
    box->model = model;
    box->n_references = 1;
    box->next = box->addon->models;
    box->addon->models = box;
    report_memory(env, box);
    return box;
}

void model_box_close(napi_env env, struct model_box *box)
{
    struct chord_model *model = box->model;
    box->model = NULL;
    if (model == NULL)
        return;
    for (struct model_box **at = &box->addon->models; *at != NULL; at = &(*at)->next) {
        if (*at == box) {
            *at = box->next;
            break;
        }
    }
    chord_model_close(model);
    report_memory(env, box);
}

void model_box_release(napi_env env, struct model_box *box)
{
    if (box == NULL || --box->n_references > 0)
        return;
    model_box_close(env, box);
    addon_release(box->addon);
    free(box);
}

struct model_box *model_box_get(napi_env env, napi_value handle)
{
    struct model_box *box = util_get_handle(env, handle, HANDLE_MODEL);
    if (box != NULL && (box->closing || box->model == NULL)) {
        util_throw_code(env, CHORD_CLOSED, "the model has been closed");
        return NULL;
    }
    return box;
}

void job_box_release(napi_env env, struct job_box *job)
{
    if (job == NULL || --job->n_references > 0)
        return;
    if (job->callback != NULL)
        napi_delete_reference(env, job->callback);
    if (job->job != NULL)
        chord_job_free(job->job);
    session_box_release(env, job->session);
    model_box_release(env, job->draft);
    model_box_release(env, job->model);
    free(job);
}

// Takes the first job at *at out of the queue. The native job goes now: the model must outlive it.
static void drop_job(napi_env env, struct job_box **at)
{
    struct job_box *job = *at;
    *at = job->next;
    job->next = NULL;
    chord_job_free(job->job);
    job->job = NULL;
    session_box_release(env, job->session);
    job->session = NULL;
    model_box_release(env, job->draft);
    job->draft = NULL;
    if (job->callback != NULL)
        napi_delete_reference(env, job->callback);
    job->callback = NULL;
    job_box_release(env, job);
}

// JavaScript is gone: lets go of everything that waits.
static void abandon(napi_env env, struct model_box *box)
{
    box->addon->stopping = true;
    while (box->jobs != NULL)
        drop_job(env, &box->jobs);
    while (box->tasks != NULL) {
        struct task *task = box->tasks;
        box->tasks = task->next;
        task_reject(env, task, CHORD_CANCELLED, "the environment has ended");
    }
}

static void deliver(napi_env env, struct model_box *box)
{
    // A listener may add jobs at the end; only this loop takes any out.
    struct job_box **at = &box->jobs;
    while (*at != NULL) {
        bool delivered = true;
        bool finished = job_box_deliver(env, *at, &delivered);
        if (!delivered) {
            abandon(env, box);
            return;
        }
        if (finished)
            drop_job(env, at);
        else
            at = &(*at)->next;
    }
}

static void slice_execute(napi_env env, void *data)
{
    (void)env;
    struct model_box *box = data;
    if (box->current != NULL)
        box->current->status = box->current->execute(box->current, &box->current->error);
    else
        box->jobs_stopped = !chord_model_run(box->model, SLICE_SECONDS, &box->stop);
}

static void slice_complete(napi_env env, napi_status status, void *data)
{
    struct model_box *box = data;
    struct task *task = box->current;
    napi_delete_async_work(env, box->work);
    box->work = NULL;
    box->current = NULL;
    if (status != napi_ok) {
        if (task != NULL)
            task_reject(env, task, CHORD_CANCELLED, "the environment has ended");
        abandon(env, box);
    } else if (task != NULL && task->status == CHORD_OK && task->unfinished) {
        if (task->progress != NULL)
            task->progress(env, task);
        util_report_exception(env);
        task->next = box->tasks; // before those that came after it
        box->tasks = task;
    } else if (task != NULL) {
        box->jobs_wait = false; // it may have cancelled some
        task_settle(env, task);
        util_report_exception(env);
    } else {
        box->jobs_wait = box->jobs_stopped && !box->woken;
        deliver(env, box);
        report_memory(env, box);
    }
    queue_next(env, box);
    model_box_release(env, box);
}

static bool has_work(const struct model_box *box)
{
    return box->jobs != NULL && !box->jobs_wait;
}

// Closing waits until it is alone.
static struct task *take_task(struct model_box *box)
{
    struct task *task = box->tasks;
    bool closes = task != NULL && box->closing && task->next == NULL;
    bool jobs_turn = has_work(box) && (box->task_was_last || closes);
    if (task == NULL || jobs_turn)
        return NULL;
    box->tasks = task->next;
    task->next = NULL;
    return task;
}

// Queues a slice if there is something to do and none is queued.
static void queue_next(napi_env env, struct model_box *box)
{
    if (box->work != NULL || box->addon->stopping || (!has_work(box) && box->tasks == NULL))
        return;
    napi_handle_scope scope;
    if (napi_open_handle_scope(env, &scope) != napi_ok)
        return;
    box->current = take_task(box);
    box->task_was_last = box->current != NULL;
    box->woken = box->woken && box->current != NULL;
    napi_value name = util_make_string(env, "chord", 5);
    if (name != NULL &&
        napi_create_async_work(env, NULL, name, slice_execute, slice_complete, box, &box->work) == napi_ok) {
        if (napi_queue_async_work(env, box->work) == napi_ok) {
            box->n_references++;
        } else {
            napi_delete_async_work(env, box->work);
            box->work = NULL;
        }
    }
    if (box->work == NULL) { // only an environment that ends refuses
        struct task *task = box->current;
        box->current = NULL;
        if (task != NULL)
            task_reject(env, task, CHORD_CANCELLED, "the environment has ended");
        abandon(env, box);
    }
    napi_close_handle_scope(env, scope);
}

void model_queue_job(napi_env env, struct model_box *box, struct job_box *job)
{
    struct job_box **end = &box->jobs;
    while (*end != NULL)
        end = &(*end)->next;
    *end = job;
    model_queue_wake(env, box);
}

void model_queue_wake(napi_env env, struct model_box *box)
{
    box->woken = true;
    box->jobs_wait = false;
    queue_next(env, box);
}

napi_value model_queue_task(napi_env env, struct model_box *box, struct task *task, napi_value promise)
{
    struct task **end = &box->tasks;
    while (*end != NULL)
        end = &(*end)->next;
    *end = task;
    queue_next(env, box);
    return promise;
}
