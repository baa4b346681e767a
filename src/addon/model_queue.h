// A model of JavaScript, and the one queue of its work on Node's thread pool.
//
// The queue holds jobs (generations and the like, which chord's scheduler advances together) and tasks (reading a tensor,
// preloading, closing). It gives the pool one slice at a time: a few milliseconds of the jobs' steps, or one task; both in turn
// when there are both. Between slices the thread goes back to the pool, and new output goes to JavaScript.
//
// Jobs that all wait for JavaScript to choose a token get no slice until it has.
//
// Everything but the execution of a slice happens on the JavaScript thread, so reference counts need no atomics.
#ifndef CHORD_ADDON_MODEL_QUEUE_H
#define CHORD_ADDON_MODEL_QUEUE_H

#include "addon/task.h"

struct job_box {
    struct job_box *next;        // in model_box.jobs
    struct model_box *model;     // referenced
    struct chord_job *job;       // NULL once finished
    struct session_box *session; // that the job works on, referenced; NULL: none
    struct model_box *draft;     // the draft model it may ask while it runs, referenced; NULL: none
    napi_ref callback;           // of the listener, strong while the job runs
    uint32_t n_references;       // of the handle and of the queue
};

struct model_box {
    struct model_box *next; // in addon.models
    struct addon *addon;
    struct chord_model *model; // NULL once closed
    struct chord_cancel stop;  // set when the environment is about to end
    uint32_t n_references;     // of handles, jobs and tasks
    struct job_box *jobs;      // unfinished ones, in order of submission
    struct task *tasks;        // waiting ones, in order
    struct task *current;      // the task of the slice under way; NULL when that is of the jobs
    napi_async_work work;      // the slice under way
    bool task_was_last;
    bool jobs_wait;         // none of the jobs can go on before model_queue_wake
    bool jobs_stopped;      // by the slice under way: it found that none can go on
    bool woken;             // since that slice was queued
    bool closing;           // takes nothing new
    int64_t external_bytes; // told to the garbage collector
};

// A box for an open model, which it takes over. NULL when there is no memory; the model is then still the caller's.
struct model_box *model_box_make(napi_env env, struct chord_model *model);
void model_box_release(napi_env env, struct model_box *box);
// Frees the model, with no job and no slice left. Idempotent.
void model_box_close(napi_env env, struct model_box *box);
// Fetches the box of a handle and sees to it that the model is open: NULL with a ChordError CLOSED otherwise.
struct model_box *model_box_get(napi_env env, napi_value handle);

// Both take over what they are given and see to it that a slice is queued.
void model_queue_job(napi_env env, struct model_box *box, struct job_box *job);
napi_value model_queue_task(napi_env env, struct model_box *box, struct task *task, napi_value promise);
// A job was told something that the next slice has to see: a choice, or that it is cancelled.
void model_queue_wake(napi_env env, struct model_box *box);

// In session_wrap.c. Fetches the box of a handle, its model and its session, and sees to it that both are open: NULL with a
// ChordError CLOSED otherwise.
struct session_box *session_box_get(napi_env env, napi_value handle, struct model_box **model,
                                    struct chord_session **session);
void session_box_hold(struct session_box *box);
void session_box_release(napi_env env, struct session_box *box); // NULL is fine

void job_box_release(napi_env env, struct job_box *job);
// In job_wrap.c: hands what the job has produced to its listener. Returns whether the job has finished. *delivered: false when
// JavaScript can't run any more.
bool job_box_deliver(napi_env env, struct job_box *job, bool *delivered);

#endif
