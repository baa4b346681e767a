#include "sampler/gbnf.h"

#include "base/hash.h"
#include "sampler/grammar_builder.h"

#include <string.h>

#define NO_CHARACTER UINT32_MAX
#define LAST_CODE_POINT 0x10ffffu

struct name {
    const char *text; // in the grammar's text
    uint32_t n_bytes;
    uint32_t rule;     // the builder's
    uint32_t first_at; // where it is first met
    bool is_defined;
};

struct parser {
    const char *text; // [n]
    uint32_t n, at;
    struct grammar_builder *b;  // its error is the parser's
    struct string_table table;  // names by their text
    struct grammar_list names;  // struct name
    struct grammar_list nodes;  // of the sequences and choices that are open, one behind the other
    struct grammar_list ranges; // of a class
    uint32_t n_groups;
};

// ---- Errors and memory -----------------------------------------------------------------------------------------------

static void fail_at(struct parser *p, uint32_t at, const char *what)
{
    uint32_t line = 1, column = 1;
    for (uint32_t i = 0; i < at; i++) {
        if (p->text[i] == '\n') {
            line++;
            column = 1;
        } else {
            column += ((unsigned char)p->text[i] & 0xc0) != 0x80;
        }
    }
    grammar_builder_fail(p->b, "the grammar, line %u, column %u: %s", line, column, what);
}

static bool failed(const struct parser *p)
{
    return grammar_builder_failed(p->b);
}

// Room for one more element of a list, which has no more than the grammar has bytes.
static bool grow(struct parser *p, struct grammar_list *list, uint32_t size)
{
    return grammar_list_reserve(p->b, list, 1, size, GBNF_MAX_BYTES, "parts");
}

static struct name *name_at(const struct parser *p, uint32_t index)
{
    return (struct name *)p->names.items + index;
}

static void push_node(struct parser *p, uint32_t node)
{
    if (grow(p, &p->nodes, sizeof node))
        ((uint32_t *)p->nodes.items)[p->nodes.n++] = node;
}

// Takes the nodes from `first` on, *n of them, off the list, where they stay until the next is pushed.
static const uint32_t *take_nodes(struct parser *p, uint32_t first, uint32_t *n)
{
    *n = p->nodes.n - first;
    p->nodes.n = first;
    return *n > 0 ? (const uint32_t *)p->nodes.items + first : NULL;
}

// ---- Characters ------------------------------------------------------------------------------------------------------

static int peek(const struct parser *p)
{
    return p->at < p->n ? (unsigned char)p->text[p->at] : -1;
}

static bool is_word(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static void skip_space(struct parser *p, bool over_lines)
{
    for (int c = peek(p); c == ' ' || c == '\t' || c == '#' || (over_lines && (c == '\n' || c == '\r')); c = peek(p)) {
        if (c == '#')
            while (peek(p) >= 0 && peek(p) != '\n' && peek(p) != '\r')
                p->at++;
        else
            p->at++;
    }
}

// A character of the text itself, strictly UTF-8.
static uint32_t read_plain(struct parser *p)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char first = (unsigned char)p->text[p->at];
    const uint32_t n = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf8 ? 4 : 0;
    uint32_t c = n == 1 ? first : first & (0x7fu >> n);
    bool valid = n > 0 && n <= p->n - p->at;
    for (uint32_t i = 1; valid && i < n; i++) {
        const unsigned char next = (unsigned char)p->text[p->at + i];
        valid = (next & 0xc0) == 0x80;
        c = c << 6 | (next & 0x3f);
    }
    if (!valid || c < least[n] || c > LAST_CODE_POINT || (c >= 0xd800 && c <= 0xdfff)) {
        fail_at(p, p->at, "this is not UTF-8");
        return NO_CHARACTER;
    }
    p->at += n;
    return c;
}

static uint32_t read_hex(struct parser *p, uint32_t n_digits)
{
    const uint32_t start = p->at;
    uint32_t c = 0;
    for (uint32_t i = 0; i < n_digits; i++, p->at++) {
        const int digit = peek(p);
        const int low = digit | 0x20;
        if (digit >= '0' && digit <= '9')
            c = c << 4 | (uint32_t)(digit - '0');
        else if (low >= 'a' && low <= 'f')
            c = c << 4 | (uint32_t)(low - 'a' + 10);
        else {
            fail_at(p, p->at, "expected a hexadecimal digit: \\x takes 2, \\u 4 and \\U 8 of them");
            return NO_CHARACTER;
        }
    }
    if (c > LAST_CODE_POINT || (c >= 0xd800 && c <= 0xdfff)) {
        fail_at(p, start, "there is no character with this code point");
        return NO_CHARACTER;
    }
    return c;
}

// One character of a text or a class, perhaps escaped. Not at the end of the grammar.
static uint32_t read_character(struct parser *p)
{
    if (p->text[p->at] != '\\')
        return read_plain(p);
    const uint32_t start = p->at++;
    const int c = peek(p);
    p->at++;
    switch (c) {
    case 'x':
        return read_hex(p, 2);
    case 'u':
        return read_hex(p, 4);
    case 'U':
        return read_hex(p, 8);
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case '\\':
    case '"':
    case '[':
    case ']':
    case '-':
    case '^':
        return (uint32_t)c;
    default:
        fail_at(p, start,
                "an unknown escape: there are \\n \\r \\t \\\\ \\\" \\[ \\] \\- \\^ \\xHH \\uHHHH \\UHHHHHHHH");
        return NO_CHARACTER;
    }
}

static uint32_t encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    const uint32_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (uint32_t i = n; --i > 0; c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(0xf00u >> n | c);
    return n;
}

// ---- Items -----------------------------------------------------------------------------------------------------------

// Long texts are gathered in pieces.
static uint32_t parse_literal(struct parser *p)
{
    const uint32_t start = p->at++, first = p->nodes.n;
    char piece[64];
    uint32_t n = 0;
    while (!failed(p) && peek(p) != '"') {
        if (peek(p) < 0 || peek(p) == '\n') {
            fail_at(p, start, "this text has no closing quotation mark");
            break;
        }
        const uint32_t c = read_character(p);
        if (c == NO_CHARACTER)
            break;
        n += encode(c, piece + n);
        if (n + 4 > sizeof piece) {
            push_node(p, grammar_literal(p->b, piece, n));
            n = 0;
        }
    }
    p->at++;
    if (p->nodes.n == first)
        return grammar_literal(p->b, piece, n);
    push_node(p, grammar_literal(p->b, piece, n));
    uint32_t n_pieces;
    const uint32_t *pieces = take_nodes(p, first, &n_pieces);
    return grammar_sequence(p->b, pieces, n_pieces);
}

static uint32_t parse_class(struct parser *p)
{
    const uint32_t start = p->at++;
    const bool negated = peek(p) == '^';
    p->at += negated;
    p->ranges.n = 0;
    while (!failed(p) && peek(p) != ']') {
        if (peek(p) < 0 || peek(p) == '\n') {
            fail_at(p, start, "this class has no closing bracket");
            return 0;
        }
        const uint32_t range_at = p->at, first = read_character(p);
        uint32_t last = first;
        if (!failed(p) && peek(p) == '-' && p->at + 1 < p->n && p->text[p->at + 1] != ']') {
            p->at++;
            last = read_character(p);
        }
        if (failed(p) || !grow(p, &p->ranges, sizeof(struct grammar_range)))
            return 0;
        if (first > last) {
            fail_at(p, range_at, "this range descends");
            return 0;
        }
        ((struct grammar_range *)p->ranges.items)[p->ranges.n++] = (struct grammar_range){first, last};
    }
    p->at++;
    if (p->ranges.n == 0 && !negated)
        fail_at(p, start, "this class is empty: no character is of it");
    return grammar_class(p->b, p->ranges.items, p->ranges.n, negated);
}

// The index of the name at the parser's place in `names`.
static uint32_t parse_name(struct parser *p)
{
    const uint32_t start = p->at;
    char printable[128];
    while (is_word(peek(p)))
        p->at++;
    const int64_t known = string_table_find(&p->table, p->text + start, p->at - start);
    if (known >= 0)
        return (uint32_t)known;
    if (!grow(p, &p->names, sizeof(struct name)))
        return 0;
    chord_printable(printable, sizeof printable, p->text + start, p->at - start);
    *name_at(p, p->names.n) = (struct name){
        .text = p->text + start, .n_bytes = p->at - start, .rule = grammar_rule(p->b, printable), .first_at = start};
    if (!failed(p) && !string_table_insert(&p->table, p->text + start, p->at - start, p->names.n))
        grammar_builder_fail(p->b, "the grammar has more than %u rules", GRAMMAR_MAX_RULES);
    return p->names.n++;
}

static uint32_t parse_count(struct parser *p)
{
    const uint32_t start = p->at;
    uint64_t count = 0;
    for (; peek(p) >= '0' && peek(p) <= '9' && count < UINT32_MAX; p->at++)
        count = count * 10 + (uint64_t)(peek(p) - '0');
    if (p->at == start)
        fail_at(p, start, "expected a number, as in {2,5}");
    else if (count >= UINT32_MAX)
        fail_at(p, start, "this number is too large");
    return (uint32_t)count;
}

// {n}, {n,} or {n,m}
static uint32_t parse_braces(struct parser *p, uint32_t node)
{
    const uint32_t start = p->at++;
    skip_space(p, false);
    const uint32_t min = parse_count(p);
    uint32_t max = min;
    skip_space(p, false);
    if (!failed(p) && peek(p) == ',') {
        p->at++;
        skip_space(p, false);
        max = peek(p) == '}' ? GRAMMAR_UNBOUNDED : parse_count(p);
        skip_space(p, false);
    }
    if (!failed(p) && peek(p) != '}')
        fail_at(p, p->at, "expected } or , as in {2,5}");
    if (!failed(p) && max < min)
        fail_at(p, start, "the largest number of repetitions is below the smallest");
    p->at++;
    return failed(p) ? 0 : grammar_repeat(p->b, node, min, max);
}

static uint32_t parse_repeats(struct parser *p, uint32_t node)
{
    for (;;) {
        const int c = peek(p);
        if (failed(p))
            return 0;
        if (c == '{') {
            node = parse_braces(p, node);
        } else if (c == '*' || c == '+' || c == '?') {
            p->at++;
            node = grammar_repeat(p->b, node, c == '+', c == '?' ? 1 : GRAMMAR_UNBOUNDED);
        } else {
            return node;
        }
        // a blank between item and repetition is fine, but the end of the line may end the rule
        skip_space(p, p->n_groups > 0);
    }
}

static uint32_t parse_alternatives(struct parser *p);

static uint32_t parse_group(struct parser *p)
{
    const uint32_t start = p->at++;
    if (++p->n_groups > GBNF_MAX_GROUPS) {
        fail_at(p, start, "groups are nested too deep");
        return 0;
    }
    skip_space(p, true);
    const uint32_t node = parse_alternatives(p);
    if (!failed(p) && peek(p) != ')')
        fail_at(p, peek(p) < 0 ? start : p->at,
                peek(p) < 0 ? "this group has no closing parenthesis" : "expected an item, | or )");
    p->at++;
    p->n_groups--;
    return node;
}

// Items up to what is none.
static uint32_t parse_sequence(struct parser *p)
{
    static const struct grammar_range all = {0, LAST_CODE_POINT};
    const uint32_t first = p->nodes.n;
    while (!failed(p)) {
        const int c = peek(p);
        uint32_t node;
        if (c == '"') {
            node = parse_literal(p);
        } else if (c == '[') {
            node = parse_class(p);
        } else if (c == '(') {
            node = parse_group(p);
        } else if (c == '.') {
            p->at++;
            node = grammar_class(p->b, &all, 1, false);
        } else if (is_word(c)) {
            const uint32_t name = parse_name(p);
            node = failed(p) ? 0 : grammar_reference(p->b, name_at(p, name)->rule);
        } else {
            if (c == '*' || c == '+' || c == '?' || c == '{')
                fail_at(p, p->at, "there is nothing before this that could be repeated");
            break;
        }
        skip_space(p, p->n_groups > 0);
        push_node(p, parse_repeats(p, node));
    }
    uint32_t n;
    const uint32_t *nodes = take_nodes(p, first, &n);
    if (failed(p))
        return 0;
    return n == 1 ? nodes[0] : grammar_sequence(p->b, nodes, n);
}

// Whether a | follows, perhaps in a later line: then the place is behind it.
static bool parse_bar(struct parser *p)
{
    const uint32_t start = p->at;
    skip_space(p, true);
    if (peek(p) == '|') {
        p->at++;
        skip_space(p, true);
        return true;
    }
    p->at = start;
    return false;
}

static uint32_t parse_alternatives(struct parser *p)
{
    const uint32_t first = p->nodes.n;
    do
        push_node(p, parse_sequence(p));
    while (!failed(p) && parse_bar(p));
    uint32_t n;
    const uint32_t *nodes = take_nodes(p, first, &n);
    if (failed(p))
        return 0;
    return n == 1 ? nodes[0] : grammar_choice(p->b, nodes, n);
}

// ---- Rules -----------------------------------------------------------------------------------------------------------

static void parse_rule(struct parser *p)
{
    const uint32_t start = p->at;
    if (!is_word(peek(p))) {
        fail_at(p, start, "expected the name of a rule");
        return;
    }
    const uint32_t name = parse_name(p);
    skip_space(p, false);
    if (!failed(p) && (p->n - p->at < 3 || memcmp(p->text + p->at, "::=", 3) != 0))
        fail_at(p, p->at, "expected ::= after the name of a rule");
    if (!failed(p) && name_at(p, name)->is_defined)
        fail_at(p, start, "a rule of this name is defined already");
    if (failed(p))
        return;
    p->at += 3;
    name_at(p, name)->is_defined = true;
    skip_space(p, true);
    const uint32_t node = parse_alternatives(p);
    if (failed(p))
        return;
    grammar_define(p->b, name_at(p, name)->rule, node);
    if (peek(p) >= 0 && peek(p) != '\n' && peek(p) != '\r')
        fail_at(p, p->at, "expected an item, | or the end of the line");
}

// The root's node.
static uint32_t parse_grammar(struct parser *p)
{
    skip_space(p, true);
    while (!failed(p) && peek(p) >= 0) {
        parse_rule(p);
        skip_space(p, true);
    }
    if (failed(p))
        return 0;
    for (uint32_t i = 0; i < p->names.n && !failed(p); i++)
        if (!name_at(p, i)->is_defined)
            fail_at(p, name_at(p, i)->first_at, "this rule is not defined");
    const int64_t root = string_table_find(&p->table, "root", 4);
    if (root < 0)
        grammar_builder_fail(p->b, "the grammar has no rule 'root', which is the whole text");
    return failed(p) ? 0 : grammar_reference(p->b, name_at(p, (uint32_t)root)->rule);
}

enum chord_status gbnf_compile(const char *text, uint64_t n_bytes, struct memory_account *account, struct grammar **out,
                               struct chord_error *err)
{
    struct parser p = {.text = text, .n = (uint32_t)n_bytes};
    *out = NULL;
    if (n_bytes > GBNF_MAX_BYTES)
        return chord_fail(err, CHORD_INVALID_ARGUMENT, "a grammar of %llu bytes is too large: at most %u",
                          (unsigned long long)n_bytes, GBNF_MAX_BYTES);
    enum chord_status status = grammar_builder_create(&p.b, account, err);
    if (status != CHORD_OK)
        return status;
    const uint64_t n_names = n_bytes / 2 + 2 < GRAMMAR_MAX_RULES ? n_bytes / 2 + 2 : GRAMMAR_MAX_RULES;
    if (!string_table_init(&p.table, account, MEMORY_SCRATCH, n_names, (uint64_t)(uintptr_t)p.b)) {
        grammar_builder_free(p.b);
        return memory_account_fail(account, err, n_names * 16, "a grammar");
    }
    const uint32_t root = parse_grammar(&p);
    status = grammar_finish(p.b, root, out, err);
    string_table_free(&p.table, account);
    grammar_builder_free(p.b);
    memory_free(account, p.names.items);
    memory_free(account, p.nodes.items);
    memory_free(account, p.ranges.items);
    return status;
}
