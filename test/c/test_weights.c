// The weight store: tiles cover every row once, rows read as the format defines them, changed files are noticed.

#include "test_folder.h"
#include "tiny_model.h"
#include "weights/weights.h"
#include "account_helpers.h"

#include <fcntl.h>
#include <sys/stat.h>

struct store {
    struct gguf *gguf;
    struct weights *weights;
};

static struct store open_store(const char *path, enum weights_mode mode)
{
    struct store s;
    struct chord_error err;
    if (gguf_open(&s.gguf, path, &account, &err) != CHORD_OK ||
        weights_open(&s.weights, s.gguf, mode, &account, &err) != CHORD_OK)
        fail_msg("%s", err.message);
    assert_int_equal(weights_mode(s.weights), mode);
    return s;
}

static void close_store(struct store *s)
{
    weights_close(s->weights);
    gguf_close(s->gguf);
}

// Tensors of many shapes and of every type.
static void make_shapes(struct tiny_model *m)
{
    char name[64];
    tiny_init(m, (struct tiny_options){0});
    while (m->n_tensors > 0)
        tiny_drop_tensor(m, m->tensors[0].name);
    static const uint64_t shapes[][2] = {{1, 1},      {3, 2},      {1, 1000},   {256, 1},    {4096, 129}, {4096, 128},
                                         {4096, 127}, {700, 1500}, {524288, 3}, {524289, 2}, {700000, 3}, {16, 40000}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        snprintf(name, sizeof name, "shape.%u", (unsigned)i);
        tiny_add(m, name, QUANT_F32, shapes[i][0], shapes[i][1], 0, 1);
    }
    for (uint32_t type = 0; type < 64; type++)
        if (quant_traits(type) != NULL) {
            snprintf(name, sizeof name, "type.%s", quant_traits(type)->name);
            tiny_add(m, name, type, 512, 37, 0, 1);
        }
    struct tiny_tensor *folded = tiny_add(m, "folded", QUANT_Q8_0, 64, 2 * 3 * 5, 0, 1);
    folded->n_dimensions = 4;
    folded->ne[1] = 2;
    folded->ne[2] = 3;
    folded->ne[3] = 5;
}

static void check_tiles(struct weights *weights, const struct weight *w)
{
    const char *next = NULL;
    uint64_t row = 0;
    assert_true(w->tile_rows >= 1 && w->n_tiles >= 1);
    assert_true(w->tile_rows == 1 || w->tile_rows * w->row_bytes <= WEIGHTS_TILE_BYTES);
    if (w->tensor->ne[2] > 1)
        assert_int_equal(w->tensor->ne[1] % w->tile_rows, 0); // a tile is of one matrix
    for (uint64_t tile = 0; tile < w->n_tiles; tile++) {
        const void *rows;
        assert_true(row < w->n_rows); // no tile without rows
        assert_int_equal(row, tile * w->tile_rows);
        assert_int_equal(weights_acquire(weights, w, tile, &rows, NULL), CHORD_OK);
        assert_true(next == NULL || next == rows);
        row = row + w->tile_rows < w->n_rows ? row + w->tile_rows : w->n_rows;
        next = (const char *)rows + w->tile_rows * w->row_bytes;
        weights_release(weights, w, tile, w->tile_rows);
    }
    assert_int_equal(row, w->n_rows);
}

static void check_against(struct weights *weights, const struct tiny_tensor *t)
{
    const struct weight *w = weights_find(weights, t->name);
    const uint64_t n_rows = t->ne[1] * t->ne[2] * t->ne[3];
    const void *bytes;
    assert_non_null(w);
    assert_int_equal(w->n, t->ne[0]);
    assert_int_equal(w->n_rows, n_rows);
    assert_int_equal(w->row_bytes * n_rows + w->type->tail_bytes, t->n_bytes);
    assert_true(w->type->tail_bytes != 0 ? w->scales[0] == 0x1p-5f : w->scales == NULL);
    assert_int_equal(w->type->type, t->type);
    check_tiles(weights, w);
    assert_int_equal(weights_acquire(weights, w, 0, &bytes, NULL), CHORD_OK);
    assert_memory_equal(bytes, t->bytes, t->n_bytes); // tiles lie one behind the other in a mapping
    weights_release(weights, w, 0, 1);
    float *values = malloc(n_rows * w->n * sizeof *values);
    assert_int_equal(weights_read_rows(weights, w, 0, n_rows, values, NULL), CHORD_OK);
    assert_memory_equal(values, t->values, n_rows * w->n * sizeof *values);
    const uint64_t last = n_rows - 1;
    assert_int_equal(weights_read_rows(weights, w, last, 1, values, NULL), CHORD_OK);
    assert_memory_equal(values, t->values + last * w->n, w->n * sizeof *values);
    assert_int_equal(weights_read_rows(weights, w, 0, 0, values, NULL), CHORD_OK);
    free(values);
}

static void every_shape_and_type(void **state)
{
    (void)state;
    static struct tiny_model m;
    const char *path = test_path("shapes.gguf");
    make_shapes(&m);
    tiny_write(&m, path);
    struct store s = open_store(path, WEIGHTS_MAPPED);
    for (uint32_t i = 0; i < m.n_tensors; i++)
        check_against(s.weights, &m.tensors[i]);
    assert_null(weights_find(s.weights, "type.Q4_"));
    assert_null(weights_find(s.weights, ""));
    close_store(&s);
    tiny_free(&m);
}

// Matrices smaller than a tile, larger than one, and of a prime number of rows.
static void tiles_of_experts(void **state)
{
    (void)state;
    static const struct {
        uint64_t n, n_rows, tile_rows;
    } shapes[] = {{64, 48, 48}, {2048, 300, 150}, {2048, 257, 1}, {2048, 256, 256}};
    static struct tiny_model m;
    const char *path = test_path("experts.gguf");
    tiny_init(&m, (struct tiny_options){0});
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        char name[32];
        snprintf(name, sizeof name, "experts.%zu", i);
        tiny_add_experts(&m, name, QUANT_F32, shapes[i].n, shapes[i].n_rows, 3, 1);
    }
    tiny_write(&m, path);
    struct store s = open_store(path, WEIGHTS_MAPPED);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const struct tiny_tensor *t = &m.tensors[m.n_tensors - sizeof shapes / sizeof *shapes + i];
        check_against(s.weights, t);
        assert_int_equal(weights_find(s.weights, t->name)->tile_rows, shapes[i].tile_rows);
    }
    close_store(&s);
    tiny_free(&m);
}

static void split_files(void **state)
{
    (void)state;
    static struct tiny_model m;
    char path[512];
    tiny_init(&m, (struct tiny_options){.n_embd = 256, .n_ff = 256, .type = QUANT_Q4_K});
    for (uint32_t n_files = 1; n_files <= 4; n_files++) {
        tiny_write_split(&m, test_path("split"), n_files, path, sizeof path);
        struct store s = open_store(path, WEIGHTS_MAPPED);
        assert_int_equal(gguf_n_files(s.gguf), n_files);
        for (uint32_t i = 0; i < m.n_tensors; i++)
            check_against(s.weights, &m.tensors[i]);
        uint64_t done = 0, total;
        while (done < weights_mapped_bytes(s.weights))
            weights_preload(s.weights, 1, NULL, &done, &total, NULL);
        assert_int_equal(done, weights_mapped_bytes(s.weights));
        close_store(&s);
    }
    tiny_free(&m);
}

// Header, padding and tensors alike, and nothing beside the bytes asked for.
static void bytes_of_files(void **state)
{
    (void)state;
    static struct tiny_model m;
    static unsigned char file[1 << 20], read[1 << 20];
    char path[512];
    tiny_init(&m, (struct tiny_options){.n_embd = 20, .n_head = 2});
    tiny_write_split(&m, test_path("bytes"), 3, path, sizeof path);
    struct store s = open_store(path, WEIGHTS_MAPPED);
    uint64_t seed = 1;
    for (uint32_t i = 0; i < 3; i++) {
        FILE *in = fopen(gguf_file(s.gguf, i)->path, "rb");
        const uint64_t size = fread(file, 1, sizeof file, in);
        fclose(in);
        assert_int_equal(size, gguf_file(s.gguf, i)->os.size);
        assert_true(size < sizeof file);
        assert_int_equal(weights_read_bytes(s.weights, i, 0, size, read, NULL), CHORD_OK);
        assert_memory_equal(read, file, size);
        assert_int_equal(weights_read_bytes(s.weights, i, size, 0, read, NULL), CHORD_OK);
        for (int n = 0; n < 1000; n++) {
            const uint64_t begin = tiny_random(&seed) % size, bytes = tiny_random(&seed) % (size - begin + 1);
            read[bytes] = 0xa5;
            assert_int_equal(weights_read_bytes(s.weights, i, begin, bytes, read, NULL), CHORD_OK);
            assert_memory_equal(read, file + begin, bytes);
            assert_int_equal(read[bytes], 0xa5);
        }
    }
    close_store(&s);
    tiny_free(&m);
}

static void a_directory_maps_nothing(void **state)
{
    (void)state;
    static struct tiny_model m;
    const char *path = test_path("directory.gguf");
    tiny_init(&m, (struct tiny_options){0});
    tiny_write(&m, path);
    struct store s = open_store(path, WEIGHTS_DIRECTORY);
    assert_int_equal(weights_mapped_bytes(s.weights), 0);
    for (uint32_t i = 0; i < m.n_tensors; i++) {
        const struct weight *w = weights_find(s.weights, m.tensors[i].name);
        assert_non_null(w);
        assert_int_equal(w->n, m.tensors[i].ne[0]);
        assert_int_equal(w->n_rows, m.tensors[i].ne[1]);
    }
    close_store(&s);
    tiny_free(&m);
}

static void append_byte(const char *path)
{
    FILE *file = fopen(path, "ab");
    assert_non_null(file);
    assert_int_equal(fputc(0, file), 0);
    assert_int_equal(fclose(file), 0);
}

static void touch(const char *path) // contents written anew: the size stays, the time does not
{
    const struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void shorten(const char *path)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(truncate(path, info.st_size - 1), 0);
}

static void a_changed_file_is_noticed(void **state)
{
    (void)state;
    static struct tiny_model m;
    static void (*const changes[])(const char *path) = {append_byte, touch, shorten};
    char first[512];
    tiny_init(&m, (struct tiny_options){0});
    for (uint32_t n_files = 1; n_files <= 2; n_files++)
        for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
            struct chord_error err;
            tiny_write_split(&m, test_path("changed"), n_files, first, sizeof first);
            struct store s = open_store(first, WEIGHTS_MAPPED);
            assert_int_equal(weights_check_unchanged(s.weights, &err), CHORD_OK);
            const char *changed = gguf_file(s.gguf, n_files - 1)->path; // the last file
            changes[i](changed);
            assert_int_equal(weights_check_unchanged(s.weights, &err), CHORD_FILE_CHANGED);
            assert_non_null(strstr(err.message, changed));
            char byte;
            assert_int_equal(weights_read_bytes(s.weights, n_files - 1, 0, 1, &byte, &err), CHORD_FILE_CHANGED);
            assert_non_null(strstr(err.message, changed));
            close_store(&s);
        }
    tiny_free(&m);
}

static void pages_come_and_go(void **state)
{
    (void)state;
    static struct tiny_model m;
    const char *path = test_path("pages.gguf");
    make_shapes(&m);
    tiny_write(&m, path);
    struct store s = open_store(path, WEIGHTS_MAPPED);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    const uint64_t total = weights_mapped_bytes(s.weights);
    assert_int_equal(total, info.st_size);
    uint64_t done = 0, to_do;
    _Atomic bool cancel = true;
    weights_preload(s.weights, 100, &cancel, &done, &to_do, NULL);
    assert_true(done > 0 && done < total); // looks at the flag long before the end
    while (done < total)
        weights_preload(s.weights, 0, NULL, &done, &to_do, NULL);
    assert_true(done == total && to_do == total);
    weights_preload(s.weights, 0, NULL, &done, &to_do, NULL);
    assert_int_equal(done, total);
    const uint64_t resident = weights_resident_bytes(s.weights);
    assert_true(resident == UINT64_MAX || (resident > 0 && resident <= (total + 4095) / 4096 * 4096));
    weights_clear_cache(s.weights);
    for (uint32_t i = 0; i < m.n_tensors; i += 5)
        check_against(s.weights, &m.tensors[i]);
    close_store(&s);
    tiny_free(&m);
}

static void every_failed_allocation_is_reported(void **state)
{
    (void)state;
    static struct tiny_model m;
    struct gguf *gguf;
    const char *path = test_path("failing.gguf");
    tiny_init(&m, (struct tiny_options){0});
    tiny_write(&m, path);
    assert_int_equal(gguf_open(&gguf, path, &account, NULL), CHORD_OK);
    const uint64_t held = atomic_load(&account.total);
    for (int64_t n = 0;; n++) {
        struct weights *weights;
        struct chord_error err;
        atomic_store(&account.fail_after, n);
        const enum chord_status status = weights_open(&weights, gguf, WEIGHTS_MAPPED, &account, &err);
        atomic_store(&account.fail_after, -1);
        if (status == CHORD_OK) {
            assert_true(n >= 1);
            weights_close(weights);
            break;
        }
        assert_int_equal(status, CHORD_OUT_OF_MEMORY);
        assert_int_equal(atomic_load(&account.total), held);
    }
    weights_close(NULL);
    gguf_close(gguf);
    tiny_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_shape_and_type),
        TEST(tiles_of_experts),
        TEST(split_files),
        TEST(bytes_of_files),
        TEST(a_directory_maps_nothing),
        TEST(a_changed_file_is_noticed),
        TEST(pages_come_and_go),
        TEST(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
