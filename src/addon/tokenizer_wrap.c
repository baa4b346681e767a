// Tokenizers of JavaScript: of a model, or by themselves.
#include "addon/wraps.h"

#include <stdlib.h>
#include <string.h>

// What the vocabulary of a tokenizer of its own holds per token, near enough for the garbage collector.
#define EXTERNAL_BYTES_PER_TOKEN 64

struct tokenizer_box {
    struct chord_tokenizer *own; // NULL of a model's
    struct model_box *model;     // referenced; NULL of one by itself
    int64_t external_bytes;
};

static void tokenizer_finalize(napi_env env, void *data, void *hint)
{
    (void)hint;
    int64_t total;
    struct tokenizer_box *box = data;
    if (box->own != NULL) {
        chord_tokenizer_close(box->own);
        napi_adjust_external_memory(env, -box->external_bytes, &total);
    }
    model_box_release(env, box->model);
    free(box);
}

static napi_value make_handle(napi_env env, struct chord_tokenizer *own, struct model_box *model)
{
    int64_t total;
    struct chord_tokenizer_info i;
    struct tokenizer_box *box = calloc(1, sizeof *box);
    if (box == NULL) {
        chord_tokenizer_close(own);
        return util_throw_code(env, CHORD_OUT_OF_MEMORY, "no memory left");
    }
    box->own = own;
    box->model = model;
    if (model != NULL)
        model->n_references++;
    if (own != NULL) {
        chord_tokenizer_info(own, &i);
        box->external_bytes = (int64_t)i.n_vocab * EXTERNAL_BYTES_PER_TOKEN;
        napi_adjust_external_memory(env, box->external_bytes, &total);
    }
    napi_value handle = util_make_handle(env, HANDLE_TOKENIZER, box, tokenizer_finalize);
    if (handle == NULL)
        tokenizer_finalize(env, box, NULL);
    return handle;
}

// NULL with CLOSED when the model is gone.
static const struct chord_tokenizer *get(napi_env env, napi_value handle)
{
    struct tokenizer_box *box = util_get_handle(env, handle, HANDLE_TOKENIZER);
    if (box == NULL || box->own != NULL)
        return box != NULL ? box->own : NULL;
    if (box->model->closing || box->model->model == NULL) {
        util_throw_code(env, CHORD_CLOSED, "the model has been closed");
        return NULL;
    }
    return chord_model_tokenizer(box->model->model);
}

// ---- Opening ---------------------------------------------------------------------------------------------------------

struct tokenizer_task {
    struct task task;
    char *path;
    struct chord_tokenizer *tokenizer;
};

static enum chord_status open_execute(struct task *task, struct chord_error *error)
{
    struct tokenizer_task *t = (struct tokenizer_task *)task;
    return chord_tokenizer_open(t->path, &t->tokenizer, error);
}

static napi_value open_resolve(napi_env env, struct task *task)
{
    struct tokenizer_task *t = (struct tokenizer_task *)task;
    struct chord_tokenizer *tokenizer = t->tokenizer;
    t->tokenizer = NULL;
    return make_handle(env, tokenizer, NULL);
}

static void open_destroy(napi_env env, struct task *task)
{
    (void)env;
    struct tokenizer_task *t = (struct tokenizer_task *)task;
    chord_tokenizer_close(t->tokenizer);
    free(t->path);
    free(t);
}

// openTokenizer(path) -> Promise<tokenizer handle>
napi_value wrap_tokenizer_open(napi_env env, napi_callback_info info)
{
    napi_value argument;
    if (!util_arguments(env, info, 1, &argument))
        return NULL;
    struct tokenizer_task *t = calloc(1, sizeof *t);
    if (t == NULL)
        return util_throw_code(env, CHORD_OUT_OF_MEMORY, "no memory left");
    t->task.execute = open_execute;
    t->task.resolve = open_resolve;
    t->task.destroy = open_destroy;
    t->path = util_get_string(env, argument, NULL);
    if (t->path == NULL) {
        open_destroy(env, &t->task);
        return NULL;
    }
    napi_value promise = task_prepare(env, &t->task, NULL);
    return promise != NULL ? task_queue(env, &t->task, promise) : NULL;
}

// tokenizerOfModel(model) -> tokenizer handle
napi_value wrap_tokenizer_of_model(napi_env env, napi_callback_info info)
{
    napi_value argument;
    if (!util_arguments(env, info, 1, &argument))
        return NULL;
    struct model_box *model = model_box_get(env, argument);
    return model != NULL ? make_handle(env, NULL, model) : NULL;
}

// Of a file: a template longer than this is cut, for what has more is refused when it is used (lib/chat/renderer.js).
#define MOST_TEMPLATE_BYTES ((uint64_t)4 << 20)
#define MOST_TEMPLATES 16

static bool add_template(napi_env env, napi_value list, uint32_t at, const struct chord_chat_template *found)
{
    napi_value name = util_make_string(env, found->name, (size_t)found->n_name_bytes);
    const uint64_t n_text_bytes = found->n_text_bytes < MOST_TEMPLATE_BYTES ? found->n_text_bytes : MOST_TEMPLATE_BYTES;
    napi_value text = name != NULL ? util_make_string(env, found->text, (size_t)n_text_bytes) : NULL;
    if (text == NULL)
        return false;
    NAPI_TRY(env, napi_set_element(env, list, at, name));
    NAPI_TRY(env, napi_set_element(env, list, at + 1, text));
    return true;
}

// chatTemplates(model) -> [name, text, name, text, ...]
napi_value wrap_model_chat_templates(napi_env env, napi_callback_info info)
{
    struct chord_chat_template found;
    napi_value argument, list;
    struct model_box *model = util_arguments(env, info, 1, &argument) ? model_box_get(env, argument) : NULL;
    if (model == NULL)
        return NULL;
    NAPI_TRY(env, napi_create_array(env, &list));
    for (uint32_t i = 0; i < MOST_TEMPLATES && chord_model_chat_template(model->model, i, &found); i++) {
        if (!add_template(env, list, 2 * i, &found))
            return NULL;
    }
    return list;
}

// What stands before the parts of a text with a gap, or null where the vocabulary lacks one of them.
static bool set_infill(napi_env env, napi_value out, const struct chord_tokenizer_info *i)
{
    napi_value infill;
    if (i->infill_prefix == CHORD_TOKEN_NONE || i->infill_suffix == CHORD_TOKEN_NONE ||
        i->infill_middle == CHORD_TOKEN_NONE) {
        NAPI_TRY(env, napi_get_null(env, &infill));
        return util_set(env, out, "infill", infill);
    }
    NAPI_TRY(env, napi_create_object(env, &infill));
    return util_set_token(env, infill, "prefix", i->infill_prefix) &&
           util_set_token(env, infill, "suffix", i->infill_suffix) &&
           util_set_token(env, infill, "middle", i->infill_middle) && util_set(env, out, "infill", infill);
}

// tokenizerInfo(tokenizer) -> object
napi_value wrap_tokenizer_info(napi_env env, napi_callback_info info)
{
    struct chord_tokenizer_info i;
    napi_value argument, out;
    if (!util_arguments(env, info, 1, &argument))
        return NULL;
    const struct chord_tokenizer *tokenizer = get(env, argument);
    if (tokenizer == NULL)
        return NULL;
    chord_tokenizer_info(tokenizer, &i);
    NAPI_TRY(env, napi_create_object(env, &out));
    bool ok = util_set_string(env, out, "model", i.model) &&
              util_set_string(env, out, "pretokenizer", i.pretokenizer) &&
              util_set_double(env, out, "vocabulary", i.n_vocab) && util_set_token(env, out, "bos", i.bos) &&
              util_set_token(env, out, "eos", i.eos) && util_set_token(env, out, "eot", i.eot) &&
              util_set_token(env, out, "unknown", i.unk) && util_set_token(env, out, "padding", i.pad) &&
              util_set_token(env, out, "separator", i.sep) && set_infill(env, out, &i) &&
              util_set_bool(env, out, "addBos", i.add_bos) && util_set_bool(env, out, "addEos", i.add_eos);
    return ok ? out : NULL;
}

// ---- Text and tokens -------------------------------------------------------------------------------------------------

struct tokenize_task {
    struct task task;
    const struct chord_tokenizer *tokenizer;
    char *text;
    size_t n_bytes;
    bool special;
    int bos;
    bool is_part; // what follows instead of `bos`
    bool continues;
    uint64_t *cuts;
    size_t n_cuts;
    uint32_t *ids;
    uint64_t n_ids;
};

static enum chord_status tokenize_execute(struct task *task, struct chord_error *error)
{
    struct tokenize_task *t = (struct tokenize_task *)task;
    if (t->is_part)
        return chord_tokenize_part(t->tokenizer, t->text, t->n_bytes, t->special, t->continues, t->cuts, t->n_cuts,
                                   &t->ids, &t->n_ids, error);
    return chord_tokenize(t->tokenizer, t->text, t->n_bytes, t->special, t->bos, &t->ids, &t->n_ids, error);
}

static napi_value tokenize_resolve(napi_env env, struct task *task)
{
    struct tokenize_task *t = (struct tokenize_task *)task;
    return util_make_u32s(env, t->ids, (size_t)t->n_ids);
}

static void tokenize_destroy(napi_env env, struct task *task)
{
    (void)env;
    struct tokenize_task *t = (struct tokenize_task *)task;
    chord_free(t->ids);
    free(t->cuts);
    free(t->text);
    free(t);
}

static struct tokenize_task *create_tokenize(napi_env env, napi_value tokenizer)
{
    const struct chord_tokenizer *of = get(env, tokenizer);
    if (of == NULL)
        return NULL;
    struct tokenize_task *t = calloc(1, sizeof *t);
    if (t == NULL) {
        util_throw_code(env, CHORD_OUT_OF_MEMORY, "no memory left");
        return NULL;
    }
    t->task.execute = tokenize_execute;
    t->task.resolve = tokenize_resolve;
    t->task.destroy = tokenize_destroy;
    t->tokenizer = of;
    return t;
}

// Reads (tokenizer, text, special, bos); bos: -1, 0 or 1.
static struct tokenize_task *read_tokenize(napi_env env, const napi_value *arguments)
{
    double bos;
    struct tokenize_task *t = create_tokenize(env, arguments[0]);
    if (t == NULL)
        return NULL;
    t->text = util_get_string(env, arguments[1], &t->n_bytes);
    if (t->text == NULL || !util_get_bool(env, arguments[2], &t->special) ||
        !util_get_double(env, arguments[3], &bos)) {
        tokenize_destroy(env, &t->task);
        return NULL;
    }
    t->bos = bos < 0 ? -1 : bos > 0;
    return t;
}

// Reads (tokenizer, text, continues, cuts: Uint32Array, rising, or null: special tokens are text).
static struct tokenize_task *read_part(napi_env env, const napi_value *arguments)
{
    const uint32_t *cuts = NULL;
    napi_valuetype type;
    NAPI_TRY(env, napi_typeof(env, arguments[3], &type));
    struct tokenize_task *t = create_tokenize(env, arguments[0]);
    if (t == NULL)
        return NULL;
    t->is_part = true;
    t->text = util_get_string(env, arguments[1], &t->n_bytes);
    t->special = type != napi_null;
    bool ok = t->text != NULL && util_get_bool(env, arguments[2], &t->continues) &&
              (!t->special || util_get_u32s(env, arguments[3], &cuts, &t->n_cuts));
    if (ok) {
        t->cuts = calloc(t->n_cuts + 1, sizeof *t->cuts);
        ok = t->cuts != NULL;
        if (!ok)
            util_throw_code(env, CHORD_OUT_OF_MEMORY, "no memory left");
    }
    if (!ok) {
        tokenize_destroy(env, &t->task);
        return NULL;
    }
    for (size_t i = 0; i < t->n_cuts; i++)
        t->cuts[i] = cuts[i];
    return t;
}

// Makes a task of a call's four arguments; NULL with an exception pending.
typedef struct tokenize_task *read_task(napi_env env, const napi_value *arguments);

static napi_value run_at_once(napi_env env, napi_callback_info info, read_task *read)
{
    struct chord_error error = {0};
    napi_value arguments[4], ids;
    struct tokenize_task *t = util_arguments(env, info, 4, arguments) ? read(env, arguments) : NULL;
    if (t == NULL)
        return NULL;
    if (tokenize_execute(&t->task, &error) == CHORD_OK)
        ids = tokenize_resolve(env, &t->task);
    else
        ids = util_throw(env, &error);
    tokenize_destroy(env, &t->task);
    return ids;
}

static napi_value run_in_queue(napi_env env, napi_callback_info info, read_task *read)
{
    napi_value arguments[4];
    if (!util_arguments(env, info, 4, arguments))
        return NULL;
    struct tokenizer_box *box = util_get_handle(env, arguments[0], HANDLE_TOKENIZER);
    struct tokenize_task *t = box != NULL && box->model != NULL ? read(env, arguments) : NULL;
    if (t == NULL)
        return NULL;
    napi_value promise = task_prepare(env, &t->task, NULL);
    return promise != NULL ? model_queue_task(env, box->model, &t->task, promise) : NULL;
}

// tokenize(tokenizer, text, special, bos) -> Uint32Array
napi_value wrap_tokenizer_tokenize(napi_env env, napi_callback_info info)
{
    return run_at_once(env, info, read_tokenize);
}

// tokenizeAsync(tokenizer of a model, text, special, bos) -> Promise<Uint32Array>, in the model's queue
napi_value wrap_tokenizer_tokenize_async(napi_env env, napi_callback_info info)
{
    return run_in_queue(env, info, read_tokenize);
}

// tokenizePart(tokenizer, text, continues, cuts) -> Uint32Array
napi_value wrap_tokenizer_tokenize_part(napi_env env, napi_callback_info info)
{
    return run_at_once(env, info, read_part);
}

// tokenizePartAsync(tokenizer of a model, text, continues, cuts) -> Promise<Uint32Array>, in the model's queue
napi_value wrap_tokenizer_tokenize_part_async(napi_env env, napi_callback_info info)
{
    return run_in_queue(env, info, read_part);
}

// detokenize(tokenizer, Uint32Array, special) -> string
napi_value wrap_tokenizer_detokenize(napi_env env, napi_callback_info info)
{
    struct chord_error error = {0};
    const uint32_t *ids;
    size_t n_ids;
    bool special;
    char *text = NULL;
    uint64_t n_bytes = 0;
    napi_value arguments[3];
    if (!util_arguments(env, info, 3, arguments))
        return NULL;
    const struct chord_tokenizer *tokenizer = get(env, arguments[0]);
    if (tokenizer == NULL || !util_get_u32s(env, arguments[1], &ids, &n_ids) ||
        !util_get_bool(env, arguments[2], &special))
        return NULL;
    if (chord_detokenize(tokenizer, ids, n_ids, special, &text, &n_bytes, &error) != CHORD_OK)
        return util_throw(env, &error);
    napi_value out = util_make_string(env, text, (size_t)n_bytes);
    chord_free(text);
    return out;
}
