// Jobs of JavaScript: generations, evaluations, scorings, embeddings. A job reports to a listener after every slice:
//   listener(events, rest, promptDone, final, asked)
//     events      [{ token, text, logprob?, top?: [{ token, logprob }] }], or undefined when there are none
//     rest        text that the end released beyond what events hold
//     promptDone  tokens of the prompt computed so far
//     final       undefined while the job runs; { finish, error?, ... } once
//     asked       Float32Array of the logits to choose a token from, for chooseToken(); undefined if that is not asked
#include "addon/wraps.h"

#include <math.h>
#include <stdlib.h>

// ---- Reporting -------------------------------------------------------------------------------------------------------

static napi_value make_top(napi_env env, const struct chord_token_event *event)
{
    napi_value top;
    NAPI_TRY(env, napi_create_array_with_length(env, event->n_top, &top));
    for (uint32_t i = 0; i < event->n_top; i++) {
        napi_value entry;
        NAPI_TRY(env, napi_create_object(env, &entry));
        if (!util_set_double(env, entry, "token", event->top[i].token) ||
            !util_set_double(env, entry, "logprob", (double)event->top[i].logprob))
            return NULL;
        NAPI_TRY(env, napi_set_element(env, top, i, entry));
    }
    return top;
}

// *at: where the text of the event begins; moved to its end.
static napi_value make_event(napi_env env, const struct chord_output *output, const struct chord_token_event *event,
                             uint64_t *at)
{
    napi_value made;
    NAPI_TRY(env, napi_create_object(env, &made));
    if (!util_set_double(env, made, "token", event->token) ||
        !util_set(env, made, "text", util_make_string(env, output->text + *at, event->n_text_bytes)))
        return NULL;
    *at += event->n_text_bytes;
    if (!isnan(event->logprob) && (!util_set_double(env, made, "logprob", (double)event->logprob) ||
                                   !util_set(env, made, "top", make_top(env, event))))
        return NULL;
    return made;
}

static napi_value make_events(napi_env env, const struct chord_output *output, uint64_t *text_at)
{
    napi_value events;
    NAPI_TRY(env, napi_create_array_with_length(env, output->n_events, &events));
    for (uint64_t i = 0; i < output->n_events; i++) {
        napi_handle_scope scope; // a slice may hold thousands of events
        NAPI_TRY(env, napi_open_handle_scope(env, &scope));
        napi_value event = make_event(env, output, &output->events[i], text_at);
        napi_status status = event != NULL ? napi_set_element(env, events, (uint32_t)i, event) : napi_ok;
        napi_close_handle_scope(env, scope);
        if (event == NULL)
            return NULL;
        NAPI_TRY(env, status);
    }
    return events;
}

static napi_value make_final(napi_env env, const struct chord_output *output)
{
    static const char *const names[] = {
        [CHORD_FINISH_STOP] = "stop",
        [CHORD_FINISH_LENGTH] = "length",
        [CHORD_FINISH_CANCELLED] = "cancelled",
        [CHORD_FINISH_ERROR] = "error",
    };
    napi_value final;
    NAPI_TRY(env, napi_create_object(env, &final));
    bool ok = util_set_string(env, final, "finish", names[output->finish]) &&
              util_set_double(env, final, "promptTokens", (double)output->n_prompt) &&
              util_set_double(env, final, "reusedTokens", (double)output->n_reused) &&
              util_set_double(env, final, "generatedTokens", (double)output->n_generated) &&
              util_set_double(env, final, "guessedTokens", (double)output->n_guessed) &&
              util_set_double(env, final, "acceptedTokens", (double)output->n_accepted) &&
              util_set_double(env, final, "draftedTokens", (double)output->n_drafted) &&
              util_set_double(env, final, "acceptedDraftTokens", (double)output->n_accepted_drafts) &&
              util_set_double(env, final, "promptSeconds", output->prompt_seconds) &&
              util_set_double(env, final, "generateSeconds", output->generate_seconds) &&
              util_set_double(env, final, "nll", output->nll) &&
              util_set_double(env, final, "scored", (double)output->n_scored);
    ok = ok && util_set_bool(env, final, "isOfGrammar", output->is_of_grammar);
    if (ok && output->finish == CHORD_FINISH_ERROR)
        ok = util_set(env, final, "error", util_make_error(env, &output->error));
    if (ok && output->logits != NULL)
        ok = util_set(env, final, "logits", util_make_f32s(env, output->logits, (size_t)output->n_logits));
    if (ok && output->embedding != NULL)
        ok = util_set(env, final, "embedding", util_make_f32s(env, output->embedding, (size_t)output->n_embedding));
    return ok ? final : NULL;
}

static bool call_listener(napi_env env, struct job_box *job, const struct chord_output *output)
{
    napi_value listener, undefined;
    napi_value arguments[5];
    uint64_t text_at = 0;
    NAPI_TRY(env, napi_get_undefined(env, &undefined));
    NAPI_TRY(env, napi_get_reference_value(env, job->callback, &listener));
    arguments[0] = output->n_events > 0 ? make_events(env, output, &text_at) : undefined;
    if (arguments[0] == NULL)
        return false;
    arguments[1] = util_make_string(env, output->text + text_at, (size_t)(output->n_text_bytes - text_at));
    if (arguments[1] == NULL)
        return false;
    NAPI_TRY(env, napi_create_double(env, (double)output->n_prompt_done, &arguments[2]));
    arguments[3] = output->finish != CHORD_RUNNING ? make_final(env, output) : undefined;
    if (arguments[3] == NULL)
        return false;
    arguments[4] = output->asked != NULL ? util_make_f32s(env, output->asked, (size_t)output->n_asked) : undefined;
    if (arguments[4] == NULL)
        return false;
    NAPI_TRY(env, napi_call_function(env, undefined, listener, 5, arguments, NULL));
    return true;
}

bool job_box_deliver(napi_env env, struct job_box *job, bool *delivered)
{
    struct chord_output output;
    napi_handle_scope scope;
    chord_job_take(job->job, &output);
    *delivered = false;
    if (napi_open_handle_scope(env, &scope) != napi_ok)
        return false;
    // The listener is called also without news: that is how the end of the environment is noticed.
    *delivered = call_listener(env, job, &output) || util_report_exception(env);
    napi_close_handle_scope(env, scope);
    return output.finish != CHORD_RUNNING;
}

// ---- Options of a generation -----------------------------------------------------------------------------------------

struct generate_arguments {
    struct chord_generate_options options;
    struct chord_string *stop, *dry_breakers, *samplers;
    const char **sampler_names; // of samplers
    uint32_t n_samplers;
    struct chord_logit_bias *bias;
    struct model_box *draft; // NULL: none
};

static void free_strings(struct chord_string *strings, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        free((char *)strings[i].bytes);
    free(strings);
}

static void free_arguments(struct generate_arguments *a)
{
    free_strings(a->stop, a->options.n_stop);
    free_strings(a->dry_breakers, a->options.n_dry_breakers);
    free_strings(a->samplers, a->n_samplers);
    free(a->sampler_names);
    free(a->bias);
}

// An array of strings, if there is one, to *out [*n]; each terminated. free_strings, also after a failure.
static bool read_strings(napi_env env, napi_value object, const char *name, struct chord_string **out, uint32_t *n)
{
    napi_value list, element;
    uint32_t n_strings;
    NAPI_TRY(env, napi_get_named_property(env, object, name, &list));
    if (util_is_nullish(env, list))
        return true;
    NAPI_TRY(env, napi_get_array_length(env, list, &n_strings));
    *out = calloc((size_t)n_strings + 1, sizeof **out);
    if (*out == NULL) {
        util_throw_code(env, CHORD_OUT_OF_MEMORY, "no memory left for the options of a generation");
        return false;
    }
    for (uint32_t i = 0; i < n_strings; i++) {
        size_t n_bytes;
        NAPI_TRY(env, napi_get_element(env, list, i, &element));
        (*out)[i].bytes = util_get_string(env, element, &n_bytes);
        if ((*out)[i].bytes == NULL)
            return false;
        (*out)[i].n_bytes = n_bytes;
        *n = i + 1;
    }
    return true;
}

static bool read_samplers(napi_env env, napi_value object, struct generate_arguments *a)
{
    if (!read_strings(env, object, "samplers", &a->samplers, &a->n_samplers))
        return false;
    if (a->samplers == NULL)
        return true;
    a->sampler_names = calloc((size_t)a->n_samplers + 1, sizeof *a->sampler_names);
    if (a->sampler_names == NULL) {
        util_throw_code(env, CHORD_OUT_OF_MEMORY, "no memory left for the options of a generation");
        return false;
    }
    for (uint32_t i = 0; i < a->n_samplers; i++)
        a->sampler_names[i] = a->samplers[i].bytes;
    a->options.samplers = a->sampler_names;
    a->options.n_samplers = a->n_samplers;
    return true;
}

// biasTokens: Uint32Array, biasValues: Float32Array of the same length.
static bool read_bias(napi_env env, napi_value object, struct generate_arguments *a)
{
    napi_value tokens, values;
    const uint32_t *ids;
    const float *biases;
    size_t n_ids, n_biases;
    NAPI_TRY(env, napi_get_named_property(env, object, "biasTokens", &tokens));
    NAPI_TRY(env, napi_get_named_property(env, object, "biasValues", &values));
    if (util_is_nullish(env, tokens))
        return true;
    if (!util_get_u32s(env, tokens, &ids, &n_ids) || !util_get_f32s(env, values, &biases, &n_biases))
        return false;
    if (n_ids != n_biases || n_ids > UINT32_MAX) {
        napi_throw_range_error(env, NULL, "biasTokens and biasValues differ in length");
        return false;
    }
    a->bias = calloc(n_ids + 1, sizeof *a->bias);
    if (a->bias == NULL) {
        util_throw_code(env, CHORD_OUT_OF_MEMORY, "no memory left for the logit bias");
        return false;
    }
    for (size_t i = 0; i < n_ids; i++)
        a->bias[i] = (struct chord_logit_bias){ids[i], biases[i]};
    a->options.logit_bias = a->bias;
    a->options.n_logit_bias = (uint32_t)n_ids;
    return true;
}

// speculate: { lookup, guesses, always }, all optional.
static bool read_speculation(napi_env env, napi_value object, struct chord_speculation *speculation)
{
    napi_value given;
    NAPI_TRY(env, napi_get_named_property(env, object, "speculate", &given));
    if (util_is_nullish(env, given))
        return true;
    return util_option_bool(env, given, "lookup", &speculation->lookup) &&
           util_option_u32(env, given, "guesses", &speculation->max_guesses) &&
           util_option_bool(env, given, "always", &speculation->always);
}

// draft: the handle of a model. One that has been closed since is as good as none.
static bool read_draft(napi_env env, napi_value object, struct generate_arguments *a)
{
    napi_value given;
    NAPI_TRY(env, napi_get_named_property(env, object, "draft", &given));
    if (util_is_nullish(env, given))
        return true;
    struct model_box *box = util_get_handle(env, given, HANDLE_MODEL);
    if (box == NULL)
        return false;
    if (!box->closing && box->model != NULL) {
        a->draft = box;
        a->options.speculation.draft = box->model;
    }
    return true;
}

static bool read_taste(napi_env env, napi_value object, struct generate_arguments *a)
{
    struct chord_generate_options *o = &a->options;
    const bool ok = util_option_float(env, object, "dynamicRange", &o->dynamic_range) &&
                    util_option_float(env, object, "dynamicExponent", &o->dynamic_exponent) &&
                    util_option_float(env, object, "topNSigma", &o->top_n_sigma) &&
                    util_option_float(env, object, "xtcProbability", &o->xtc_probability) &&
                    util_option_float(env, object, "xtcThreshold", &o->xtc_threshold) &&
                    util_option_float(env, object, "mirostatTau", &o->mirostat_tau) &&
                    util_option_float(env, object, "mirostatEta", &o->mirostat_eta) &&
                    util_option_float(env, object, "dryMultiplier", &o->dry_multiplier) &&
                    util_option_float(env, object, "dryBase", &o->dry_base) &&
                    util_option_u32(env, object, "dryAllowedLength", &o->dry_allowed_length) &&
                    util_option_u32(env, object, "dryLastN", &o->dry_last_n) &&
                    read_strings(env, object, "dryBreakers", &a->dry_breakers, &o->n_dry_breakers) &&
                    read_samplers(env, object, a) && util_option_bool(env, object, "callerChooses", &o->caller_chooses);
    o->dry_breakers = a->dry_breakers;
    return ok;
}

// grammar: the handle of a compiled one.
static bool read_grammar(napi_env env, napi_value object, struct chord_generate_options *options)
{
    napi_value given;
    NAPI_TRY(env, napi_get_named_property(env, object, "grammar", &given));
    if (util_is_nullish(env, given))
        return true;
    options->grammar = util_get_handle(env, given, HANDLE_GRAMMAR);
    return options->grammar != NULL;
}

static bool read_options(napi_env env, napi_value object, struct generate_arguments *a)
{
    struct chord_generate_options *o = &a->options;
    double n_logprobs = o->n_logprobs;
    double seed = -1;
    if (util_is_nullish(env, object))
        return true;
    bool ok =
        read_taste(env, object, a) && util_option_u64(env, object, "maxTokens", &o->max_tokens) &&
        util_option_bool(env, object, "ignoreEos", &o->ignore_eos) &&
        util_option_float(env, object, "temperature", &o->temperature) &&
        util_option_u32(env, object, "topK", &o->top_k) && util_option_float(env, object, "topP", &o->top_p) &&
        util_option_float(env, object, "minP", &o->min_p) &&
        util_option_float(env, object, "typicalP", &o->typical_p) &&
        util_option_float(env, object, "repeatPenalty", &o->repeat_penalty) &&
        util_option_float(env, object, "frequencyPenalty", &o->frequency_penalty) &&
        util_option_float(env, object, "presencePenalty", &o->presence_penalty) &&
        util_option_u32(env, object, "penaltyLastN", &o->penalty_last_n) &&
        util_option_double(env, object, "seed", &seed) && util_option_double(env, object, "logprobs", &n_logprobs) &&
        read_strings(env, object, "stop", &a->stop, &o->n_stop) && read_bias(env, object, a) &&
        read_speculation(env, object, &o->speculation) && read_draft(env, object, a) && read_grammar(env, object, o);
    if (!ok)
        return false;
    o->stop = a->stop;
    o->n_logprobs = n_logprobs >= 0 && n_logprobs <= 64 ? (int32_t)n_logprobs : -1;
    o->has_seed = seed >= 0 && seed <= 9007199254740992.0;
    o->seed = o->has_seed ? (uint64_t)seed : 0;
    return true;
}

// ---- Submitting ------------------------------------------------------------------------------------------------------

static void job_finalize(napi_env env, void *data, void *hint)
{
    (void)hint;
    job_box_release(env, data);
}

// A box with the handle in *handle; the box's second reference is for the queue.
static struct job_box *make_box(napi_env env, struct model_box *model, napi_value listener, napi_value *handle)
{
    struct job_box *box = calloc(1, sizeof *box);
    if (box == NULL) {
        util_throw_code(env, CHORD_OUT_OF_MEMORY, "no memory left");
        return NULL;
    }
    box->n_references = 1;
    box->model = model;
    model->n_references++;
    if (napi_create_reference(env, listener, 1, &box->callback) != napi_ok) {
        util_throw_last(env);
        job_box_release(env, box);
        return NULL;
    }
    *handle = util_make_handle(env, HANDLE_JOB, box, job_finalize);
    if (*handle == NULL) {
        job_box_release(env, box);
        return NULL;
    }
    box->n_references++;
    return box;
}

// Puts a job into the queue, or throws what kept chord from taking it.
static napi_value submit(napi_env env, struct model_box *model, struct job_box *box, napi_value handle,
                         enum chord_status status, const struct chord_error *error)
{
    if (status == CHORD_OK) {
        model_queue_job(env, model, box);
        return handle;
    }
    job_box_release(env, box);
    return util_throw(env, error);
}

// A generation of the model, or of its session `in`, if that is not NULL. `arguments`: tokens, options, listener.
static napi_value start_generation(napi_env env, struct model_box *model, struct session_box *in,
                                   struct chord_session *session, const napi_value *arguments)
{
    struct chord_error error = {0};
    struct generate_arguments a = {0};
    const uint32_t *prompt;
    size_t n_prompt;
    napi_value handle;
    chord_generate_options_init(&a.options);
    struct job_box *box = NULL;
    if (read_options(env, arguments[1], &a) && util_get_u32s(env, arguments[0], &prompt, &n_prompt))
        box = make_box(env, model, arguments[2], &handle);
    napi_value result = NULL;
    if (box != NULL) {
        enum chord_status status =
            in != NULL ? chord_session_generate(session, prompt, n_prompt, &a.options, &box->job, &error)
                       : chord_generate(model->model, prompt, n_prompt, &a.options, &box->job, &error);
        if (status == CHORD_OK && in != NULL) {
            session_box_hold(in);
            box->session = in;
        }
        if (status == CHORD_OK && a.draft != NULL) {
            a.draft->n_references++;
            box->draft = a.draft;
        }
        result = submit(env, model, box, handle, status, &error);
    }
    free_arguments(&a);
    return result;
}

// generate(model, Uint32Array, options, listener) -> job handle
napi_value wrap_job_generate(napi_env env, napi_callback_info info)
{
    napi_value arguments[4];
    if (!util_arguments(env, info, 4, arguments))
        return NULL;
    struct model_box *model = model_box_get(env, arguments[0]);
    return model != NULL ? start_generation(env, model, NULL, NULL, arguments + 1) : NULL;
}

// sessionGenerate(session, Uint32Array, options, listener) -> job handle
napi_value wrap_session_generate(napi_env env, napi_callback_info info)
{
    struct model_box *model;
    struct chord_session *session;
    napi_value arguments[4];
    if (!util_arguments(env, info, 4, arguments))
        return NULL;
    struct session_box *box = session_box_get(env, arguments[0], &model, &session);
    return box != NULL ? start_generation(env, model, box, session, arguments + 1) : NULL;
}

// evaluate(model, Uint32Array, listener) -> job handle
napi_value wrap_job_evaluate(napi_env env, napi_callback_info info)
{
    struct chord_error error = {0};
    const uint32_t *tokens;
    size_t n;
    napi_value arguments[3];
    napi_value handle;
    if (!util_arguments(env, info, 3, arguments))
        return NULL;
    struct model_box *model = model_box_get(env, arguments[0]);
    if (model == NULL || !util_get_u32s(env, arguments[1], &tokens, &n))
        return NULL;
    struct job_box *box = make_box(env, model, arguments[2], &handle);
    if (box == NULL)
        return NULL;
    enum chord_status status = chord_evaluate(model->model, tokens, n, &box->job, &error);
    return submit(env, model, box, handle, status, &error);
}

// score(model, Uint32Array, first, listener) -> job handle
napi_value wrap_job_score(napi_env env, napi_callback_info info)
{
    struct chord_error error = {0};
    const uint32_t *tokens;
    uint64_t first;
    size_t n;
    napi_value arguments[4];
    napi_value handle;
    if (!util_arguments(env, info, 4, arguments))
        return NULL;
    struct model_box *model = model_box_get(env, arguments[0]);
    if (model == NULL || !util_get_u32s(env, arguments[1], &tokens, &n) || !util_get_count(env, arguments[2], &first))
        return NULL;
    struct job_box *box = make_box(env, model, arguments[3], &handle);
    if (box == NULL)
        return NULL;
    enum chord_status status = chord_score(model->model, tokens, n, first, &box->job, &error);
    return submit(env, model, box, handle, status, &error);
}

// One of the texts of embed(): its box goes to `boxes`, its handle into the array `handles`.
static bool start_embedding(napi_env env, struct model_box *model, const napi_value *lists, uint32_t index,
                            enum chord_pooling pooling, struct job_box **box)
{
    struct chord_error error = {0};
    struct chord_embed_options options = {.pooling = pooling};
    napi_value tokens, second, listener, handle;
    const uint32_t *ids;
    size_t n;
    NAPI_TRY(env, napi_get_element(env, lists[0], index, &tokens));
    NAPI_TRY(env, napi_get_element(env, lists[1], index, &second));
    NAPI_TRY(env, napi_get_element(env, lists[2], index, &listener));
    if (!util_get_u32s(env, tokens, &ids, &n) || !util_get_count(env, second, &options.second_part))
        return false;
    *box = make_box(env, model, listener, &handle);
    if (*box == NULL)
        return false;
    enum chord_status status = chord_embed(model->model, ids, n, &options, &(*box)->job, &error);
    if (status != CHORD_OK)
        util_throw(env, &error);
    return status == CHORD_OK && napi_set_element(env, lists[3], index, handle) == napi_ok;
}

// embed(model, Uint32Array[], secondParts: number[] (0: none), pooling (0: the model's, 1 mean, 2 cls, 3 last), listeners[])
// -> job handles. All texts are there before the first step, so that they share it; where one is refused, none is.
napi_value wrap_job_embed(napi_env env, napi_callback_info info)
{
    napi_value arguments[5], lists[4];
    uint32_t n = 0, n_made = 0;
    uint64_t pooling;
    if (!util_arguments(env, info, 5, arguments))
        return NULL;
    struct model_box *model = model_box_get(env, arguments[0]);
    if (model == NULL || !util_get_count(env, arguments[3], &pooling))
        return NULL;
    lists[0] = arguments[1];
    lists[1] = arguments[2];
    lists[2] = arguments[4];
    NAPI_TRY(env, napi_get_array_length(env, lists[0], &n));
    NAPI_TRY(env, napi_create_array_with_length(env, n, &lists[3]));
    struct job_box **boxes = calloc((size_t)n + 1, sizeof *boxes);
    if (boxes == NULL) {
        util_throw_code(env, CHORD_OUT_OF_MEMORY, "no memory left");
        return NULL;
    }
    bool ok = pooling <= CHORD_POOLING_LAST;
    while (ok && n_made < n) {
        ok = start_embedding(env, model, lists, n_made, (enum chord_pooling)pooling, &boxes[n_made]);
        n_made++;
    }
    for (uint32_t i = 0; i < n_made; i++) {
        if (ok)
            model_queue_job(env, model, boxes[i]);
        else
            job_box_release(env, boxes[i]);
    }
    free(boxes);
    return ok ? lists[3] : NULL;
}

// cancelJob(job): of a finished job it does nothing.
napi_value wrap_job_cancel(napi_env env, napi_callback_info info)
{
    napi_value argument;
    if (!util_arguments(env, info, 1, &argument))
        return NULL;
    struct job_box *box = util_get_handle(env, argument, HANDLE_JOB);
    if (box != NULL && box->job != NULL) {
        chord_job_cancel(box->job);
        model_queue_wake(env, box->model);
    }
    return NULL;
}

// chooseToken(job, token): the answer to the listener's `asked`. Of a finished job it does nothing.
napi_value wrap_job_choose(napi_env env, napi_callback_info info)
{
    struct chord_error error;
    uint64_t token;
    napi_value arguments[2];
    if (!util_arguments(env, info, 2, arguments))
        return NULL;
    struct job_box *box = util_get_handle(env, arguments[0], HANDLE_JOB);
    if (box == NULL || box->job == NULL || !util_get_count(env, arguments[1], &token))
        return NULL;
    if (chord_job_choose(box->job, token < UINT32_MAX ? (uint32_t)token : UINT32_MAX, &error) != CHORD_OK)
        return util_throw(env, &error);
    model_queue_wake(env, box->model);
    return NULL;
}
