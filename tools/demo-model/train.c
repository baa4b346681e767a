// Trains the demo model. See README.md.
#include "export.h"
#include "model.h"
#include "optimizer.h"
#include "vocabulary.h"

#include "os/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct shape shape = {
    .n_vocab = 3072, .n_embd = 256, .n_layer = 6, .n_head = 4, .head_dim = 64, .n_ff = 768, .n_ctx = 512};

#define SEQUENCES_PER_STEP 8
#define DROPOUT 0.1
#define PEAK_RATE 2e-3
#define LEAST_RATE 1e-4
#define WARM_UP_STEPS 60
#define STEPS_PER_EVALUATION 100
#define SEED 1869

struct options {
    const char *train, *held_out, *out, *type;
    uint64_t n_steps;
    uint32_t n_threads;
};

static volatile sig_atomic_t interrupted;

static void interrupt(int signal)
{
    (void)signal;
    interrupted = 1;
}

static char *read_file(const char *path, size_t *n_bytes)
{
    FILE *file = fopen(path, "rb");
    struct stat info;
    if (file == NULL || fstat(fileno(file), &info) != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    char *text = malloc((size_t)info.st_size + 1);
    *n_bytes = text == NULL ? 0 : fread(text, 1, (size_t)info.st_size, file);
    fclose(file);
    if (*n_bytes == 0) {
        fprintf(stderr, "%s: nothing to read\n", path);
        exit(1);
    }
    return text;
}

struct corpus {
    uint32_t *tokens;
    size_t n;
};

static struct corpus load_corpus(const char *path, const struct vocabulary *vocabulary)
{
    struct corpus corpus;
    size_t n_bytes;
    char *text = read_file(path, &n_bytes);
    corpus.n = vocabulary_encode(vocabulary, text, n_bytes, &corpus.tokens);
    free(text);
    fprintf(stderr, "%s: %zu bytes, %zu tokens, %.2f bytes per token\n", path, n_bytes, corpus.n,
            (double)n_bytes / (double)corpus.n);
    return corpus;
}

// ---- Batches ---------------------------------------------------------------------------------------------------------

// The sequences of an epoch: the text cut every n_ctx tokens from an offset that differs by epoch, in shuffled order.
struct epoch {
    uint32_t *starts;
    size_t n, offset;
};

static void shuffle_epoch(struct epoch *epoch, const struct corpus *corpus, uint64_t number)
{
    const uint64_t seed = random_bits(SEED, 1000000 + number);
    epoch->offset = (size_t)(random_bits(seed, 0) % shape.n_ctx);
    epoch->n = (corpus->n - 1 - epoch->offset) / shape.n_ctx;
    for (size_t i = 0; i < epoch->n; i++)
        epoch->starts[i] = (uint32_t)(epoch->offset + i * shape.n_ctx);
    for (size_t i = epoch->n; i > 1; i--) {
        const size_t j = (size_t)(random_bits(seed, i) % i);
        const uint32_t swap = epoch->starts[i - 1];
        epoch->starts[i - 1] = epoch->starts[j];
        epoch->starts[j] = swap;
    }
}

static void fill_sequence(const struct corpus *corpus, size_t start, uint32_t *tokens, uint32_t *targets)
{
    for (size_t i = 0; i < shape.n_ctx; i++) {
        const size_t at = start + i;
        tokens[i] = at < corpus->n ? corpus->tokens[at] : TOKEN_EOS;
        // What follows the end of a document is not for the model to guess.
        targets[i] = at + 1 < corpus->n && tokens[i] != TOKEN_EOS ? corpus->tokens[at + 1] : IGNORED_TARGET;
    }
}

struct trainer {
    struct model *model;
    struct optimizer *optimizer;
    struct activations *activations;
    struct pool *pool;
    struct corpus train, held_out;
    struct epoch epoch;
    uint32_t *tokens, *targets; // [SEQUENCES_PER_STEP, n_ctx]
};

static double held_out_loss(struct trainer *t)
{
    double sum = 0;
    size_t n = 0;
    for (size_t start = 0; start < t->held_out.n;) {
        for (size_t s = 0; s < SEQUENCES_PER_STEP; s++, start += shape.n_ctx)
            fill_sequence(&t->held_out, start, t->tokens + s * shape.n_ctx, t->targets + s * shape.n_ctx);
        const struct batch batch = {.tokens = t->tokens, .targets = t->targets, .n_sequences = SEQUENCES_PER_STEP};
        const struct loss loss = model_forward(t->model, t->activations, t->pool, &batch);
        sum += loss.sum;
        n += loss.n;
    }
    return sum / (double)n;
}

static double learning_rate(uint64_t step, uint64_t n_steps)
{
    const double pi = 3.14159265358979323846;
    if (step < WARM_UP_STEPS)
        return PEAK_RATE * (double)(step + 1) / WARM_UP_STEPS;
    const double part = (double)(step - WARM_UP_STEPS) / (double)(n_steps - WARM_UP_STEPS);
    return LEAST_RATE + (PEAK_RATE - LEAST_RATE) * 0.5 * (1 + cos(pi * part));
}

static double train_step(struct trainer *t, uint64_t step, double rate)
{
    const size_t per_epoch = (t->train.n - 1 - shape.n_ctx) / shape.n_ctx / SEQUENCES_PER_STEP;
    if (step % per_epoch == 0 || t->epoch.n == 0)
        shuffle_epoch(&t->epoch, &t->train, step / per_epoch);
    for (size_t s = 0; s < SEQUENCES_PER_STEP; s++)
        fill_sequence(&t->train, t->epoch.starts[step % per_epoch * SEQUENCES_PER_STEP + s],
                      t->tokens + s * shape.n_ctx, t->targets + s * shape.n_ctx);
    const struct batch batch = {.tokens = t->tokens,
                                .targets = t->targets,
                                .n_sequences = SEQUENCES_PER_STEP,
                                .dropout = DROPOUT,
                                .seed = random_bits(SEED, 2000000 + step)};
    const struct loss loss = model_forward(t->model, t->activations, t->pool, &batch);
    model_backward(t->model, t->activations, t->pool, &batch);
    optimizer_step(t->optimizer, t->model, t->pool, rate);
    return loss.sum / (double)loss.n;
}

// ---- Checkpoints -----------------------------------------------------------------------------------------------------

static void path_in(const struct options *o, const char *name, char out[4096])
{
    snprintf(out, 4096, "%s/%s", o->out, name);
}

// Step number, parameters, both moments: all that a continued run needs to give the same bytes as an unbroken one.
#define CHECKPOINT_ARRAYS(t) {(t)->model->params, (t)->optimizer->mean, (t)->optimizer->variance}

static void write_checkpoint(const struct options *o, const struct trainer *t, uint64_t step)
{
    char path[4096], temporary[4200];
    path_in(o, "checkpoint.bin", path);
    snprintf(temporary, sizeof temporary, "%s.part", path);
    FILE *file = fopen(temporary, "wb");
    const real *const arrays[] = CHECKPOINT_ARRAYS(t);
    bool good = file != NULL && fwrite(&step, sizeof step, 1, file) == 1;
    for (size_t i = 0; good && i < 3; i++)
        good = fwrite(arrays[i], sizeof(real), t->model->n_params, file) == t->model->n_params;
    if (file != NULL)
        good &= fclose(file) == 0;
    if (!good || rename(temporary, path) != 0)
        fprintf(stderr, "%s: the checkpoint could not be written: %s\n", path, strerror(errno));
}

// The step that the checkpoint was written after; 0 when there is none.
static uint64_t read_checkpoint(const struct options *o, struct trainer *t)
{
    char path[4096];
    path_in(o, "checkpoint.bin", path);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return 0;
    real *const arrays[] = CHECKPOINT_ARRAYS(t);
    uint64_t step;
    bool good = fread(&step, sizeof step, 1, file) == 1;
    for (size_t i = 0; good && i < 3; i++)
        good = fread(arrays[i], sizeof(real), t->model->n_params, file) == t->model->n_params;
    if (!good || fgetc(file) != EOF) {
        fprintf(stderr, "%s: not a checkpoint of this model; remove it to begin anew\n", path);
        exit(1);
    }
    fclose(file);
    t->optimizer->n_steps = step;
    return step;
}

// ---- The run ---------------------------------------------------------------------------------------------------------

static void print_progress(const struct options *o, uint64_t step, double loss, double begin, uint64_t first)
{
    const double each = (os_now_seconds() - begin) / (double)(step - first);
    fprintf(stderr, "%sstep %llu of %llu  loss %.4f  %.0f tokens/s  %.0f s left", isatty(STDERR_FILENO) ? "\r\033[K" : "",
            (unsigned long long)step, (unsigned long long)o->n_steps, loss,
            SEQUENCES_PER_STEP * (double)shape.n_ctx / each, each * (double)(o->n_steps - step));
}

static void report(const struct options *o, uint64_t step, double loss, double held_out, double rate)
{
    char path[4096];
    fprintf(stderr, "  held-out %.4f (perplexity %.2f)\n", held_out, exp(held_out));
    path_in(o, "loss.csv", path);
    FILE *csv = fopen(path, step <= STEPS_PER_EVALUATION ? "w" : "a");
    if (csv == NULL)
        return;
    if (step <= STEPS_PER_EVALUATION)
        fprintf(csv, "step,train,held_out,rate\n");
    fprintf(csv, "%llu,%.5f,%.5f,%.3g\n", (unsigned long long)step, loss, held_out, rate);
    fclose(csv);
}

static void train(struct trainer *t, const struct options *o)
{
    const uint64_t first = read_checkpoint(o, t);
    if (first > 0)
        fprintf(stderr, "continuing after step %llu\n", (unsigned long long)first);
    const double begin = os_now_seconds();
    double sum = 0; // of the losses of n steps since the last report
    uint64_t n = 0;
    for (uint64_t done = first + 1; done <= o->n_steps; done++) {
        const double rate = learning_rate(done - 1, o->n_steps);
        sum += train_step(t, done - 1, rate);
        n++;
        const bool evaluates = done % STEPS_PER_EVALUATION == 0 || done == o->n_steps;
        if (evaluates || isatty(STDERR_FILENO))
            print_progress(o, done, sum / (double)n, begin, first);
        if (evaluates) {
            report(o, done, sum / (double)n, held_out_loss(t), rate);
            sum = 0;
            n = 0;
            write_checkpoint(o, t, done);
        } else if (interrupted) {
            write_checkpoint(o, t, done);
        }
        if (interrupted) {
            fprintf(stderr, "\nstopped after step %llu; the same command goes on from there\n", (unsigned long long)done);
            return;
        }
    }
}

static bool parse(int argc, char **argv, struct options *o)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--train") == 0)
            o->train = argv[i + 1];
        else if (strcmp(argv[i], "--held-out") == 0)
            o->held_out = argv[i + 1];
        else if (strcmp(argv[i], "--out") == 0)
            o->out = argv[i + 1];
        else if (strcmp(argv[i], "--types") == 0)
            o->type = argv[i + 1];
        else if (strcmp(argv[i], "--steps") == 0)
            o->n_steps = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--threads") == 0)
            o->n_threads = (uint32_t)strtoul(argv[i + 1], NULL, 10);
        else
            return false;
    }
    return argc % 2 == 1 && o->train != NULL && o->held_out != NULL && o->out != NULL && o->n_steps > WARM_UP_STEPS &&
           o->n_threads > 0;
}

// One file per name of the comma-separated list: demo-<TYPE>.gguf.
static bool export_all(const struct options *o, const struct trainer *t, const struct vocabulary *v)
{
    char types[256], name[64], path[4096];
    bool good = true;
    snprintf(types, sizeof types, "%s", o->type);
    for (char *type = strtok(types, ","); type != NULL; type = strtok(NULL, ",")) {
        snprintf(name, sizeof name, "demo-%s.gguf", type);
        path_in(o, name, path);
        good &= export_gguf(path, type, t->model, v);
        fprintf(stderr, "wrote %s\n", path);
    }
    return good;
}

int main(int argc, char **argv)
{
    struct options o = {.n_steps = 1000, .n_threads = 2, .type = "F32,Q8_0"};
    if (!parse(argc, argv, &o)) {
        fprintf(stderr, "usage: train --train TRAIN.txt --held-out HELD-OUT.txt --out FOLDER [--steps 1000] [--threads 2]\n"
                        "             [--types F32,Q8_0]\n");
        return 2;
    }
    struct memory_account account;
    struct trainer t = {0};
    struct chord_error error;
    size_t n_bytes;
    signal(SIGINT, interrupt);
    mkdir(o.out, 0777);
    memory_account_init(&account, UINT64_MAX);
    if (pool_create(&t.pool, o.n_threads, &account, &error) != CHORD_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    char *text = read_file(o.train, &n_bytes);
    struct vocabulary *vocabulary = vocabulary_learn(text, n_bytes, (uint32_t)shape.n_vocab);
    free(text);
    t.train = load_corpus(o.train, vocabulary);
    t.held_out = load_corpus(o.held_out, vocabulary);
    t.model = model_create(shape, SEED);
    t.optimizer = optimizer_create(t.model);
    t.activations = activations_create(t.model, SEQUENCES_PER_STEP, o.n_threads);
    t.tokens = calloc(SEQUENCES_PER_STEP * shape.n_ctx, sizeof *t.tokens);
    t.targets = calloc(SEQUENCES_PER_STEP * shape.n_ctx, sizeof *t.targets);
    t.epoch.starts = calloc(t.train.n / shape.n_ctx + 1, sizeof *t.epoch.starts);
    if (t.tokens == NULL || t.targets == NULL || t.epoch.starts == NULL)
        return 1;
    fprintf(stderr, "%.2f million parameters\n", (double)t.model->n_params * 1e-6);
    train(&t, &o);
    const bool exported = !interrupted && export_all(&o, &t, vocabulary);
    free(t.epoch.starts);
    free(t.targets);
    free(t.tokens);
    activations_free(t.activations);
    optimizer_free(t.optimizer);
    model_free(t.model);
    free(t.held_out.tokens);
    free(t.train.tokens);
    vocabulary_free(vocabulary);
    pool_free(t.pool);
    return exported ? 0 : 1;
}
