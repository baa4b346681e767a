#include "tokenizer/unicode.h"

static unsigned is_tail(unsigned char byte)
{
    return (byte & 0xc0) == 0x80;
}

uint32_t unicode_decode_long(const unsigned char *text, uint64_t n_bytes, uint32_t *n_used)
{
    const unsigned char first = text[0];
    *n_used = 1;
    if (first < 0x80)
        return first;
    if (first < 0xc2 || first > 0xf4 || n_bytes < 2 || !is_tail(text[1]))
        return UNICODE_INVALID;
    if (first < 0xe0) {
        *n_used = 2;
        return (uint32_t)(first & 0x1f) << 6 | (text[1] & 0x3f);
    }
    if (n_bytes < 3 || !is_tail(text[2]))
        return UNICODE_INVALID;
    if (first < 0xf0) {
        const uint32_t c = (uint32_t)(first & 0x0f) << 12 | (uint32_t)(text[1] & 0x3f) << 6 | (text[2] & 0x3f);
        if (c < 0x800 || (c >= 0xd800 && c <= 0xdfff))
            return UNICODE_INVALID;
        *n_used = 3;
        return c;
    }
    if (n_bytes < 4 || !is_tail(text[3]))
        return UNICODE_INVALID;
    const uint32_t c = (uint32_t)(first & 0x07) << 18 | (uint32_t)(text[1] & 0x3f) << 12 |
                       (uint32_t)(text[2] & 0x3f) << 6 | (text[3] & 0x3f);
    if (c < 0x10000 || c > 0x10ffff)
        return UNICODE_INVALID;
    *n_used = 4;
    return c;
}

unsigned unicode_class_of_long(uint32_t c)
{
    if (c > 0x10ffff)
        return 0;
    const uint32_t block = c >> 8;
    uint32_t low = block < 512 ? unicode_index[block] : unicode_index[512];
    uint32_t high = block < 512 ? unicode_index[block + 1] : unicode_n_ranges;
    while (high - low > 1) { // ranges[low] begins at or before c, ranges[high] after it
        const uint32_t middle = low + (high - low) / 2;
        if (unicode_ranges[middle] >> 8 <= c)
            low = middle;
        else
            high = middle;
    }
    return unicode_ranges[low] & 0xff;
}

uint32_t unicode_encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

static uint32_t follow_run(const struct unicode_run *runs, uint32_t n, uint32_t c)
{
    uint32_t low = 0, high = n;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (runs[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == n || runs[low].first > c)
        return c;
    return runs[low].shifts ? runs[low].to + (c - runs[low].first) : runs[low].to;
}

uint32_t unicode_without_accent(uint32_t c)
{
    return c < 0x80 ? c : follow_run(unicode_accents, unicode_n_accents, c);
}

uint32_t unicode_lower(uint32_t c)
{
    if (c < 0x80)
        return c >= 'A' && c <= 'Z' ? c + 32 : c;
    return follow_run(unicode_lowers, unicode_n_lowers, c);
}

bool unicode_set_has(struct unicode_set set, uint32_t c)
{
    uint32_t low = 0, high = set.n;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (set.ranges[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < set.n && set.ranges[low].first <= c;
}

bool unicode_is_control(uint32_t c)
{
    uint32_t low = 0, high = unicode_n_controls;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (unicode_controls[middle][1] < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < unicode_n_controls && unicode_controls[low][0] <= c;
}

uint32_t unicode_fold_to_ascii(uint32_t c)
{
    if (c < 0x80)
        return c >= 'A' && c <= 'Z' ? c + 32 : c;
    for (uint32_t i = 0; i < unicode_n_folds; i++)
        if (unicode_folds[i].from == c)
            return (uint32_t)unicode_folds[i].to;
    return c;
}
