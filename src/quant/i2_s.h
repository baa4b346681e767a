// The quantizer of I2_S, which needs the scale of the whole tensor.
#ifndef CHORD_QUANT_I2_S_H
#define CHORD_QUANT_I2_S_H

#include <stdint.h>

// The row's blocks from n values (a multiple of 128): each to the nearest of -scale, 0, scale (halves away from zero). scale is the
// largest magnitude of the tensor's values, all of them finite.
void quant_quantize_i2_s(const float *x, float scale, void *row, uint64_t n);

#endif
