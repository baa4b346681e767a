// Grammars of JavaScript: compiled on the pool, then handed to generations.
#include "addon/wraps.h"

#include <stdlib.h>
#include <string.h>

// What a grammar can be made of, by the name that JavaScript uses.
static const struct {
    const char *kind;
    enum chord_status (*compile)(const char *text, uint64_t n_bytes, struct chord_grammar **out,
                                 struct chord_error *err);
} compilers[] = {
    {"gbnf", chord_grammar_compile_gbnf},
    {"form", chord_grammar_compile_form},
    {"schema", chord_grammar_compile_schema},
};
#define N_COMPILERS (sizeof compilers / sizeof *compilers)

struct compile_task {
    struct task task;
    char *text;
    size_t n_bytes;
    size_t compiler;
    struct chord_grammar *grammar;
};

static enum chord_status compile_execute(struct task *task, struct chord_error *error)
{
    struct compile_task *t = (struct compile_task *)task;
    return compilers[t->compiler].compile(t->text, t->n_bytes, &t->grammar, error);
}

static void grammar_finalize(napi_env env, void *data, void *hint)
{
    (void)env, (void)hint;
    chord_grammar_free(data);
}

static napi_value compile_resolve(napi_env env, struct task *task)
{
    struct compile_task *t = (struct compile_task *)task;
    napi_value handle = util_make_handle(env, HANDLE_GRAMMAR, t->grammar, grammar_finalize);
    if (handle != NULL)
        t->grammar = NULL;
    return handle;
}

static void compile_destroy(napi_env env, struct task *task)
{
    (void)env;
    struct compile_task *t = (struct compile_task *)task;
    chord_grammar_free(t->grammar);
    free(t->text);
    free(t);
}

// The compiler's number; N_COMPILERS with an exception pending.
static size_t find_compiler(napi_env env, napi_value kind)
{
    size_t i = 0;
    char *name = util_get_string(env, kind, NULL);
    if (name == NULL)
        return N_COMPILERS;
    while (i < N_COMPILERS && strcmp(compilers[i].kind, name) != 0)
        i++;
    free(name);
    if (i == N_COMPILERS)
        util_throw_code(env, CHORD_INVALID_ARGUMENT, "no kind of grammar has this name");
    return i;
}

// compileGrammar(kind, text) -> Promise<grammar handle>
napi_value wrap_grammar_compile(napi_env env, napi_callback_info info)
{
    napi_value arguments[2];
    if (!util_arguments(env, info, 2, arguments))
        return NULL;
    const size_t compiler = find_compiler(env, arguments[0]);
    if (compiler == N_COMPILERS)
        return NULL;
    struct compile_task *t = calloc(1, sizeof *t);
    if (t == NULL)
        return util_throw_code(env, CHORD_OUT_OF_MEMORY, "no memory left");
    t->task.execute = compile_execute;
    t->task.resolve = compile_resolve;
    t->task.destroy = compile_destroy;
    t->compiler = compiler;
    t->text = util_get_string(env, arguments[1], &t->n_bytes);
    if (t->text == NULL) {
        compile_destroy(env, &t->task);
        return NULL;
    }
    napi_value promise = task_prepare(env, &t->task, NULL);
    return promise != NULL ? task_queue(env, &t->task, promise) : NULL;
}
