// Any bytes as a grammar in GBNF and, behind the first 0, as a text that it reads. The first byte chooses which allocation fails. What must
// hold: an error with a message, or a grammar; a state that is not dead either ends or goes on; forgetting changes neither; all memory
// is given back.
#include "sampler/gbnf.h"
#include "sampler/recognizer.h"
#include "target.h"

#include <string.h>

static void read_text(const struct grammar *grammar, const uint8_t *text, size_t n, struct memory_account *account)
{
    struct recognizer *r;
    struct chord_error err;
    if (recognizer_create(&r, grammar, 16, account, &err) != CHORD_OK)
        return;
    uint32_t at = recognizer_start(r);
    for (size_t i = 0; i < n && at != RECOGNIZER_DEAD && at != RECOGNIZER_FULL; i++) {
        const bool can_end = recognizer_can_end(r, at), can_go_on = recognizer_can_go_on(r, at);
        const struct recognizer_key key = recognizer_key(r, at);
        require(can_end || can_go_on, "a state leads somewhere");
        if (i % 8 == 7 && recognizer_forget(r, &at, 1)) {
            const struct recognizer_key same = recognizer_key(r, at);
            require(recognizer_can_end(r, at) == can_end && recognizer_can_go_on(r, at) == can_go_on, "forgetting");
            require(same.bits[0] == key.bits[0] && same.bits[1] == key.bits[1], "keys stay");
        }
        at = recognizer_next(r, at, text[i]);
    }
    recognizer_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct memory_account account;
    struct grammar *grammar;
    struct chord_error err = {0};
    if (n < 1)
        return 0;
    memory_account_init(&account, UINT64_C(256) << 20);
    if (data[0] > 0)
        atomic_store(&account.fail_after, data[0]);
    data++;
    n--;
    const uint8_t *zero = memchr(data, 0, n);
    const size_t n_grammar = zero != NULL ? (size_t)(zero - data) : n;
    if (gbnf_compile((const char *)data, n_grammar, &account, &grammar, &err) == CHORD_OK)
        read_text(grammar, data + n_grammar, n - n_grammar, &account);
    else
        require(err.code != CHORD_OK && err.message[0] != 0 && grammar == NULL, "an error says something");
    grammar_free(grammar);
    require(atomic_load(&account.total) == 0, "all memory is given back");
    return 0;
}
