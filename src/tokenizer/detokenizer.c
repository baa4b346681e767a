#include "tokenizer/tokenizer.h"

#include <string.h>

static const char replacement[] = "\xef\xbf\xbd"; // U+FFFD
#define REPLACEMENT_BYTES 3

void detokenizer_init(struct detokenizer *detokenizer, const struct tokenizer *tokenizer, bool special,
                      bool strip_leading_space)
{
    struct tokenizer_info info;
    tokenizer_info(tokenizer, &info);
    *detokenizer = (struct detokenizer){
        .tokenizer = tokenizer, .special = special, .at_start = strip_leading_space && info.add_space_prefix};
}

// Each byte of a token can become a U+FFFD, and so can what was pending.
uint64_t detokenizer_max_bytes(const struct tokenizer *tokenizer)
{
    return REPLACEMENT_BYTES * (tokenizer_max_token_bytes(tokenizer) + sizeof((struct detokenizer *)0)->pending);
}

// How many bytes the character that begins with `first` has; 0 where none begins so.
static unsigned character_bytes(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4)
        return 0;
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

// Can `byte` follow the n >= 1 bytes of `pending`? (RFC 3629: the second byte is limited after some first ones.)
static bool can_follow(const unsigned char *pending, unsigned n, unsigned char byte)
{
    unsigned char low = 0x80, high = 0xbf;
    if (n == 1) {
        switch (pending[0]) {
        case 0xe0:
            low = 0xa0;
            break;
        case 0xed:
            high = 0x9f;
            break;
        case 0xf0:
            low = 0x90;
            break;
        case 0xf4:
            high = 0x8f;
            break;
        default:
            break;
        }
    }
    return byte >= low && byte <= high;
}

static uint64_t give_replacement(char *out)
{
    memcpy(out, replacement, REPLACEMENT_BYTES);
    return REPLACEMENT_BYTES;
}

static uint64_t push_byte(struct detokenizer *detokenizer, unsigned char byte, char *out)
{
    uint64_t n = 0;
    if (detokenizer->n_pending > 0 && !can_follow(detokenizer->pending, detokenizer->n_pending, byte)) {
        n = give_replacement(out);
        detokenizer->n_pending = 0;
    }
    if (detokenizer->n_pending == 0 && character_bytes(byte) == 0)
        return n + give_replacement(out + n);
    detokenizer->pending[detokenizer->n_pending++] = byte;
    if (detokenizer->n_pending < character_bytes(detokenizer->pending[0]))
        return n;
    memcpy(out + n, detokenizer->pending, detokenizer->n_pending);
    n += detokenizer->n_pending;
    detokenizer->n_pending = 0;
    return n;
}

uint64_t detokenizer_push(struct detokenizer *detokenizer, uint32_t id, char *out)
{
    // The token's bytes go to the far end of `out`: three bytes of text at most come of each, and those before
    // byte i take no more than 3 * i + 9 bytes, so that writing never overtakes reading.
    const uint64_t capacity = detokenizer_max_bytes(detokenizer->tokenizer);
    const uint64_t n_most = tokenizer_max_token_bytes(detokenizer->tokenizer);
    char *const bytes = out + (capacity - n_most);
    const uint64_t n_bytes = tokenizer_token_bytes(detokenizer->tokenizer, id, detokenizer->special, bytes, n_most);
    uint64_t n = 0, i = 0;
    if (n_bytes > 0 && detokenizer->at_start) {
        detokenizer->at_start = false;
        i = bytes[0] == ' ';
    }
    for (; i < n_bytes; i++)
        n += push_byte(detokenizer, (unsigned char)bytes[i], out + n);
    return n;
}

uint64_t detokenizer_finish(struct detokenizer *detokenizer, char *out)
{
    if (detokenizer->n_pending == 0)
        return 0;
    detokenizer->n_pending = 0;
    return give_replacement(out);
}
