// What the processor and the operating system let us use.
#ifndef CHORD_OS_CPU_H
#define CHORD_OS_CPU_H

#include <stdbool.h>
#include <stdint.h>

// Bundles of instruction-set extensions, each set only when the CPU has all of it and the operating system saves the
// registers it needs (XGETBV on x86, auxv on Linux/aarch64, sysctl on macOS).
enum cpu_feature {
    CPU_AVX2 = 1u << 0,        // AVX2, FMA, F16C, BMI2
    CPU_AVX_VNNI = 1u << 1,    // 256-bit VPDPBUSD without AVX-512
    CPU_AVX512 = 1u << 2,      // F, BW, VL, DQ, CD
    CPU_AVX512_VNNI = 1u << 3, // 512-bit VPDPBUSD (Cascade Lake and later)
    CPU_AVX512_GFNI = 1u << 4, // GFNI, VBMI, VBMI2 (Ice Lake, Zen 4 and later)
    CPU_AMX = 1u << 5,         // tiles of int8 and bfloat16, which this process was allowed to use, and AVX512-BF16
    CPU_NEON = 1u << 6,
    CPU_NEON_DOTPROD = 1u << 7,
    CPU_NEON_I8MM = 1u << 8,
};

// Mask of cpu_feature bits of this machine. Cheap enough to call at every model load.
uint32_t cpu_features(void);

// Marketing name of the processor into `out` (terminated), "unknown" where the system does not tell.
void cpu_name(char *out, uint64_t out_bytes);

// Processors this process may run on (affinity and container quota considered), at least 1.
uint32_t cpu_count(void);

#endif
