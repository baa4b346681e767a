// Model files with changed headers: each is refused with a message, or some tokens run through it. CHORD_FUZZ_MODELS names a
// folder of headers of small models, one of each architecture and more (tools/test.js makes it); weights are pseudo-random
// bytes. The input: which header, how to open and run, then changes of 6 bytes each. What is changed are whole numbers, types,
// names, texts, lengths, counts, shapes and places, so that most files are sound up to what their metadata and tensors mean;
// few changes are of any byte.
#define _GNU_SOURCE 1 // memfd_create
#include "chord.h"
#include "model_header.h"

#include <dirent.h>
#include <sys/mman.h>
#include <unistd.h>

#define MOST_CHANGES 12
#define WEIGHT_BYTES (12u << 20) // more than any of the models has

static int files[2]; // gone with the process; weights as trained ones may be, and any bytes
static uint8_t *weights[2];
static struct {
    unsigned long n, n_opened, n_ran;
} counts;

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void tell(void)
{
    fprintf(stderr, "of %lu models %lu opened, %lu ran\n", counts.n, counts.n_opened, counts.n_ran);
}

// Halves of at most 2^-8, as scales of blocks are; any bytes.
static void make_weights(unsigned wild)
{
    uint64_t state = 1;
    weights[wild] = malloc(WEIGHT_BYTES);
    require(weights[wild] != NULL, "there is memory for weights");
    for (uint32_t i = 0; i < WEIGHT_BYTES; i += 8) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        const uint64_t bytes = state ^ state >> 29;
        memcpy(weights[wild] + i, &(uint64_t){wild ? bytes : bytes & UINT64_C(0x9f9f9f9f9f9f9f9f)}, 8);
    }
    files[wild] = memfd_create("model", MFD_CLOEXEC);
    require(files[wild] >= 0 && pwrite(files[wild], weights[wild], WEIGHT_BYTES, 0) == (ssize_t)WEIGHT_BYTES,
            "files can be made in memory");
}

static void set_up(void)
{
    static char names[MOST_MODELS][256];
    const char *folder = getenv("CHORD_FUZZ_MODELS");
    DIR *entries = folder != NULL ? opendir(folder) : NULL;
    require(entries != NULL, "CHORD_FUZZ_MODELS is a folder of headers");
    uint32_t n = 0;
    const struct dirent *entry;
    while ((entry = readdir(entries)) != NULL)
        if (entry->d_name[0] != '.') {
            require(n < MOST_MODELS, "the folder holds no more than 64 headers");
            snprintf(names[n++], sizeof names[0], "%s", entry->d_name);
        }
    closedir(entries);
    require(n > 0, "the folder holds headers");
    qsort(names, n, sizeof names[0], by_name); // the same input is the same model
    for (uint32_t i = 0; i < n; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        read_model(path);
    }
    make_weights(0);
    make_weights(1);
    atexit(tell);
}

// Writes the file and opens it; the weights lie behind the header as they lay before.
static enum chord_status open_model(const struct serialized *s, uint64_t n_data, unsigned how,
                                    struct chord_model **model, struct chord_error *err)
{
    char path[64];
    const int file = files[how & 1];
    const uint64_t n_bytes = (s->n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT + n_data;
    const struct chord_model_options options = {.memory = (how & 2 ? 32u : 256u) << 20,
                                                .mode = how & 4 ? CHORD_MODE_PAGED : CHORD_MODE_AUTO,
                                                .kv_type = how & 8 ? CHORD_KV_Q8_0 : CHORD_KV_F16,
                                                .n_ctx = how & 16 ? 64 : 0,
                                                .n_threads = 1};
    require(pwrite(file, s->bytes, s->n, 0) == (ssize_t)s->n &&
                (n_bytes <= WEIGHT_BYTES || ftruncate(file, (off_t)n_bytes) == 0),
            "the file can be written");
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    return chord_model_open(path, &options, model, err);
}

// Norms, biases and the like of tame weights: numbers from 1 to 2, or as they lie in the file.
static void put_vectors(const struct model *model, uint64_t n_header, bool tame)
{
    static float ones[4096];
    for (uint32_t i = 0; i < sizeof ones / sizeof *ones; i++)
        ones[i] = 1 + (float)(i % 16) / 16;
    for (uint32_t i = 0; i < model->n_tensors; i++) {
        const struct tensor *tensor = &model->tensors[i];
        const uint64_t n_bytes = bytes_of_tensor(tensor), at = n_header + tensor->offset;
        if (tensor->type == 0 && n_bytes <= sizeof ones && tensor->offset < WEIGHT_BYTES - sizeof ones - n_header)
            require(pwrite(files[0], tame ? (const uint8_t *)ones : weights[0] + at, n_bytes, (off_t)at) ==
                        (ssize_t)n_bytes,
                    "weights can be written");
    }
}

static void restore_weights(const struct serialized *s, unsigned wild)
{
    require(ftruncate(files[wild], WEIGHT_BYTES) == 0 && pwrite(files[wild], weights[wild], s->n, 0) == (ssize_t)s->n,
            "the weights can be restored");
}

// A text there and back.
static void use_tokenizer(const struct chord_tokenizer *tokenizer)
{
    static const char text[] = "The cat's <|im_start|> [SEP] 12345 \xe4\xbd\xa0\xe5\xa5\xbd \xff\n\n  x";
    struct chord_error err = {0};
    uint32_t *ids;
    uint64_t n_ids, n_bytes;
    char *back;
    if (chord_tokenize(tokenizer, text, sizeof text - 1, true, -1, &ids, &n_ids, &err) != CHORD_OK) {
        require(err.message[0] != '\0', "a text that is refused is told why");
        return;
    }
    if (chord_detokenize(tokenizer, ids, n_ids, true, &back, &n_bytes, &err) == CHORD_OK)
        chord_free(back);
    else
        require(err.message[0] != '\0', "ids that are refused are told why");
    chord_free(ids);
}

static void run(struct chord_model *model, unsigned how)
{
    uint32_t tokens[8];
    const uint64_t n = how & 32 ? 8 : 2;
    struct chord_model_info info;
    struct chord_job *job;
    struct chord_error err;
    struct chord_output out;
    enum chord_status status;
    struct chord_generate_options options;
    chord_generate_options_init(&options);
    options.max_tokens = 2;
    options.has_seed = true;
    chord_model_info(model, &info);
    for (uint32_t i = 0; i < n; i++)
        tokens[i] = (i * 7 + 1) % (info.n_vocab < 300 ? info.n_vocab : 300);
    if (info.is_encoder || (how & 192) == 192)
        status = chord_embed(model, tokens, n, &(struct chord_embed_options){0}, &job, &err);
    else if (how & 64)
        status = chord_evaluate(model, tokens, n, &job, &err);
    else
        status = chord_generate(model, tokens, n, &options, &job, &err);
    if (status != CHORD_OK) {
        require(err.code == status && err.message[0] != '\0', "a refusal says what it is");
        return;
    }
    do {
        chord_model_run(model, 0, NULL);
        chord_job_take(job, &out);
    } while (out.finish == CHORD_RUNNING);
    if (out.finish == CHORD_FINISH_ERROR)
        require(out.error.code != CHORD_OK && out.error.message[0] != '\0', "an error says what it is");
    else
        counts.n_ran++;
    chord_job_free(job);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct model model;
    static struct serialized serialized;
    struct change changes[MOST_CHANGES];
    struct chord_model *opened;
    struct chord_error err = {0};
    if (n_models == 0)
        set_up();
    if (n < 2)
        return 0;
    uint32_t n_changes = 0;
    n_made_keys = 0;
    for (const uint8_t *at = data + 2; at + CHANGE_BYTES <= data + n && n_changes < MOST_CHANGES; at += CHANGE_BYTES)
        changes[n_changes++] =
            (struct change){at[0], at[1] | (unsigned)at[2] << 8, at[3], at[4] | (unsigned)at[5] << 8};

    const struct model *from = &models[data[0] % n_models];
    model.n_pairs = from->n_pairs;
    model.n_tensors = from->n_tensors;
    memcpy(model.pairs, from->pairs, from->n_pairs * sizeof *from->pairs);
    memcpy(model.tensors, from->tensors, from->n_tensors * sizeof *from->tensors);
    for (uint32_t i = 0; i < n_changes; i++)
        change_model(&model, &changes[i]);
    if (n_changes > 0 && changes[0].kind < 192) // else offsets stay, and changed shapes overlap
        place_tensors(&model);
    serialize(&serialized, &model);
    const uint64_t n_data = data_bytes(&model);
    for (uint32_t i = 0; i < n_changes; i++)
        change_serialized(&serialized, &changes[i]);

    const uint64_t n_header = (serialized.n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if ((data[1] & 1) == 0)
        put_vectors(&model, n_header, true);
    const enum chord_status status = open_model(&serialized, n_data, data[1], &opened, &err);
    counts.n++;
    if (status == CHORD_OK) {
        counts.n_opened++;
        use_tokenizer(chord_model_tokenizer(opened));
        run(opened, data[1]);
        chord_model_close(opened);
    } else {
        require(err.code == status && err.message[0] != '\0', "a refusal says what it is");
    }
    restore_weights(&serialized, data[1] & 1);
    if ((data[1] & 1) == 0)
        put_vectors(&model, n_header, false);
    return 0;
}
