#include "base/status.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

const char *chord_status_name(enum chord_status code)
{
    switch (code) {
#define X(id, name, text) \
    case id:              \
        return name;
        CHORD_STATUS_MAP(X)
#undef X
    }
    return "UNKNOWN";
}

const char *chord_status_text(enum chord_status code)
{
    switch (code) {
#define X(id, name, text) \
    case id:              \
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
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
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
    if (out_bytes == 0)
        return out;
    // What cannot be shown becomes '?' byte by byte, so a text takes as many bytes as it has.
    const size_t n_more = n < out_bytes ? 0 : out_bytes - 1 < sizeof more - 1 ? out_bytes - 1 : sizeof more - 1;
    const size_t room = out_bytes - 1 - n_more;
    size_t at = 0;
    while (at < n) {
        const size_t length = utf8_length((const unsigned char *)text + at, n - at);
        const unsigned char first = (unsigned char)text[at];
        const size_t n_taken = length == 0 ? 1 : length;
        if (at + n_taken > room)
            break;
        if (length > 1 || (first >= 0x20 && first < 0x7f))
            memcpy(out + at, text + at, n_taken);
        else
            out[at] = '?';
        at += n_taken;
    }
    memcpy(out + at, more, n_more);
    out[at + n_more] = '\0';
    return out;
}
