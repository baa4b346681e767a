// The functions that JavaScript finds in the addon, by the file that holds them. lib/ is their only caller and has validated
// the arguments with messages for the user; what is checked again here is what memory safety needs.
#ifndef CHORD_ADDON_WRAPS_H
#define CHORD_ADDON_WRAPS_H

#include "addon/model_queue.h"

// model_wrap.c
napi_value wrap_model_open(napi_env env, napi_callback_info info);
napi_value wrap_model_plan(napi_env env, napi_callback_info info);
napi_value wrap_model_info(napi_env env, napi_callback_info info);
napi_value wrap_model_stats(napi_env env, napi_callback_info info);
napi_value wrap_model_check_draft(napi_env env, napi_callback_info info);
napi_value wrap_model_clear_cache(napi_env env, napi_callback_info info);
napi_value wrap_model_preload(napi_env env, napi_callback_info info);
napi_value wrap_model_tensor(napi_env env, napi_callback_info info);
napi_value wrap_model_close(napi_env env, napi_callback_info info);
napi_value wrap_system_info(napi_env env, napi_callback_info info);

// job_wrap.c
napi_value wrap_job_generate(napi_env env, napi_callback_info info);
napi_value wrap_session_generate(napi_env env, napi_callback_info info);
napi_value wrap_job_evaluate(napi_env env, napi_callback_info info);
napi_value wrap_job_score(napi_env env, napi_callback_info info);
napi_value wrap_job_embed(napi_env env, napi_callback_info info);
napi_value wrap_job_cancel(napi_env env, napi_callback_info info);
napi_value wrap_job_choose(napi_env env, napi_callback_info info);

// session_wrap.c
napi_value wrap_session_open(napi_env env, napi_callback_info info);
napi_value wrap_session_tokens(napi_env env, napi_callback_info info);
napi_value wrap_session_fork(napi_env env, napi_callback_info info);
napi_value wrap_session_save(napi_env env, napi_callback_info info);
napi_value wrap_session_restore(napi_env env, napi_callback_info info);
napi_value wrap_session_close(napi_env env, napi_callback_info info);

// bytes_wrap.c
napi_value wrap_bytes_read(napi_env env, napi_callback_info info);
napi_value wrap_layer_bytes(napi_env env, napi_callback_info info);
napi_value wrap_layer_read(napi_env env, napi_callback_info info);

// tokenizer_wrap.c
napi_value wrap_tokenizer_open(napi_env env, napi_callback_info info);
napi_value wrap_tokenizer_of_model(napi_env env, napi_callback_info info);
napi_value wrap_tokenizer_info(napi_env env, napi_callback_info info);
napi_value wrap_tokenizer_tokenize(napi_env env, napi_callback_info info);
napi_value wrap_tokenizer_tokenize_async(napi_env env, napi_callback_info info);
napi_value wrap_tokenizer_tokenize_part(napi_env env, napi_callback_info info);
napi_value wrap_tokenizer_tokenize_part_async(napi_env env, napi_callback_info info);
napi_value wrap_model_chat_templates(napi_env env, napi_callback_info info);
napi_value wrap_tokenizer_detokenize(napi_env env, napi_callback_info info);

// file_wrap.c
napi_value wrap_file_open(napi_env env, napi_callback_info info);
napi_value wrap_file_directory(napi_env env, napi_callback_info info);
napi_value wrap_file_elements(napi_env env, napi_callback_info info);

// grammar_wrap.c
napi_value wrap_grammar_compile(napi_env env, napi_callback_info info);

// quantize_wrap.c
napi_value wrap_quantizer_open(napi_env env, napi_callback_info info);
napi_value wrap_quantizer_run(napi_env env, napi_callback_info info);
napi_value wrap_quantizer_info(napi_env env, napi_callback_info info);
napi_value wrap_quantizer_stop(napi_env env, napi_callback_info info);
napi_value wrap_quantizer_close(napi_env env, napi_callback_info info);

#endif
