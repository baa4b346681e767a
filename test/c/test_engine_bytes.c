// A model's bytes through chord.h: spans over all its files, layers in the layout that the header promises.

#include "engine_helpers.h"
#include "quick.h"

#include <stdio.h>

static unsigned char files[16 << 20], got[16 << 20]; // the model's files, one behind the other
static uint64_t n_files_bytes;

// Norms of 80 bytes, so that there are gaps between tensors.
static const struct tiny_options odd = {.n_embd = 20, .n_head = 2, .n_layer = 12};

static struct gguf *open_split(struct tiny_options tiny, uint32_t n_files, struct chord_model_options options,
                               struct memory_account *account)
{
    char path[512];
    struct gguf *gguf;
    tiny_init(&m, tiny);
    tiny_write_split(&m, test_path("model"), n_files, path, sizeof path);
    model = open_path(path, options);
    memory_account_init(account, UINT64_MAX);
    assert_int_equal(gguf_open(&gguf, path, account, NULL), CHORD_OK);
    n_files_bytes = 0;
    for (uint32_t i = 0; i < gguf_n_files(gguf); i++) {
        FILE *in = fopen(gguf_file(gguf, i)->path, "rb");
        n_files_bytes += fread(files + n_files_bytes, 1, sizeof files - n_files_bytes, in);
        fclose(in);
    }
    assert_true(n_files_bytes < sizeof files);
    return gguf;
}

static void spans(void **state)
{
    (void)state;
    for (uint32_t n_files = 1; n_files <= 4; n_files++) {
        struct memory_account account;
        struct chord_model_info info;
        struct chord_error err;
        struct gguf *gguf = open_split(odd, n_files, (struct chord_model_options){0}, &account);
        uint64_t seed = n_files;
        chord_model_info(model, &info);
        const uint64_t end = n_files_bytes;
        assert_int_equal(info.file_bytes, end);
        assert_int_equal(chord_model_read(model, 0, end, got, &err), CHORD_OK);
        assert_memory_equal(got, files, end);
        for (int n = 0; n < 2000; n++) {
            const uint64_t begin = tiny_random(&seed) % end, bytes = tiny_random(&seed) % (end - begin + 1);
            got[bytes] = 0xa5;
            assert_int_equal(chord_model_read(model, begin, bytes, got, &err), CHORD_OK);
            assert_memory_equal(got, files + begin, bytes);
            assert_int_equal(got[bytes], 0xa5);
        }
        assert_int_equal(chord_model_read(model, end, 0, got, &err), CHORD_OK);
        const uint64_t wrong[][2] = {{end, 1},
                                     {end + 1, 0},
                                     {0, end + 1},
                                     {end - 1, 2},
                                     {0, UINT64_MAX},
                                     {UINT64_MAX, 1},
                                     {UINT64_MAX, UINT64_MAX}};
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
            assert_int_equal(chord_model_read(model, wrong[i][0], wrong[i][1], got, &err), CHORD_INVALID_ARGUMENT);
        gguf_close(gguf);
        close_tiny();
    }
}

static void layers(void **state)
{
    (void)state;
    for (uint32_t n_files = 1; n_files <= 4; n_files += 3) {
        struct memory_account account;
        struct chord_error err;
        struct gguf *gguf = open_split(odd, n_files, (struct chord_model_options){0}, &account);
        for (uint32_t layer = 0; layer < 12; layer++) {
            char prefix[16];
            uint64_t n_bytes, at = 0;
            bool gaps = false;
            snprintf(prefix, sizeof prefix, "blk.%u.", layer);
            assert_int_equal(chord_model_layer_bytes(model, layer, &n_bytes, &err), CHORD_OK);
            memset(got, 0xa5, n_bytes + 1);
            assert_int_equal(chord_model_read_layer(model, layer, got, &err), CHORD_OK);
            for (uint32_t i = 0; i < m.n_tensors; i++) {
                if (strncmp(m.tensors[i].name, prefix, strlen(prefix)) != 0)
                    continue;
                for (; at % 32 != 0; at++) {
                    assert_int_equal(got[at], 0);
                    gaps = true;
                }
                assert_memory_equal(got + at, m.tensors[i].bytes, m.tensors[i].n_bytes);
                at += m.tensors[i].n_bytes;
            }
            assert_true(gaps);
            assert_int_equal(at, n_bytes);
            assert_int_equal(got[n_bytes], 0xa5);
            if (n_files == 1) { // then they are neighbours in the file
                char first[32];
                snprintf(first, sizeof first, "%sattn_norm.weight", prefix);
                assert_memory_equal(got, files + gguf_find_tensor(gguf, first)->offset, n_bytes);
            }
        }
        uint64_t n_bytes;
        assert_int_equal(chord_model_layer_bytes(model, 12, &n_bytes, &err), CHORD_NOT_FOUND);
        assert_non_null(strstr(err.message, "no layer 12: the last one is 11"));
        assert_int_equal(chord_model_read_layer(model, UINT32_MAX, got, &err), CHORD_NOT_FOUND);
        gguf_close(gguf);
        close_tiny();
    }
}

// From another thread while batches run, which notice nothing.
static void read_all(void *user)
{
    static unsigned char here[sizeof files];
    _Atomic bool *done = user;
    while (!atomic_load(done)) {
        assert_int_equal(chord_model_read(model, 0, n_files_bytes, here, NULL), CHORD_OK);
        assert_memory_equal(here, files, n_files_bytes);
        assert_int_equal(chord_model_read_layer(model, 3, here, NULL), CHORD_OK);
    }
}

static void read_beside_steps(void)
{
    uint32_t prompt[20];
    _Atomic bool done = false;
    uv_thread_t thread;
    const uint64_t n_tokens = quick() ? 25 : 100;
    random_tokens(prompt, 20, 1);
    struct result *alone = finish_job(start(prompt, 20, sampling(1, n_tokens)));
    assert_int_equal(uv_thread_create(&thread, read_all, &done), 0);
    struct result *beside = finish_job(start(prompt, 20, sampling(1, n_tokens)));
    atomic_store(&done, true);
    assert_int_equal(uv_thread_join(&thread), 0);
    assert_same(alone, beside);
    result_free(alone);
    result_free(beside);
}

static void beside_steps(void **state)
{
    (void)state;
    struct memory_account account;
    struct gguf *gguf = open_split(odd, 2, (struct chord_model_options){0}, &account);
    read_beside_steps();
    gguf_close(gguf);
    close_tiny();
}

// The files' bytes whether tiles are pinned, in frames, or not in memory; and within the budget.
static void in_paged_mode(void **state)
{
    (void)state;
    const struct tiny_options models[] = {
        {.n_layer = 12, .n_embd = 256, .n_head_kv = 1, .n_ff = 512, .n_ctx = 512, .type = QUANT_Q8_0},
        {.arch = "qwen3moe",
         .n_layer = 4,
         .n_embd = 256,
         .n_head_kv = 1,
         .n_ctx = 512,
         .type = QUANT_Q8_0,
         .n_expert = 16,
         .n_ff_expert = 128},
    };
    for (int i = 0; i < 4; i++) {
        const enum chord_policy policy = i % 2 == 0 ? CHORD_POLICY_PIN : CHORD_POLICY_LRU;
        const struct chord_model_options options = {.mode = CHORD_MODE_PAGED, .policy = policy, .memory = 11u << 20};
        struct memory_account account;
        struct gguf *gguf = open_split(models[i / 2], 3, options, &account);
        const uint64_t end = n_files_bytes;
        uint64_t seed = 1;
        assert_int_equal(chord_model_read(model, 0, end, got, NULL), CHORD_OK); // nothing in memory yet
        assert_memory_equal(got, files, end);
        read_beside_steps();
        for (int n = 0; n < (quick() ? 60 : 300); n++) {
            const uint64_t begin = tiny_random(&seed) % end, left = end - begin;
            const uint64_t bytes = tiny_random(&seed) % (left < 300000 ? left : 300000);
            got[bytes] = 0xa5;
            assert_int_equal(chord_model_read(model, begin, bytes, got, NULL), CHORD_OK);
            assert_memory_equal(got, files + begin, bytes);
            assert_int_equal(got[bytes], 0xa5);
        }
        assert_true(stats().memory_peak <= options.memory);
        gguf_close(gguf);
        close_tiny();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans),
        cmocka_unit_test(layers),
        cmocka_unit_test(beside_steps),
        cmocka_unit_test(in_paged_mode),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
