// How fast the files of a model are read, in the way in which a pager reads them.
#ifndef CHORD_WEIGHTS_PROBE_H
#define CHORD_WEIGHTS_PROBE_H

#include "gguf/gguf.h"

// Bytes per second over about `seconds`, reading pieces of piece_bytes at places spread over the files. per_wave: that many pieces,
// on average, before any of the next are begun, as experts are read that one router has chosen; 0: without end, as tiles are that are
// read ahead. 0: they cannot be read, or not so.
double probe_disk(const struct gguf *gguf, uint64_t piece_bytes, double per_wave, double seconds);

#define PROBE_PIECE_BYTES (UINT64_C(2) << 20) // for tiles that are read ahead

#endif
