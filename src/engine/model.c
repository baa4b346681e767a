#include "engine/model.h"

#include "engine/budget.h"
#include "engine/draft.h"
#include "engine/grammars.h"
#include "engine/job.h"
#include "os/cpu.h"

#include <stdatomic.h>
#include <string.h>

void chord_cancel_request(struct chord_cancel *cancel)
{
    atomic_store(&cancel->requested, true);
}

// Between the stages of loading: reports progress, notices a cancellation.
static enum chord_status stage(const struct chord_model_options *options, const char *phase, uint64_t done,
                               uint64_t total, struct chord_error *err)
{
    if (options->cancel != NULL && atomic_load(&options->cancel->requested))
        return chord_fail(err, CHORD_CANCELLED, "loading was cancelled");
    if (options->progress != NULL)
        options->progress(options->progress_user, phase, done, total);
    return CHORD_OK;
}

static enum chord_status copy_name(struct chord_model *model, struct chord_error *err)
{
    struct gguf_string name = {"", 0};
    gguf_get_string(model->gguf, "general.name", &name, NULL);
    const uint64_t bytes = (name.n_bytes < 256 ? name.n_bytes : 256) + 4;
    model->name = memory_alloc(&model->account, MEMORY_METADATA, bytes, 1);
    if (model->name == NULL)
        return memory_account_fail(&model->account, err, bytes, "the model's name");
    chord_printable(model->name, bytes, name.bytes, name.n_bytes);
    return CHORD_OK;
}

static void count(struct chord_model *model)
{
    for (uint64_t i = 0; i < gguf_n_tensors(model->gguf); i++) {
        const struct gguf_tensor *t = gguf_tensor(model->gguf, i);
        model->n_params += t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
    }
    for (uint32_t i = 0; i < gguf_n_files(model->gguf); i++)
        model->file_bytes += gguf_file(model->gguf, i)->os.size;
}

static enum chord_status open_header(struct chord_model *model, const char *path,
                                     const struct chord_model_options *options, struct chord_error *err)
{
    enum chord_status status = stage(options, "header", 0, 1, err);
    if (status == CHORD_OK)
        status = gguf_open(&model->gguf, path, &model->account, err);
    if (status == CHORD_OK)
        status = hparams_load(model->gguf, &model->hparams, &model->arch, err);
    if (status == CHORD_OK && options->n_ctx != 0)
        model->hparams.n_ctx = options->n_ctx;
    if (status == CHORD_OK)
        status = copy_name(model, err);
    if (status != CHORD_OK)
        return status;
    model->quantization = model_quantization(model->gguf);
    count(model);
    return stage(options, "header", 1, 1, err);
}

static enum chord_status open_tokenizer(struct chord_model *model, const struct chord_model_options *options,
                                        struct chord_error *err)
{
    struct tokenizer_info info;
    enum chord_status status = stage(options, "tokenizer", 0, 1, err);
    if (status == CHORD_OK)
        status = tokenizer_create(&model->tokenizer.tokenizer, model->gguf, &model->account, err);
    if (status != CHORD_OK)
        return status;
    tokenizer_info(model->tokenizer.tokenizer, &info);
    if (info.n_vocab > model->hparams.n_vocab)
        return chord_fail(err, CHORD_MODEL_TENSOR,
                          "the vocabulary has %u tokens but 'token_embd.weight' only %u rows: the file is damaged",
                          info.n_vocab, model->hparams.n_vocab);
    return stage(options, "tokenizer", 1, 1, err);
}

// Decides from the header how the model is to be run.
static enum chord_status choose(struct chord_model *model, const struct chord_model_options *options,
                                struct budget *budget, struct chord_error *err)
{
    struct memory_account account; // what the decision needs for a while is none of the model's
    memory_account_init(&account, UINT64_MAX);
    const enum chord_status status = budget_decide(budget, model->gguf, model->arch, &model->hparams, options, NULL,
                                                   atomic_load(&model->account.total), &account, NULL, err);
    if (status != CHORD_OK)
        return status;
    model->n_ctx = budget->n_ctx;
    model->n_threads = budget->n_threads;
    model->kernels = budget->kernels;
    model->kv_layout = budget->kv;
    model->spare = budget->spare;
    if (!budget->is_paged && budget->fits)
        model->account.ceiling -= budget->weights_bytes;
    return CHORD_OK;
}

static enum chord_status open_weights(struct chord_model *model, const struct chord_model_options *options,
                                      const struct budget *budget, struct chord_error *err)
{
    const enum weights_mode mode = budget->is_paged ? WEIGHTS_PAGED : WEIGHTS_MAPPED;
    enum chord_status status = stage(options, "weights", 0, 1, err);
    if (status == CHORD_OK)
        status = weights_open(&model->weights, model->gguf, mode, &model->account, err);
    if (status == CHORD_OK)
        status = arch_build_graph(model->arch, &model->hparams, model->weights, model->gguf, &model->account,
                                  &model->graph, err);
    if (status == CHORD_OK)
        status = stage(options, "weights", 1, 1, err);
    return status;
}

static enum chord_status open_engine(struct chord_model *model, const struct chord_model_options *options,
                                     const struct budget *budget, struct chord_error *err)
{
    enum chord_status status = pool_create(&model->pool, model->n_threads, &model->account, err);
    if (status == CHORD_OK)
        status = backend_create(&model->backend, model->graph, model->weights, &model->kernels, model->pool,
                                &model->kv_layout, &model->account, err);
    if (status == CHORD_OK && budget->is_paged)
        status = budget_start_paging(model, options, err);
    if (status == CHORD_OK && options->kv_spill != NULL)
        status = kv_spill_create(&model->kv_spill, options->kv_spill, &model->kv_layout,
                                 model_job_bytes(&model->hparams), &model->account, err);
    if (status == CHORD_OK)
        status = scheduler_init(model, err);
    if (status == CHORD_OK)
        status = draft_host_create(model, err);
    return status;
}

enum chord_status chord_model_open(const char *path, const struct chord_model_options *options,
                                   struct chord_model **out, struct chord_error *err)
{
    // The model holds its own account, so it cannot be counted before it exists: it is made by an account of one block.
    struct memory_account account;
    memory_account_init(&account, UINT64_MAX);
    struct chord_model *model = memory_zalloc(&account, MEMORY_METADATA, 1, sizeof *model);
    if (model == NULL)
        return chord_fail(err, CHORD_OUT_OF_MEMORY, "the system has no memory left for a model");
    model->budget = model_memory_budget(options);
    memory_account_init(&model->account, model->budget);
    const uint64_t ceilings[][2] = {{MEMORY_WEIGHTS, options->memory_weights},
                                    {MEMORY_KV, options->memory_kv},
                                    {MEMORY_SCRATCH, options->memory_scratch}};
    for (size_t i = 0; i < sizeof ceilings / sizeof *ceilings; i++)
        if (ceilings[i][1] != 0)
            model->account.region_ceiling[ceilings[i][0]] = ceilings[i][1];
    struct budget budget;
    enum chord_status status = open_header(model, path, options, err);
    if (status == CHORD_OK)
        status = open_tokenizer(model, options, err);
    if (status == CHORD_OK)
        status = choose(model, options, &budget, err);
    if (status == CHORD_OK)
        status = open_weights(model, options, &budget, err);
    if (status == CHORD_OK)
        status = open_engine(model, options, &budget, err);
    if (status != CHORD_OK) {
        chord_model_close(model);
        return status;
    }
    *out = model;
    return CHORD_OK;
}

void chord_model_close(struct chord_model *model)
{
    if (model == NULL)
        return;
    scheduler_free(model);
    model_forget_grammars(model, 0);
    token_trie_free(model->trie, &model->account);
    kv_spill_free(model->kv_spill);
    draft_host_close(model->host);
    backend_free(model->backend);
    pool_free(model->pool);
    graph_free(model->graph);
    weights_close(model->weights);
    tokenizer_free(model->tokenizer.tokenizer);
    memory_free(&model->account, model->name);
    gguf_close(model->gguf);
    struct memory_account account;
    memory_account_init(&account, UINT64_MAX);
    memory_free(&account, model);
}

const char *model_mode_name(const struct chord_model *model)
{
    return weights_mode(model->weights) == WEIGHTS_PAGED ? "paged" : "mapped";
}

void chord_model_info(const struct chord_model *model, struct chord_model_info *out)
{
    const struct hparams *h = &model->hparams;
    *out = (struct chord_model_info){
        .architecture = model->arch->name,
        .name = model->name,
        .quantization = model->quantization,
        .cpu = model->kernels.tier,
        .mode = model_mode_name(model),
        .n_params = model->n_params,
        .file_bytes = model->file_bytes,
        .n_ctx = model->n_ctx,
        .n_ctx_train = h->n_ctx_train,
        .n_vocab = h->n_vocab,
        .n_embd = h->n_embd,
        .n_layer = h->n_layer,
        .n_head = h->n_head,
        .n_head_kv = h->n_head_kv,
        .n_ff = h->n_ff,
        .n_threads = model->n_threads,
        .is_encoder = model->graph->is_encoder,
        .pooling = model_pooling(model),
        .n_labels = h->pooling == POOLING_RANK ? model_n_embedding(model) : 0,
    };
}

bool chord_model_chat_template(const struct chord_model *model, uint32_t index, struct chord_chat_template *out)
{
    static const char key[] = "tokenizer.chat_template";
    const uint64_t n_key = sizeof key - 1, n_values = gguf_n_values(model->gguf);
    for (uint64_t i = 0; i < n_values; i++) {
        const struct gguf_value *value = gguf_value(model->gguf, i);
        struct gguf_string text;
        if (value->type != GGUF_STRING || value->key.n_bytes < n_key || memcmp(value->key.bytes, key, n_key) != 0 ||
            (value->key.n_bytes > n_key && value->key.bytes[n_key] != '.') || index-- > 0)
            continue;
        struct gguf_string_walk walk = gguf_strings(value);
        gguf_next_string(&walk, &text);
        const uint64_t n_before_name = value->key.n_bytes > n_key ? n_key + 1 : n_key;
        *out = (struct chord_chat_template){
            .name = value->key.bytes + n_before_name,
            .n_name_bytes = value->key.n_bytes - n_before_name,
            .text = text.bytes,
            .n_text_bytes = text.n_bytes,
        };
        return true;
    }
    return false;
}

const struct chord_tokenizer *chord_model_tokenizer(const struct chord_model *model)
{
    return &model->tokenizer;
}
