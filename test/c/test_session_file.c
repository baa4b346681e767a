// Sessions in files: what is restored goes on as what was saved; what is damaged, cut, foreign or cannot be written or read is refused
// by its code, and leaves files, sessions and memory as they were. The disk fails behind the system's calls.
#ifdef __linux__
#define _GNU_SOURCE // off64_t
#endif

#include "quick.h"
#include "session_helpers.h"

#include "base/xxh64.h"
#include "engine/session_file.h"

#include <stdlib.h>
#include <string.h>

#ifdef __linux__
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

// ---- A disk that fails -----------------------------------------------------------------------------------------------

static struct {
    bool on;
    uint64_t n_calls, fails_at; // of writes, reads, syncs and renames together
    int error;
    bool short_ones, interrupted;
} disk;

// Whether the call fails. Every second call is interrupted, so that it has to be repeated.
static bool call_fails(void)
{
    if (!disk.on)
        return false;
    const uint64_t n = disk.n_calls++;
    if (n >= disk.fails_at) {
        errno = disk.error;
        return true;
    }
    if (disk.interrupted && n % 2 == 0) {
        errno = EINTR;
        return true;
    }
    return false;
}

static size_t shortened(size_t n)
{
    return disk.on && disk.short_ones && n > 1 ? n / 2 : n;
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t offset);
ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t offset)
{
    return call_fails() ? -1 : (ssize_t)syscall(SYS_pwrite64, fd, bytes, shortened(n), offset);
}

ssize_t pread64(int fd, void *out, size_t n, off64_t offset);
ssize_t pread64(int fd, void *out, size_t n, off64_t offset)
{
    return call_fails() ? -1 : (ssize_t)syscall(SYS_pread64, fd, out, shortened(n), offset);
}

int fsync(int fd)
{
    return call_fails() ? -1 : (int)syscall(SYS_fsync, fd);
}

int rename(const char *from, const char *to)
{
    disk.interrupted = false; // this one does not happen to be
    return call_fails() ? -1 : (int)syscall(SYS_renameat2, -100, from, -100, to, 0);
}
#endif

// ---- Transfers -------------------------------------------------------------------------------------------------------

static enum chord_status run_transfer(struct chord_transfer *transfer, struct chord_error *err)
{
    uint64_t done = 0, total = 1;
    enum chord_status status = CHORD_OK;
    while (status == CHORD_OK && done < total) {
        const uint64_t before = done;
        status = chord_transfer_step(transfer, 0, NULL, &done, &total, err);
        if (status == CHORD_OK)
            assert_true(done > before && done <= total);
    }
    assert_true(status == CHORD_OK || err->code == status);
    return status;
}

static enum chord_status save(struct chord_session *session, const char *path, struct chord_error *err)
{
    struct chord_transfer *transfer;
    enum chord_status status = chord_session_save(session, path, &transfer, err);
    if (status != CHORD_OK)
        return status;
    status = run_transfer(transfer, err);
    chord_transfer_free(transfer);
    return status;
}

static enum chord_status restore(const char *path, struct chord_session **out, struct chord_error *err)
{
    struct chord_transfer *transfer;
    *out = NULL;
    enum chord_status status = chord_session_restore(model, path, &transfer, err);
    if (status != CHORD_OK)
        return status;
    status = run_transfer(transfer, err);
    *out = chord_transfer_take(transfer);
    assert_int_equal(status == CHORD_OK, *out != NULL);
    chord_transfer_free(transfer);
    return status;
}

static struct chord_session *restored(const char *path)
{
    struct chord_session *session;
    struct chord_error err;
    if (restore(path, &session, &err) != CHORD_OK)
        fail_msg("%s", err.message);
    return session;
}

static void saved(struct chord_session *session, const char *path)
{
    struct chord_error err;
    if (save(session, path, &err) != CHORD_OK)
        fail_msg("%s", err.message);
}

static unsigned char *read_all(const char *path, uint64_t *n)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    *n = (uint64_t)ftell(file);
    rewind(file);
    unsigned char *bytes = malloc(*n + 1);
    assert_int_equal(fread(bytes, 1, *n, file), *n);
    fclose(file);
    return bytes;
}

static void write_all(const char *path, const unsigned char *bytes, uint64_t n)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    fclose(file);
}

static uint32_t count_files(void)
{
    uint32_t n = 0;
    DIR *dir = opendir(test_folder);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

// A session with a text of n_prompt tokens of a prompt and n_generated more.
static struct chord_session *session_with(uint32_t n_prompt, uint32_t n_generated)
{
    uint32_t prompt[1200];
    struct chord_session *session = open_session();
    random_tokens(prompt, n_prompt, n_prompt);
    if (n_prompt > 0)
        result_free(generate_in(session, prompt, n_prompt, n_generated));
    return session;
}

// ---- Tests -----------------------------------------------------------------------------------------------------------

static void what_is_restored_goes_on_as_the_original(void **state)
{
    (void)state;
    static const uint32_t lengths[][2] = {{1, 1}, {50, 13}, {50, 14}, {50, 15}, {50, 16}, {64, 1}, {64, 2}, {300, 200}};
    for (int type = CHORD_KV_F16; type <= CHORD_KV_Q8_0; type++) {
        struct result *expected[8];
        uint32_t prompts[8][1200];
        uint64_t n_prompts[8];
        open_long((enum chord_kv_type)type);
        for (uint32_t i = 0; i < 8; i++) {
            char name[8] = {(char)('a' + i), 0};
            struct chord_session *session = session_with(lengths[i][0], lengths[i][1]);
            saved(session, test_path(name));
            n_prompts[i] = prompt_after(session, prompts[i], 10 + 30 * (i % 3), i);
            assert_int_equal(n_prompts[i], lengths[i][0] + lengths[i][1] + 10 + 30 * (i % 3));
            expected[i] = generate_in(session, prompts[i], n_prompts[i], 30);
            chord_session_free(session);
        }
        assert_idle();
        chord_model_close(model); // another process, another number of threads
        model = open_path(test_path("engine.gguf"),
                          (struct chord_model_options){.kv_type = (enum chord_kv_type)type, .n_threads = 1});
        for (uint32_t i = 0; i < 8; i++) {
            char name[8] = {(char)('a' + i), 0};
            struct chord_session *session = restored(test_path(name));
            uint32_t tokens[1200];
            assert_int_equal(chord_session_tokens(session, tokens, 1200), lengths[i][0] + lengths[i][1]);
            assert_memory_equal(tokens, prompts[i], (lengths[i][0] + lengths[i][1]) * sizeof *tokens);
            struct result *r = generate_in(session, prompts[i], n_prompts[i], 30);
            assert_int_equal(r->end.n_reused, expected[i]->end.n_reused);
            assert_same_and_free(r, expected[i]);
            chord_session_free(session);
        }
        assert_idle();
        close_tiny();
    }
}

static void a_file_follows_from_its_text(void **state)
{
    (void)state;
    uint64_t n_first, n_second;
    uint32_t prompt[1200];
    open_long(CHORD_KV_F16);
    struct chord_session *session = session_with(100, 30), *empty = open_session();
    saved(session, test_path("a"));
    prompt_after(session, prompt, 0, 0);
    struct chord_session *other = open_session();
    result_free(generate_in(other, prompt, 100, 60)); // and 30 tokens of it dropped again
    other->text.n_tokens = 130;
    other->text.n_done = 129;
    kv_cache_drop(&other->kv, 3);
    saved(other, test_path("b"));
    unsigned char *first = read_all(test_path("a"), &n_first), *second = read_all(test_path("b"), &n_second);
    assert_int_equal(n_first, 96 + 130 * 5 + 8 + 3 * (model->kv_layout.block_bytes + 8));
    assert_int_equal(n_first, n_second);
    assert_memory_equal(first, second, n_first);
    free(first);
    free(second);
    saved(empty, test_path("a")); // in place of the other
    chord_session_free(empty);
    empty = restored(test_path("a"));
    assert_int_equal(chord_session_tokens(empty, NULL, 0), 0);
    result_free(generate_in(empty, prompt, 10, 5));
    chord_session_free(session);
    chord_session_free(other);
    chord_session_free(empty);
    assert_idle();
    close_tiny();
}

// Writes the bytes and expects them to be refused, with nothing left of the attempt.
static enum chord_status refusal(const unsigned char *bytes, uint64_t n)
{
    struct chord_session *session;
    struct chord_error err;
    write_all(test_path("bad"), bytes, n);
    const uint64_t held = stats().memory_held;
    const enum chord_status status = restore(test_path("bad"), &session, &err);
    assert_int_not_equal(status, CHORD_OK);
    assert_non_null(strstr(err.message, "bad: "));
    chord_model_settle(model);
    assert_int_equal(stats().memory_held, held);
    return status;
}

static void damage_is_refused(void **state)
{
    (void)state;
    uint64_t n;
    open_long(CHORD_KV_F16);
    struct chord_session *session = session_with(100, 30);
    saved(session, test_path("a"));
    unsigned char *bytes = read_all(test_path("a"), &n);
    for (uint64_t at = 0; at < n; at += at < 800 ? 1 : (quick() ? 997 : 97)) {
        bytes[at] ^= (unsigned char)(1 << at % 8);
        const enum chord_status status = refusal(bytes, n);
        assert_int_equal(status, at < 8 ? CHORD_NOT_SESSION : at < 12 ? CHORD_SESSION_VERSION : CHORD_SESSION_DAMAGED);
        bytes[at] ^= (unsigned char)(1 << at % 8);
    }
    for (uint64_t length = 0; length < n; length += length < 120 ? 1 : (quick() ? 4999 : 991))
        assert_int_equal(refusal(bytes, length), length < 8 ? CHORD_NOT_SESSION : CHORD_SESSION_TRUNCATED);
    bytes = realloc(bytes, n + 1);
    bytes[n] = 0;
    assert_int_equal(refusal(bytes, n + 1), CHORD_SESSION_DAMAGED);
    // Two blocks in each other's place.
    const uint64_t span = model->kv_layout.block_bytes + 8, first = n - 3 * span;
    unsigned char *swapped = malloc(n);
    memcpy(swapped, bytes, n);
    memcpy(swapped + first, bytes + first + span, span);
    memcpy(swapped + first + span, bytes + first, span);
    assert_int_equal(refusal(swapped, n), CHORD_SESSION_DAMAGED);
    free(swapped);
    free(bytes);
    struct chord_error err;
    struct chord_session *none;
    assert_int_equal(restore(test_path("absent"), &none, &err), CHORD_FILE_NOT_FOUND);
    assert_int_equal(restore(test_folder, &none, &err), CHORD_IO);
    assert_int_equal(restore(test_path("engine.gguf"), &none, &err), CHORD_NOT_SESSION);
    chord_session_free(session);
    assert_idle();
    close_tiny();
}

static void set_checked(unsigned char *bytes, uint64_t at, uint64_t value, int n_bytes)
{
    for (int i = 0; i < n_bytes; i++)
        bytes[at + (uint64_t)i] = (unsigned char)(value >> 8 * i);
    session_file_store_u64(bytes + 88, xxh64(bytes, 88, 0));
}

// Headers whose check is right and whose contents are not.
static void impossible_headers_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint32_t at, n_bytes;
        uint64_t value;
        enum chord_status status;
    } cases[] = {
        {8, 4, 3, CHORD_SESSION_VERSION},
        {8, 4, 2, CHORD_SESSION_DAMAGED},
        {68, 4, 5, CHORD_SESSION_DAMAGED},
        {12, 4, 0x01020304u ^ 0x05060704u, CHORD_SESSION_FOREIGN},
        {16, 8, 5, CHORD_SESSION_FOREIGN},
        {24, 8, 131, CHORD_SESSION_TRUNCATED},
        {24, 8, 129, CHORD_SESSION_DAMAGED},
        {24, 8, UINT64_MAX, CHORD_SESSION_DAMAGED},
        {24, 8, UINT64_MAX / 5 - 20000, CHORD_SESSION_TRUNCATED},
        {32, 8, 131, CHORD_SESSION_DAMAGED},
        {32, 8, 128, CHORD_SESSION_DAMAGED},
        {40, 8, 64, CHORD_SESSION_FOREIGN},
        {48, 4, 1, CHORD_SESSION_FOREIGN},
        {52, 4, 32, CHORD_SESSION_FOREIGN},
        {56, 4, 3, CHORD_SESSION_FOREIGN},
        {60, 4, 0, CHORD_SESSION_FOREIGN},
        {64, 4, 7, CHORD_SESSION_FOREIGN},
        {72, 8, 0x41414141u, CHORD_SESSION_FOREIGN},
    };
    uint64_t n;
    open_long(CHORD_KV_F16);
    struct chord_session *session = session_with(100, 30);
    saved(session, test_path("a"));
    unsigned char *bytes = read_all(test_path("a"), &n), *changed = malloc(n);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memcpy(changed, bytes, n);
        set_checked(changed, cases[i].at, cases[i].value, (int)cases[i].n_bytes);
        assert_int_equal(refusal(changed, n), cases[i].status);
    }
    memcpy(changed, bytes, n);
    changed[96 + 3] = 0x7f; // a token that no vocabulary has
    session_file_store_u64(changed + 96 + 130 * 5, xxh64(changed + 96, 130 * 5, 0));
    assert_int_equal(refusal(changed, n), CHORD_SESSION_DAMAGED);
    free(bytes);
    free(changed);
    chord_session_free(session);
    assert_idle();
    close_tiny();
}

// Bytes of the caller's, saved with a session and read again.
static void notes_go_with_a_session(void **state)
{
    (void)state;
    static unsigned char note[70000];
    uint64_t n, n_note;
    struct chord_error err;
    struct chord_transfer *transfer;
    open_long(CHORD_KV_F16);
    struct chord_session *session = session_with(100, 30);
    for (size_t i = 0; i < sizeof note; i++)
        note[i] = (unsigned char)(i * 7);
    saved(session, test_path("plain"));
    unsigned char *plain = read_all(test_path("plain"), &n);
    const uint64_t n_plain = n;
    assert_int_equal(plain[8], 1);
    for (uint64_t length = 0; length <= sizeof note; length = length * 3 + 1) {
        assert_int_equal(chord_session_save(session, test_path("a"), &transfer, &err), CHORD_OK);
        assert_int_equal(chord_transfer_set_note(transfer, note, length, &err), CHORD_OK);
        assert_int_equal(run_transfer(transfer, &err), CHORD_OK);
        chord_transfer_free(transfer);
        unsigned char *bytes = read_all(test_path("a"), &n);
        assert_int_equal(n, n_plain + length + (length > 0 ? 8 : 0));
        assert_int_equal(bytes[8], length > 0 ? 2 : 1);
        assert_int_equal(chord_session_restore(model, test_path("a"), &transfer, &err), CHORD_OK);
        assert_int_equal(run_transfer(transfer, &err), CHORD_OK);
        const void *found = chord_transfer_note(transfer, &n_note);
        assert_int_equal(n_note, length);
        assert_int_equal(found != NULL, length > 0);
        if (length > 0)
            assert_memory_equal(found, note, length);
        chord_session_free(chord_transfer_take(transfer));
        chord_transfer_free(transfer);
        chord_model_settle(model);
        const uint64_t note_at = 96 + 130 * 5 + 8;
        for (uint64_t at = note_at; at < note_at + length + 8 && length > 0; at += 1 + length / 5) {
            bytes[at] ^= 4;
            assert_int_equal(refusal(bytes, n), CHORD_SESSION_DAMAGED);
            bytes[at] ^= 4;
        }
        free(bytes);
    }
    assert_int_equal(chord_session_save(session, test_path("a"), &transfer, &err), CHORD_OK);
    assert_int_equal(chord_transfer_set_note(transfer, note, UINT64_C(1) << 40, &err), CHORD_INVALID_ARGUMENT);
    chord_transfer_free(transfer);
    free(plain);
    chord_session_free(session);
    assert_idle();
    close_tiny();
}

static void expect_foreign(struct tiny_options tiny, struct chord_model_options options, const char *path,
                           enum chord_status expected, const char *says)
{
    struct chord_session *none;
    struct chord_error err;
    tiny_init(&m, tiny);
    tiny_write(&m, test_path("foreign.gguf"));
    model = open_path(test_path("foreign.gguf"), options);
    assert_int_equal(restore(path, &none, &err), expected);
    assert_non_null(strstr(err.message, says));
    close_tiny();
}

static void other_models_are_told_apart(void **state)
{
    (void)state;
    char path[512];
    open_long(CHORD_KV_F16);
    struct chord_session *session = session_with(100, 30);
    snprintf(path, sizeof path, "%s", test_path("a"));
    saved(session, path);
    chord_session_free(session);
    close_tiny();
    const struct chord_model_options same = {.kv_type = CHORD_KV_F16};
    expect_foreign((struct tiny_options){.n_ctx = 1201}, same, path, CHORD_SESSION_FOREIGN, "another model");
    expect_foreign((struct tiny_options){.n_ctx = 1200, .seed = 5}, same, path, CHORD_SESSION_FOREIGN, "another model");
    expect_foreign((struct tiny_options){.n_ctx = 1200}, (struct chord_model_options){.kv_type = CHORD_KV_Q8_0}, path,
                   CHORD_SESSION_FOREIGN, "'f16'");
    expect_foreign((struct tiny_options){.n_ctx = 1200}, (struct chord_model_options){.n_ctx = 100}, path,
                   CHORD_CONTEXT_FULL, "130 tokens");
    struct chord_system_info system;
    chord_system_info(&system);
    if (strcmp(system.tier, "scalar") != 0)
        expect_foreign((struct tiny_options){.n_ctx = 1200}, (struct chord_model_options){.cpu = "scalar"}, path,
                       CHORD_SESSION_FOREIGN, "CHORD_CPU");
    // The same file under another name is the same model.
    tiny_init(&m, (struct tiny_options){.n_ctx = 1200});
    tiny_write(&m, test_path("foreign.gguf"));
    model = open_path(test_path("foreign.gguf"), same);
    chord_session_free(restored(path));
    close_tiny();
}

static void a_session_that_is_saved_is_in_use(void **state)
{
    (void)state;
    uint64_t done = 0, total;
    uint32_t prompt[1200];
    struct chord_transfer *transfer, *second;
    struct chord_session *fork;
    struct chord_job *job;
    struct chord_error err;
    struct chord_cancel cancel = {0};
    const struct chord_generate_options options = greedy(5);
    open_long(CHORD_KV_F16);
    struct chord_session *session = session_with(300, 1), *other = session_with(30, 1);
    const uint64_t n = prompt_after(session, prompt, 5, 1);
    saved(other, test_path("a"));
    const uint32_t n_files = count_files();
    assert_int_equal(chord_session_save(session, test_path("a"), &transfer, &err), CHORD_OK);
    assert_int_equal(chord_transfer_step(transfer, 0, NULL, &done, &total, &err), CHORD_OK);
    assert_true(done > 0 && done < total);
    assert_int_equal(count_files(), n_files + 1);
    assert_int_equal(chord_session_generate(session, prompt, n, &options, &job, &err), CHORD_BUSY);
    assert_non_null(strstr(err.message, "saved"));
    assert_int_equal(chord_session_fork(session, &fork, &err), CHORD_BUSY);
    assert_int_equal(chord_session_save(session, test_path("b"), &second, &err), CHORD_BUSY);
    result_free(generate_in(other, prompt, 100, 5)); // others work on
    chord_cancel_request(&cancel);
    assert_int_equal(chord_transfer_step(transfer, 0, &cancel, &done, &total, &err), CHORD_CANCELLED);
    chord_transfer_free(transfer);
    assert_int_equal(count_files(), n_files);
    struct chord_session *old = restored(test_path("a")); // what was there before
    assert_int_equal(chord_session_tokens(old, NULL, 0), 31);
    chord_session_free(old);
    result_free(generate_in(session, prompt, n, 5));
    saved(session, test_path("a"));
    assert_int_equal(chord_session_restore(model, test_path("a"), &transfer, &err), CHORD_OK);
    assert_int_equal(chord_transfer_step(transfer, 0, NULL, &done, &total, &err), CHORD_OK);
    assert_null(chord_transfer_take(transfer));
    assert_int_equal(chord_transfer_step(transfer, 0, &cancel, &done, &total, &err), CHORD_CANCELLED);
    chord_transfer_free(transfer);
    // Given back while it is saved, a session goes when that ends.
    assert_int_equal(chord_session_save(session, test_path("b"), &transfer, &err), CHORD_OK);
    chord_session_free(session);
    chord_model_settle(model);
    assert_int_equal(run_transfer(transfer, &err), CHORD_OK);
    chord_transfer_free(transfer);
    chord_session_free(restored(test_path("b")));
    chord_session_free(other);
    assert_idle();
    close_tiny();
}

static void failed_allocations_leave_nothing(void **state)
{
    (void)state;
    struct chord_error err;
    uint32_t n_failed = 0;
    open_long(CHORD_KV_F16);
    struct chord_session *session = session_with(200, 1);
    for (int64_t n = 0; n < 30; n++) {
        struct chord_session *made = NULL;
        const uint64_t held = stats().memory_held;
        atomic_store(&model->account.fail_after, n);
        enum chord_status status = save(session, test_path("a"), &err);
        if (status == CHORD_OK)
            status = restore(test_path("a"), &made, &err);
        atomic_store(&model->account.fail_after, -1);
        assert_true(status == CHORD_OK || status == CHORD_OUT_OF_MEMORY);
        n_failed += status != CHORD_OK;
        chord_session_free(made);
        chord_model_settle(model);
        assert_int_equal(stats().memory_held, held);
    }
    assert_true(n_failed >= 10 && n_failed < 30);
    model->account.ceiling = stats().memory_held + 2 * model->kv_layout.block_bytes;
    assert_int_equal(restore(test_path("a"), &(struct chord_session *){NULL}, &err), CHORD_MEMORY_BUDGET);
    chord_session_free(session);
    assert_idle();
    close_tiny();
}

#ifdef __linux__
// Whichever call of the system fails, an error says so, the file that was there is still the old one, and the session goes on.
static void a_disk_that_fails_spoils_nothing(void **state)
{
    (void)state;
    static const int errors[] = {ENOSPC, EIO, EDQUOT};
    uint32_t prompt[1200];
    open_long(CHORD_KV_F16);
    struct chord_session *session = session_with(200, 10), *old = session_with(30, 1);
    const uint64_t n = prompt_after(session, prompt, 7, 1);
    struct chord_session *fork = fork_of(session);
    struct result *expected = generate_in(fork, prompt, n, 20);
    chord_session_free(fork);
    saved(old, test_path("a"));
    const uint32_t n_files = count_files();
    uint64_t n_calls = 0, n_refused = 0;
    for (uint64_t fails_at = 0;; fails_at++) {
        struct chord_error err;
        memset(&disk, 0, sizeof disk);
        disk.fails_at = fails_at;
        disk.error = errors[fails_at % 3];
        disk.on = true;
        const enum chord_status status = save(session, test_path("a"), &err);
        disk.on = false;
        n_calls = disk.n_calls;
        if (status == CHORD_OK)
            break;
        assert_int_equal(status, CHORD_IO);
        assert_true(strstr(err.message, "a: ") != NULL || strstr(err.message, "engine.gguf: ") != NULL);
        assert_int_equal(count_files(), n_files);
        struct chord_session *still = restored(test_path("a"));
        assert_int_equal(chord_session_tokens(still, NULL, 0), 31);
        chord_session_free(still);
        n_refused++;
    }
    assert_true(n_refused >= 16 + 4 + 2 * 4 + 2 && n_calls >= n_refused);
    uint64_t n_unread = 0;
    chord_model_settle(model);
    for (uint64_t fails_at = 0;; fails_at++) {
        struct chord_error err;
        struct chord_session *none;
        memset(&disk, 0, sizeof disk);
        disk.fails_at = fails_at;
        disk.error = EIO;
        disk.on = true;
        const uint64_t held = stats().memory_held;
        const enum chord_status status = restore(test_path("a"), &none, &err);
        disk.on = false;
        chord_session_free(none);
        chord_model_settle(model);
        assert_int_equal(stats().memory_held, held);
        if (status == CHORD_OK)
            break;
        assert_int_equal(status, CHORD_IO);
        n_unread++;
    }
    assert_true(n_unread >= 16 + 4 + 2 * 4);
    // Calls that do half of what was asked, and calls that are interrupted, are repeated.
    memset(&disk, 0, sizeof disk);
    disk.fails_at = UINT64_MAX;
    disk.short_ones = disk.interrupted = disk.on = true;
    saved(session, test_path("b"));
    disk.interrupted = true;
    struct chord_session *again = restored(test_path("b"));
    disk.on = false;
    struct result *r = generate_in(session, prompt, n, 20);
    assert_same(r, expected);
    result_free(r);
    assert_same_and_free(generate_in(again, prompt, n, 20), expected);
    chord_session_free(session);
    chord_session_free(again);
    chord_session_free(old);
    assert_idle();
    close_tiny();
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test(name)
        TEST(what_is_restored_goes_on_as_the_original),
        TEST(a_file_follows_from_its_text),
        TEST(damage_is_refused),
        TEST(impossible_headers_are_refused),
        TEST(notes_go_with_a_session),
        TEST(other_models_are_told_apart),
        TEST(a_session_that_is_saved_is_in_use),
        TEST(failed_allocations_leave_nothing),
#ifdef __linux__
        TEST(a_disk_that_fails_spoils_nothing),
#endif
#undef TEST
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
