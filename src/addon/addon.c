// Entry of the addon: what one environment owns, and the functions that JavaScript finds.
//
// There is no state outside the instance data, so that any number of worker threads can load the addon.
#include "addon/wraps.h"

#include <stdlib.h>

// setErrorClass(ChordError)
static napi_value set_error_class(napi_env env, napi_callback_info info)
{
    struct addon *addon = addon_of(env);
    napi_value argument;
    if (!util_arguments(env, info, 1, &argument))
        return NULL;
    if (addon->error_class != NULL)
        napi_delete_reference(env, addon->error_class);
    addon->error_class = NULL;
    NAPI_TRY(env, napi_create_reference(env, argument, 1, &addon->error_class));
    return NULL;
}

// stop(): the environment is about to end. Steps under way break off within one layer, and nothing new is queued.
static napi_value stop(napi_env env, napi_callback_info info)
{
    (void)info;
    struct addon *addon = addon_of(env);
    addon->stopping = true;
    for (struct model_box *box = addon->models; box != NULL; box = box->next)
        chord_cancel_request(&box->stop);
    return NULL;
}

static void finalize(napi_env env, void *data, void *hint)
{
    (void)hint;
    struct addon *addon = data;
    if (addon->error_class != NULL)
        napi_delete_reference(env, addon->error_class);
    addon->error_class = NULL;
    addon_release(addon);
}

#define FUNCTION(name, callback)                                      \
    {                                                                 \
        name, NULL, callback, NULL, NULL, NULL, napi_enumerable, NULL \
    }

NAPI_MODULE_INIT()
{
    const napi_property_descriptor properties[] = {
        FUNCTION("setErrorClass", set_error_class),
        FUNCTION("stop", stop),
        FUNCTION("makeCancel", wrap_cancel_make),
        FUNCTION("requestCancel", wrap_cancel_request),
        FUNCTION("systemInfo", wrap_system_info),
        FUNCTION("open", wrap_model_open),
        FUNCTION("plan", wrap_model_plan),
        FUNCTION("modelInfo", wrap_model_info),
        FUNCTION("modelStats", wrap_model_stats),
        FUNCTION("checkDraft", wrap_model_check_draft),
        FUNCTION("clearCache", wrap_model_clear_cache),
        FUNCTION("preload", wrap_model_preload),
        FUNCTION("tensor", wrap_model_tensor),
        FUNCTION("close", wrap_model_close),
        FUNCTION("generate", wrap_job_generate),
        FUNCTION("evaluate", wrap_job_evaluate),
        FUNCTION("score", wrap_job_score),
        FUNCTION("embed", wrap_job_embed),
        FUNCTION("cancelJob", wrap_job_cancel),
        FUNCTION("chooseToken", wrap_job_choose),
        FUNCTION("sessionOpen", wrap_session_open),
        FUNCTION("sessionGenerate", wrap_session_generate),
        FUNCTION("sessionTokens", wrap_session_tokens),
        FUNCTION("sessionFork", wrap_session_fork),
        FUNCTION("sessionSave", wrap_session_save),
        FUNCTION("sessionRestore", wrap_session_restore),
        FUNCTION("sessionClose", wrap_session_close),
        FUNCTION("readBytes", wrap_bytes_read),
        FUNCTION("layerBytes", wrap_layer_bytes),
        FUNCTION("readLayer", wrap_layer_read),
        FUNCTION("openTokenizer", wrap_tokenizer_open),
        FUNCTION("tokenizerOfModel", wrap_tokenizer_of_model),
        FUNCTION("tokenizerInfo", wrap_tokenizer_info),
        FUNCTION("tokenize", wrap_tokenizer_tokenize),
        FUNCTION("tokenizeAsync", wrap_tokenizer_tokenize_async),
        FUNCTION("tokenizePart", wrap_tokenizer_tokenize_part),
        FUNCTION("tokenizePartAsync", wrap_tokenizer_tokenize_part_async),
        FUNCTION("chatTemplates", wrap_model_chat_templates),
        FUNCTION("detokenize", wrap_tokenizer_detokenize),
        FUNCTION("openFile", wrap_file_open),
        FUNCTION("fileDirectory", wrap_file_directory),
        FUNCTION("fileElements", wrap_file_elements),
        FUNCTION("compileGrammar", wrap_grammar_compile),
        FUNCTION("openQuantizer", wrap_quantizer_open),
        FUNCTION("runQuantizer", wrap_quantizer_run),
        FUNCTION("quantizerInfo", wrap_quantizer_info),
        FUNCTION("stopQuantizer", wrap_quantizer_stop),
        FUNCTION("closeQuantizer", wrap_quantizer_close),
    };
    struct addon *addon = calloc(1, sizeof *addon);
    if (addon == NULL) {
        napi_throw_error(env, NULL, "no memory left");
        return NULL;
    }
    addon->n_references = 1;
    if (napi_set_instance_data(env, addon, finalize, NULL) != napi_ok) {
        free(addon);
        util_throw_last(env);
        return NULL;
    }
    NAPI_TRY(env, napi_define_properties(env, exports, sizeof properties / sizeof *properties, properties));
    return exports;
}
