#include "base/json.h"

#include <stdlib.h>
#include <string.h>

struct reader {
    const unsigned char *text, *end, *at;
    const char *what;
    char *strings; // room for what strings hold unescaped: no more than the text has bytes
    struct arena *arena;
    struct chord_error *err;
    enum chord_status status;
};

// Where `at` is, as people count. Only for errors: it reads all that comes before.
static bool fail_at(struct reader *r, const unsigned char *at, const char *problem)
{
    unsigned line = 1, column = 1;
    for (const unsigned char *p = r->text; p < at; p++) {
        if (*p == '\n') {
            line++;
            column = 1;
        } else if ((*p & 0xc0) != 0x80) {
            column++;
        }
    }
    r->status =
        chord_fail(r->err, CHORD_INVALID_ARGUMENT, "%s: line %u, column %u: %s", r->what, line, column, problem);
    return false;
}

static bool fail_memory(struct reader *r, uint64_t bytes)
{
    r->status = memory_account_fail(r->arena->account, r->err, bytes, r->what);
    return false;
}

static void skip_space(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
        r->at++;
}

// ---- Strings ---------------------------------------------------------------------------------------------------------

// Bytes of the well-formed UTF-8 character at `p` (RFC 3629), 0: none.
static uint32_t character_bytes(const unsigned char *p, const unsigned char *end)
{
    const uint64_t n = (uint64_t)(end - p);
    const unsigned char c = p[0];
    if (c < 0x80)
        return 1;
    if (c >= 0xc2 && c <= 0xdf)
        return n >= 2 && (p[1] & 0xc0) == 0x80 ? 2 : 0;
    if ((c & 0xf0) == 0xe0) {
        const unsigned char low = c == 0xe0 ? 0xa0 : 0x80, high = c == 0xed ? 0x9f : 0xbf;
        return n >= 3 && p[1] >= low && p[1] <= high && (p[2] & 0xc0) == 0x80 ? 3 : 0;
    }
    if (c >= 0xf0 && c <= 0xf4) {
        const unsigned char low = c == 0xf0 ? 0x90 : 0x80, high = c == 0xf4 ? 0x8f : 0xbf;
        return n >= 4 && p[1] >= low && p[1] <= high && (p[2] & 0xc0) == 0x80 && (p[3] & 0xc0) == 0x80 ? 4 : 0;
    }
    return 0;
}

static char *put_character(char *out, uint32_t c)
{
    if (c < 0x80) {
        *out++ = (char)c;
    } else if (c < 0x800) {
        *out++ = (char)(0xc0 | c >> 6);
        *out++ = (char)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        *out++ = (char)(0xe0 | c >> 12);
        *out++ = (char)(0x80 | (c >> 6 & 63));
        *out++ = (char)(0x80 | (c & 63));
    } else {
        *out++ = (char)(0xf0 | c >> 18);
        *out++ = (char)(0x80 | (c >> 12 & 63));
        *out++ = (char)(0x80 | (c >> 6 & 63));
        *out++ = (char)(0x80 | (c & 63));
    }
    return out;
}

// The four hexadecimal digits at `p`; false where there are none.
static bool read_hex(const unsigned char *p, const unsigned char *end, uint32_t *out)
{
    if (end - p < 4)
        return false;
    *out = 0;
    for (int i = 0; i < 4; i++) {
        const unsigned char c = p[i], lower = c | 0x20;
        if (c >= '0' && c <= '9')
            *out = *out << 4 | (uint32_t)(c - '0');
        else if (lower >= 'a' && lower <= 'f')
            *out = *out << 4 | (uint32_t)(lower - 'a' + 10);
        else
            return false;
    }
    return true;
}

// After "\u"; a pair of surrogates is one character.
static bool read_unicode_escape(struct reader *r, uint32_t *out)
{
    const unsigned char *begin = r->at - 2;
    uint32_t low;
    if (!read_hex(r->at, r->end, out))
        return fail_at(r, begin, "\\u needs four hexadecimal digits");
    r->at += 4;
    if (*out < 0xd800 || *out > 0xdfff)
        return true;
    if (*out > 0xdbff || r->end - r->at < 6 || r->at[0] != '\\' || r->at[1] != 'u' ||
        !read_hex(r->at + 2, r->end, &low) || low < 0xdc00 || low > 0xdfff)
        return fail_at(r, begin, "a surrogate that is not one of a pair");
    r->at += 6;
    *out = 0x10000 + ((*out - 0xd800) << 10) + (low - 0xdc00);
    return true;
}

// At the opening quote.
static bool read_string(struct reader *r, struct json_string *out)
{
    static const char escapes[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    const unsigned char *begin = r->at++;
    char *to = r->strings;
    for (;;) {
        if (r->at == r->end)
            return fail_at(r, begin, "a string that does not end");
        const unsigned char c = *r->at;
        if (c == '"')
            break;
        if (c < 0x20)
            return fail_at(r, r->at, "a control character in a string: it must be escaped");
        if (c != '\\') {
            const uint32_t n = character_bytes(r->at, r->end);
            if (n == 0)
                return fail_at(r, r->at, "not UTF-8");
            memcpy(to, r->at, n);
            to += n;
            r->at += n;
            continue;
        }
        r->at += 2;
        if (r->at > r->end) {
            r->at = r->end;
            return fail_at(r, begin, "a string that does not end");
        }
        const unsigned char escape = r->at[-1];
        const char *found = escape != 0 ? strchr(escapes, escape) : NULL;
        uint32_t character;
        if (found != NULL)
            *to++ = meanings[found - escapes];
        else if (escape != 'u')
            return fail_at(r, r->at - 2, "an escape that JSON does not have");
        else if (read_unicode_escape(r, &character))
            to = put_character(to, character);
        else
            return false;
    }
    r->at++;
    *out = (struct json_string){r->strings, (uint32_t)(to - r->strings)};
    r->strings = to;
    return true;
}

// ---- Values ----------------------------------------------------------------------------------------------------------

static bool is_digit(const struct reader *r)
{
    return r->at < r->end && *r->at >= '0' && *r->at <= '9';
}

static bool read_digits(struct reader *r)
{
    if (!is_digit(r))
        return fail_at(r, r->at, "a digit is missing");
    while (is_digit(r))
        r->at++;
    return true;
}

static bool read_number(struct reader *r, struct json_value *value)
{
    const unsigned char *begin = r->at;
    if (*r->at == '-')
        r->at++;
    if (is_digit(r) && *r->at == '0') {
        r->at++;
        if (is_digit(r))
            return fail_at(r, r->at - 1, "a number that begins with 0");
    } else if (!read_digits(r)) {
        return false;
    }
    if (r->at < r->end && *r->at == '.') {
        r->at++;
        if (!read_digits(r))
            return false;
    }
    if (r->at < r->end && (*r->at | 0x20) == 'e') {
        r->at++;
        if (r->at < r->end && (*r->at == '+' || *r->at == '-'))
            r->at++;
        if (!read_digits(r))
            return false;
    }
    value->type = JSON_NUMBER;
    value->text = (struct json_string){r->strings, (uint32_t)(r->at - begin)};
    memcpy(r->strings, begin, (size_t)(r->at - begin));
    r->strings += r->at - begin;
    return true;
}

static bool read_word(struct reader *r, struct json_value *value)
{
    static const char *const words[] = {[JSON_NULL] = "null", [JSON_FALSE] = "false", [JSON_TRUE] = "true"};
    for (int i = JSON_NULL; i <= JSON_TRUE; i++) {
        const size_t n = strlen(words[i]);
        if ((size_t)(r->end - r->at) >= n && memcmp(r->at, words[i], n) == 0) {
            value->type = (enum json_type)i;
            r->at += n;
            return true;
        }
    }
    return fail_at(r, r->at, "expected a value");
}

int json_string_compare(struct json_string a, struct json_string b)
{
    const uint32_t n = a.n_bytes < b.n_bytes ? a.n_bytes : b.n_bytes;
    const int order = n > 0 ? memcmp(a.bytes, b.bytes, n) : 0;
    return order != 0 ? order : (a.n_bytes > b.n_bytes) - (a.n_bytes < b.n_bytes);
}

static int compare_keys(const void *a, const void *b)
{
    const struct json_value *const *x = a, *const *y = b;
    return json_string_compare((*x)->key, (*y)->key);
}

// `begin`: of the object, for the error.
static bool index_members(struct reader *r, struct json_value *object, const unsigned char *begin)
{
    const struct json_value **members = arena_alloc(r->arena, object->n, sizeof *members);
    uint32_t n = 0;
    if (members == NULL)
        return fail_memory(r, object->n * sizeof *members);
    for (const struct json_value *member = object->first; member != NULL; member = member->next)
        members[n++] = member;
    qsort(members, n, sizeof *members, compare_keys);
    object->by_key = members;
    for (uint32_t i = 1; i < n; i++) {
        if (json_string_compare(members[i - 1]->key, members[i]->key) == 0) {
            char key[64], problem[128] = "an object has the key twice: ";
            strcat(problem, chord_printable(key, sizeof key, members[i]->key.bytes, members[i]->key.n_bytes));
            return fail_at(r, begin, problem);
        }
    }
    return true;
}

static bool read_value(struct reader *r, struct json_value *value, uint32_t depth);

// After the opening bracket, of an array or of an object.
static bool read_children(struct reader *r, struct json_value *value, uint32_t depth)
{
    const bool is_object = value->type == JSON_OBJECT;
    const unsigned char close = is_object ? '}' : ']', *begin = r->at - 1;
    const struct json_value **link = &value->first;
    if (depth == JSON_MAX_DEPTH)
        return fail_at(r, begin, "more than 256 arrays and objects within each other");
    skip_space(r);
    if (r->at < r->end && *r->at == close) {
        r->at++;
        return true;
    }
    for (;;) {
        struct json_value *child = arena_alloc(r->arena, 1, sizeof *child);
        if (child == NULL)
            return fail_memory(r, sizeof *child);
        child->parent = value;
        skip_space(r);
        if (is_object) {
            if (r->at == r->end || *r->at != '"')
                return fail_at(r, r->at, "expected a key");
            if (!read_string(r, &child->key))
                return false;
            skip_space(r);
            if (r->at == r->end || *r->at != ':')
                return fail_at(r, r->at, "expected ':'");
            r->at++;
        }
        if (!read_value(r, child, depth + 1))
            return false;
        *link = child;
        link = &child->next;
        value->n++;
        skip_space(r);
        if (r->at == r->end || (*r->at != ',' && *r->at != close))
            return fail_at(r, r->at, is_object ? "expected ',' or '}'" : "expected ',' or ']'");
        if (*r->at++ == close)
            break;
    }
    return !is_object || index_members(r, value, begin);
}

static bool read_value(struct reader *r, struct json_value *value, uint32_t depth)
{
    skip_space(r);
    if (r->at == r->end)
        return fail_at(r, r->at, "expected a value");
    switch (*r->at) {
    case '{':
    case '[':
        value->type = *r->at++ == '{' ? JSON_OBJECT : JSON_ARRAY;
        return read_children(r, value, depth);
    case '"':
        value->type = JSON_STRING;
        return read_string(r, &value->text);
    default:
        return *r->at == '-' || is_digit(r) ? read_number(r, value) : read_word(r, value);
    }
}

enum chord_status json_read(struct json_document *out, const char *text, uint64_t n_bytes, const char *what,
                            struct memory_account *account, enum memory_region region, struct chord_error *err)
{
    *out = (struct json_document){0};
    if (n_bytes > JSON_MAX_BYTES)
        return chord_fail(err, CHORD_INVALID_ARGUMENT, "%s: more than %u bytes", what, (unsigned)JSON_MAX_BYTES);
    arena_init(&out->arena, account, region);
    const unsigned char *begin = (const unsigned char *)text;
    struct json_value *root = arena_alloc(&out->arena, 1, sizeof *root);
    struct reader r = {
        .text = begin, .at = begin, .end = begin + n_bytes, .what = what, .arena = &out->arena, .err = err};
    r.strings = arena_alloc(&out->arena, n_bytes, 1);
    bool ok = root != NULL && r.strings != NULL;
    if (!ok)
        fail_memory(&r, n_bytes + sizeof *root);
    ok = ok && read_value(&r, root, 0);
    if (ok) {
        skip_space(&r);
        ok = r.at == r.end || fail_at(&r, r.at, "something after the value");
    }
    if (!ok) {
        json_free(out);
        return r.status;
    }
    out->root = root;
    return CHORD_OK;
}

void json_free(struct json_document *document)
{
    arena_free(&document->arena);
    document->root = NULL;
}

// ---- Looking up ------------------------------------------------------------------------------------------------------

const struct json_value *json_member_n(const struct json_value *object, struct json_string key)
{
    if (object == NULL || object->type != JSON_OBJECT)
        return NULL;
    for (uint32_t low = 0, high = object->n; low < high;) {
        const uint32_t middle = low + (high - low) / 2;
        const int order = json_string_compare(object->by_key[middle]->key, key);
        if (order == 0)
            return object->by_key[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct json_value *json_member(const struct json_value *object, const char *key)
{
    return json_member_n(object, (struct json_string){key, (uint32_t)strlen(key)});
}

const struct json_value *json_element(const struct json_value *array, uint32_t index)
{
    if (array == NULL || array->type != JSON_ARRAY)
        return NULL;
    const struct json_value *element = array->first;
    while (element != NULL && index-- > 0)
        element = element->next;
    return element;
}

bool json_string_is(struct json_string string, const char *text)
{
    return json_string_compare(string, (struct json_string){text, (uint32_t)strlen(text)}) == 0;
}
