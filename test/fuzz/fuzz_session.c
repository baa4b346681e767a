// Any bytes as a saved session, from memory. The first byte chooses whether checks are put right before the file is read, so that what
// is behind them is reached, and which allocation fails.
#include "base/xxh64.h"
#include "engine/session_file.h"
#include "target.h"

#include <string.h>

struct input {
    const uint8_t *bytes;
    uint64_t n;
};

static enum chord_status read_input(const void *context, uint64_t offset, void *out, uint64_t n_bytes,
                                    struct chord_error *err)
{
    const struct input *input = context;
    (void)err;
    require(offset <= input->n && n_bytes <= input->n - offset, "reads stay inside the source");
    if (n_bytes > 0)
        memcpy(out, input->bytes + offset, n_bytes);
    return CHORD_OK;
}

// Gives the header, and with it the text, the checks that they should have.
static void put_checks_right(uint8_t *bytes, uint64_t n)
{
    uint64_t n_tokens = 0;
    if (n < SESSION_FILE_HEADER_BYTES)
        return;
    session_file_store_u64(bytes + 88, xxh64(bytes, 88, 0));
    for (int i = 7; i >= 0; i--)
        n_tokens = n_tokens << 8 | bytes[24 + i];
    if (n_tokens < n / 5 && SESSION_FILE_HEADER_BYTES + n_tokens * 5 + 8 <= n)
        session_file_store_u64(bytes + SESSION_FILE_HEADER_BYTES + n_tokens * 5,
                               xxh64(bytes + SESSION_FILE_HEADER_BYTES, n_tokens * 5, 0));
}

static enum chord_status read_all(const struct session_source *source, const struct session_file_kind *kind,
                                  struct memory_account *account, struct chord_error *err)
{
    struct session_file_header header;
    struct session_text text;
    enum chord_status status = session_file_read_header(source, kind, &header, err);
    if (status != CHORD_OK)
        return status;
    require(header.n_bytes == source->n_bytes && header.n_done <= header.n_tokens && header.n_tokens <= kind->n_ctx,
            "numbers of the header");
    status = session_file_read_text(source, kind, &header, account, &text, err);
    if (status != CHORD_OK) {
        require(text.tokens == NULL && text.generated == NULL, "a text that fails is empty");
        return status;
    }
    require(text.n_pure <= text.n_tokens, "tokens before any that was generated");
    for (uint64_t i = 0; i < text.n_tokens; i++)
        require(text.tokens[i] < kind->n_vocab && (i >= text.n_pure || text.generated[i] == 0), "tokens");
    if (header.n_note > 0) {
        void *note = malloc(header.n_note);
        status = session_file_read_note(source, &header, note, err);
        free(note);
    }
    void *block = malloc(kind->kv->block_bytes);
    for (uint64_t b = 0; b < header.n_blocks && status == CHORD_OK; b++)
        status = session_file_read_block(source, kind, &header, b, block, err);
    free(block);
    memory_free(account, text.tokens);
    memory_free(account, text.generated);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct memory_account account;
    struct chord_error err = {0};
    struct kv_layout kv;
    if (n == 0)
        return 0;
    uint8_t *bytes = malloc(n);
    memcpy(bytes, data + 1, n - 1);
    if (data[0] & 1)
        put_checks_right(bytes, n - 1);
    const struct input input = {bytes, n - 1};
    const struct session_source source = {.name = "input", .n_bytes = n - 1, .read = read_input, .context = &input};
    kv_layout_init(&kv, data[0] & 2 ? KV_Q8_0 : KV_F16, 1, 1, 2);
    const struct session_file_kind kind = {.fingerprint = 1, .kv = &kv, .tier = "tier", .n_vocab = 256, .n_ctx = 4096};
    memory_account_init(&account, UINT64_MAX);
    if (data[0] & 4) // an allocation fails
        atomic_store(&account.fail_after, data[0] >> 3 & 1);
    const enum chord_status status = read_all(&source, &kind, &account, &err);
    require(status == CHORD_OK || (err.code == status && err.message[0] != '\0'), "a failure says what it is");
    require(atomic_load(&account.peak) <= 2 * n + 1024, "memory stays in proportion");
    require(atomic_load(&account.total) == 0, "all memory is given back");
    free(bytes);
    return 0;
}
