// Saving and restoring sessions: a transfer goes on step by step, so that others' work gets its turn in between.
#include "engine/session_file.h"

#include "base/xxh64.h"
#include "os/output.h"

#include <stdatomic.h>
#include <string.h>

// Written bytes wait for the disk at the latest after so many, lest the last step wait for all of them.
#define SYNC_BYTES (UINT64_C(64) << 20)

struct chord_transfer {
    struct chord_model *model;
    char *path;
    struct chord_session *session; // that is saved, in use until the end; or that was restored, once complete
    struct os_output output;       // of saving
    struct os_file file;           // of restoring
    struct session_file_kind kind;
    struct session_file_header header;
    bool saves, has_begun;
    uint64_t n_blocks; // transferred
    uint64_t n_unsynced;
    unsigned char *note; // [header.n_note], or what will be
    uint64_t n_note;
    struct session_text text; // of restoring
    struct kv_cache kv;       // of restoring
    void *buffer;             // of saving: for a block of the spill file
};

static enum chord_status create(struct chord_model *model, const char *path, struct chord_transfer **out,
                                struct chord_error *err)
{
    struct memory_account *account = &model->account;
    const size_t n = strlen(path);
    struct chord_transfer *transfer = memory_zalloc(account, MEMORY_SCRATCH, 1, sizeof *transfer);
    if (transfer == NULL)
        return memory_account_fail(account, err, sizeof *transfer, "a session's file");
    transfer->model = model;
    kv_cache_init(&transfer->kv, &model->kv_layout, account, model->kv_spill);
    transfer->path = memory_alloc(account, MEMORY_SCRATCH, n + 1, 1);
    if (transfer->path == NULL) {
        chord_transfer_free(transfer);
        return memory_account_fail(account, err, n, "a session's file");
    }
    memcpy(transfer->path, path, n + 1);
    *out = transfer;
    return CHORD_OK;
}

enum chord_status chord_session_save(struct chord_session *session, const char *path, struct chord_transfer **out,
                                     struct chord_error *err)
{
    enum chord_status status = session_begin_use(session, SESSION_SAVES, err);
    if (status != CHORD_OK)
        return status;
    status = create(session->model, path, out, err);
    if (status != CHORD_OK) {
        session_rest(session);
        return status;
    }
    (*out)->saves = true;
    (*out)->session = session;
    return CHORD_OK;
}

enum chord_status chord_session_restore(struct chord_model *model, const char *path, struct chord_transfer **out,
                                        struct chord_error *err)
{
    return create(model, path, out, err);
}

enum chord_status chord_transfer_set_note(struct chord_transfer *transfer, const void *note, uint64_t n_bytes,
                                          struct chord_error *err)
{
    struct memory_account *account = &transfer->model->account;
    if (n_bytes > SESSION_FILE_MOST_NOTE)
        return chord_fail(err, CHORD_INVALID_ARGUMENT,
                          "a note of %llu bytes is too long for a session's file, which takes %u",
                          (unsigned long long)n_bytes, SESSION_FILE_MOST_NOTE);
    memory_free(account, transfer->note);
    transfer->n_note = n_bytes;
    transfer->note = memory_alloc(account, MEMORY_SCRATCH, n_bytes > 0 ? n_bytes : 1, 16);
    if (transfer->note == NULL)
        return memory_account_fail(account, err, n_bytes, "a session's file");
    if (n_bytes > 0)
        memcpy(transfer->note, note, n_bytes);
    return CHORD_OK;
}

const void *chord_transfer_note(const struct chord_transfer *transfer, uint64_t *n_bytes)
{
    *n_bytes = transfer->n_note;
    return transfer->note;
}

void chord_transfer_free(struct chord_transfer *transfer)
{
    if (transfer == NULL)
        return;
    struct memory_account *account = &transfer->model->account;
    os_output_discard(&transfer->output);
    os_file_close(&transfer->file);
    if (transfer->saves && transfer->session != NULL)
        session_rest(transfer->session);
    else
        chord_session_free(transfer->session);
    kv_cache_free(&transfer->kv);
    memory_free(account, transfer->text.tokens);
    memory_free(account, transfer->text.generated);
    memory_free(account, transfer->buffer);
    memory_free(account, transfer->note);
    memory_free(account, transfer->path);
    memory_free(account, transfer);
}

static enum chord_status know_kind(struct chord_transfer *transfer, struct chord_error *err)
{
    struct chord_model *model = transfer->model;
    transfer->kind = (struct session_file_kind){
        .kv = &model->kv_layout,
        .tier = model->kernels.tier,
        .n_vocab = model->hparams.n_vocab,
        .n_ctx = model->n_ctx,
    };
    return session_fingerprint(model->gguf, &transfer->kind.fingerprint, err);
}

// ---- Saving ----------------------------------------------------------------------------------------------------------

static enum chord_status begin_saving(struct chord_transfer *transfer, struct chord_error *err)
{
    const struct session_text *text = &transfer->session->text;
    struct os_output *file = &transfer->output;
    unsigned char header[SESSION_FILE_HEADER_BYTES], check[SESSION_FILE_CHECK_BYTES];
    struct xxh64 hash;
    enum chord_status status = know_kind(transfer, err);
    if (status != CHORD_OK)
        return status;
    session_file_write_header(&transfer->kind, text->n_tokens, text->n_done, transfer->n_note, header,
                              &transfer->header);
    const uint64_t n_token_bytes = text->n_tokens * sizeof *text->tokens;
    const uint64_t flags_at = sizeof header + n_token_bytes;
    xxh64_init(&hash, 0);
    xxh64_add(&hash, text->tokens, n_token_bytes);
    xxh64_add(&hash, text->generated, text->n_tokens);
    session_file_store_u64(check, xxh64_value(&hash));
    status = os_output_open(file, transfer->path, transfer->header.n_bytes, &transfer->model->account, err);
    if (status == CHORD_OK)
        status = os_output_restrict(file, err);
    if (status == CHORD_OK)
        status = os_output_write(file, 0, header, sizeof header, err);
    if (status == CHORD_OK)
        status = os_output_write(file, sizeof header, text->tokens, n_token_bytes, err);
    if (status == CHORD_OK)
        status = os_output_write(file, flags_at, text->generated, text->n_tokens, err);
    if (status == CHORD_OK)
        status = os_output_write(file, flags_at + text->n_tokens, check, sizeof check, err);
    if (status != CHORD_OK || transfer->n_note == 0)
        return status;
    session_file_store_u64(check, xxh64(transfer->note, transfer->n_note, 0));
    status = os_output_write(file, transfer->header.note_at, transfer->note, transfer->n_note, err);
    if (status == CHORD_OK)
        status = os_output_write(file, transfer->header.note_at + transfer->n_note, check, sizeof check, err);
    return status;
}

static enum chord_status save_block(struct chord_transfer *transfer, struct chord_error *err)
{
    struct chord_error error;
    unsigned char check[SESSION_FILE_CHECK_BYTES];
    const uint64_t n_bytes = transfer->model->kv_layout.block_bytes, index = transfer->n_blocks;
    const uint64_t at = transfer->header.blocks_at + index * (n_bytes + sizeof check);
    const uint64_t n_done = transfer->header.n_done - index * KV_BLOCK_TOKENS;
    void *block = kv_cache_peek(&transfer->session->kv, (uint32_t)index, &transfer->buffer, &error);
    if (block == NULL)
        return chord_fail(err, error.code, "%s", error.message);
    if (n_done < KV_BLOCK_TOKENS) // no one has computed what is behind, and no one reads it
        kv_block_clear(&transfer->model->kv_layout, block, (uint32_t)n_done);
    session_file_store_u64(check, xxh64(block, n_bytes, index + 1));
    enum chord_status status = os_output_write(&transfer->output, at, block, n_bytes, err);
    if (status == CHORD_OK)
        status = os_output_write(&transfer->output, at + n_bytes, check, sizeof check, err);
    transfer->n_unsynced += n_bytes;
    if (status == CHORD_OK && transfer->n_unsynced >= SYNC_BYTES) {
        transfer->n_unsynced = 0;
        status = os_output_sync(&transfer->output, err);
    }
    return status;
}

static enum chord_status end_saving(struct chord_transfer *transfer, struct chord_error *err)
{
    const enum chord_status status = os_output_finish(&transfer->output, err);
    if (status == CHORD_OK) {
        session_rest(transfer->session);
        transfer->session = NULL;
    }
    return status;
}

// ---- Restoring -------------------------------------------------------------------------------------------------------

static enum chord_status read_file(const void *context, uint64_t offset, void *out, uint64_t n_bytes,
                                   struct chord_error *err)
{
    const struct chord_transfer *transfer = context;
    struct chord_error read_error;
    if (os_file_read(&transfer->file, offset, out, n_bytes, &read_error) != CHORD_OK)
        return chord_fail(err, read_error.code, "%s: %s", transfer->path, read_error.message);
    return CHORD_OK;
}

static struct session_source source_of(const struct chord_transfer *transfer)
{
    return (struct session_source){
        .name = transfer->path, .n_bytes = transfer->file.size, .read = read_file, .context = transfer};
}

static enum chord_status begin_restoring(struct chord_transfer *transfer, struct chord_error *err)
{
    enum chord_status status = os_file_open(&transfer->file, transfer->path, err);
    const struct session_source source = source_of(transfer);
    if (status == CHORD_OK)
        status = know_kind(transfer, err);
    if (status == CHORD_OK)
        status = session_file_read_header(&source, &transfer->kind, &transfer->header, err);
    if (status == CHORD_OK)
        status = session_file_read_text(&source, &transfer->kind, &transfer->header, &transfer->model->account,
                                        &transfer->text, err);
    if (status != CHORD_OK || transfer->header.n_note == 0)
        return status;
    transfer->note = memory_alloc(&transfer->model->account, MEMORY_SCRATCH, transfer->header.n_note, 16);
    if (transfer->note == NULL)
        return memory_account_fail(&transfer->model->account, err, transfer->header.n_note, "a session's file");
    transfer->n_note = transfer->header.n_note;
    return session_file_read_note(&source, &transfer->header, transfer->note, err);
}

static enum chord_status restore_block(struct chord_transfer *transfer, struct chord_error *err)
{
    const struct session_source source = source_of(transfer);
    const uint64_t index = transfer->n_blocks;
    const enum chord_status status = kv_cache_reserve(&transfer->kv, (index + 1) * KV_BLOCK_TOKENS, err);
    if (status != CHORD_OK)
        return status;
    return session_file_read_block(&source, &transfer->kind, &transfer->header, index, transfer->kv.blocks[index], err);
}

static enum chord_status end_restoring(struct chord_transfer *transfer, struct chord_error *err)
{
    os_file_close(&transfer->file);
    const enum chord_status status =
        session_create(transfer->model, &transfer->text, &transfer->kv, &transfer->session, err);
    if (status == CHORD_OK) {
        transfer->text = (struct session_text){0};
        kv_cache_init(&transfer->kv, &transfer->model->kv_layout, &transfer->model->account, transfer->model->kv_spill);
    }
    return status;
}

struct chord_session *chord_transfer_take(struct chord_transfer *transfer)
{
    struct chord_session *session = transfer->session;
    transfer->session = NULL;
    return session;
}

// ---- Steps -----------------------------------------------------------------------------------------------------------

static enum chord_status begin(struct chord_transfer *transfer, struct chord_error *err)
{
    transfer->has_begun = true;
    return transfer->saves ? begin_saving(transfer, err) : begin_restoring(transfer, err);
}

enum chord_status chord_transfer_step(struct chord_transfer *transfer, double seconds, struct chord_cancel *cancel,
                                      uint64_t *done, uint64_t *total, struct chord_error *err)
{
    const double deadline = os_now_seconds() + seconds;
    enum chord_status status = transfer->has_begun ? CHORD_OK : begin(transfer, err);
    const uint64_t n_blocks = transfer->header.n_blocks;
    while (status == CHORD_OK) {
        if (cancel != NULL && atomic_load(&cancel->requested))
            return chord_fail(err, CHORD_CANCELLED, "%s a session was cancelled",
                              transfer->saves ? "saving" : "restoring");
        if (transfer->n_blocks == n_blocks) {
            status = transfer->saves ? end_saving(transfer, err) : end_restoring(transfer, err);
            transfer->n_blocks++;
            break;
        }
        status = transfer->saves ? save_block(transfer, err) : restore_block(transfer, err);
        transfer->n_blocks++;
        if (os_now_seconds() >= deadline)
            break;
    }
    // The end is a piece of work like a block.
    *total = transfer->header.n_bytes;
    *done = transfer->n_blocks > n_blocks ? transfer->header.n_bytes
                                          : transfer->n_blocks * transfer->model->kv_layout.block_bytes;
    return status;
}
