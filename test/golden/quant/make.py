"""Writes the golden files of quant: python3 make.py <path of libggml-base.so> <output folder>. See README.md."""

import ctypes
import os
import struct
import sys

# name here, name in the library, elements and bytes per block, offsets of the halves, type id
BLOCK_TYPES = [
    ("q4_0", "q4_0", 32, 18, (0,), 2),
    ("q4_1", "q4_1", 32, 20, (0, 2), 3),
    ("q5_0", "q5_0", 32, 22, (0,), 6),
    ("q5_1", "q5_1", 32, 24, (0, 2), 7),
    ("q8_0", "q8_0", 32, 34, (0,), 8),
    ("q2_k", "q2_K", 256, 84, (80, 82), 10),
    ("q3_k", "q3_K", 256, 110, (108,), 11),
    ("q4_k", "q4_K", 256, 144, (0, 2), 12),
    ("q5_k", "q5_K", 256, 176, (0, 2), 13),
    ("q6_k", "q6_K", 256, 210, (208,), 14),
]
# Types without a half have other scales, for which any byte will do.
CODED_TYPES = [
    ("iq4_nl", 32, 18, (0,), 20),
    ("iq4_xs", 256, 136, (0,), 23),
    ("mxfp4", 32, 17, (), 39),
    ("tq1_0", 256, 54, (52,), 34),
    ("tq2_0", 256, 66, (64,), 35),
    ("iq2_xxs", 256, 66, (0,), None),
    ("iq2_xs", 256, 74, (0,), None),
    ("iq2_s", 256, 82, (0,), None),
    ("iq3_xxs", 256, 98, (0,), None),
    ("iq3_s", 256, 110, (0,), None),
    ("iq1_s", 256, 50, (0,), None),
    ("iq1_m", 256, 56, (), None),
    ("nvfp4", 64, 36, (), None),
    ("q1_0", 128, 18, (0,), None),
    ("q2_0", 64, 18, (0,), None),
]
HALF_TYPES = [("f16", "fp16"), ("bf16", "bf16")]
N_ROW = 17 * 256


class Random:
    """xorshift64*, so that the files do not depend on a version of Python."""

    def __init__(self, seed):
        self.state = seed

    def bits(self, n):
        s = self.state
        s ^= s >> 12
        s ^= s << 25 & 0xFFFFFFFFFFFFFFFF
        s ^= s >> 27
        self.state = s
        return (s * 0x2545F4914F6CDD1D & 0xFFFFFFFFFFFFFFFF) >> (64 - n)

    def unit(self):
        return self.bits(24) / 2.0**24

    def normal(self):
        return sum(self.unit() for _ in range(12)) - 6.0


def adversarial_blocks(block_bytes, halves, random):
    """All-zero, extreme and random codes, with ordinary, negative, largest, smallest and subnormal scales."""

    def block(fill, scales):
        data = bytearray(fill() for _ in range(block_bytes))
        for at, half in zip(halves, scales):
            struct.pack_into("<H", data, at, half)
        return bytes(data)

    def any_byte():
        return random.bits(8)

    return b"".join(
        [
            bytes(block_bytes),
            block(lambda: 0xFF, (0x3C00, 0x3C00)),  # d 1, dmin 1
            block(lambda: 0x80, (0x2E66, 0xA866)),  # 0.1, -0.034
            block(any_byte, (0x2123, 0x2ABC)),  # ordinary
            block(any_byte, (0xA123, 0x1FED)),  # negative d
            block(any_byte, (0x0001, 0x03FF)),  # subnormal
            block(any_byte, (0x7BFF, 0xFBFF)),  # +-65504
            block(any_byte, (random.bits(14), random.bits(14) | 0x8000)),
        ]
    )


def sample_rows(random):
    """17 super-blocks: twelve near a normal distribution, one with outliers, one uniform and lopsided, one of
    constants and zeros, one tiny, one of values at which roundings meet."""
    x = [0.02 * random.normal() for _ in range(12 * 256)]
    x += [0.02 * random.normal() * (10.0 if random.bits(6) == 0 else 1.0) for _ in range(256)]
    x += [3.0 * random.unit() - 1.0 for _ in range(256)]
    x += [0.0] * 64 + [-0.25] * 64 + [0.25] * 64 + [0.75 if i % 2 else -0.5 for i in range(64)]
    x += [1e-6 * random.normal() for _ in range(256)]
    x += [(random.bits(8) - 128) / 64.0 for _ in range(256)]
    return x


def main():
    library = ctypes.CDLL(os.path.abspath(sys.argv[1]))
    folder = sys.argv[2]
    random = Random(20240229)

    def write(name, data):
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)

    row = (ctypes.c_float * N_ROW)(*sample_rows(random))
    write("row.bin", bytes(row))

    for name, library_name, elements, block_bytes, halves, type_id in BLOCK_TYPES:
        blocks = adversarial_blocks(block_bytes, halves, random)
        n = len(blocks) // block_bytes * elements
        values = (ctypes.c_float * n)()
        getattr(library, "dequantize_row_" + library_name)(blocks, values, ctypes.c_int64(n))
        write(name + ".blocks.bin", blocks)
        write(name + ".values.bin", bytes(values))

        quantized = ctypes.create_string_buffer(N_ROW // elements * block_bytes)
        library.ggml_quantize_chunk.restype = ctypes.c_size_t
        library.ggml_quantize_chunk(
            type_id, row, quantized, ctypes.c_int64(0), ctypes.c_int64(1), ctypes.c_int64(N_ROW), None
        )
        write(name + ".quantized.bin", quantized.raw)

    for name, library_name in HALF_TYPES:
        codes = [random.bits(16) for _ in range(500)] + [0, 0x8000, 1, 0x3FF, 0x400, 0x7BFF, 0x7C00, 0xFC00, 0x7F80]
        exponent = 0x7C00 if name == "f16" else 0x7F80
        codes = [c for c in codes if c & exponent != exponent or c & 0x7FFF == exponent]  # no NaN
        blocks = struct.pack("<%dH" % len(codes), *codes)
        values = (ctypes.c_float * len(codes))()
        getattr(library, "ggml_%s_to_fp32_row" % library_name)(blocks, values, ctypes.c_int64(len(codes)))
        write(name + ".blocks.bin", blocks)
        write(name + ".values.bin", bytes(values))

        quantized = ctypes.create_string_buffer(N_ROW * 2)
        getattr(library, "ggml_fp32_to_%s_row" % library_name)(row, quantized, ctypes.c_int64(N_ROW))
        write(name + ".quantized.bin", quantized.raw)

    for name, elements, block_bytes, halves, type_id in CODED_TYPES:
        blocks = bytearray(b"".join(adversarial_blocks(block_bytes, halves, random) for _ in range(512 // elements or 1)))
        if name == "iq1_m":  # the half in the highest bits of four words shall be finite
            for i in range(block_bytes - 1, len(blocks), block_bytes):
                blocks[i] &= 0xBF
        n = len(blocks) // block_bytes * elements
        values = (ctypes.c_float * n)()
        getattr(library, "dequantize_row_" + name)(bytes(blocks), values, ctypes.c_int64(n))
        write(name + ".blocks.bin", bytes(blocks))
        write(name + ".values.bin", bytes(values))
        if type_id is None:
            continue
        quantized = ctypes.create_string_buffer(N_ROW // elements * block_bytes)
        library.ggml_quantize_chunk(
            type_id, row, quantized, ctypes.c_int64(0), ctypes.c_int64(1), ctypes.c_int64(N_ROW), None
        )
        write(name + ".quantized.bin", quantized.raw)


main()
