// Any bytes as JSON, as a JSON Schema and as a regular expression. The first byte chooses: odd ones fail an allocation. What must hold:
//   - an error or a grammar, in bounded time; a grammar has a text to begin with;
//   - all memory is given back, also when an allocation fails.
#include "base/json.h"
#include "sampler/json_schema.h"
#include "sampler/recognizer.h"
#include "sampler/regex.h"
#include "target.h"

static struct memory_account account;

// The beginning of some text, as far as the first byte that is allowed each time leads.
static void follow(const struct grammar *grammar)
{
    struct recognizer *recognizer;
    struct chord_error error;
    if (recognizer_create(&recognizer, grammar, 4, &account, &error) != CHORD_OK)
        return;
    uint32_t state = recognizer_start(recognizer);
    for (unsigned i = 0; i < 8 && state != RECOGNIZER_DEAD && recognizer_can_go_on(recognizer, state); i++) {
        uint32_t next = RECOGNIZER_DEAD;
        for (unsigned byte = 0; byte < 256 && next == RECOGNIZER_DEAD; byte++)
            next = recognizer_next(recognizer, state, (unsigned char)byte);
        if (next == RECOGNIZER_FULL || recognizer_error(recognizer)->code != CHORD_OK)
            break;
        REQUIRE(next != RECOGNIZER_DEAD);
        state = next;
    }
    recognizer_free(recognizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct chord_error error = {0};
    struct json_document document;
    struct grammar *grammar;
    struct arena arena;
    const char *problem;
    if (n < 1)
        return 0;
    const char *text = (const char *)data + 1;
    memory_account_init(&account, UINT64_C(1) << 28);
    if (data[0] % 2 == 1)
        atomic_store(&account.fail_after, data[0] / 2);
    if (json_read(&document, text, n - 1, "input", &account, MEMORY_SCRATCH, &error) == CHORD_OK) {
        // What JSON has in its strings is UTF-8, as the patterns of schemas are.
        arena_init(&arena, &account, MEMORY_SCRATCH);
        if (document.root->type == JSON_STRING)
            regex_parse(&arena, document.root->text, &problem);
        arena_free(&arena);
        json_free(&document);
    }
    if (json_schema_compile(text, n - 1, &account, &grammar, &error) == CHORD_OK) {
        if (data[0] % 2 == 0)
            follow(grammar);
        grammar_free(grammar);
    } else {
        REQUIRE(grammar == NULL && error.code != CHORD_OK && error.message[0] != '\0');
    }
    REQUIRE(atomic_load(&account.total) == 0);
    return 0;
}
