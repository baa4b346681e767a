// How fast the files of a model are read, in the way in which a pager reads them.
#ifndef CHORD_WEIGHTS_PROBE_H
#define CHORD_WEIGHTS_PROBE_H

#include "gguf/gguf.h"

// Bytes per second over about `seconds`, reading places spread over the files. 0: they cannot be read, or not so.
double probe_disk(const struct gguf *gguf, double seconds);

#endif
