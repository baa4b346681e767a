#include "gguf/cursor.h"

#include "base/checked.h"
#include "gguf/gguf.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define FIRST_READ_BYTES (UINT64_C(64) << 10) // most models without a vocabulary of their own fit

void gguf_cursor_init(struct gguf_cursor *cursor, const struct gguf_source *source,
                      struct memory_account *account, struct chord_error *err)
{
    *cursor = (struct gguf_cursor){
        .source = source,
        .account = account,
        .err = err,
        .limit = source->n_bytes < GGUF_MAX_HEADER_BYTES ? source->n_bytes : GGUF_MAX_HEADER_BYTES};
}

void gguf_cursor_free(struct gguf_cursor *cursor)
{
    memory_free(cursor->account, cursor->bytes);
    cursor->bytes = NULL;
    cursor->n_read = cursor->at = 0;
}

bool gguf_cursor_fail(struct gguf_cursor *cursor, enum chord_status code, const char *format, ...)
{
    char text[384], name[80], item[128] = "";
    va_list args;
    cursor->status = code;
    if (cursor->err == NULL)
        return false;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (cursor->item != NULL && cursor->n_name_bytes > 0)
        snprintf(item, sizeof item, "%s '%s': ", cursor->item,
                 chord_printable(name, sizeof name, (const char *)cursor->bytes + cursor->name_at,
                                 (size_t)cursor->n_name_bytes));
    else if (cursor->item != NULL)
        snprintf(item, sizeof item, "%s %" PRIu64 " of %" PRIu64 ": ", cursor->item, cursor->index + 1,
                 cursor->n_items);
    chord_fail(cursor->err, code, "%s: %s%s", cursor->source->name, item, text);
    return false;
}

static bool fail_truncated(struct gguf_cursor *cursor, uint64_t n_bytes)
{
    return gguf_cursor_fail(cursor, CHORD_GGUF_TRUNCATED,
                            "the file ends at byte %" PRIu64 ", inside its header: at byte %" PRIu64
                            " %" PRIu64 " more are promised; it was probably not copied whole",
                            cursor->source->n_bytes, cursor->at, n_bytes);
}

static bool fail_long_header(struct gguf_cursor *cursor)
{
    return gguf_cursor_fail(cursor, CHORD_GGUF_LIMIT,
                            "the header is longer than %" PRIu64 " MiB, the most that chord reads",
                            GGUF_MAX_HEADER_BYTES >> 20);
}

bool gguf_cursor_fill(struct gguf_cursor *cursor, uint64_t n_bytes)
{
    if (n_bytes > cursor->source->n_bytes - cursor->at)
        return fail_truncated(cursor, n_bytes);
    if (n_bytes > cursor->limit - cursor->at)
        return fail_long_header(cursor);

    // Doubling: the copies add up to less than the header's size. No overflow: everything is below `limit`.
    uint64_t wanted = cursor->n_read == 0 ? FIRST_READ_BYTES : cursor->n_read * 2;
    if (wanted < cursor->at + n_bytes)
        wanted = cursor->at + n_bytes;
    if (wanted > cursor->limit)
        wanted = cursor->limit;
    unsigned char *grown =
        memory_resize(cursor->account, MEMORY_METADATA, cursor->bytes, wanted);
    if (grown == NULL) {
        cursor->status = memory_account_fail(cursor->account, cursor->err, wanted, "the file's header");
        return false;
    }
    cursor->bytes = grown;

    struct chord_error cause;
    const enum chord_status status =
        cursor->source->read(cursor->source->context, cursor->n_read, grown + cursor->n_read,
                             wanted - cursor->n_read, &cause);
    if (status != CHORD_OK)
        return gguf_cursor_fail(cursor, status, "%s", cause.message);
    cursor->n_read = wanted;
    return true;
}

bool gguf_cursor_skip_string(struct gguf_cursor *cursor, uint64_t max_bytes, uint64_t *n_bytes)
{
    if (!gguf_cursor_u64(cursor, n_bytes))
        return false;
    if (*n_bytes > max_bytes)
        return gguf_cursor_fail(cursor, CHORD_GGUF_LIMIT,
                                "a string of %" PRIu64 " bytes at byte %" PRIu64
                                ", where %" PRIu64 " is the most: the file is damaged",
                                *n_bytes, cursor->at - 8, max_bytes);
    if (!gguf_cursor_need(cursor, *n_bytes))
        return false;
    cursor->at += *n_bytes;
    return true;
}

bool gguf_cursor_has_room(struct gguf_cursor *cursor, uint64_t count, uint64_t least_bytes,
                          const char *what)
{
    uint64_t least;
    if (!checked_mul(count, least_bytes, &least) || least > GGUF_MAX_HEADER_BYTES)
        return gguf_cursor_fail(cursor, CHORD_GGUF_LIMIT,
                                "%" PRIu64 " %s, which is more than a header of at most %" PRIu64
                                " MiB may hold: the file is damaged",
                                count, what, GGUF_MAX_HEADER_BYTES >> 20);
    if (least > cursor->source->n_bytes - cursor->at)
        return gguf_cursor_fail(cursor, CHORD_GGUF_TRUNCATED,
                                "%" PRIu64 " %s are promised at byte %" PRIu64 ", but the file ends at byte %"
                                PRIu64 ", inside its header; it was probably not copied whole",
                                count, what, cursor->at, cursor->source->n_bytes);
    return true;
}
