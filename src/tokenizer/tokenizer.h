// Tokenizer: text to token ids and back, from the vocabulary in a GGUF file.
// Models: "llama" (SentencePiece BPE with scores and byte fallback), "gpt2" (byte-level BPE with merges and a
// pre-tokenizer named by tokenizer.ggml.pre; the table in tokenizer/pretokenizers.c takes the next as one row), "bert"
// (WordPiece; EOS is its [SEP], BOS its [CLS]), "t5" (Unigram).
//
// A struct tokenizer is immutable once made: any number of threads may encode and decode with it.
#ifndef CHORD_TOKENIZER_TOKENIZER_H
#define CHORD_TOKENIZER_TOKENIZER_H

#include "base/alloc.h"
#include "base/status.h"
#include "gguf/gguf.h"

#include <stdbool.h>
#include <stdint.h>

struct tokenizer; // opaque

// Values of tokenizer.ggml.token_type.
enum token_type {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN = 2,
    TOKEN_CONTROL = 3,
    TOKEN_USER_DEFINED = 4,
    TOKEN_UNUSED = 5,
    TOKEN_BYTE = 6,
};

#define TOKEN_NONE UINT32_MAX

// A growing list of token ids. Zero-initialise, give it its account, free with token_list_free.
struct token_list {
    uint32_t *ids;
    uint64_t n;
    uint64_t capacity;
    struct memory_account *account;
};
bool token_list_append(struct token_list *list, uint32_t id); // false: out of memory
void token_list_free(struct token_list *list);

// Builds the tokenizer from metadata. Keeps pointers into `gguf`, which must outlive it. Checks every count, type and
// id. Failures: UNSUPPORTED_TOKENIZER (names the model or pre-tokenizer), TOKENIZER, GGUF_METADATA, memory codes.
enum chord_status tokenizer_create(struct tokenizer **out, const struct gguf *gguf, struct memory_account *account,
                                   struct chord_error *err);
void tokenizer_free(struct tokenizer *tokenizer); // NULL is fine

struct tokenizer_info {
    const char *model;        // "llama", "gpt2", "bert", "t5"
    const char *pretokenizer; // "llama-bpe", ...; "" where there is none
    uint32_t n_vocab;
    uint32_t bos, eos, eot, unk, pad; // TOKEN_NONE where the vocabulary has none
    uint32_t sep; // stands between two texts that are read as one, behind the end of the first; TOKEN_NONE: nothing does
    uint32_t infill_prefix, infill_suffix,
        infill_middle;     // what stands before each part of a text with a gap; or TOKEN_NONE
    bool add_bos, add_eos; // what the metadata asks for (defaults by model where it does not say)
    bool add_space_prefix; // a text gets a space in front ("llama"): the detokenizer takes it away again
};
void tokenizer_info(const struct tokenizer *tokenizer, struct tokenizer_info *out);

enum tokenizer_bos {
    TOKENIZER_BOS_AS_METADATA,
    TOKENIZER_BOS_NEVER,
    TOKENIZER_BOS_ALWAYS, // where the vocabulary has one
};

struct encode_options {
    bool parse_special; // recognise control tokens written out in the text ("<|eot_id|>"); user-defined ones always are
    enum tokenizer_bos bos; // eos is added only as metadata says, and only with BOS_AS_METADATA
    bool continues;         // the text goes on from one before: it gets no space in front
    // Offsets in the text, rising, that no special token reaches across: so the parts of a text that are a user's
    // words can be told from those that may hold control tokens. Ordinary tokens do. Borrowed.
    const uint64_t *cuts;
    uint64_t n_cuts;
};

// Appends the ids of `text` (any bytes; invalid UTF-8 is encoded byte by byte where the vocabulary can, else as
// unknown). O(n log n) in n_bytes, in practice linear. Special tokens: the leftmost, of those that begin at one
// place the longest. Fails for lack of memory, and with INVALID_ARGUMENT above 1 GiB of text; `list` is then as
// before.
enum chord_status tokenizer_encode(const struct tokenizer *tokenizer, const char *text, uint64_t n_bytes,
                                   struct encode_options options, struct token_list *list, struct chord_error *err);

enum token_type tokenizer_token_type(const struct tokenizer *tokenizer, uint32_t id); // UNUSED beyond n_vocab

// True for tokens that end a generation: EOS, EOT and their kin (tokenizer.ggml.eos_token_id, eot_token_id,
// eom_token_id, and control tokens with the well-known spellings such as <|eot_id|>, <|im_end|>, <|end|>,
// <|endoftext|>, <end_of_turn>; where a converter marked one of these as text, it is a control token all the same).
bool tokenizer_is_end_of_generation(const struct tokenizer *tokenizer, uint32_t id);

// The text as written in the vocabulary (borrowed): "▁the", "Ġthe", "<0x0A>". Empty beyond n_vocab.
struct gguf_string tokenizer_token_text(const struct tokenizer *tokenizer, uint32_t id);

// Id of a token by that spelling, or TOKEN_NONE.
uint32_t tokenizer_find(const struct tokenizer *tokenizer, const char *text, uint64_t n_bytes);

// The bytes a token stands for (may be part of a UTF-8 character): into `out` of capacity `out_bytes`; returns
// how many there are, which may exceed out_bytes (call again). Control tokens yield nothing unless `special`. No
// leading-space rule is applied here: that is the detokenizer's.
uint64_t tokenizer_token_bytes(const struct tokenizer *tokenizer, uint32_t id, bool special, char *out,
                               uint64_t out_bytes);

// No token of this vocabulary stands for more bytes.
uint64_t tokenizer_max_token_bytes(const struct tokenizer *tokenizer);

// Streaming detokenizer: feeds on ids, gives UTF-8. What it gives is always whole characters: bytes of an unfinished
// character wait; bytes that can never become one are given as U+FFFD, as a WHATWG decoder would.
struct detokenizer {
    const struct tokenizer *tokenizer;
    bool special;  // show control tokens
    bool at_start; // the leading space that SentencePiece added is still to be removed
    unsigned char pending[4];
    uint8_t n_pending;
};
// `strip_leading_space`: true when the stream starts a text (detokenize), false when it continues a prompt
// (generation).
void detokenizer_init(struct detokenizer *detokenizer, const struct tokenizer *tokenizer, bool special,
                      bool strip_leading_space);

// The most bytes one call of detokenizer_push or detokenizer_finish can give.
uint64_t detokenizer_max_bytes(const struct tokenizer *tokenizer);

// Writes the text that `id` completes to `out` (capacity >= detokenizer_max_bytes) and returns its length, perhaps 0.
uint64_t detokenizer_push(struct detokenizer *detokenizer, uint32_t id, char *out);

// The end of the stream: what was pending, as U+FFFD. Returns its length. The detokenizer can be used again
// afterwards.
uint64_t detokenizer_finish(struct detokenizer *detokenizer, char *out);

#endif
