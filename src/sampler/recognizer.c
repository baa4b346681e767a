#include "sampler/recognizer.h"

#include "sampler/grammar_program.h"

#include <string.h>

#define MAX_FOLLOWED (1u << 17) // steps between two bytes
#define UNKNOWN UINT32_MAX
#define EMPTY_STACK 0u

enum frame_kind {
    FRAME_CALL,
    FRAME_LOOP,
    FRAME_FRESH, // of a loop whose body may be empty, and no byte has been read in this turn
    FRAME_GUARD,
};

// A stack is its top frame; frames are never changed and equal ones are one.
struct frame {
    uint32_t below;
    uint32_t step;  // of a call: to return to; else the number of the loop or guard
    uint32_t count; // of a loop: turns that have ended; of a guard: bytes of what it forbids that were read last
    enum frame_kind kind;
    bool is_touched; // a byte that is read makes another frame of this one, or of one below: fresh turns and guards
    struct recognizer_key key;
};

struct way {
    uint32_t step, stack; // step: READ or END
};

struct state {
    uint32_t first, n; // of `ways`, in the order in which they were found
    bool can_end, can_go_on;
};

// A growing array and its limit.
struct array {
    void *items;
    uint32_t n, capacity, most;
};

struct recognizer {
    struct memory_account *account;
    const struct grammar *grammar;
    uint32_t n_ahead;
    struct chord_error error;
    struct array frames, ways, states; // frame 0 is the empty stack, state 0 the dead one
    struct array rows;                 // [states, classes of bytes]: the state after a byte, or UNKNOWN
    // Open addressing by content: index, 0: empty. Powers of two, at most half full as frames and states have limits.
    uint32_t *frame_slots, *state_slots;
    uint32_t n_frame_slots, n_state_slots;
    // While steps are followed: those met (a set), and those still to be followed.
    struct met {
        uint32_t step, stack, stamp;
    } * met; // [n_met_slots]
    uint32_t n_met_slots, n_met, stamp;
    struct array pending; // struct way
    struct array lifted;  // uint32_t: frames to be made anew
    bool is_full;
};

// ---- Memory ----------------------------------------------------------------------------------------------------------

static void fail_memory(struct recognizer *r, uint64_t bytes)
{
    if (r->error.code == CHORD_OK)
        memory_account_fail(r->account, &r->error, bytes, "the state of a grammar");
}

// A place for `more` further elements; NULL when the array is full (is_full) or there is no memory (error).
static void *append(struct recognizer *r, struct array *array, uint32_t more, uint32_t size)
{
    const uint64_t wanted = (uint64_t)array->n + more;
    if (wanted > array->most) {
        r->is_full = true;
        return NULL;
    }
    if (wanted > array->capacity) {
        uint64_t capacity = array->capacity == 0 ? 64 : (uint64_t)array->capacity * 2;
        while (capacity < wanted)
            capacity *= 2;
        void *items = memory_resize(r->account, MEMORY_SCRATCH, array->items, capacity * size);
        if (items == NULL) {
            fail_memory(r, capacity * size);
            return NULL;
        }
        array->items = items;
        array->capacity = (uint32_t)capacity;
    }
    void *at = (char *)array->items + (uint64_t)array->n * size;
    array->n += more;
    return at;
}

static struct frame *frame_at(const struct recognizer *r, uint32_t id)
{
    return (struct frame *)r->frames.items + id;
}

static struct state *state_at(const struct recognizer *r, uint32_t id)
{
    return (struct state *)r->states.items + id;
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static uint32_t hash_words(uint64_t a, uint64_t b)
{
    return (uint32_t)mix(a + 0x9e3779b97f4a7c15u * mix(b + 1));
}

typedef uint32_t hash_of_item(const struct recognizer *r, uint32_t id);

// Room for one more of items 1..n_items - 1 in the slots: twice as many when they are half full. False: no memory.
static bool grow_slots(struct recognizer *r, uint32_t **slots, uint32_t *n_slots, uint32_t n_items, hash_of_item *hash)
{
    if (((uint64_t)n_items + 1) * 2 <= *n_slots)
        return true;
    const uint32_t n = *n_slots == 0 ? 256 : *n_slots * 2;
    uint32_t *grown = memory_zalloc(r->account, MEMORY_SCRATCH, n, sizeof *grown);
    if (grown == NULL) {
        fail_memory(r, (uint64_t)n * sizeof *grown);
        return false;
    }
    for (uint32_t i = 1; i < n_items; i++) {
        uint32_t at = hash(r, i) & (n - 1);
        while (grown[at] != 0)
            at = (at + 1) & (n - 1);
        grown[at] = i;
    }
    memory_free(r->account, *slots);
    *slots = grown;
    *n_slots = n;
    return true;
}

// ---- Frames ----------------------------------------------------------------------------------------------------------

static uint32_t frame_hash(const struct frame *f)
{
    return hash_words((uint64_t)f->below << 32 | f->step, (uint64_t)f->count << 2 | f->kind);
}

static uint32_t hash_of_frame(const struct recognizer *r, uint32_t id)
{
    return frame_hash(frame_at(r, id));
}

// Counts that differ only where n_ahead turns do not reach are the same to the key.
static struct recognizer_key key_of_frame(const struct recognizer *r, const struct frame *f)
{
    const struct recognizer_key below = frame_at(r, f->below)->key;
    uint64_t least = f->count, most = 0;
    if (f->kind == FRAME_LOOP || f->kind == FRAME_FRESH) {
        const struct grammar_loop *loop = &r->grammar->loops[f->step];
        const uint64_t enough = (uint64_t)r->n_ahead + 1;
        least = loop->min > f->count ? loop->min - f->count : 0;
        most = loop->max == UINT32_MAX ? enough : loop->max - f->count;
        least = least < enough ? least : enough;
        most = most < enough ? most : enough;
    }
    const uint64_t a = (uint64_t)f->step << 2 | f->kind, b = least << 32 | most;
    struct recognizer_key key;
    for (int i = 0; i < 2; i++)
        key.bits[i] = mix(mix(mix(below.bits[i] + (uint64_t)i + 1) ^ a) + b * 0x9e3779b97f4a7c15u);
    return key;
}

static bool frames_equal(const struct frame *a, const struct frame *b)
{
    return a->below == b->below && a->step == b->step && a->count == b->count && a->kind == b->kind;
}

// UNKNOWN when there is no room.
static uint32_t intern_frame(struct recognizer *r, struct frame f)
{
    if (!grow_slots(r, &r->frame_slots, &r->n_frame_slots, r->frames.n, hash_of_frame) || r->error.code != CHORD_OK)
        return UNKNOWN;
    uint32_t at = frame_hash(&f) & (r->n_frame_slots - 1);
    for (; r->frame_slots[at] != 0; at = (at + 1) & (r->n_frame_slots - 1))
        if (frames_equal(frame_at(r, r->frame_slots[at]), &f))
            return r->frame_slots[at];
    struct frame *place = append(r, &r->frames, 1, sizeof f);
    if (place == NULL)
        return UNKNOWN;
    f.is_touched = f.kind == FRAME_FRESH || f.kind == FRAME_GUARD || frame_at(r, f.below)->is_touched;
    f.key = key_of_frame(r, &f);
    *place = f;
    return r->frame_slots[at] = r->frames.n - 1;
}

// The stack after a byte was read: no turn is fresh any more, and guards know of it. UNKNOWN also where one forbids it.
static uint32_t lift(struct recognizer *r, uint32_t stack, unsigned char byte)
{
    r->lifted.n = 0;
    while (frame_at(r, stack)->is_touched) {
        uint32_t *place = append(r, &r->lifted, 1, sizeof *place);
        if (place == NULL)
            return UNKNOWN;
        *place = stack;
        stack = frame_at(r, stack)->below;
    }
    for (uint32_t i = r->lifted.n; i-- > 0 && stack != UNKNOWN;) {
        const uint32_t id = ((uint32_t *)r->lifted.items)[i];
        const struct frame old = *frame_at(r, id);
        struct frame f = old;
        f.below = stack;
        if (f.kind == FRAME_FRESH)
            f.kind = FRAME_LOOP;
        if (f.kind == FRAME_GUARD) {
            const struct grammar_guard *guard = &r->grammar->guards[f.step];
            f.count = grammar_guard_next(guard, f.count, byte);
            if (f.count == guard->n)
                return UNKNOWN;
        }
        stack = frames_equal(&f, &old) ? id : intern_frame(r, f);
    }
    return stack;
}

// ---- Following steps -------------------------------------------------------------------------------------------------

static bool grow_met(struct recognizer *r)
{
    const uint32_t n_old = r->n_met_slots, n = n_old == 0 ? 256 : n_old * 2;
    struct met *old = r->met, *met = memory_zalloc(r->account, MEMORY_SCRATCH, n, sizeof *met);
    if (met == NULL) {
        fail_memory(r, (uint64_t)n * sizeof *met);
        return false;
    }
    for (uint32_t i = 0; i < n_old; i++) {
        if (old[i].stamp != r->stamp)
            continue;
        uint32_t at = hash_words(old[i].step, old[i].stack) & (n - 1);
        while (met[at].stamp == r->stamp)
            at = (at + 1) & (n - 1);
        met[at] = old[i];
    }
    memory_free(r->account, old);
    r->met = met;
    r->n_met_slots = n;
    return true;
}

static void fail_ways(struct recognizer *r)
{
    if (r->error.code == CHORD_OK)
        chord_fail(&r->error, CHORD_INVALID_ARGUMENT,
                   "the grammar is too ambiguous: at one place of the text there are more than %u ways to read it; let "
                   "no repetition contain another of the same characters",
                   RECOGNIZER_MAX_WAYS);
}

// Whether this step with this stack is met for the first time since the last byte.
static bool is_new(struct recognizer *r, uint32_t step, uint32_t stack)
{
    if (r->n_met >= MAX_FOLLOWED) {
        fail_ways(r);
        return false;
    }
    if ((r->n_met + 1) * 2 > r->n_met_slots && !grow_met(r))
        return false;
    uint32_t at = hash_words(step, stack) & (r->n_met_slots - 1);
    for (; r->met[at].stamp == r->stamp; at = (at + 1) & (r->n_met_slots - 1))
        if (r->met[at].step == step && r->met[at].stack == stack)
            return false;
    r->met[at] = (struct met){step, stack, r->stamp};
    r->n_met++;
    return true;
}

static void begin_following(struct recognizer *r)
{
    if (++r->stamp == 0) { // stamps of old come round again
        memset(r->met, 0, r->n_met_slots * sizeof *r->met);
        r->stamp = 1;
    }
    r->n_met = 0;
    r->pending.n = 0;
}

static void follow_later(struct recognizer *r, uint32_t step, uint32_t stack)
{
    struct way *place = append(r, &r->pending, 1, sizeof *place);
    if (place != NULL)
        *place = (struct way){step, stack};
}

static uint32_t begin_turn(struct recognizer *r, uint32_t loop, uint32_t count, uint32_t below)
{
    return intern_frame(r, (struct frame){.below = below,
                                          .step = loop,
                                          .count = count,
                                          .kind = r->grammar->loops[loop].may_be_empty ? FRAME_FRESH : FRAME_LOOP});
}

// One step that reads nothing: the step after it, FAIL where the way ends. A second way on is pending.
static uint32_t follow_one(struct recognizer *r, struct grammar_step step, uint32_t *stack)
{
    const struct grammar *g = r->grammar;
    const struct frame top = *frame_at(r, *stack);
    switch ((enum grammar_op)step.op) {
    case GRAMMAR_SPLIT:
        follow_later(r, step.b, *stack);
        return step.a;
    case GRAMMAR_CALL:
        if (step.b != GRAMMAR_STEP_RETURN) // a rule's last call needs no frame: right recursion does not pile up
            *stack = intern_frame(r, (struct frame){.below = *stack, .step = step.b});
        return g->entries[step.a];
    case GRAMMAR_RETURN:
        *stack = top.below;
        return top.step;
    case GRAMMAR_LOOP:
        if (g->loops[step.a].min == 0)
            follow_later(r, g->loops[step.a].exit, *stack);
        *stack = begin_turn(r, step.a, 0, *stack);
        return g->loops[step.a].body;
    case GRAMMAR_LOOP_END: {
        const struct grammar_loop *loop = &g->loops[step.a];
        uint32_t count = top.count + 1;
        if (top.kind == FRAME_FRESH)
            return GRAMMAR_STEP_FAIL;
        if (count >= loop->min)
            follow_later(r, loop->exit, top.below);
        if (loop->max == UINT32_MAX)
            count = count < loop->min ? count : loop->min;
        else if (count >= loop->max)
            return GRAMMAR_STEP_FAIL;
        *stack = begin_turn(r, step.a, count, top.below);
        return loop->body;
    }
    case GRAMMAR_GUARD:
        *stack = intern_frame(r, (struct frame){.below = *stack, .step = step.a, .kind = FRAME_GUARD});
        return g->guards[step.a].body;
    case GRAMMAR_GUARD_END:
        *stack = top.below;
        return g->guards[step.a].exit;
    case GRAMMAR_FAIL:
    case GRAMMAR_END:
    case GRAMMAR_READ:
        break;
    }
    return GRAMMAR_STEP_FAIL;
}

// From one step on to all steps that read a byte or end the text, which are appended to `ways`. `first`: where those of this state begin.
static void follow(struct recognizer *r, uint32_t step, uint32_t stack, uint32_t first)
{
    follow_later(r, step, stack);
    while (r->pending.n > 0 && !r->is_full && r->error.code == CHORD_OK) {
        const struct way from = ((struct way *)r->pending.items)[--r->pending.n];
        step = from.step;
        stack = from.stack;
        while (step != GRAMMAR_STEP_FAIL && stack != UNKNOWN && is_new(r, step, stack)) {
            const struct grammar_step s = r->grammar->steps[step];
            if (s.op != GRAMMAR_READ && s.op != GRAMMAR_END) {
                step = follow_one(r, s, &stack);
                continue;
            }
            struct way *place = append(r, &r->ways, 1, sizeof *place);
            if (place != NULL)
                *place = (struct way){step, stack};
            if (r->ways.n - first > RECOGNIZER_MAX_WAYS)
                fail_ways(r);
            break;
        }
    }
}

// ---- States ----------------------------------------------------------------------------------------------------------

static uint32_t ways_hash(const struct way *ways, uint32_t n)
{
    uint64_t hash = n;
    for (uint32_t i = 0; i < n; i++)
        hash = mix(hash + ((uint64_t)ways[i].step << 32 | ways[i].stack));
    return (uint32_t)hash;
}

static const struct way *ways_of(const struct recognizer *r, const struct state *state)
{
    return (const struct way *)r->ways.items + state->first;
}

static uint32_t hash_of_state(const struct recognizer *r, uint32_t id)
{
    return ways_hash(ways_of(r, state_at(r, id)), state_at(r, id)->n);
}

// The state of the last ways, from `first` on. They are dropped where it is known. UNKNOWN: there is no room.
static uint32_t intern_state(struct recognizer *r, uint32_t first)
{
    struct state new = {.first = first, .n = r->ways.n - first};
    if (new.n == 0)
        return RECOGNIZER_DEAD;
    if (!grow_slots(r, &r->state_slots, &r->n_state_slots, r->states.n, hash_of_state) || r->error.code != CHORD_OK)
        return UNKNOWN;
    const struct way *ways = ways_of(r, &new);
    uint32_t at = ways_hash(ways, new.n) & (r->n_state_slots - 1);
    for (; r->state_slots[at] != 0; at = (at + 1) & (r->n_state_slots - 1)) {
        const struct state *known = state_at(r, r->state_slots[at]);
        if (known->n == new.n && memcmp(ways_of(r, known), ways, new.n * sizeof *ways) == 0) {
            r->ways.n = first;
            return r->state_slots[at];
        }
    }
    for (uint32_t i = 0; i < new.n; i++) {
        new.can_end |= ways[i].step == GRAMMAR_STEP_END;
        new.can_go_on |= ways[i].step != GRAMMAR_STEP_END;
    }
    uint32_t *row = append(r, &r->rows, r->grammar->n_classes, sizeof *row);
    struct state *place = row != NULL ? append(r, &r->states, 1, sizeof *place) : NULL;
    if (place == NULL) {
        r->rows.n = r->states.n * r->grammar->n_classes;
        return UNKNOWN;
    }
    memset(row, 0xff, r->grammar->n_classes * sizeof *row);
    *place = new;
    return r->state_slots[at] = r->states.n - 1;
}

// The state of the ways that were followed; an unfinished one leaves nothing behind but frames.
static uint32_t end_following(struct recognizer *r, uint32_t first)
{
    uint32_t state = UNKNOWN;
    if (!r->is_full && r->error.code == CHORD_OK)
        state = intern_state(r, first);
    if (state != UNKNOWN)
        return state;
    r->ways.n = first;
    return r->error.code == CHORD_OK ? RECOGNIZER_FULL : RECOGNIZER_DEAD;
}

uint32_t recognizer_start(struct recognizer *recognizer)
{
    struct recognizer *r = recognizer;
    const uint32_t first = r->ways.n;
    r->is_full = false;
    begin_following(r);
    follow(r, r->grammar->start, EMPTY_STACK, first);
    return end_following(r, first);
}

static uint32_t compute_next(struct recognizer *r, uint32_t state, unsigned char byte)
{
    const struct state from = *state_at(r, state);
    const uint32_t first = r->ways.n;
    r->is_full = false;
    begin_following(r);
    for (uint32_t i = 0; i < from.n; i++) {
        const struct way way = ways_of(r, &from)[i];
        const struct grammar_step step = r->grammar->steps[way.step];
        if (step.op != GRAMMAR_READ || !grammar_set_has(&r->grammar->sets[step.a], byte))
            continue;
        const uint32_t stack = lift(r, way.stack, byte);
        if (stack != UNKNOWN)
            follow(r, step.b, stack, first);
    }
    return end_following(r, first);
}

uint32_t recognizer_next(struct recognizer *recognizer, uint32_t state, unsigned char byte)
{
    struct recognizer *r = recognizer;
    const uint32_t class = r->grammar->class_of_byte[byte];
    const uint64_t at = (uint64_t)state * r->grammar->n_classes + class;
    const uint32_t known = ((uint32_t *)r->rows.items)[at];
    if (known != UNKNOWN)
        return known;
    if (r->error.code != CHORD_OK)
        return RECOGNIZER_DEAD;
    const uint32_t next = compute_next(r, state, byte);
    if (next != RECOGNIZER_FULL && r->error.code == CHORD_OK)
        ((uint32_t *)r->rows.items)[at] = next;
    return next;
}

bool recognizer_can_end(const struct recognizer *recognizer, uint32_t state)
{
    return state_at(recognizer, state)->can_end;
}

bool recognizer_can_go_on(const struct recognizer *recognizer, uint32_t state)
{
    return state_at(recognizer, state)->can_go_on;
}

struct recognizer_key recognizer_key(const struct recognizer *recognizer, uint32_t state)
{
    const struct recognizer *r = recognizer;
    const struct state *s = state_at(r, state);
    struct recognizer_key sum = {{s->n, s->n}};
    for (uint32_t i = 0; i < s->n; i++) { // a sum, as the order of the ways means nothing
        const struct way way = ways_of(r, s)[i];
        for (int k = 0; k < 2; k++)
            sum.bits[k] += mix(frame_at(r, way.stack)->key.bits[k] + mix(way.step + 1));
    }
    return sum;
}

const struct chord_error *recognizer_error(const struct recognizer *recognizer)
{
    return &recognizer->error;
}

void recognizer_recover(struct recognizer *recognizer)
{
    recognizer->error.code = CHORD_OK;
}

uint64_t recognizer_bytes(const struct recognizer *recognizer)
{
    const struct recognizer *r = recognizer;
    return sizeof *r + (uint64_t)r->frames.capacity * sizeof(struct frame) +
           (uint64_t)(r->ways.capacity + r->pending.capacity) * sizeof(struct way) +
           (uint64_t)r->states.capacity * sizeof(struct state) +
           (uint64_t)(r->rows.capacity + r->lifted.capacity) * sizeof(uint32_t) +
           ((uint64_t)r->n_frame_slots + r->n_state_slots) * sizeof(uint32_t) +
           (uint64_t)r->n_met_slots * sizeof(struct met);
}

// ---- Life ------------------------------------------------------------------------------------------------------------

static void free_memory(struct recognizer *r)
{
    memory_free(r->account, r->frames.items);
    memory_free(r->account, r->ways.items);
    memory_free(r->account, r->states.items);
    memory_free(r->account, r->rows.items);
    memory_free(r->account, r->frame_slots);
    memory_free(r->account, r->state_slots);
    memory_free(r->account, r->met);
    memory_free(r->account, r->pending.items);
    memory_free(r->account, r->lifted.items);
}

// The empty stack and the dead state. False: no memory.
static bool init_memory(struct recognizer *r)
{
    const uint32_t n_classes = r->grammar->n_classes;
    const uint32_t n_rows = RECOGNIZER_MAX_BYTES / 4 / n_classes / sizeof(uint32_t);
    r->states.most = n_rows;
    r->rows.most = n_rows * n_classes;
    r->frames.most = RECOGNIZER_MAX_BYTES / 2 / sizeof(struct frame);
    r->ways.most = RECOGNIZER_MAX_BYTES / 4 / sizeof(struct way);
    r->pending.most = MAX_FOLLOWED * 2;
    r->lifted.most = RECOGNIZER_MAX_BYTES / 2 / sizeof(struct frame);
    struct frame *empty = append(r, &r->frames, 1, sizeof *empty);
    struct state *dead = append(r, &r->states, 1, sizeof *dead);
    uint32_t *row = append(r, &r->rows, n_classes, sizeof *row);
    if (empty == NULL || dead == NULL || row == NULL)
        return false;
    *empty = (struct frame){.key = {{1, 2}}};
    *dead = (struct state){0};
    memset(row, 0, n_classes * sizeof *row);
    return grow_met(r);
}

enum chord_status recognizer_create(struct recognizer **out, const struct grammar *grammar, uint32_t n_ahead,
                                    struct memory_account *account, struct chord_error *err)
{
    struct recognizer *r = memory_zalloc(account, MEMORY_SCRATCH, 1, sizeof *r);
    *out = NULL;
    if (r == NULL)
        return memory_account_fail(account, err, sizeof *r, "the state of a grammar");
    *r = (struct recognizer){.account = account, .grammar = grammar, .n_ahead = n_ahead};
    if (!init_memory(r)) {
        const enum chord_status status = r->error.code;
        if (err != NULL)
            *err = r->error;
        recognizer_free(r);
        return status;
    }
    *out = r;
    return CHORD_OK;
}

void recognizer_free(struct recognizer *recognizer)
{
    if (recognizer == NULL)
        return;
    free_memory(recognizer);
    memory_free(recognizer->account, recognizer);
}

// The same stack in another recognizer of the same grammar.
static uint32_t copy_stack(struct recognizer *to, const struct recognizer *from, uint32_t stack)
{
    uint32_t copy = EMPTY_STACK;
    to->lifted.n = 0;
    for (; stack != EMPTY_STACK; stack = frame_at(from, stack)->below) {
        uint32_t *place = append(to, &to->lifted, 1, sizeof *place);
        if (place == NULL)
            return UNKNOWN;
        *place = stack;
    }
    for (uint32_t i = to->lifted.n; i-- > 0 && copy != UNKNOWN;) {
        struct frame f = *frame_at(from, ((uint32_t *)to->lifted.items)[i]);
        f.below = copy;
        copy = intern_frame(to, f);
    }
    return copy;
}

static uint32_t copy_state(struct recognizer *to, const struct recognizer *from, uint32_t state)
{
    const struct state *s = state_at(from, state);
    const uint32_t first = to->ways.n;
    for (uint32_t i = 0; i < s->n; i++) {
        const struct way way = ways_of(from, s)[i];
        const uint32_t stack = copy_stack(to, from, way.stack);
        struct way *place = stack != UNKNOWN ? append(to, &to->ways, 1, sizeof *place) : NULL;
        if (place == NULL)
            return UNKNOWN;
        *place = (struct way){way.step, stack};
    }
    return intern_state(to, first);
}

bool recognizer_forget(struct recognizer *recognizer, uint32_t *states, uint32_t n)
{
    struct recognizer *r = recognizer;
    struct recognizer kept = {.account = r->account, .grammar = r->grammar, .n_ahead = r->n_ahead};
    uint32_t *copies = memory_zalloc(r->account, MEMORY_SCRATCH, n, sizeof *copies);
    bool done = copies != NULL && init_memory(&kept);
    for (uint32_t i = 0; done && i < n; i++) {
        copies[i] = copy_state(&kept, r, states[i]);
        done = copies[i] != UNKNOWN;
    }
    if (done) {
        memcpy(states, copies, n * sizeof *copies);
        free_memory(r);
        *r = kept;
    } else {
        fail_memory(r, RECOGNIZER_MAX_BYTES);
        free_memory(&kept);
    }
    memory_free(r->account, copies);
    return done;
}
