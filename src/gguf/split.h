// Split models: NAME-00001-of-00003.gguf and its siblings, as llama.cpp's gguf-split writes them. The first file
// holds the metadata; every file holds split.no, split.count and split.tensors.count and a part of the tensors.
#ifndef CHORD_GGUF_SPLIT_H
#define CHORD_GGUF_SPLIT_H

#include "base/alloc.h"
#include "gguf/header.h"

#include <stdbool.h>
#include <stdint.h>

struct gguf_split {
    uint32_t number;       // 0 is the first
    uint32_t count;        // files of the model; 1: not split
    bool counts_tensors;   // split.tensors.count is there
    uint64_t n_tensors;    // its value: of all files together
};

// Reads and checks the keys of one file. Without them the file is a whole model.
enum chord_status gguf_split_read(const struct gguf_header *header, const char *path,
                                  struct gguf_split *out, struct chord_error *err);

// True when the path ends as that of file `number` of `count` does.
bool gguf_split_is_named(const char *path, uint32_t number, uint32_t count);

// Path of file `number`, made from the path of another file of the same model; NULL: out of memory.
// Only for a path that gguf_split_is_named has accepted. To be freed with memory_free.
char *gguf_split_path(const char *path, uint32_t number, uint32_t count, struct memory_account *account);

// GGUF_SPLIT for a file that is not the first: names the one to open instead.
enum chord_status gguf_split_fail_not_first(const struct gguf_split *split, const char *path,
                                            struct memory_account *account, struct chord_error *err);

#endif
