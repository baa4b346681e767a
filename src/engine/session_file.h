// The file of a saved session. All numbers are little-endian; offsets and sizes in bytes.
//
//     0  char[8]   SESSION_FILE_MAGIC
//     8  u32       version: 1, or 2 of a file with a note
//    12  u32       0x01020304 as the machine that wrote the file keeps it in memory: the byte order of keys and values
//    16  u64       the model: session_fingerprint
//    24  u64       tokens of the text
//    32  u64       of them, the first ones, whose keys and values follow
//    40  u64       bytes of a KV block
//    48  u32       KV type: 0 f16, 1 q8_0
//    52  u32       tokens of a KV block
//    56  u32       layers
//    60  u32       KV heads
//    64  u32       elements of a head
//    68  u32       bytes of the note; 0: the file has none
//    72  char[16]  the tier of the kernels that computed keys and values, filled up with zeros
//    88  u64       XXH64, seed 0, of bytes 0 to 87
//    96  u32[n]    the tokens
//        u8[n]     1: the token was generated; 0: it was of a prompt
//        u64       XXH64, seed 0, of these two
//        u8[m]     the note, bytes of the caller's, and behind it
//        u64       XXH64, seed 0, of it; both only in a file with a note
//        then for each KV block b, as kernels/kernels.h and graph/kv.h lay it out, with zeros at positions that were not computed:
//        u8[]      the block
//        u64       XXH64, seed b + 1, of the block
//
// and there the file ends. It holds nothing of a sampler: whoever goes on chooses anew how.
#ifndef CHORD_ENGINE_SESSION_FILE_H
#define CHORD_ENGINE_SESSION_FILE_H

#include "engine/session.h"

#define SESSION_FILE_MAGIC \
    "\x93"                 \
    "CHORDS\n"
#define SESSION_FILE_VERSION 1u
#define SESSION_FILE_VERSION_NOTE 2u
#define SESSION_FILE_MOST_NOTE ((uint32_t)1 << 26)
#define SESSION_FILE_HEADER_BYTES 96u
#define SESSION_FILE_CHECK_BYTES 8u
#define SESSION_FILE_TIER_BYTES 16u

// What a file must be of so that a model can go on with it.
struct session_file_kind {
    uint64_t fingerprint;
    const struct kv_layout *kv;
    const char *tier;
    uint32_t n_vocab, n_ctx;
};

struct session_file_header {
    uint64_t n_tokens, n_done;
    uint64_t n_note;    // 0: there is none
    uint64_t note_at;   // the note, or what follows the text
    uint64_t blocks_at; // the first KV block
    uint64_t n_blocks;
    uint64_t n_bytes; // of the file
};

// Bytes to read from: a file, or memory in tests. Reads stay within n_bytes; IO when they fail.
struct session_source {
    const char *name; // for messages
    uint64_t n_bytes;
    enum chord_status (*read)(const void *context, uint64_t offset, void *out, uint64_t n_bytes,
                              struct chord_error *err);
    const void *context;
};

// The header of a file for a text of so many tokens and computed ones and a note of n_note bytes, at most SESSION_FILE_MOST_NOTE, into
// out[SESSION_FILE_HEADER_BYTES].
void session_file_write_header(const struct session_file_kind *kind, uint64_t n_tokens, uint64_t n_done,
                               uint64_t n_note, unsigned char *out, struct session_file_header *header);

// Reads and checks the header. NOT_SESSION, SESSION_VERSION, SESSION_TRUNCATED and SESSION_DAMAGED tell what is wrong with the file,
// SESSION_FOREIGN what it is of instead of `kind`; CONTEXT_FULL: its text does not fit the context; IO.
enum chord_status session_file_read_header(const struct session_source *source, const struct session_file_kind *kind,
                                           struct session_file_header *out, struct chord_error *err);

// The text: arrays of the account. SESSION_DAMAGED when the check fails, or a token is none of the vocabulary.
enum chord_status session_file_read_text(const struct session_source *source, const struct session_file_kind *kind,
                                         const struct session_file_header *header, struct memory_account *account,
                                         struct session_text *out, struct chord_error *err);

// The note into out[header->n_note]; nothing where there is none. SESSION_DAMAGED when the check fails.
enum chord_status session_file_read_note(const struct session_source *source, const struct session_file_header *header,
                                         void *out, struct chord_error *err);

// KV block `index` into out [kv->block_bytes].
enum chord_status session_file_read_block(const struct session_source *source, const struct session_file_kind *kind,
                                          const struct session_file_header *header, uint64_t index, void *out,
                                          struct chord_error *err);

void session_file_store_u64(unsigned char *out, uint64_t value);

// What tells a model from others: XXH64 of the metadata, the tensor directory and the sizes of its files, and of a few samples of
// the weights. IO when these cannot be read.
enum chord_status session_fingerprint(const struct gguf *gguf, uint64_t *out, struct chord_error *err);

#endif
