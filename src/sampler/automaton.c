#include "sampler/automaton.h"

#include <stdlib.h>
#include <string.h>

#define MAX_PARTS 32u
#define MAX_STEPS 20000u // of the nondeterministic automaton
#define NONE UINT32_MAX

// Thompson's construction: a step reads a character of a class and goes on at `a`, goes on at both `a` and `b`, or accepts for its part.
struct step {
    enum { READ, SPLIT, ACCEPT } kind;
    uint32_t a, b;
    const struct regex *class;
    uint32_t part;
};

// A set of READ and ACCEPT steps, ascending.
struct subset {
    uint32_t *steps;
    uint32_t n;
    uint32_t next_in_bucket;
};

struct maker {
    struct arena *arena, *work; // what stays, and what is needed only while it is made
    const struct automaton_part *parts;
    uint32_t n_parts;
    struct step *steps;
    uint32_t n_steps, max_steps;
    struct subset *subsets; // [capacity]
    struct automaton_state **states;
    uint32_t n_states, capacity, max_states;
    uint32_t *buckets; // hash of a subset -> its index
    uint32_t n_buckets;
    // Of one closure.
    uint32_t *stack, *gathered;
    uint32_t *mark, round; // [max_steps]: the round in which a step was last seen
    enum automaton_result result;
};

static bool give_up(struct maker *m, enum automaton_result why)
{
    m->result = why;
    return false;
}

// ---- Regular expressions to steps ------------------------------------------------------------------------------------

static uint32_t add_step(struct maker *m, struct step step)
{
    if (m->n_steps == m->max_steps) {
        give_up(m, AUTOMATON_TOO_LARGE);
        return NONE;
    }
    m->steps[m->n_steps] = step;
    return m->n_steps++;
}

// At most as many steps as add_regex makes of it; beyond MAX_STEPS it does not go on counting.
static uint64_t count_steps(const struct regex *regex)
{
    uint64_t n = 2;
    for (uint32_t i = 0; regex->kind != REGEX_CLASS && i < regex->n && n <= MAX_STEPS; i++)
        n += count_steps(regex->children[i]) + 1;
    if (regex->kind == REGEX_REPEAT)
        n *= (uint64_t)(regex->max == GRAMMAR_UNBOUNDED ? regex->min : regex->max) + 1;
    return n <= MAX_STEPS ? n : MAX_STEPS + 1;
}

// The first step of `regex` going on at `next`; NONE when it is too large.
static uint32_t add_regex(struct maker *m, const struct regex *regex, uint32_t next)
{
    if (next == NONE)
        return NONE;
    switch (regex->kind) {
    case REGEX_CLASS:
        return add_step(m, (struct step){.kind = READ, .a = next, .class = regex});
    case REGEX_SEQUENCE:
        for (uint32_t i = regex->n; i-- > 0;)
            next = add_regex(m, regex->children[i], next);
        return next;
    case REGEX_CHOICE: {
        uint32_t all = NONE;
        for (uint32_t i = regex->n; i-- > 0;) {
            const uint32_t one = add_regex(m, regex->children[i], next);
            all = one == NONE   ? NONE
                  : all == NONE ? one
                                : add_step(m, (struct step){.kind = SPLIT, .a = one, .b = all});
            if (all == NONE)
                return NONE;
        }
        if (all == NONE) // a choice of none: a step that nothing follows
            all = add_step(m, (struct step){.kind = SPLIT, .a = m->n_steps, .b = m->n_steps});
        return all;
    }
    default: {
        const struct regex *child = regex->children[0];
        if (regex->max == GRAMMAR_UNBOUNDED) {
            const uint32_t loop = add_step(m, (struct step){.kind = SPLIT, .a = next, .b = next});
            const uint32_t body = add_regex(m, child, loop);
            if (body == NONE)
                return NONE;
            m->steps[loop].b = body;
            next = loop;
        } else {
            const uint32_t end = next;
            for (uint32_t i = regex->min; i < regex->max && next != NONE; i++) {
                const uint32_t body = add_regex(m, child, next);
                next = body == NONE ? NONE : add_step(m, (struct step){.kind = SPLIT, .a = body, .b = end});
            }
        }
        for (uint32_t i = 0; i < regex->min && next != NONE; i++)
            next = add_regex(m, child, next);
        return next;
    }
    }
}

// ---- Subsets ---------------------------------------------------------------------------------------------------------

static void begin_set(struct maker *m)
{
    m->round++;
    m->gathered[0] = 0; // their number; the steps follow
}

// Adds what is reached from `step` without reading.
static void add_closure(struct maker *m, uint32_t step)
{
    uint32_t n = 0;
    if (m->mark[step] == m->round)
        return;
    m->mark[step] = m->round;
    m->stack[n++] = step;
    while (n > 0) {
        const uint32_t at = m->stack[--n];
        const struct step *s = &m->steps[at];
        if (s->kind != SPLIT) {
            m->gathered[++m->gathered[0]] = at;
            continue;
        }
        const uint32_t both[2] = {s->a, s->b};
        for (int i = 0; i < 2; i++) {
            if (m->mark[both[i]] != m->round) {
                m->mark[both[i]] = m->round;
                m->stack[n++] = both[i];
            }
        }
    }
}

static int compare_steps(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

// True while each part that a text must be of may still come to its end.
static bool is_alive(const struct maker *m, const uint32_t *steps, uint32_t n)
{
    bool seen[MAX_PARTS] = {0};
    for (uint32_t i = 0; i < n; i++)
        seen[m->steps[steps[i]].part] = true;
    for (uint32_t i = 0; i < m->n_parts; i++)
        if (!m->parts[i].negated && !seen[i])
            return false;
    return true;
}

static bool accepts(const struct maker *m, const uint32_t *steps, uint32_t n)
{
    bool accepted[MAX_PARTS] = {0};
    for (uint32_t i = 0; i < n; i++)
        if (m->steps[steps[i]].kind == ACCEPT)
            accepted[m->steps[steps[i]].part] = true;
    for (uint32_t i = 0; i < m->n_parts; i++)
        if (accepted[i] == m->parts[i].negated)
            return false;
    return true;
}

static bool grow(struct maker *m)
{
    const uint32_t capacity = m->capacity == 0 ? 64 : 4 * m->capacity;
    if (m->capacity == m->max_states)
        return give_up(m, AUTOMATON_TOO_LARGE);
    struct subset *subsets = arena_alloc(m->work, capacity, sizeof *subsets);
    struct automaton_state **states = arena_alloc(m->arena, capacity, sizeof(struct automaton_state *));
    if (subsets == NULL || states == NULL)
        return give_up(m, AUTOMATON_NO_MEMORY);
    if (m->n_states > 0) {
        memcpy(subsets, m->subsets, m->n_states * sizeof *subsets);
        memcpy(states, m->states, m->n_states * sizeof(struct automaton_state *));
    }
    m->subsets = subsets;
    m->states = states;
    m->capacity = capacity < m->max_states ? capacity : m->max_states;
    return true;
}

// The state of the set that was gathered, made if it is new; NONE for one that leads nowhere.
static bool find_state(struct maker *m, uint32_t *out)
{
    const uint32_t n = m->gathered[0];
    uint32_t *steps = m->gathered + 1, hash = 2166136261u;
    *out = NONE;
    if (!is_alive(m, steps, n))
        return true;
    qsort(steps, n, sizeof *steps, compare_steps);
    for (uint32_t i = 0; i < n; i++)
        hash = (hash ^ steps[i]) * 16777619u;
    uint32_t *bucket = &m->buckets[(hash ^ hash >> 15) & (m->n_buckets - 1)];
    for (uint32_t i = *bucket; i != NONE; i = m->subsets[i].next_in_bucket) {
        if (m->subsets[i].n == n && memcmp(m->subsets[i].steps, steps, n * sizeof *steps) == 0) {
            *out = i;
            return true;
        }
    }
    if (m->n_states == m->capacity && !grow(m))
        return false;
    struct subset *subset = &m->subsets[m->n_states];
    struct automaton_state *state = arena_alloc(m->arena, 1, sizeof *state);
    subset->steps = arena_alloc(m->work, n + 1, sizeof *steps);
    if (state == NULL || subset->steps == NULL)
        return give_up(m, AUTOMATON_NO_MEMORY);
    memcpy(subset->steps, steps, n * sizeof *steps);
    subset->n = n;
    subset->next_in_bucket = *bucket;
    state->accepts = accepts(m, steps, n);
    *bucket = *out = m->n_states;
    m->states[m->n_states++] = state;
    return true;
}

static bool class_has(const struct regex *class, uint32_t c)
{
    uint32_t low = 0, high = class->n;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (class->ranges[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < class->n && class->ranges[low].first <= c;
}

// Where the classes of the state's steps begin and end: between two borders no step tells characters apart.
static bool find_borders(struct maker *m, const struct subset *subset, uint32_t **out, uint32_t *n_out)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < subset->n; i++)
        n += m->steps[subset->steps[i]].kind == READ ? 2 * (uint64_t)m->steps[subset->steps[i]].class->n : 0;
    uint32_t *borders = arena_alloc(m->work, n + 1, sizeof *borders), n_borders = 0;
    if (borders == NULL)
        return give_up(m, AUTOMATON_NO_MEMORY);
    for (uint32_t i = 0; i < subset->n; i++) {
        const struct step *s = &m->steps[subset->steps[i]];
        if (s->kind != READ)
            continue;
        for (uint32_t k = 0; k < s->class->n; k++) {
            borders[n_borders++] = s->class->ranges[k].first;
            borders[n_borders++] = s->class->ranges[k].last + 1;
        }
    }
    qsort(borders, n_borders, sizeof *borders, compare_steps);
    *n_out = 0;
    for (uint32_t i = 0; i < n_borders; i++)
        if (i == 0 || borders[i] != borders[i - 1])
            borders[(*n_out)++] = borders[i];
    *out = borders;
    return true;
}

static bool add_edges(struct maker *m, uint32_t index)
{
    uint32_t *borders, n_borders, n_edges = 0;
    if (!find_borders(m, &m->subsets[index], &borders, &n_borders))
        return false;
    struct automaton_edge *edges = arena_alloc(m->arena, n_borders + 1, sizeof *edges);
    if (edges == NULL)
        return give_up(m, AUTOMATON_NO_MEMORY);
    for (uint32_t i = 0; i + 1 < n_borders; i++) {
        const struct subset *subset = &m->subsets[index];
        uint32_t to;
        begin_set(m);
        for (uint32_t k = 0; k < subset->n; k++) {
            const struct step *s = &m->steps[subset->steps[k]];
            if (s->kind == READ && class_has(s->class, borders[i]))
                add_closure(m, s->a);
        }
        if (!find_state(m, &to))
            return false;
        if (to == NONE)
            continue;
        struct automaton_edge *last = n_edges > 0 ? &edges[n_edges - 1] : NULL;
        if (last != NULL && last->to == to && last->range.last + 1 == borders[i])
            last->range.last = borders[i + 1] - 1;
        else
            edges[n_edges++] = (struct automaton_edge){{borders[i], borders[i + 1] - 1}, to};
    }
    m->states[index]->edges = edges;
    m->states[index]->n_edges = n_edges;
    return true;
}

static bool make_states(struct maker *m)
{
    uint32_t starts[MAX_PARTS], to;
    for (uint32_t i = 0; i < m->n_parts; i++) {
        const uint32_t first = m->n_steps;
        const struct regex *regex = m->parts[i].regex;
        starts[i] = add_regex(m, regex, add_step(m, (struct step){.kind = ACCEPT}));
        if (starts[i] == NONE)
            return false;
        for (uint32_t k = first; k < m->n_steps; k++)
            m->steps[k].part = i;
    }
    begin_set(m);
    for (uint32_t i = 0; i < m->n_parts; i++)
        add_closure(m, starts[i]);
    if (!find_state(m, &to))
        return false;
    for (uint32_t i = 0; i < m->n_states; i++)
        if (!add_edges(m, i))
            return false;
    return true;
}

enum automaton_result automaton_make(struct arena *arena, const struct automaton_part *parts, uint32_t n_parts,
                                     uint32_t max_states, struct automaton *out)
{
    struct arena work;
    struct maker m = {.arena = arena, .work = &work, .parts = parts, .n_parts = n_parts, .max_states = max_states};
    uint64_t n_steps = 0;
    *out = (struct automaton){.is_empty = true};
    if (n_parts > MAX_PARTS)
        return AUTOMATON_TOO_LARGE;
    for (uint32_t i = 0; i < n_parts; i++)
        n_steps += count_steps(parts[i].regex) + 1;
    if (n_steps > MAX_STEPS)
        return AUTOMATON_TOO_LARGE;
    arena_init(&work, arena->account, arena->region);
    m.max_steps = (uint32_t)n_steps;
    m.n_buckets = 1024;
    m.steps = arena_alloc(&work, n_steps, sizeof *m.steps);
    m.stack = arena_alloc(&work, n_steps, sizeof *m.stack);
    m.gathered = arena_alloc(&work, n_steps + 1, sizeof *m.gathered);
    m.mark = arena_alloc(&work, n_steps, sizeof *m.mark);
    m.buckets = arena_alloc(&work, m.n_buckets, sizeof *m.buckets);
    if (m.steps == NULL || m.stack == NULL || m.gathered == NULL || m.mark == NULL || m.buckets == NULL) {
        m.result = AUTOMATON_NO_MEMORY;
    } else {
        memset(m.buckets, 0xff, m.n_buckets * sizeof *m.buckets);
        make_states(&m);
    }
    if (m.result == AUTOMATON_DONE) {
        out->states = (const struct automaton_state *const *)m.states;
        out->n_states = m.n_states;
        for (uint32_t i = 0; i < m.n_states; i++) // each was reached from the first
            out->is_empty &= !m.states[i]->accepts;
    }
    arena_free(&work);
    return m.result;
}
