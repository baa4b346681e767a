// Writes the trained model as a GGUF file.
#ifndef CHORD_DEMO_MODEL_EXPORT_H
#define CHORD_DEMO_MODEL_EXPORT_H

#include "model.h"
#include "vocabulary.h"

#include <stdbool.h>

// Matrices in the quantization type of that name ("F32", "Q8_0", "Q4_K", ...), vectors in F32. Writes a temporary file
// beside `path` and renames it. False, with a line on stderr: the type is unknown or the disk refused.
bool export_gguf(const char *path, const char *type, const struct model *model, const struct vocabulary *vocabulary);

#endif
