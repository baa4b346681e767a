// Paged mode of the weight store: the matrices of a step as one list of tiles, in the order of their use, under a pager; rows
// of other tensors by reads of their own. Used by weights.c alone.
#ifndef CHORD_WEIGHTS_PAGING_H
#define CHORD_WEIGHTS_PAGING_H

#include "weights/expert_pager.h"
#include "weights/pager.h"
#include "weights/weights.h"

struct paging; // opaque

// Opens the files once more, for reads that leave the page cache alone. widest_row: bytes of the longest row of any tensor.
enum chord_status paging_open(struct paging **out, const struct gguf *gguf, uint64_t widest_row,
                              struct memory_account *account, struct chord_error *err);
void paging_close(struct paging *paging); // NULL is fine

// items [n_items]: the store's matrices, whose place in the schedule is filled in.
enum chord_status paging_start(struct paging *paging, struct weight *items, const struct weights_use *uses,
                               uint32_t n_uses, const struct weights_paging *options, struct chord_error *err);
// NULL before paging_start.
struct pager *paging_pager(const struct paging *paging);
struct expert_pager *paging_experts(const struct paging *paging); // NULL of dense models too

// As pager_shrink and pager_grow: experts are given back first and taken last.
uint64_t paging_shrink(struct paging *paging, uint64_t n_bytes);
uint64_t paging_grow(struct paging *paging, uint64_t n_bytes);

// The place of a tile of a matrix in the schedule.
uint32_t paging_slot(const struct paging *paging, const struct weight *weight, uint64_t tile);

enum chord_status paging_read_rows(struct paging *paging, const struct weight *weight, uint64_t first, uint64_t n_rows,
                                   float *out, struct chord_error *err);

// As weights_read_bytes. items: the store's matrices, in the order of the directory.
enum chord_status paging_read_bytes(struct paging *paging, const struct weight *items, uint32_t file, uint64_t offset,
                                    uint64_t n_bytes, void *out, struct chord_error *err);

#endif
