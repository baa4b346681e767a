#include "tokenizer/trie.h"

#include <string.h>

static struct trie_edge *slot_of(const struct trie *trie, uint32_t node, unsigned char byte)
{
    const uint64_t mask = trie->n_slots - 1;
    uint64_t hash = (((uint64_t)node << 8 | byte) ^ trie->seed) * UINT64_C(0x9e3779b97f4a7c15);
    for (uint64_t at = hash >> 32 & mask;; at = (at + 1) & mask) {
        struct trie_edge *edge = &trie->edges[at];
        if (edge->next == 0 || (edge->node == node && edge->byte == byte))
            return edge;
    }
}

uint32_t trie_next(const struct trie *trie, uint32_t node, unsigned char byte)
{
    return slot_of(trie, node, byte)->next;
}

static void add(struct trie *trie, const struct vocabulary_token *token, uint32_t id)
{
    uint32_t node = 0;
    for (uint32_t i = 0; i < token->n_bytes; i++) {
        struct trie_edge *edge = slot_of(trie, node, (unsigned char)token->text[i]);
        if (edge->next == 0) {
            *edge = (struct trie_edge){.node = node, .next = trie->n_nodes, .byte = (unsigned char)token->text[i]};
            trie->ids[trie->n_nodes++] = TOKEN_NONE;
        }
        node = edge->next;
    }
    trie->ids[node] = id;
}

bool trie_load(struct trie *trie, const struct vocabulary *vocabulary)
{
    uint64_t n_bytes = 0; // of all texts: a node each at most. The header that holds them is far smaller than 2^32
    for (uint32_t id = 0; id < vocabulary->n_tokens; id++)
        n_bytes += token_is_text(&vocabulary->tokens[id]) ? vocabulary->tokens[id].n_bytes : 0;
    *trie = (struct trie){.account = vocabulary->account, .n_slots = 16, .seed = vocabulary->seed};
    while (trie->n_slots < 2 * n_bytes)
        trie->n_slots *= 2;
    trie->ids = memory_alloc(trie->account, MEMORY_TOKENIZER, (n_bytes + 1) * sizeof *trie->ids, 16);
    trie->edges = memory_zalloc(trie->account, MEMORY_TOKENIZER, trie->n_slots, sizeof *trie->edges);
    if (trie->ids == NULL || trie->edges == NULL) {
        trie_free(trie);
        return false;
    }
    trie->ids[trie->n_nodes++] = TOKEN_NONE;
    for (uint32_t id = 0; id < vocabulary->n_tokens; id++)
        if (token_is_text(&vocabulary->tokens[id]) && vocabulary->tokens[id].n_bytes > 0)
            add(trie, &vocabulary->tokens[id], id);
    return true;
}

void trie_free(struct trie *trie)
{
    memory_free(trie->account, trie->ids);
    memory_free(trie->account, trie->edges);
    trie->ids = NULL;
    trie->edges = NULL;
}

uint32_t trie_longest(const struct trie *trie, const unsigned char *text, uint64_t n_bytes, uint64_t *n)
{
    uint32_t id = TOKEN_NONE, node = 0;
    *n = 0;
    for (uint64_t i = 0; i < n_bytes; i++) {
        node = trie_next(trie, node, text[i]);
        if (node == 0)
            break;
        if (trie->ids[node] != TOKEN_NONE) {
            id = trie->ids[node];
            *n = i + 1;
        }
    }
    return id;
}
