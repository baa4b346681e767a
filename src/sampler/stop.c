#include "sampler/stop.h"

#include <string.h>

// Aho and Corasick, "Efficient string matching: an aid to bibliographic search" (1975). A node is a prefix of a stop string;
// the matcher's state is the longest prefix that the text so far ends with. Just that suffix is held back, and as it
// is spelled by the node, nothing of the text needs to be kept.
struct stop_node {
    uint32_t first_child, next_sibling; // 0: none (the root is nobody's child)
    uint32_t fail;     // the longest proper suffix of this prefix that is a node too
    uint32_t depth;    // bytes of the prefix
    uint32_t n_match;  // bytes of the longest stop string that the prefix ends with; 0: none
    uint32_t at;       // where the prefix is spelled in `text`
    unsigned char byte; // its last byte
};

#define MAX_STOP_BYTES (64u * 1024)
#define ROOT 0

struct stop_matcher {
    struct stop_node *nodes;
    char *text; // the stop strings, one after another
    uint32_t n_nodes;
    uint32_t longest;
    uint32_t state;
    bool done;
    uint32_t root_child[256]; // text is mostly at the root: there a byte must cost one look
};

static uint32_t find_child(const struct stop_matcher *m, uint32_t node, unsigned char byte)
{
    if (node == ROOT)
        return m->root_child[byte];
    uint32_t child = m->nodes[node].first_child;
    while (child != 0 && m->nodes[child].byte != byte)
        child = m->nodes[child].next_sibling;
    return child;
}

static uint32_t next_state(const struct stop_matcher *m, uint32_t state, unsigned char byte)
{
    for (;;) {
        const uint32_t child = find_child(m, state, byte);
        if (child != 0 || state == ROOT)
            return child; // ROOT is 0: no child of the root
        state = m->nodes[state].fail;
    }
}

// ---- Building --------------------------------------------------------------------------------------------------------

// Adds the string that lies at text[at..at + n_bytes).
static void add_string(struct stop_matcher *m, uint32_t at, uint32_t n_bytes)
{
    uint32_t node = ROOT;
    for (uint32_t i = 0; i < n_bytes; i++) {
        const unsigned char byte = (unsigned char)m->text[at + i];
        uint32_t child = find_child(m, node, byte);
        if (child == 0) {
            child = m->n_nodes++;
            m->nodes[child] = (struct stop_node){
                .next_sibling = m->nodes[node].first_child, .depth = i + 1, .at = at, .byte = byte};
            m->nodes[node].first_child = child;
            if (node == ROOT)
                m->root_child[byte] = child;
        }
        node = child;
    }
    m->nodes[node].n_match = n_bytes;
    if (n_bytes > m->longest)
        m->longest = n_bytes;
}

// Breadth first, as a node's links are found through those of its parent, which is shorter. queue [n_nodes].
static void link_failures(struct stop_matcher *m, uint32_t *queue)
{
    uint32_t n_queued = 1;
    queue[0] = ROOT;
    for (uint32_t i = 0; i < n_queued; i++) {
        const uint32_t node = queue[i];
        for (uint32_t child = m->nodes[node].first_child; child != 0; child = m->nodes[child].next_sibling) {
            struct stop_node *c = &m->nodes[child];
            c->fail = node == ROOT ? ROOT : next_state(m, m->nodes[node].fail, c->byte);
            if (c->n_match == 0)
                c->n_match = m->nodes[c->fail].n_match;
            queue[n_queued++] = child;
        }
    }
}

static enum chord_status check_strings(const struct stop_string *strings, uint32_t n_strings, uint32_t *total,
                                       struct chord_error *err)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < n_strings; i++) {
        if (strings[i].n_bytes == 0)
            return chord_fail(err, CHORD_INVALID_ARGUMENT, "stop string %u is empty", (unsigned)i);
        if (strings[i].n_bytes > MAX_STOP_BYTES - n)
            return chord_fail(err, CHORD_INVALID_ARGUMENT, "the stop strings have more than %u bytes in all",
                              (unsigned)MAX_STOP_BYTES);
        if (((unsigned char)strings[i].bytes[0] & 0xc0) == 0x80)
            return chord_fail(err, CHORD_INVALID_ARGUMENT, "stop string %u begins within a UTF-8 character",
                              (unsigned)i);
        n += strings[i].n_bytes;
    }
    *total = (uint32_t)n;
    return CHORD_OK;
}

enum chord_status stop_matcher_create(struct stop_matcher **out, const struct stop_string *strings, uint32_t n_strings,
                                      struct memory_account *account, struct chord_error *err)
{
    uint32_t n_bytes = 0;
    *out = NULL;
    const enum chord_status status = check_strings(strings, n_strings, &n_bytes, err);
    if (status != CHORD_OK)
        return status;

    const uint64_t n_nodes = (uint64_t)n_bytes + 1;
    uint32_t *queue = NULL;
    struct stop_matcher *m = memory_zalloc(account, MEMORY_SCRATCH, 1, sizeof *m);
    if (m == NULL)
        goto fail;
    m->n_nodes = 1;
    m->nodes = memory_zalloc(account, MEMORY_SCRATCH, n_nodes, sizeof *m->nodes);
    m->text = memory_alloc(account, MEMORY_SCRATCH, n_bytes, 1);
    queue = memory_zalloc(account, MEMORY_SCRATCH, n_nodes, sizeof *queue);
    if (m->nodes == NULL || m->text == NULL || queue == NULL)
        goto fail;
    uint32_t at = 0;
    for (uint32_t i = 0; i < n_strings; i++) {
        memcpy(m->text + at, strings[i].bytes, (size_t)strings[i].n_bytes);
        add_string(m, at, (uint32_t)strings[i].n_bytes);
        at += (uint32_t)strings[i].n_bytes;
    }
    link_failures(m, queue);
    memory_free(account, queue);
    *out = m;
    return CHORD_OK;

fail:
    memory_free(account, queue);
    stop_matcher_free(m, account);
    return memory_account_fail(account, err, n_nodes * (sizeof *m->nodes + sizeof *queue) + sizeof *m, "the stop strings");
}

void stop_matcher_free(struct stop_matcher *matcher, struct memory_account *account)
{
    if (matcher == NULL)
        return;
    memory_free(account, matcher->text);
    memory_free(account, matcher->nodes);
    memory_free(account, matcher);
}

uint64_t stop_matcher_max_held(const struct stop_matcher *matcher)
{
    return matcher->longest > 0 ? matcher->longest - 1 : 0;
}

// ---- Matching --------------------------------------------------------------------------------------------------------

// Writes the first `n` bytes of what state `held` spells followed by `text`.
static void release(const struct stop_matcher *m, uint32_t held, const char *text, uint64_t n, char *out)
{
    const struct stop_node *node = &m->nodes[held];
    const uint64_t n_held = n < node->depth ? n : node->depth;
    if (n_held > 0)
        memcpy(out, m->text + node->at, (size_t)n_held);
    if (n > n_held)
        memcpy(out + n_held, text, (size_t)(n - n_held));
}

bool stop_matcher_push(struct stop_matcher *matcher, const char *text, uint64_t n_bytes, char *out, uint64_t *n_out)
{
    struct stop_matcher *m = matcher;
    const uint32_t before = m->state;
    *n_out = 0;
    if (m->done)
        return true;
    for (uint64_t i = 0; i < n_bytes; i++) {
        m->state = next_state(m, m->state, (unsigned char)text[i]);
        const uint32_t n_match = m->nodes[m->state].n_match;
        if (n_match > 0) {
            m->done = true;
            *n_out = m->nodes[before].depth + i + 1 - n_match;
            release(m, before, text, *n_out, out);
            return true;
        }
    }
    *n_out = m->nodes[before].depth + n_bytes - m->nodes[m->state].depth;
    release(m, before, text, *n_out, out);
    return false;
}

void stop_matcher_finish(struct stop_matcher *matcher, char *out, uint64_t *n_out)
{
    *n_out = matcher->done ? 0 : matcher->nodes[matcher->state].depth;
    release(matcher, matcher->state, "", *n_out, out);
    matcher->state = ROOT;
}
