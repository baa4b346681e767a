// Public C API of chord: load a GGUF model, generate text from it. The addon sits on this header alone.
//
// Objects
//   chord_model       a loaded model: immutable weights, a tokenizer, and the scheduler of all work on it
//   chord_tokenizer   a tokenizer without weights
//   chord_job         one piece of work in a model's scheduler: a generation, an evaluation, a scoring or an embedding
//   chord_grammar     which texts a generation may write
//   chord_session     a text whose KV cache lives on between the generations that continue it
//   chord_file        metadata and tensor directory of a file, for inspection
//   chord_quantizer   a file that is being written in other types
//
// Threads: every function may be called from any thread. chord_model_run must not run twice at once on one model;
// everything else may run beside it, except where it is said otherwise. Two models share nothing, but that one may draft for
// another (struct chord_speculation); it must not be closed while chord_generate is handed it.
// Errors: fallible functions return enum chord_status and fill *err (which may be NULL). See base/status.h.
// Strings handed in are UTF-8 with explicit lengths or NUL-terminated as stated; strings handed out are borrowed from the
// object and valid until it is closed, unless stated otherwise.
#ifndef CHORD_H
#define CHORD_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

#define CHORD_TOKEN_NONE UINT32_MAX

// A flag that asks work to stop; zero-initialised, set from any thread, polled by the work.
struct chord_cancel {
    _Atomic bool requested;
};
void chord_cancel_request(struct chord_cancel *cancel);

// ---- Loading ---------------------------------------------------------------------------------------------------------

// AUTO: mapped when weights, KV cache and all else fit the memory, else paged (weights/weights.h).
enum chord_mode { CHORD_MODE_AUTO, CHORD_MODE_MAPPED, CHORD_MODE_PAGED };

// Which weights stay in memory in paged mode (weights/pager.h). AUTO: PIN.
enum chord_policy { CHORD_POLICY_AUTO, CHORD_POLICY_PIN, CHORD_POLICY_LRU };

// How keys and values of a context are kept: two bytes per element, or 34 bytes per 32.
enum chord_kv_type { CHORD_KV_F16, CHORD_KV_Q8_0 };

struct chord_model_options {
    uint64_t memory; // ceiling in bytes for everything chord allocates; 0: what the machine or container leaves free
    uint64_t memory_weights, memory_kv, memory_scratch; // of it at most for each of these; 0: no ceiling of its own
    uint32_t n_ctx;     // context in tokens; 0: the model's own, as far as the budget reaches
    uint32_t n_threads; // compute threads, 0: one per processor this process may use
    const char *cpu; // force a kernel tier by name ("scalar", "avx2", ...); NULL: the best. Unknown: INVALID_ARGUMENT
    enum chord_mode mode;
    enum chord_policy policy;
    enum chord_kv_type kv_type;
    // NULL: none. A file that must not exist, for keys and values of sessions that rest, when their memory is wanted for those of
    // others. It is of the model alone and goes with it; at once by name where the system allows. IO when it cannot be made.
    const char *kv_spill;
    struct chord_cancel *cancel; // may be NULL; CANCELLED when set during loading
    // May be NULL. Called on the loading thread; phase is a static string ("header", "tokenizer", "weights").
    void (*progress)(void *user, const char *phase, uint64_t done, uint64_t total);
    void *progress_user;
};

struct chord_model;

// Opens `path` (NUL-terminated; the first file of a split model). Reads the header only; weights are mapped.
enum chord_status chord_model_open(const char *path, const struct chord_model_options *options,
                                   struct chord_model **out, struct chord_error *err);
// Cancels what runs, frees all, sessions too. Jobs and transfers must have been freed before; no other call may be under way. NULL is fine.
void chord_model_close(struct chord_model *model);

// What of a text's rows, normed as for the head, is its vector: their mean, the first, the last. AUTO: as the metadata says
// ({architecture}.pooling_type); where it says nothing, the mean with an encoder, else the last row.
enum chord_pooling { CHORD_POOLING_AUTO, CHORD_POOLING_MEAN, CHORD_POOLING_CLS, CHORD_POOLING_LAST };

struct chord_model_info {
    const char *architecture; // "llama"
    const char *name;         // general.name, "" when absent
    const char *quantization; // by general.file_type, else by the type most weights have: "Q4_K_M", "mixed"
    const char *cpu;          // kernel tier in use
    const char *mode;         // "mapped" or "paged"
    uint64_t n_params;        // elements of all tensors
    uint64_t file_bytes;      // all files
    uint32_t n_ctx;           // context in force, tokens
    uint32_t n_ctx_train;     // the model's own
    uint32_t n_vocab, n_embd, n_layer, n_head, n_head_kv, n_ff;
    uint32_t n_threads;
    bool is_encoder;            // makes vectors and foretells no tokens: chord_embed alone
    enum chord_pooling pooling; // what CHORD_POOLING_AUTO is
    uint32_t n_labels;          // of a model for ranking: 1, or 2, of yes and no; else 0
};
void chord_model_info(const struct chord_model *model, struct chord_model_info *out);

// The chat templates of the file, in Jinja: `name` is empty for the one of "tokenizer.chat_template", else what follows that and a dot
// ("tool_use"). Neither string is terminated; the text may hold anything. False: there are no more than `index`.
struct chord_chat_template {
    const char *name, *text;
    uint64_t n_name_bytes, n_text_bytes;
};
bool chord_model_chat_template(const struct chord_model *model, uint32_t index, struct chord_chat_template *out);

#define CHORD_MAX_LAYERS 1024

// Which experts a mixture of experts is expected to use. SCATTERED: nearly any, as routers with random weights do; REPEATING: often
// those of the last tokens, as trained models do by what was published; RECORDED: those that `npm run bench:experts` has recorded.
enum chord_routes_kind { CHORD_ROUTES_SCATTERED, CHORD_ROUTES_REPEATING, CHORD_ROUTES_RECORDED };
struct chord_routes {
    enum chord_routes_kind kind;
    // RECORDED: of n_tokens >= 2 tokens of one text, borrowed: [n_tokens, n_layers, n_used], each below n_experts. n_layers: those that
    // have experts.
    const uint32_t *experts;
    uint32_t n_tokens, n_layers, n_experts, n_used;
};

// What opening would do, from the header alone.
struct chord_plan {
    const char *architecture; // static
    const char *mode;         // "mapped" or "paged"; static
    uint64_t memory_budget;   // bytes
    uint64_t weights_bytes;   // all tensors
    uint64_t step_bytes;      // weights that one generated token reads
    uint64_t kv_bytes_per_token;
    uint64_t kv_bytes;       // at n_ctx
    uint64_t scratch_bytes;  // activations, logits
    uint64_t metadata_bytes; // header, tokenizer
    uint32_t n_ctx, n_ctx_train;
    uint32_t n_layer;
    uint32_t n_threads;
    double read_bandwidth; // bytes per second: measured read of memory by n_threads threads
    double disk_bandwidth; // paged: bytes per second that the store's reads of these files got; 0 in mapped mode
    uint64_t
        pinned_bytes; // paged: of step_bytes, in memory while one short text is generated: always, or experts as often as
                      // the routes say; mapped: step_bytes
    uint64_t ring_bytes; // paged: of memory for those that are not
    // Of experts, 0 without: of step_bytes; of memory for those that stay; of their uses, the share that finds them there; paged:
    // bytes per second that reads of as many experts at once got as a layer is expected to miss.
    uint64_t expert_step_bytes, expert_memory_bytes;
    double expert_hit_share, expert_bandwidth;
    // The greater of bytes used / read_bandwidth and bytes not in memory / disk_bandwidth: of what every token uses, and, added to
    // it, of experts (by expert_bandwidth), since these are read when their layer is reached.
    double seconds_per_token;
    // What each enum chord_kv_type would make of it at the end of the context.
    struct chord_plan_kv {
        uint64_t bytes_per_token, bytes; // of KV cache
        uint64_t pinned_bytes;           // as above, beside so much KV cache; 0 if it does not fit
        double seconds_per_token;        // as above, and bytes / read_bandwidth for the cache; 0 if it does not fit
        bool fits;                       // in memory, with what else is needed there
    } kv[2];
    bool fits;              // weights + KV + scratch + metadata <= memory_budget
    char warnings[4][256];  // terminated; the first empty one ends the list
    uint32_t n_plan_layers; // n_layer and one more: the output matrix and what else belongs to no layer
    struct chord_plan_layer {
        uint64_t step_bytes, pinned_bytes;
    } layers[CHORD_MAX_LAYERS + 1];
};
// routes: NULL is SCATTERED. INVALID_ARGUMENT when those recorded are not of a model of this shape.
enum chord_status chord_model_plan(const char *path, const struct chord_model_options *options,
                                   const struct chord_routes *routes, struct chord_plan *out, struct chord_error *err);

// ---- Tokenizer -------------------------------------------------------------------------------------------------------

struct chord_tokenizer;
enum chord_status chord_tokenizer_open(const char *path, struct chord_tokenizer **out, struct chord_error *err);
void chord_tokenizer_close(struct chord_tokenizer *tokenizer);
const struct chord_tokenizer *chord_model_tokenizer(const struct chord_model *model); // borrowed

struct chord_tokenizer_info {
    const char *model, *pretokenizer;
    uint32_t n_vocab;
    uint32_t bos, eos, eot, unk, pad; // CHORD_TOKEN_NONE where there is none
    uint32_t sep;                     // between two texts that are read as one, behind the end of the first; likewise
    // Stand before the parts of a text with a gap that is to be filled; likewise.
    uint32_t infill_prefix, infill_suffix, infill_middle;
    bool add_bos, add_eos;
};
void chord_tokenizer_info(const struct chord_tokenizer *tokenizer, struct chord_tokenizer_info *out);

// bos: -1 as the metadata says, 0 never, 1 always. *ids is the caller's: chord_free(*ids).
enum chord_status chord_tokenize(const struct chord_tokenizer *tokenizer, const char *text, uint64_t n_bytes,
                                 bool parse_special, int bos, uint32_t **ids, uint64_t *n_ids, struct chord_error *err);
// A part of a text, without BOS or EOS. `continues`: a part stands before it, so that no space is put in front. With parse_special, as for
// what a template wrote, no special token reaches across one of cuts[n_cuts], rising offsets in bytes. *ids as above.
enum chord_status chord_tokenize_part(const struct chord_tokenizer *tokenizer, const char *text, uint64_t n_bytes,
                                      bool parse_special, bool continues, const uint64_t *cuts, uint64_t n_cuts,
                                      uint32_t **ids, uint64_t *n_ids, struct chord_error *err);
// `special`: show control tokens. *text (UTF-8, not terminated) is the caller's: chord_free(*text).
enum chord_status chord_detokenize(const struct chord_tokenizer *tokenizer, const uint32_t *ids, uint64_t n_ids,
                                   bool special, char **text, uint64_t *n_bytes, struct chord_error *err);
void chord_free(void *pointer);

// ---- Work ------------------------------------------------------------------------------------------------------------

struct chord_logit_bias {
    uint32_t token;
    float bias; // added to the logit; -INFINITY forbids the token
};

struct chord_string {
    const char *bytes;
    uint64_t n_bytes;
};

// Guesses of the next tokens that are computed in one step with the last known one. No effect on tokens, text and
// log-probabilities: a guess counts only where it is the token that is chosen from its logits.
#define CHORD_MAX_GUESSES 15u
struct chord_speculation {
    bool lookup; // guess from where the last tokens stood before in prompt or text. Default false
    // A smaller model of the same vocabulary that goes on with the text, or NULL. Default NULL. Used while it has nothing else to do; it
    // may be closed at any time, and the generation then goes on without. Its share of memory is its own account's.
    struct chord_model *draft;
    uint32_t max_guesses; // per step and generation, at most CHORD_MAX_GUESSES, 0: that. Default 0
    bool always;          // also where it does not pay by what was measured: for tests and benchmarks. Default false
};

// Which texts a generation may write. Immutable, shared by any number of generations of any models, from any thread.
struct chord_grammar;
// GBNF (sampler/gbnf.h). May take milliseconds. INVALID_ARGUMENT says what is wrong, and where.
enum chord_status chord_grammar_compile_gbnf(const char *text, uint64_t n_bytes, struct chord_grammar **out,
                                             struct chord_error *err);
// The same of a form (sampler/grammar_form.h), which may hold special tokens and JSON Schemas.
enum chord_status chord_grammar_compile_form(const char *text, uint64_t n_bytes, struct chord_grammar **out,
                                             struct chord_error *err);
// JSON Schema, as JSON (sampler/json_schema.h): the texts are JSON documents that it validates. Likewise; where is a JSON pointer.
enum chord_status chord_grammar_compile_schema(const char *text, uint64_t n_bytes, struct chord_grammar **out,
                                               struct chord_error *err);
// Gives it back; generations under way go on with it. NULL is fine.
void chord_grammar_free(struct chord_grammar *grammar);

// Defaults by chord_generate_options_init.
struct chord_generate_options {
    uint64_t max_tokens;     // UINT64_MAX: until the context is full. Default UINT64_MAX
    bool ignore_eos;         // end-of-generation tokens can't be chosen. Default false
    float temperature;       // 0: greedy. Default 0.8
    uint32_t top_k;          // 0: off. Default 40
    float top_p;             // 1: off. Default 0.95
    float min_p;             // 0: off. Default 0.05
    float typical_p;         // 1: off. Default 1
    float repeat_penalty;    // 1: off. Default 1
    float frequency_penalty; // 0: off. Default 0
    float presence_penalty;  // 0: off. Default 0
    uint32_t penalty_last_n; // tokens the penalties look back on. Default 64
    float dynamic_range;     // 0: off. The temperature follows how sure the model is, this far up and down. Default 0
    float dynamic_exponent;  // of that. Default 1
    float top_n_sigma;       // 0: off. Standard deviations of the logits that a token may lie below the best. Default 0
    float xtc_probability;   // 0: off. Of a step to drop all likely tokens but the least likely of them. Default 0
    float xtc_threshold;     // of a token to be a likely one, at most 0.5. Default 0.1
    float mirostat_tau;      // 0: off. Bits of surprise aimed at. Not with other filters, nor temperature 0. Default 0
    float mirostat_eta;      // how fast it is aimed. Default 0.1
    float dry_multiplier;    // 0: off. Of the penalty on repeated passages. Default 0
    float dry_base;          // of its growth with their length. Default 1.75
    uint32_t dry_allowed_length;             // shorter repeats cost nothing. Default 2
    uint32_t dry_last_n;                     // tokens looked back on. Default UINT32_MAX: all
    const struct chord_string *dry_breakers; // copied; no repeat goes across where one of these ends. Default none
    uint32_t n_dry_breakers;
    // Names of samplers, copied: the chain in its order, each at most once. Default NULL: penalties, dry, topNSigma, temperature, topK,
    // typicalP, topP, minP, xtc, mirostat. Samplers that are not named take no part.
    const char *const *samplers;
    uint32_t n_samplers;
    // The caller chooses each token (chord_job_choose). All that decides on tokens here is of no effect but ignore_eos and
    // logit_bias; nothing is guessed. Default false
    bool caller_chooses;
    uint64_t seed; // with has_seed; otherwise drawn from the system
    bool has_seed;
    int32_t n_logprobs; // -1: none; 0: of the chosen token; n: and of the n most likely (at most 64). Default -1
    const struct chord_string *stop; // copied; text ends before the first that appears
    uint32_t n_stop;
    const struct chord_logit_bias *logit_bias; // copied
    uint32_t n_logit_bias;
    struct chord_speculation speculation;
    // NULL: none. Kept until the generation has been freed; log-probabilities are of all tokens still. The text is then one of the
    // grammar, or with CHORD_FINISH_LENGTH and CHORD_FINISH_CANCELLED the beginning of one, with stop strings one cut off there. It ends
    // by an end-of-generation token where the grammar allows the end, and by itself where it allows nothing else.
    struct chord_grammar *grammar;
};
// INVALID_ARGUMENT when `draft` cannot draft for `model`, saying why: they are the same, it is an encoder, or their vocabularies differ in more than
// tokens of no text at the end. chord_generate asks it.
enum chord_status chord_model_check_draft(const struct chord_model *model, const struct chord_model *draft,
                                          struct chord_error *err);

void chord_generate_options_init(struct chord_generate_options *options);

enum chord_finish { CHORD_RUNNING, CHORD_FINISH_STOP, CHORD_FINISH_LENGTH, CHORD_FINISH_CANCELLED, CHORD_FINISH_ERROR };

struct chord_job;

// Each checks its arguments, copies them, and puts the job into the model's scheduler; nothing is computed before
// chord_model_run. CONTEXT_FULL names the numbers when the tokens do not fit the context.
// Token ids at least 1; each below n_vocab (INVALID_ARGUMENT names the first that is not).
enum chord_status chord_generate(struct chord_model *model, const uint32_t *prompt, uint64_t n_prompt,
                                 const struct chord_generate_options *options, struct chord_job **out,
                                 struct chord_error *err);
// Logits after the last token.
enum chord_status chord_evaluate(struct chord_model *model, const uint32_t *tokens, uint64_t n_tokens,
                                 struct chord_job **out, struct chord_error *err);
// Negative log-likelihood of tokens[first..n-1], each given all before it; 1 <= first < n_tokens.
enum chord_status chord_score(struct chord_model *model, const uint32_t *tokens, uint64_t n_tokens, uint64_t first,
                              struct chord_job **out, struct chord_error *err);

struct chord_embed_options { // zeros are the defaults
    enum chord_pooling pooling;
    // Where not 0: the tokens from here on are of type 1, as the second of a pair of texts was when BERT was trained; a model
    // with one type takes it for all. (llama.cpp has type 0 everywhere.)
    uint64_t second_part;
};
// The vector of a text; of a model for ranking, the labels of its classifier. Texts of jobs that are there at once share batches; a
// vector does not depend on them. Tokens of an encoder all see each other, and all are computed in one batch.
enum chord_status chord_embed(struct chord_model *model, const uint32_t *tokens, uint64_t n_tokens,
                              const struct chord_embed_options *options, struct chord_job **out,
                              struct chord_error *err);

// Asks the job to end; takes effect within one layer of the step under way. Safe at any time before the free.
void chord_job_cancel(struct chord_job *job);
// Answers what chord_output.asked has asked: the next token. INVALID_ARGUMENT, and the job goes on asking, when the token is not in the vocabulary,
// when its logit is -infinity or NaN, and when nothing was asked. Any thread.
enum chord_status chord_job_choose(struct chord_job *job, uint32_t token, struct chord_error *err);
// Cancels and gives the job back; the scheduler drops it when it next looks. The pointer is dead afterwards. NULL is fine.
void chord_job_free(struct chord_job *job);

struct chord_token_logprob {
    uint32_t token;
    float logprob;
};

struct chord_token_event {
    uint32_t token;
    uint32_t
        n_text_bytes; // of chord_output.text: what this token released (0 while characters or stop strings are open)
    float logprob;    // NAN unless asked for
    uint32_t n_top;   // entries of `top`
    const struct chord_token_logprob *top; // most likely first
};

// What a job has produced since the last take. Pointers are valid until the next take or the free of the job.
struct chord_output {
    const char *text;      // whole UTF-8 characters, not terminated
    uint64_t n_text_bytes; // may exceed the sum over events: the rest was released by the end
    const struct chord_token_event *events;
    uint64_t n_events;
    enum chord_finish finish;
    uint64_t n_prompt_done; // prompt tokens computed so far
    // With caller_chooses, once for each token: [n_asked] logits to choose from, with bias and bans, valid until chord_job_choose. Else NULL
    const float *asked;
    uint64_t n_asked;
    // From here on valid when finish != CHORD_RUNNING.
    struct chord_error error;              // with CHORD_FINISH_ERROR
    bool is_of_grammar;                    // there was a grammar, and the text is one of it, whole
    uint64_t n_prompt, n_generated;        // tokens; an end-of-generation token is not counted and not in the events
    uint64_t n_reused;                     // of n_prompt, not computed: the session or another job had them
    uint64_t n_guessed, n_accepted;        // guesses computed, and those of them that came true
    uint64_t n_drafted, n_accepted_drafts; // of them, by the draft model
    double prompt_seconds, generate_seconds;
    const float *logits; // chord_evaluate: [n_vocab], else NULL
    uint64_t n_logits;
    const float *embedding; // chord_embed: [n_embedding], else NULL
    uint64_t n_embedding;
    double nll; // chord_score: natural logarithm, summed
    uint64_t n_scored;
};
void chord_job_take(struct chord_job *job, struct chord_output *out);

// Runs steps, each one batch over all jobs that have work, until `seconds` have passed (at least one step), or no job
// has work, or `*cancel` is set. Returns whether there is work to go on with: jobs that wait for chord_job_choose are none. Jobs' own
// errors are reported by their outputs.
bool chord_model_run(struct chord_model *model, double seconds, struct chord_cancel *cancel);

// ---- Sessions ----------------------------------------------------------------------------------------------------------

// A session keeps the tokens of a text, prompt and what was generated, with their keys and values, when the generation has
// ended. Its next generation computes of its prompt what the text does not begin with. A session lives until it is freed or its model
// is closed.
//
// A token that was generated stays a generated one: where it has to be computed anew, that is done as it was when it was generated. The
// text of a session is therefore what one run gives in which the same tokens are prompt and the same are generated,
// bit for bit, whatever of it was reused, forked, saved and restored.
struct chord_session;

// An empty one.
enum chord_status chord_session_open(struct chord_model *model, struct chord_session **out, struct chord_error *err);
// Cancels what the session generates, and gives it back; the pointer is dead afterwards. Its memory is given back when the
// model next runs or settles. NULL is fine.
void chord_session_free(struct chord_session *session);
// Does what chord_model_run does before its first step, and no step: ends cancelled jobs, frees sessions that were given
// back. Not beside chord_model_run.
void chord_model_settle(struct chord_model *model);

// Like chord_generate, and with its errors, of the whole text so far, prompt: the longest prefix that it has in common with the
// session's text is not computed again, but for its last token. What the session held behind that prefix is dropped. From the end
// of the job on the session's text is the prompt and what was generated (with the tokens of a stop string, without an end-of-generation token), also
// when the job was cancelled or failed; only a job that ends before it began leaves the session as it was.
// BUSY while another generation of the session runs, or it is being saved.
enum chord_status chord_session_generate(struct chord_session *session, const uint32_t *prompt, uint64_t n_prompt,
                                         const struct chord_generate_options *options, struct chord_job **out,
                                         struct chord_error *err);

// How many tokens the session's text has; the first n_most of them go to out[n_most]. While a generation runs: of before it.
uint64_t chord_session_tokens(const struct chord_session *session, uint32_t *out, uint64_t n_most);

// Another session with the same text, which shares the KV blocks with this one until either writes to them. BUSY while the
// session is in use. Not beside chord_model_run.
enum chord_status chord_session_fork(struct chord_session *session, struct chord_session **out,
                                     struct chord_error *err);

// Saving a session to a file and making one from it (the format: engine/session_file.h). A transfer is begun, goes on in steps, and is
// freed. While it saves, the session is in use (BUSY); the file appears, or replaces what was there, when all of it is on the disk, and
// until then nothing of that name changes. A restored session goes on token for token as the saved one does.
struct chord_transfer;
// `path`: NUL-terminated, copied. Nothing is read or written before the first step.
enum chord_status chord_session_save(struct chord_session *session, const char *path, struct chord_transfer **out,
                                     struct chord_error *err);
enum chord_status chord_session_restore(struct chord_model *model, const char *path, struct chord_transfer **out,
                                        struct chord_error *err);
// A note, bytes of the caller's (at most 64 MiB, else INVALID_ARGUMENT), is saved with the session; set before the first step, copied. When a
// session has been restored, the note of its file: borrowed from the transfer, NULL and 0 where there is none.
enum chord_status chord_transfer_set_note(struct chord_transfer *transfer, const void *note, uint64_t n_bytes,
                                          struct chord_error *err);
const void *chord_transfer_note(const struct chord_transfer *transfer, uint64_t *n_bytes);
// Goes on for about `seconds`; *done = *total (bytes) when all is done. Not beside chord_model_run. After an error only the free
// remains. Saving: IO. Restoring: FILE_NOT_FOUND, IO, NOT_SESSION, SESSION_VERSION, SESSION_TRUNCATED, SESSION_DAMAGED,
// SESSION_FOREIGN, CONTEXT_FULL, MEMORY_BUDGET; nothing of what such a file says is used. Both: CANCELLED.
enum chord_status chord_transfer_step(struct chord_transfer *transfer, double seconds, struct chord_cancel *cancel,
                                      uint64_t *done, uint64_t *total, struct chord_error *err);
// The restored session, once it is complete; else NULL, as from the second call on.
struct chord_session *chord_transfer_take(struct chord_transfer *transfer);
// An unfinished one leaves no file and no session behind. NULL is fine.
void chord_transfer_free(struct chord_transfer *transfer);

// ---- Weights and figures ---------------------------------------------------------------------------------------------

struct chord_tensor_info {
    const char *name; // the caller's own pointer
    const char *type; // "Q4_K"
    uint32_t n_dimensions;
    uint64_t ne[4]; // ne[0] runs fastest
    uint64_t n_elements;
};
// NOT_FOUND names the tensor.
enum chord_status chord_model_tensor(const struct chord_model *model, const char *name, struct chord_tensor_info *out,
                                     struct chord_error *err);
// Dequantizes the whole tensor into out [n_elements].
enum chord_status chord_model_tensor_read(struct chord_model *model, const char *name, float *out,
                                          struct chord_cancel *cancel, struct chord_error *err);

// Bytes as they lie in the model's files, for guests of the process (WebAssembly modules). Offset 0 is the first byte of the
// file; the files of a split model count as one, each following the one before. chord_model_info.file_bytes is the end.
// From any thread, also while chord_model_run runs; blocks until the bytes are there. INVALID_ARGUMENT past the end,
// FILE_CHANGED, IO; `out` is then unspecified.
enum chord_status chord_model_read(struct chord_model *model, uint64_t offset, uint64_t n_bytes, void *out,
                                   struct chord_error *err);
// A layer as one run of bytes: the tensors named blk.<layer>.*, in the order of the tensor directory, each at the next
// multiple of CHORD_LAYER_ALIGNMENT, with zeros in between and none behind the last. Where these tensors are neighbours in
// a file of the format's default alignment this is a copy of that part of the file. NOT_FOUND: no such layer.
#define CHORD_LAYER_ALIGNMENT 32u
enum chord_status chord_model_layer_bytes(const struct chord_model *model, uint32_t layer, uint64_t *n_bytes,
                                          struct chord_error *err);
// Into out [chord_model_layer_bytes]; threads and errors as with chord_model_read.
enum chord_status chord_model_read_layer(struct chord_model *model, uint32_t layer, void *out, struct chord_error *err);

// Brings weights into memory, from byte *done (0 at first) for about `seconds`; *done = *total when all is there.
enum chord_status chord_model_preload(struct chord_model *model, double seconds, struct chord_cancel *cancel,
                                      uint64_t *done, uint64_t *total, struct chord_error *err);
// Tells the system that the mapped weights are not needed for now.
void chord_model_clear_cache(struct chord_model *model);

struct chord_stats {
    const char *mode;
    uint64_t memory_budget, memory_held, memory_peak; // bytes that chord allocated, all regions
    uint64_t held_metadata, held_tokenizer, held_weights, held_kv, held_scratch;
    uint64_t ceiling_weights, ceiling_kv, ceiling_scratch; // UINT64_MAX: none of its own
    uint64_t mapped_bytes;                                 // of model files
    uint64_t resident_bytes;                       // of them in memory now; UINT64_MAX where the system cannot tell
    uint64_t kv_blocks, kv_block_bytes, kv_tokens; // blocks in memory; tokens of all texts
    uint64_t kv_spilled_blocks, kv_spill_written_bytes, kv_spill_read_bytes; // of the spill file: now, and ever
    uint64_t n_steps;                                                        // batches run
    uint64_t n_prompt_tokens, n_generated_tokens;
    uint64_t n_reused_tokens; // of prompts, not computed: the session or another job had computed the same beginning
    uint64_t n_guessed_tokens, n_accepted_tokens;       // by speculation: computed ahead, and those that came true
    uint64_t n_drafted_tokens, n_accepted_draft_tokens; // of them, by draft models
    uint64_t weight_bytes_used;                         // handed to kernels, over all steps
    double compute_seconds;                             // in steps, but for stall_seconds
    double stall_seconds; // paged: that threads waited for weights, on average over the threads
    // Paged mode, else 0 and NULL. Uses are of tiles: some rows of a matrix (weights/weights.h).
    const char *policy;    // "pin", "lru", "expert"; static
    uint64_t hits, misses; // uses of tiles that were, were not in memory before
    uint64_t hit_bytes, miss_bytes;
    uint64_t evictions;    // tiles that gave their memory to others
    uint64_t read_bytes;   // from disk, for tiles
    double read_seconds;   // in which at least one read was under way
    uint64_t step_bytes;   // of weights that one step uses
    uint64_t pinned_bytes; // of memory for those that stay
    uint64_t ring_bytes;   // of memory for the others
    uint64_t n_tiles, n_pinned;
    uint32_t decode_threads; // that read weights when one text is generated, found while the first tokens are
    uint32_t prefetch_bytes; // how far ahead they read, likewise
    uint32_t n_jobs;         // in the scheduler now
    uint32_t n_layer;
};
void chord_model_stats(struct chord_model *model, struct chord_stats *out);
// The same by layer: 0 .. n_layer - 1, and n_layer for what belongs to none.
struct chord_layer_stats {
    uint64_t hits, misses, hit_bytes, miss_bytes, evictions, read_bytes;
    double compute_seconds, stall_seconds;
};
void chord_model_layer_stats(struct chord_model *model, uint32_t layer, struct chord_layer_stats *out);
// stats.memory_held alone, at no cost: for those who ask after every step.
uint64_t chord_model_held(const struct chord_model *model);

// ---- Inspection ------------------------------------------------------------------------------------------------------

struct chord_file;
enum chord_status chord_file_open(const char *path, struct chord_file **out, struct chord_error *err);
void chord_file_close(struct chord_file *file);

struct chord_value {
    struct chord_string key;
    const char *type;    // "uint32", "string", "array", ...
    const char *element; // type of the elements ("string", ...); of scalars: the type itself
    uint64_t n_elements; // 1 for scalars
    const void *opaque;
};
struct chord_file_tensor {
    struct chord_string name;
    const char *type;
    uint32_t n_dimensions;
    uint64_t ne[4];
    uint32_t file;
    uint64_t offset, n_bytes;
};
uint32_t chord_file_n_parts(const struct chord_file *file);
const char *chord_file_part(const struct chord_file *file, uint32_t index, uint64_t *n_bytes, uint32_t *version);
uint64_t chord_file_n_values(const struct chord_file *file);
void chord_file_value(const struct chord_file *file, uint64_t index, struct chord_value *out);
uint64_t chord_file_n_tensors(const struct chord_file *file);
void chord_file_tensor(const struct chord_file *file, uint64_t index, struct chord_file_tensor *out);

enum chord_element {
    CHORD_ELEMENT_BOOL,
    CHORD_ELEMENT_INT,
    CHORD_ELEMENT_UINT,
    CHORD_ELEMENT_FLOAT,
    CHORD_ELEMENT_STRING
};
struct chord_element_value {
    enum chord_element kind;
    int64_t i;             // BOOL (0, 1), INT
    uint64_t u;            // UINT
    double f;              // FLOAT
    struct chord_string s; // STRING
};
// The first `n` elements (n <= n_elements) into out[n].
void chord_value_elements(const struct chord_value *value, uint64_t n, struct chord_element_value *out);

// ---- Quantizing ------------------------------------------------------------------------------------------------------

struct chord_quantizer; // one conversion of a file; not to be run by two threads at once

struct chord_quantize_options {
    const char *type;   // "Q4_K_M", "Q8_0", ...; INVALID_ARGUMENT names all
    uint32_t n_threads; // 0: one per processor this process may use
    bool requantize;    // also from quantized tensors
    const char *imatrix; // path of an importance matrix that values are weighed with; NULL: none
};

// Opens the model at `input` (the first file of a split one), chooses a type for each tensor, and begins a file beside
// `output`, which takes that name when it is whole. Errors as in quantize/quantize.h; nothing is left then.
enum chord_status chord_quantize_open(const char *input, const char *output,
                                      const struct chord_quantize_options *options, struct chord_quantizer **out,
                                      struct chord_error *err);
// Works for about `seconds`; *done == *total (bytes of the input's tensors) when the output is there under its name. After
// that, or after a failure (CANCELLED when *cancel, which may be NULL, was set), only the functions below may be called.
enum chord_status chord_quantize_run(struct chord_quantizer *quantizer, double seconds, struct chord_cancel *cancel,
                                     uint64_t *done, uint64_t *total, struct chord_error *err);
struct chord_quantize_info {
    const char *type;      // as it is written: "Q4_K_M"; static
    uint64_t input_bytes;  // of all tensors
    uint64_t output_bytes; // of the output file
    uint64_t memory_peak;  // the most bytes that were held at once
    uint64_t n_weighted, n_unweighted; // with an importance matrix: tensors it is used for, and tensors it lacks
};
void chord_quantize_info(const struct chord_quantizer *quantizer, struct chord_quantize_info *out);
// Ends the work for good, within a piece if a run is under way, and removes what was written. From any thread.
void chord_quantize_stop(struct chord_quantizer *quantizer);
// Removes what was written of an output that is not whole. NULL is fine.
void chord_quantize_close(struct chord_quantizer *quantizer);

// ---- Machine ---------------------------------------------------------------------------------------------------------

// What this build and machine offer: features found, names of all tiers of this build (NULL-terminated static list, lowest first).
struct chord_system_info {
    char cpu_name[128];
    const char *tier; // best usable
    const char *const *tiers;
    uint32_t n_processors;
    uint64_t memory_free; // bytes a new model may take: machine and container considered
};
void chord_system_info(struct chord_system_info *out);

#endif
