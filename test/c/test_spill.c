// Sessions that rest in a spill file while others need their memory: within the budget, byte for byte what they were, and nothing lost when
// the disk is full, fails or gives back other bytes.
#ifdef __linux__
#define _GNU_SOURCE // off64_t
#endif

#include "session_helpers.h"

#include <stdlib.h>
#include <string.h>

#ifdef __linux__
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
    int write_error, read_error; // of every write, read; 0: none
    bool flips;                  // a bit of every read
    uint64_t writes_left;        // before write_error
} disk;

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t offset);
ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t offset)
{
    if (disk.write_error != 0 && disk.writes_left-- == 0) {
        disk.writes_left = 0;
        errno = disk.write_error;
        return -1;
    }
    return (ssize_t)syscall(SYS_pwrite64, fd, bytes, n > 1000 ? n / 2 : n, offset);
}

ssize_t pread64(int fd, void *out, size_t n, off64_t offset);
ssize_t pread64(int fd, void *out, size_t n, off64_t offset)
{
    if (disk.read_error != 0) {
        errno = disk.read_error;
        return -1;
    }
    const ssize_t n_read = (ssize_t)syscall(SYS_pread64, fd, out, n > 1000 ? n / 2 : n, offset);
    if (disk.flips && n_read > 0)
        *(char *)out ^= 4;
    return n_read;
}
#endif

#define N_SESSIONS 6u
#define N_ROUNDS 4u

static void open_with_spill(bool spills)
{
    char path[512];
    snprintf(path, sizeof path, "%s", test_path("spill"));
    open_tiny((struct tiny_options){.n_ctx = 1200}, (struct chord_model_options){.kv_spill = spills ? path : NULL});
}

// KV cache of n blocks at most.
static void allow_blocks(uint32_t n)
{
    assert_idle();
    model->account.region_ceiling[MEMORY_KV] = n * (model->kv_layout.block_bytes + 256);
}

// In all, what a few jobs need beside the caches, and n blocks.
static void allow_memory_for(uint32_t n)
{
    uint32_t prompt[512];
    random_tokens(prompt, 512, 99);
    result_free(finish_job(start(prompt, 512, greedy(3)))); // scratch of the largest batches comes, and stays
    assert_idle();
    model->account.ceiling =
        stats().memory_held + 2 * model_job_bytes(&model->hparams) + n * (model->kv_layout.block_bytes + 256);
}

static void check_budget(void)
{
    const struct chord_stats s = stats();
    assert_true(s.memory_held <= model->account.ceiling);
    assert_true(s.held_kv <= model->account.region_ceiling[MEMORY_KV]);
}

// Turn by turn through all sessions, each time by two at once; the results are the caller's.
static void converse(struct chord_session **sessions, struct result *results[N_ROUNDS][N_SESSIONS])
{
    for (uint32_t round = 0; round < N_ROUNDS; round++)
        for (uint32_t i = 0; i < N_SESSIONS; i += 2) {
            struct chord_job *jobs[2];
            for (uint32_t k = 0; k < 2; k++) {
                uint32_t prompt[1200];
                const uint64_t n = prompt_after(sessions[i + k], prompt, 50 + 20 * i, round * 100 + i + k);
                jobs[k] = start_in(sessions[i + k], prompt, n, greedy(10));
            }
            for (uint32_t k = 0; k < 2; k++) {
                results[round][i + k] = finish_job(jobs[k]);
                check_budget();
            }
        }
}

static void sessions_beyond_memory_go_on_as_within(void **state)
{
    (void)state;
    struct result *expected[N_ROUNDS][N_SESSIONS], *found[2][N_ROUNDS][N_SESSIONS];
    struct chord_session *sessions[N_SESSIONS];
    for (int spills = 0; spills < 3; spills++) {
        open_with_spill(spills != 0);
        if (spills != 0)
            assert_int_not_equal(access(test_path("spill"), F_OK), 0); // nothing stays when the process goes
        if (spills == 1)
            allow_blocks(24);
        if (spills == 2)
            allow_memory_for(4);
        for (uint32_t i = 0; i < N_SESSIONS; i++)
            sessions[i] = open_session();
        converse(sessions, spills == 0 ? expected : found[spills - 1]);
        if (spills != 0) {
            const struct chord_stats s = stats();
            assert_true(s.kv_spilled_blocks > 0 && s.kv_spill_read_bytes > 0);
            assert_true(s.kv_spill_written_bytes >=
                        s.kv_spill_read_bytes + s.kv_spilled_blocks * model->kv_layout.block_bytes);
            chord_model_settle(model);
            assert_true(spills == 2 || stats().kv_blocks <= 24);
            assert_true(stats().kv_tokens > 24 * 64);
        }
        for (uint32_t i = 0; i < N_SESSIONS; i++)
            chord_session_free(sessions[i]);
        assert_idle();
        assert_int_equal(stats().kv_spilled_blocks, 0);
        close_tiny();
    }
    for (uint32_t round = 0; round < N_ROUNDS; round++)
        for (uint32_t i = 0; i < N_SESSIONS; i++) {
            for (int k = 0; k < 2; k++) {
                struct result *r = found[k][round][i];
                assert_int_equal(r->end.finish, CHORD_FINISH_LENGTH);
                assert_int_equal(r->end.n_reused, expected[round][i]->end.n_reused);
                assert_same(r, expected[round][i]);
                result_free(r);
            }
            result_free(expected[round][i]);
        }
}

// A session of 300 tokens of a prompt and 5 more, and another that drives some of it to the file.
static struct chord_session *spilled_session(struct chord_session **other, uint32_t *prompt, uint64_t *n,
                                             struct result **expected)
{
    uint32_t text[1200];
    allow_blocks(12);
    random_tokens(text, 900, 5);
    struct chord_session *session = open_session();
    result_free(generate_in(session, text, 300, 5));
    *n = prompt_after(session, prompt, 10, 1);
    struct chord_session *fork = fork_of(session);
    *expected = generate_in(fork, prompt, *n, 20);
    chord_session_free(fork);
    chord_model_settle(model);
    *other = open_session();
    text[0] = text[0] == 5 ? 6 : 5;
    struct result *r = generate_in(*other, text, 600, 5);
    assert_int_equal(r->end.finish, CHORD_FINISH_LENGTH);
    result_free(r);
    check_budget();
    assert_true(stats().kv_spilled_blocks >= 2 && stats().kv_spilled_blocks <= 5);
    return session;
}

static void forks_and_shared_beginnings_come_from_the_file(void **state)
{
    (void)state;
    uint32_t prompt[1200];
    uint64_t n;
    struct chord_session *other;
    struct result *expected;
    open_with_spill(true);
    struct chord_session *session = spilled_session(&other, prompt, &n, &expected), *fork = fork_of(session);
    struct result *alone = generate_in(fork, prompt, n, 20);
    assert_int_equal(alone->end.n_reused, 304);
    assert_same(alone, expected);
    result_free(alone);
    check_budget();
    chord_session_free(other);
    chord_session_free(fork);
    chord_model_settle(model);
    // All of the prompt's blocks but the last, whoever asks.
    struct result *job = finish_job(start(prompt, 290, greedy(20))), *same = finish_job(start(prompt, 290, greedy(20)));
    assert_int_equal(job->end.n_reused, 256);
    assert_same_and_free(job, same);
    struct result *r = generate_in(session, prompt, n, 20);
    assert_same_and_free(r, expected);
    chord_session_free(session);
    assert_idle();
    close_tiny();
}

// Without room for one text even when all others rest in the file, that text fails, and no other does.
static void a_text_larger_than_memory_is_refused(void **state)
{
    (void)state;
    uint32_t prompt[1200], large[1200];
    uint64_t n;
    struct chord_session *other;
    struct result *expected;
    open_with_spill(true);
    struct chord_session *session = spilled_session(&other, prompt, &n, &expected);
    random_tokens(large, 1100, 77);
    struct result *r = generate_in(other, large, 1100, 5);
    assert_int_equal(r->end.finish, CHORD_FINISH_ERROR);
    assert_int_equal(r->end.error.code, CHORD_MEMORY_BUDGET);
    result_free(r);
    check_budget();
    assert_same_and_free(generate_in(session, prompt, n, 20), expected);
    chord_session_free(session);
    chord_session_free(other);
    assert_idle();
    close_tiny();
}

static void the_file_is_ones_own(void **state)
{
    (void)state;
    struct chord_model *none;
    struct chord_error err;
    tiny_init(&m, (struct tiny_options){0});
    tiny_write(&m, test_path("engine.gguf"));
    struct chord_model_options options = {.memory = 1u << 30, .kv_spill = test_path("engine.gguf")};
    assert_int_equal(chord_model_open(test_path("engine.gguf"), &options, &none, &err), CHORD_IO);
    assert_non_null(strstr(err.message, "engine.gguf"));
    options.kv_spill = "/no/such/folder/file";
    assert_int_equal(chord_model_open(test_path("engine.gguf"), &options, &none, &err), CHORD_IO);
    tiny_free(&m);
}

#ifdef __linux__
static void a_disk_that_fails_loses_nothing(void **state)
{
    (void)state;
    static const struct {
        int write_error, read_error;
        bool flips;
        enum chord_status expected;
    } cases[] = {{ENOSPC, 0, false, CHORD_IO}, {0, EIO, false, CHORD_IO}, {0, 0, true, CHORD_FILE_CHANGED}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (uint64_t writes_left = 0; writes_left < (cases[i].write_error != 0 ? 6u : 1u); writes_left++) {
            uint32_t prompt[1200], text[1200];
            uint64_t n;
            struct chord_session *other;
            struct result *expected;
            open_with_spill(true);
            struct chord_session *session = spilled_session(&other, prompt, &n, &expected);
            const uint64_t n_text = prompt_after(other, text, 60, 9);
            struct chord_session *again = fork_of(other);
            disk.write_error = cases[i].write_error;
            disk.read_error = cases[i].read_error;
            disk.flips = cases[i].flips;
            disk.writes_left = writes_left;
            struct result *r = generate_in(session, prompt, n, 20);
            memset(&disk, 0, sizeof disk);
            check_budget();
            assert_int_equal(r->end.finish, CHORD_FINISH_ERROR);
            assert_int_equal(r->end.error.code, cases[i].expected);
            assert_non_null(strstr(r->end.error.message, "spill"));
            result_free(r);
            assert_same_and_free(generate_in(session, prompt, n, 20), expected);
            assert_same_and_free(generate_in(other, text, n_text, 20), generate_in(again, text, n_text, 20));
            chord_session_free(session);
            chord_session_free(other);
            chord_session_free(again);
            assert_idle();
            close_tiny();
        }
}
#endif

static void save(struct chord_session *session, const char *path)
{
    uint64_t done, total;
    struct chord_transfer *transfer;
    struct chord_error err;
    assert_int_equal(chord_session_save(session, path, &transfer, &err), CHORD_OK);
    do
        if (chord_transfer_step(transfer, 0, NULL, &done, &total, &err) != CHORD_OK)
            fail_msg("%s", err.message);
    while (done < total);
    chord_transfer_free(transfer);
    check_budget();
}

static void sessions_are_saved_from_the_file(void **state)
{
    (void)state;
    uint32_t prompt[1200];
    uint64_t n;
    static char bytes[2][400000];
    struct chord_session *other;
    struct result *expected;
    open_with_spill(true);
    struct chord_session *session = spilled_session(&other, prompt, &n, &expected);
    const uint64_t spilled = stats().kv_spilled_blocks;
    save(session, test_path("a"));
    assert_true(stats().kv_spilled_blocks >= spilled); // none came back for that
    chord_session_free(other);
    result_free(generate_in(session, prompt, 306, 1)); // all of it is in memory
    session->text.n_tokens = 305;
    session->text.n_done = 304;
    save(session, test_path("b"));
    uint64_t n_bytes[2];
    for (int i = 0; i < 2; i++) {
        FILE *file = fopen(test_path(i == 0 ? "a" : "b"), "rb");
        n_bytes[i] = fread(bytes[i], 1, sizeof bytes[i], file);
        fclose(file);
    }
    assert_int_equal(n_bytes[0], n_bytes[1]);
    assert_memory_equal(bytes[0], bytes[1], n_bytes[0]);
    assert_true(n_bytes[0] < sizeof bytes[0]);
    result_free(expected);
    chord_session_free(session);
    assert_idle();
    close_tiny();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test(name)
        TEST(sessions_beyond_memory_go_on_as_within), TEST(forks_and_shared_beginnings_come_from_the_file),
        TEST(a_text_larger_than_memory_is_refused),   TEST(the_file_is_ones_own),
        TEST(sessions_are_saved_from_the_file),
#ifdef __linux__
        TEST(a_disk_that_fails_loses_nothing),
#endif
#undef TEST
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
