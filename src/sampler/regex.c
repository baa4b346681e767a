#include "sampler/regex.h"

#include <stdlib.h>
#include <string.h>

#define LAST_CODE_POINT 0x10ffffu
#define MAX_DEPTH 100u
#define MAX_REPEAT 1000000u
#define MAX_ALTERNATIVES 64u
#define UNBOUNDED GRAMMAR_UNBOUNDED

// ---- Makers ----------------------------------------------------------------------------------------------------------

static uint32_t saturated_add(uint32_t a, uint32_t b)
{
    return a > UNBOUNDED - b ? UNBOUNDED : a + b;
}

static uint32_t saturated_mul(uint32_t a, uint32_t b)
{
    const uint64_t product = (uint64_t)a * b;
    return product > UNBOUNDED ? UNBOUNDED : (uint32_t)product;
}

static int compare_ranges(const void *a, const void *b)
{
    const struct grammar_range *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

const struct regex *regex_class(struct arena *arena, const struct grammar_range *ranges, uint32_t n, bool negated)
{
    struct regex *made = arena_alloc(arena, 1, sizeof *made);
    struct grammar_range *sorted = arena_alloc(arena, n + 1, sizeof *sorted),
                         *result = arena_alloc(arena, n + 1, sizeof *result);
    if (made == NULL || sorted == NULL || result == NULL)
        return NULL;
    if (n > 0)
        memcpy(sorted, ranges, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare_ranges);
    uint32_t n_result = 0, next = 0;
    for (uint32_t i = 0; i < n;) {
        const uint32_t first = sorted[i].first;
        uint32_t last = sorted[i].last;
        for (i++; i < n && sorted[i].first <= last + 1; i++)
            last = sorted[i].last > last ? sorted[i].last : last;
        if (!negated)
            result[n_result++] = (struct grammar_range){first, last};
        else if (first > next)
            result[n_result++] = (struct grammar_range){next, first - 1};
        next = last + 1;
    }
    if (negated && next <= LAST_CODE_POINT)
        result[n_result++] = (struct grammar_range){next, LAST_CODE_POINT};
    *made =
        (struct regex){.kind = REGEX_CLASS, .n = n_result, .ranges = result, .shortest = 1, .longest = n_result > 0};
    return made;
}

static const struct regex *make_parent(struct arena *arena, struct regex node, const struct regex *const *children,
                                       uint32_t n)
{
    struct regex *made = arena_alloc(arena, 1, sizeof *made);
    const struct regex **copy = arena_alloc(arena, n + 1, sizeof *copy);
    if (made == NULL || copy == NULL)
        return NULL;
    for (uint32_t i = 0; i < n; i++) {
        if (children[i] == NULL)
            return NULL;
        copy[i] = children[i];
        node.has_anchor |= children[i]->has_anchor;
    }
    node.n = n;
    node.children = copy;
    *made = node;
    return made;
}

static bool has_no_text(const struct regex *regex)
{
    return regex->shortest > regex->longest;
}

const struct regex *regex_sequence(struct arena *arena, const struct regex *const *children, uint32_t n)
{
    struct regex node = {.kind = REGEX_SEQUENCE, .may_be_empty = true};
    bool nothing = false;
    for (uint32_t i = 0; i < n && children[i] != NULL; i++) {
        node.may_be_empty &= children[i]->may_be_empty;
        node.shortest = saturated_add(node.shortest, children[i]->shortest);
        node.longest = saturated_add(node.longest, children[i]->longest);
        nothing |= has_no_text(children[i]);
    }
    if (nothing) {
        node.shortest = 1;
        node.longest = 0;
    }
    return make_parent(arena, node, children, n);
}

const struct regex *regex_choice(struct arena *arena, const struct regex *const *children, uint32_t n)
{
    struct regex node = {.kind = REGEX_CHOICE, .shortest = 1};
    bool first = true;
    for (uint32_t i = 0; i < n && children[i] != NULL; i++) {
        node.may_be_empty |= children[i]->may_be_empty;
        if (has_no_text(children[i]))
            continue;
        if (first || children[i]->shortest < node.shortest)
            node.shortest = children[i]->shortest;
        if (first || children[i]->longest > node.longest)
            node.longest = children[i]->longest;
        first = false;
    }
    return make_parent(arena, node, children, n);
}

const struct regex *regex_repeat(struct arena *arena, const struct regex *child, uint32_t min, uint32_t max)
{
    struct regex node = {.kind = REGEX_REPEAT, .min = min, .max = max};
    if (child == NULL)
        return NULL;
    node.may_be_empty = min == 0 || child->may_be_empty;
    if (has_no_text(child)) {
        node.shortest = min > 0;
    } else {
        node.shortest = saturated_mul(child->shortest, min);
        node.longest = child->longest == 0 ? 0 : max == UNBOUNDED ? UNBOUNDED : saturated_mul(child->longest, max);
    }
    return make_parent(arena, node, &child, 1);
}

// The character at `p`, which is valid UTF-8.
static uint32_t decode(const unsigned char **p)
{
    const unsigned char *c = *p;
    const int n = c[0] < 0x80 ? 1 : c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : 4;
    uint32_t code = n == 1 ? c[0] : c[0] & (0x7fu >> n);
    for (int i = 1; i < n; i++)
        code = code << 6 | (c[i] & 63);
    *p += n;
    return code;
}

const struct regex *regex_text(struct arena *arena, struct json_string text)
{
    const struct regex **children = arena_alloc(arena, (uint64_t)text.n_bytes + 1, sizeof *children);
    const unsigned char *p = (const unsigned char *)text.bytes, *end = p + text.n_bytes;
    uint32_t n = 0;
    if (children == NULL)
        return NULL;
    while (p < end) {
        const uint32_t c = decode(&p);
        children[n++] = regex_class(arena, &(struct grammar_range){c, c}, 1, false);
    }
    return regex_sequence(arena, children, n);
}

// ---- Parsing ---------------------------------------------------------------------------------------------------------

struct parser {
    struct arena *arena;
    const unsigned char *at, *end;
    const char *problem;
    uint32_t depth;
};

static const struct grammar_range digits[] = {{'0', '9'}};
static const struct grammar_range words[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
static const struct grammar_range spaces[] = {
    {0x09, 0x0d},     {0x20, 0x20},     {0xa0, 0xa0},     {0x1680, 0x1680}, {0x2000, 0x200a},
    {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}, {0xfeff, 0xfeff},
};
static const struct grammar_range line_ends[] = {{0x0a, 0x0a}, {0x0d, 0x0d}, {0x2028, 0x2029}};

static const struct regex *fail(struct parser *p, const char *problem)
{
    if (p->problem == NULL)
        p->problem = problem;
    return NULL;
}

static bool next_is(const struct parser *p, char c)
{
    return p->at < p->end && *p->at == (unsigned char)c;
}

static bool take(struct parser *p, char c)
{
    const bool found = next_is(p, c);
    p->at += found;
    return found;
}

static bool take_hex(struct parser *p, unsigned n_digits, uint32_t *out)
{
    *out = 0;
    for (unsigned i = 0; i < n_digits; i++) {
        const unsigned char c = p->at < p->end ? *p->at : 0, lower = c | 0x20;
        if (c >= '0' && c <= '9')
            *out = *out << 4 | (uint32_t)(c - '0');
        else if (lower >= 'a' && lower <= 'f')
            *out = *out << 4 | (uint32_t)(lower - 'a' + 10);
        else
            return false;
        p->at++;
    }
    return true;
}

// After \u: four digits, two such that are a pair of surrogates, or digits in braces.
static bool take_unicode(struct parser *p, uint32_t *out)
{
    uint32_t low;
    if (take(p, '{')) {
        *out = 0;
        uint32_t digit;
        bool any = false;
        while (!next_is(p, '}')) {
            if (!take_hex(p, 1, &digit) || *out > LAST_CODE_POINT >> 4)
                return false;
            *out = *out << 4 | digit;
            any = true;
        }
        p->at++;
        return any && *out <= LAST_CODE_POINT;
    }
    if (!take_hex(p, 4, out))
        return false;
    const unsigned char *before = p->at;
    if (*out >= 0xd800 && *out <= 0xdbff) {
        if (take(p, '\\') && take(p, 'u') && take_hex(p, 4, &low) && low >= 0xdc00 && low <= 0xdfff)
            *out = 0x10000 + ((*out - 0xd800) << 10) + (low - 0xdc00);
        else
            p->at = before;
    }
    return true;
}

// After a backslash: a set of characters (*set), or else one (*c). False: *problem.
static bool take_escape(struct parser *p, bool in_class, const struct regex **set, uint32_t *c)
{
    static const char controls[] = "fnrtv", meanings[] = "\f\n\r\t\v";
    *set = NULL;
    if (p->at == p->end)
        return fail(p, "it ends in a backslash") != NULL;
    *c = decode(&p->at);
    switch (*c) {
    case 'd':
    case 'D':
        *set = regex_class(p->arena, digits, 1, *c == 'D');
        return *set != NULL;
    case 'w':
    case 'W':
        *set = regex_class(p->arena, words, 4, *c == 'W');
        return *set != NULL;
    case 's':
    case 'S':
        *set = regex_class(p->arena, spaces, sizeof spaces / sizeof spaces[0], *c == 'S');
        return *set != NULL;
    case 'b':
        *c = '\b';
        return in_class || fail(p, "word boundaries (\\b) are not supported") != NULL;
    case 'B':
        return fail(p, "word boundaries (\\B) are not supported") != NULL;
    case 'p':
    case 'P':
        return fail(p, "properties of characters (\\p) are not supported") != NULL;
    case 'k':
        return fail(p, "back-references (\\k) are not supported") != NULL;
    case '0':
        *c = 0;
        return true;
    case 'c':
        if (p->at == p->end || (*p->at | 0x20) < 'a' || (*p->at | 0x20) > 'z')
            return fail(p, "\\c needs a letter") != NULL;
        *c = *p->at++ & 31;
        return true;
    case 'x':
        return take_hex(p, 2, c) || fail(p, "\\x needs two hexadecimal digits") != NULL;
    case 'u':
        return take_unicode(p, c) || fail(p, "\\u needs four hexadecimal digits") != NULL;
    default:
        break;
    }
    const char *found = *c < 0x80 && *c != 0 ? strchr(controls, (int)*c) : NULL;
    if (found != NULL) {
        *c = (unsigned char)meanings[found - controls];
        return true;
    }
    if (*c >= '1' && *c <= '9')
        return fail(p, "back-references (\\1) are not supported") != NULL;
    if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z'))
        return fail(p, "an escape that regular expressions do not have") != NULL;
    return true;
}

struct range_list {
    struct grammar_range *items;
    uint32_t n, capacity;
};

// A list's `n` items where there is room for n_more: where they are, or in a larger place. NULL: no memory.
static void *with_room(struct parser *p, void *items, uint32_t n, uint32_t *capacity, uint32_t n_more, size_t bytes)
{
    if (items != NULL && n_more <= *capacity - n)
        return items;
    const uint32_t wanted = 2 * *capacity + n_more + 8;
    void *larger = arena_alloc(p->arena, wanted, bytes);
    if (larger == NULL)
        return NULL;
    if (n > 0)
        memcpy(larger, items, n * bytes);
    *capacity = wanted;
    return larger;
}

static bool add_ranges(struct parser *p, struct range_list *list, const struct grammar_range *ranges, uint32_t n)
{
    list->items = with_room(p, list->items, list->n, &list->capacity, n, sizeof *list->items);
    if (list->items == NULL)
        return false;
    memcpy(list->items + list->n, ranges, n * sizeof *ranges);
    list->n += n;
    return true;
}

// One end of a range in brackets, or a set.
static bool take_class_atom(struct parser *p, const struct regex **set, uint32_t *c)
{
    *set = NULL;
    if (p->at == p->end)
        return fail(p, "'[' without ']'") != NULL;
    if (take(p, '\\'))
        return take_escape(p, true, set, c);
    *c = decode(&p->at);
    return true;
}

// After the opening bracket.
static const struct regex *take_class(struct parser *p)
{
    const bool negated = take(p, '^');
    struct range_list list = {0};
    while (!next_is(p, ']')) {
        const struct regex *set, *set_after;
        struct grammar_range range;
        if (!take_class_atom(p, &set, &range.first))
            return NULL;
        range.last = range.first;
        if (next_is(p, '-') && p->end - p->at >= 2 && p->at[1] != ']') {
            p->at++;
            if (!take_class_atom(p, &set_after, &range.last))
                return NULL;
            if (set != NULL || set_after != NULL)
                return fail(p, "a range of characters between sets of them");
            if (range.first > range.last)
                return fail(p, "a range of characters that does not ascend");
        }
        if (!add_ranges(p, &list, set != NULL ? set->ranges : &range, set != NULL ? set->n : 1))
            return NULL;
    }
    p->at++;
    return regex_class(p->arena, list.items, list.n, negated);
}

static const struct regex *take_choice(struct parser *p);

// After the opening parenthesis.
static const struct regex *take_group(struct parser *p)
{
    if (take(p, '?') && !take(p, ':')) {
        if (!take(p, '<'))
            return fail(p, next_is(p, '=') || next_is(p, '!') ? "look-ahead is not supported"
                                                              : "a group with flags is not supported");
        if (next_is(p, '=') || next_is(p, '!'))
            return fail(p, "look-behind is not supported");
        while (p->at < p->end && *p->at != '>')
            p->at++;
        if (!take(p, '>'))
            return fail(p, "the name of a group does not end");
    }
    if (++p->depth > MAX_DEPTH)
        return fail(p, "more than 100 groups within each other");
    const struct regex *inner = take_choice(p);
    p->depth--;
    if (inner != NULL && !take(p, ')'))
        return fail(p, "'(' without ')'");
    return inner;
}

static const struct regex *make_anchor(struct parser *p, enum regex_kind kind)
{
    struct regex *made = arena_alloc(p->arena, 1, sizeof *made);
    if (made != NULL)
        *made = (struct regex){.kind = kind, .has_anchor = true, .may_be_empty = true};
    return made;
}

static const struct regex *take_atom(struct parser *p)
{
    const struct regex *set;
    uint32_t c;
    if (take(p, '('))
        return take_group(p);
    if (take(p, '['))
        return take_class(p);
    if (take(p, '.'))
        return regex_class(p->arena, line_ends, sizeof line_ends / sizeof line_ends[0], true);
    if (take(p, '^'))
        return make_anchor(p, REGEX_BEGIN);
    if (take(p, '$'))
        return make_anchor(p, REGEX_END);
    if (take(p, '\\')) {
        if (!take_escape(p, false, &set, &c))
            return NULL;
        if (set != NULL)
            return set;
    } else {
        if (strchr("*+?{", *p->at) != NULL && *p->at != 0)
            return fail(p, "a quantifier with nothing before it");
        if (*p->at == ']' || *p->at == '}')
            return fail(p, "a closing bracket that must be escaped");
        c = decode(&p->at);
    }
    return regex_class(p->arena, &(struct grammar_range){c, c}, 1, false);
}

static bool take_count(struct parser *p, uint32_t *out)
{
    const unsigned char *begin = p->at;
    *out = 0;
    while (p->at < p->end && *p->at >= '0' && *p->at <= '9') {
        *out = *out * 10 + (uint32_t)(*p->at++ - '0');
        if (*out > MAX_REPEAT)
            return fail(p, "a repetition of more than a million") != NULL;
    }
    return p->at > begin || fail(p, "'{' that begins no repetition: escape it") != NULL;
}

// True when there is one; *problem may be set either way.
static bool take_quantifier(struct parser *p, uint32_t *min, uint32_t *max)
{
    *max = UNBOUNDED;
    if (take(p, '*')) {
        *min = 0;
    } else if (take(p, '+')) {
        *min = 1;
    } else if (take(p, '?')) {
        *min = 0;
        *max = 1;
    } else if (take(p, '{')) {
        if (!take_count(p, min))
            return false;
        *max = *min;
        if (take(p, ',')) {
            *max = UNBOUNDED;
            if (!next_is(p, '}') && !take_count(p, max))
                return false;
        }
        if (!take(p, '}')) {
            fail(p, "'{' without '}'");
            return false;
        }
        if (*min > *max) {
            fail(p, "a repetition whose least is more than its most");
            return false;
        }
    } else {
        return false;
    }
    take(p, '?'); // lazy: of no effect on the language
    return true;
}

struct regex_list {
    const struct regex **items;
    uint32_t n, capacity;
};

static bool add_regex(struct parser *p, struct regex_list *list, const struct regex *item)
{
    if (item == NULL)
        return false;
    list->items = with_room(p, list->items, list->n, &list->capacity, 1, sizeof *list->items);
    if (list->items == NULL)
        return false;
    list->items[list->n++] = item;
    return true;
}

static const struct regex *take_sequence(struct parser *p)
{
    struct regex_list list = {0};
    while (p->at < p->end && *p->at != '|' && *p->at != ')') {
        const struct regex *atom = take_atom(p);
        uint32_t min, max;
        if (atom != NULL && take_quantifier(p, &min, &max)) {
            if (atom->kind == REGEX_BEGIN || atom->kind == REGEX_END)
                return fail(p, "a quantifier on an anchor");
            atom = regex_repeat(p->arena, atom, min, max);
        }
        if (p->problem != NULL || !add_regex(p, &list, atom))
            return NULL;
    }
    return list.n == 1 ? list.items[0] : regex_sequence(p->arena, list.items, list.n);
}

static const struct regex *take_choice(struct parser *p)
{
    struct regex_list list = {0};
    do {
        if (!add_regex(p, &list, take_sequence(p)))
            return NULL;
    } while (take(p, '|'));
    return list.n == 1 ? list.items[0] : regex_choice(p->arena, list.items, list.n);
}

// ---- Anchors ---------------------------------------------------------------------------------------------------------

// A way to match without anchors within: `body`, at the beginning of the text or its end where it says so.
struct way {
    const struct regex *body;
    bool at_begin, at_end;
};

struct ways {
    struct way items[MAX_ALTERNATIVES];
    uint32_t n;
};

static bool add_way(struct parser *p, struct ways *ways, struct way way)
{
    if (way.body == NULL)
        return false;
    if (ways->n == MAX_ALTERNATIVES)
        return fail(p, "too many ways through its anchors") != NULL;
    ways->items[ways->n++] = way;
    return true;
}

static bool find_ways(struct parser *p, const struct regex *regex, struct ways *ways);

// `before` followed by `after`: where an anchor stands between, what is on its outer side must be empty.
static bool join_ways(struct parser *p, struct way before, struct way after, struct ways *out)
{
    const struct regex *parts[2] = {before.body, after.body};
    struct way joined = {.at_begin = before.at_begin || after.at_begin, .at_end = before.at_end || after.at_end};
    if ((after.at_begin && !before.body->may_be_empty) || (before.at_end && !after.body->may_be_empty))
        return true;
    const uint32_t first = after.at_begin, last = before.at_end ? 1 : 2;
    joined.body = regex_sequence(p->arena, parts + first, last > first ? last - first : 0);
    return add_way(p, out, joined);
}

static bool find_ways_of_sequence(struct parser *p, const struct regex *regex, struct ways *out)
{
    struct ways *before = arena_alloc(p->arena, 1, sizeof *before), *child = arena_alloc(p->arena, 1, sizeof *child);
    if (before == NULL || child == NULL || !add_way(p, before, (struct way){.body = regex_sequence(p->arena, NULL, 0)}))
        return false;
    for (uint32_t i = 0; i < regex->n; i++) {
        child->n = 0;
        if (!find_ways(p, regex->children[i], child))
            return false;
        out->n = 0;
        for (uint32_t a = 0; a < before->n; a++)
            for (uint32_t b = 0; b < child->n; b++)
                if (!join_ways(p, before->items[a], child->items[b], out))
                    return false;
        *before = *out;
    }
    *out = *before;
    return true;
}

static bool find_ways(struct parser *p, const struct regex *regex, struct ways *ways)
{
    if (!regex->has_anchor)
        return add_way(p, ways, (struct way){.body = regex});
    switch (regex->kind) {
    case REGEX_BEGIN:
    case REGEX_END:
        return add_way(p, ways,
                       (struct way){.body = regex_sequence(p->arena, NULL, 0),
                                    .at_begin = regex->kind == REGEX_BEGIN,
                                    .at_end = regex->kind == REGEX_END});
    case REGEX_CHOICE:
        for (uint32_t i = 0; i < regex->n; i++)
            if (!find_ways(p, regex->children[i], ways))
                return false;
        return true;
    case REGEX_SEQUENCE: {
        struct ways *all = arena_alloc(p->arena, 1, sizeof *all);
        if (all == NULL || !find_ways_of_sequence(p, regex, all))
            return false;
        for (uint32_t i = 0; i < all->n; i++)
            if (!add_way(p, ways, all->items[i]))
                return false;
        return true;
    }
    default: // a repetition
        if (regex->max == 1 && regex->min == 0)
            return add_way(p, ways, (struct way){.body = regex_sequence(p->arena, NULL, 0)}) &&
                   find_ways(p, regex->children[0], ways);
        return fail(p, "an anchor in something repeated is not supported") != NULL;
    }
}

// Sequences within sequences as one, so that what repeats is seen beside what does not.
static const struct regex *flatten(struct parser *p, const struct regex *regex)
{
    struct regex_list left = {0}, flat = {0};
    if (!add_regex(p, &left, regex))
        return NULL;
    while (left.n > 0) {
        const struct regex *last = left.items[--left.n];
        if (last->kind != REGEX_SEQUENCE && !add_regex(p, &flat, last))
            return NULL;
        for (uint32_t i = last->kind == REGEX_SEQUENCE ? last->n : 0; i-- > 0;)
            if (!add_regex(p, &left, last->children[i]))
                return NULL;
    }
    return flat.n == 1 ? flat.items[0] : regex_sequence(p->arena, flat.items, flat.n);
}

// The whole texts in which `regex` is found.
static const struct regex *whole_texts(struct parser *p, const struct regex *regex)
{
    struct ways *ways = arena_alloc(p->arena, 1, sizeof *ways);
    const struct regex *any = regex_repeat(p->arena, regex_class(p->arena, NULL, 0, true), 0, UNBOUNDED);
    const struct regex *alternatives[MAX_ALTERNATIVES];
    if (ways == NULL || any == NULL || !find_ways(p, regex, ways))
        return NULL;
    for (uint32_t i = 0; i < ways->n; i++) {
        const struct way way = ways->items[i];
        const struct regex *parts[3];
        uint32_t n = 0;
        if (!way.at_begin)
            parts[n++] = any;
        parts[n++] = way.body;
        if (!way.at_end)
            parts[n++] = any;
        alternatives[i] = flatten(p, regex_sequence(p->arena, parts, n));
        if (alternatives[i] == NULL)
            return NULL;
    }
    return ways->n == 1 ? alternatives[0] : regex_choice(p->arena, alternatives, ways->n);
}

const struct regex *regex_parse(struct arena *arena, struct json_string pattern, const char **problem)
{
    struct parser p = {.arena = arena, .at = (const unsigned char *)pattern.bytes};
    p.end = p.at + pattern.n_bytes;
    const struct regex *regex = take_choice(&p);
    if (regex != NULL && p.at < p.end)
        regex = fail(&p, "')' without '('");
    if (regex != NULL)
        regex = whole_texts(&p, regex);
    *problem = p.problem;
    return p.problem == NULL ? regex : NULL;
}

// ---- Lengths ---------------------------------------------------------------------------------------------------------

const struct regex *regex_with_length(struct arena *arena, const struct regex *regex, uint32_t min, uint32_t max)
{
    const struct regex *const *parts = regex->kind == REGEX_SEQUENCE ? regex->children : &regex;
    const uint32_t n = regex->kind == REGEX_SEQUENCE ? regex->n : 1;
    uint32_t fixed = 0, varying = n;
    if (has_no_text(regex) || (regex->shortest >= min && regex->longest <= max))
        return regex;
    for (uint32_t i = 0; i < n; i++) {
        if (parts[i]->shortest == parts[i]->longest) {
            fixed = saturated_add(fixed, parts[i]->shortest);
        } else if (varying == n && parts[i]->kind == REGEX_REPEAT && parts[i]->children[0]->shortest == 1 &&
                   parts[i]->children[0]->longest == 1) {
            varying = i;
        } else {
            return NULL;
        }
    }
    if (varying == n || fixed > max)
        return regex_choice(arena, NULL, 0); // of one length, which is not among them
    const struct regex *part = parts[varying], **children = arena_alloc(arena, n, sizeof *children);
    const uint32_t least = min > fixed && min - fixed > part->min ? min - fixed : part->min;
    const uint32_t most = max != UNBOUNDED && max - fixed < part->max ? max - fixed : part->max;
    if (least > most)
        return regex_choice(arena, NULL, 0);
    if (children == NULL)
        return NULL;
    memcpy(children, parts, n * sizeof *children);
    children[varying] = regex_repeat(arena, part->children[0], least, most);
    return regex_sequence(arena, children, n);
}
