// Status codes and error details: the one way in which a function of chord fails.
//
// A fallible function returns `enum chord_status` (CHORD_OK is 0) and, when it fails, fills the caller's
// `struct chord_error` with the same code and a message for the user: what is wrong (file, offset, key,
// tensor, numbers) and what to do. The names below are what JavaScript sees in `ChordError.code`.
#ifndef CHORD_BASE_STATUS_H
#define CHORD_BASE_STATUS_H

#include <stdarg.h>
#include <stddef.h>

// X(code, name seen by JavaScript, what it means)
#define CHORD_STATUS_MAP(X)                                                                                       \
    X(CHORD_OK, "OK", "success")                                                                                  \
    X(CHORD_INVALID_ARGUMENT, "INVALID_ARGUMENT", "an argument or option is not usable")                          \
    X(CHORD_FILE_NOT_FOUND, "FILE_NOT_FOUND", "the file does not exist")                                          \
    X(CHORD_IO, "IO", "the operating system refused or broke off a read or a write")                              \
    X(CHORD_NOT_GGUF, "NOT_GGUF", "the file does not begin as a GGUF file does")                                  \
    X(CHORD_GGUF_VERSION, "GGUF_VERSION", "a GGUF version that chord does not read")                              \
    X(CHORD_GGUF_TRUNCATED, "GGUF_TRUNCATED", "the file ends before what its header promises")                    \
    X(CHORD_GGUF_LIMIT, "GGUF_LIMIT", "a count, length or size beyond what a file may hold")                      \
    X(CHORD_GGUF_METADATA, "GGUF_METADATA", "a metadata key or value is malformed or missing")                    \
    X(CHORD_GGUF_TENSOR, "GGUF_TENSOR", "a tensor's name, shape, offset or span is malformed")                    \
    X(CHORD_GGUF_TENSOR_TYPE, "GGUF_TENSOR_TYPE", "a tensor type that chord does not read")                       \
    X(CHORD_GGUF_ALIGNMENT, "GGUF_ALIGNMENT", "the alignment is not a usable power of two")                       \
    X(CHORD_GGUF_SPLIT, "GGUF_SPLIT", "the files of a split model do not belong together")                        \
    X(CHORD_UNSUPPORTED_ARCHITECTURE, "UNSUPPORTED_ARCHITECTURE", "a model architecture that chord does not run") \
    X(CHORD_UNSUPPORTED_TOKENIZER, "UNSUPPORTED_TOKENIZER",                                                       \
      "a tokenizer model or pre-tokenizer that chord does not know")                                              \
    X(CHORD_MODEL_HPARAMS, "MODEL_HPARAMS", "hyperparameters are missing or contradict each other")               \
    X(CHORD_MODEL_TENSOR, "MODEL_TENSOR",                                                                         \
      "a tensor of the architecture is missing, surplus or of the wrong shape or type")                           \
    X(CHORD_TOKENIZER, "TOKENIZER", "the vocabulary is malformed")                                                \
    X(CHORD_OUT_OF_MEMORY, "OUT_OF_MEMORY", "the system has no memory left")                                      \
    X(CHORD_MEMORY_BUDGET, "MEMORY_BUDGET", "the memory budget does not suffice")                                 \
    X(CHORD_CONTEXT_FULL, "CONTEXT_FULL", "more tokens than the context holds")                                   \
    X(CHORD_CANCELLED, "CANCELLED", "cancelled by the caller")                                                    \
    X(CHORD_CLOSED, "CLOSED", "the object has been closed")                                                       \
    X(CHORD_NOT_FOUND, "NOT_FOUND", "no key, tensor or token of that name")                                       \
    X(CHORD_FILE_CHANGED, "FILE_CHANGED", "the model file changed while it was in use")                           \
    X(CHORD_NOT_SESSION, "NOT_SESSION", "the file is not a saved session")                                        \
    X(CHORD_SESSION_VERSION, "SESSION_VERSION", "a version of saved sessions that chord does not read")           \
    X(CHORD_SESSION_TRUNCATED, "SESSION_TRUNCATED", "the file of a saved session ends too early")                 \
    X(CHORD_SESSION_DAMAGED, "SESSION_DAMAGED", "the file of a saved session is damaged")                         \
    X(CHORD_SESSION_FOREIGN, "SESSION_FOREIGN",                                                                   \
      "a session that was saved with another model, KV type or processor tier")                                   \
    X(CHORD_BUSY, "BUSY", "the object is at work on something else")                                              \
    X(CHORD_THREAD, "THREAD", "the system refused to start a thread")

enum chord_status {
#define X(code, name, text) code,
    CHORD_STATUS_MAP(X)
#undef X
};

#define CHORD_ERROR_MESSAGE_BYTES 512

struct chord_error {
    enum chord_status code;
    char message[CHORD_ERROR_MESSAGE_BYTES]; // UTF-8, always terminated, cut at a character border
};

// The name of a code as JavaScript sees it ("GGUF_TRUNCATED"), and its meaning. Static strings.
const char *chord_status_name(enum chord_status code);
const char *chord_status_text(enum chord_status code);

// Fills *err (which may be NULL) and returns `code`, so that a failing line reads
// `return chord_fail(err, CHORD_IO, "%s: ...", path);`. Bytes of hostile input that are not printable
// must not reach the message as they are: see chord_printable.
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
enum chord_status
chord_fail(struct chord_error *err, enum chord_status code, const char *format, ...);

// Copies at most `n` bytes of untrusted text into `out` (capacity `out_bytes`, terminated), with control
// characters and invalid UTF-8 replaced by '?', and "..." at the end where it was cut. Returns `out`.
char *chord_printable(char *out, size_t out_bytes, const char *text, size_t n);

#endif
