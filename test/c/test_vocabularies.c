// Real vocabularies (fixtures): their test vectors, texts there and back, special tokens.

#include "tokenizer_helpers.h"

#include <stdio.h>

static const char *const fixture_names[] = {"gpt-2", "llama-bpe", "llama-spm", "phi-3", "qwen2"};

static void fixture_path(char path[1024], const char *folder, const char *name)
{
    const char *fixtures = getenv("CHORD_FIXTURES");
    snprintf(path, 1024, "%s/%s/%s", fixtures != NULL ? fixtures : "../shared/fixtures", folder, name);
}

// The whole file, terminated; NULL where it does not exist. To be freed.
static char *read_fixture(const char *folder, const char *name, uint64_t *n)
{
    char path[1024];
    fixture_path(path, folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return NULL;
    fseek(file, 0, SEEK_END);
    *n = (uint64_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*n + 1);
    assert_int_equal(fread(bytes, 1, *n, file), *n);
    bytes[*n] = '\0';
    fclose(file);
    return bytes;
}

static bool open_fixture(struct made *m, const char *name)
{
    char path[1024], file[64];
    struct chord_error err = {0};
    snprintf(file, sizeof file, "ggml-vocab-%s.gguf", name);
    fixture_path(path, "vocab", file);
    *m = (struct made){.list = {.account = &account}};
    const enum chord_status status = gguf_open(&m->gguf, path, &account, &err);
    if (status == CHORD_FILE_NOT_FOUND) {
        print_message("no fixtures: set CHORD_FIXTURES to the folder with vocab/%s\n", file);
        return false;
    }
    if (status != CHORD_OK || tokenizer_create(&m->tokenizer, m->gguf, &account, &err) != CHORD_OK)
        fail_msg("%s", err.message);
    return true;
}

static void check_vector(struct made *m, const char *name, const char *text, uint64_t n, char *ids)
{
    encode(m, text, n, plain);
    uint64_t i = 0;
    for (char *at = ids, *end;; at = end, i++) {
        const unsigned long id = strtoul(at, &end, 10);
        if (end == at)
            break;
        if (i >= m->list.n || m->list.ids[i] != id)
            fail_msg("%s: '%.*s', token %llu is not %lu", name, (int)n, text, (unsigned long long)i, id);
    }
    assert_int_equal(m->list.n, i);
    check_round_trip(m, text, n);
}

// .inp: texts, each with `between` after it; .out: a line of ids for each.
static void test_vectors(void **state)
{
    static const char between[] = "\n__ggml_vocab_test__\n";
    (void)state;
    for (size_t f = 0; f < sizeof fixture_names / sizeof *fixture_names; f++) {
        struct made m;
        char file[64];
        uint64_t n_texts, n_ids;
        if (!open_fixture(&m, fixture_names[f]))
            skip();
        snprintf(file, sizeof file, "ggml-vocab-%s.gguf.inp", fixture_names[f]);
        char *texts = read_fixture("vocab", file, &n_texts);
        snprintf(file, sizeof file, "ggml-vocab-%s.gguf.out", fixture_names[f]);
        char *ids = read_fixture("vocab", file, &n_ids);
        assert_non_null(texts);
        assert_non_null(ids);
        uint32_t n_vectors = 0;
        char *line = ids, *end;
        for (char *text = texts; (end = strstr(text, between)) != NULL; text = end + sizeof between - 1) {
            char *line_end = strchr(line, '\n');
            assert_non_null(line_end);
            *line_end = '\0';
            check_vector(&m, fixture_names[f], text, (uint64_t)(end - text), line);
            line = line_end + 1;
            n_vectors++;
        }
        assert_int_equal(n_vectors, 46);
        free(texts);
        free(ids);
        made_close(&m);
    }
}

// Text comes back from ids as it was: all of a book, and random characters.
static void test_fixture_round_trips(void **state)
{
    (void)state;
    uint64_t n_book, seed = 1;
    char *book = read_fixture("text", "war-and-peace.txt", &n_book), text[4 * 64];
    if (book == NULL)
        skip();
    for (size_t f = 0; f < sizeof fixture_names / sizeof *fixture_names; f++) {
        struct made m;
        if (!open_fixture(&m, fixture_names[f]))
            skip();
        check_round_trip(&m, book, n_book < 400000 ? n_book : 400000);
        for (int i = 0; i < 300; i++)
            check_round_trip(&m, text, random_characters(&seed, random_below(&seed, 64), text));
        made_close(&m);
    }
    free(book);
}

static void test_fixture_special_tokens(void **state)
{
    (void)state;
    struct made m;
    struct tokenizer_info info;
    if (!open_fixture(&m, "llama-bpe"))
        skip();
    tokenizer_info(m.tokenizer, &info);
    assert_string_equal(info.model, "gpt2");
    assert_string_equal(info.pretokenizer, "llama-bpe");
    assert_int_equal(info.n_vocab, 128256);
    assert_int_equal(info.bos, 128000);
    assert_int_equal(info.eot, 128009);
    assert_true(info.add_bos && !info.add_eos && !info.add_space_prefix);
    assert_true(tokenizer_is_end_of_generation(m.tokenizer, 128001));
    assert_true(tokenizer_is_end_of_generation(m.tokenizer, 128009));
    assert_false(tokenizer_is_end_of_generation(m.tokenizer, 128000));
    CHECK_SPELLED(&m, "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>", with_special, "<|start_header_id|>",
                  "user", "<|end_header_id|>", "ĊĊ", "Hi", "<|eot_id|>");
    encode(&m, "", 0, (struct encode_options){0});
    assert_int_equal(m.list.n, 1);
    assert_int_equal(m.list.ids[0], 128000);
    made_close(&m);

    // Phi-3's special tokens swallow white space behind them, but for three of them.
    assert_true(open_fixture(&m, "phi-3"));
    CHECK_SPELLED(&m, "<|user|>\n Hello<|end|>\n<|assistant|>", with_special, "<|user|>", "▁Hello", "<|end|>",
                  "<|assistant|>");
    CHECK_SPELLED(&m, "<|endoftext|> a", with_special, "<|endoftext|>", "▁", "▁a");
    made_close(&m);

    assert_true(open_fixture(&m, "qwen2"));
    tokenizer_info(m.tokenizer, &info);
    assert_true(!info.add_bos && info.eot == 151645);
    assert_int_equal(tokenizer_find(m.tokenizer, "</s>", 4), 128247); // text in this vocabulary
    assert_false(tokenizer_is_end_of_generation(m.tokenizer, 128247));
    made_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_vectors),
        TEST(test_fixture_round_trips),
        TEST(test_fixture_special_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
