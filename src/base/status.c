#include "base/status.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

const char *chord_status_name(enum chord_status code)
{
    switch (code) {
#define X(id, name, text)                                                                          \
    case id:                                                                                       \
        return name;
        CHORD_STATUS_MAP(X)
#undef X
    }
    return "UNKNOWN";
}

const char *chord_status_text(enum chord_status code)
{
    switch (code) {
#define X(id, name, text)                                                                          \
    case id:                                                                                       \
        return text;
        CHORD_STATUS_MAP(X)
#undef X
    }
    return "unknown status";
}

// Length in bytes of the well-formed UTF-8 character at `s` (RFC 3629), or 0.
static size_t utf8_length(const unsigned char *s, size_t n)
{
    if (s[0] < 0x80)
        return 1;
    const size_t length = s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc2 ? 2 : 0;
    if (length == 0 || s[0] >= 0xf5 || n < length)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return length;
}

// Ends the string before the first character that does not lie whole within `n` bytes.
static void cut_at_character(char *text, size_t n)
{
    size_t at = 0;
    while (at < n) {
        const size_t length = utf8_length((const unsigned char *)text + at, n - at);
        if (length == 0)
            break;
        at += length;
    }
    text[at] = '\0';
}

enum chord_status chord_fail(struct chord_error *err, enum chord_status code, const char *format, ...)
{
    if (err == NULL)
        return code;
    err->code = code;
    va_list args;
    va_start(args, format);
    const int wanted = vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    if (wanted < 0)
        snprintf(err->message, sizeof err->message, "%s", chord_status_text(code));
    else if ((size_t)wanted >= sizeof err->message)
        cut_at_character(err->message, sizeof err->message - 1);
    return code;
}

char *chord_printable(char *out, size_t out_bytes, const char *text, size_t n)
{
    static const char more[] = "...";
    size_t at = 0, used = 0;
    if (out_bytes == 0)
        return out;
    while (at < n) {
        size_t length = utf8_length((const unsigned char *)text + at, n - at);
        const bool plain = length > 1 || (length == 1 && text[at] >= 0x20 && text[at] != 0x7f);
        const bool last = at + (length ? length : 1) == n;
        const size_t room = out_bytes - 1 - used;
        if (length == 0)
            length = 1;
        if ((plain ? length : 1) + (last ? 0 : sizeof more - 1) > room) {
            for (size_t i = 0; i < sizeof more - 1 && used < out_bytes - 1; i++)
                out[used++] = more[i];
            break;
        }
        if (plain)
            memcpy(out + used, text + at, length);
        else
            out[used] = '?';
        used += plain ? length : 1;
        at += length;
    }
    out[used] = '\0';
    return out;
}
