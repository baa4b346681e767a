// The ladder of tiers, lowest first: which names exist in this build, what each needs, how a table is filled.
// With CHORD_SCALAR_ONLY the folders of the tiers are not built: for programs that test no kernels (binding.gyp).
#include "kernels/kernels.h"

#include "os/cpu.h"

#include <string.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

struct tier {
    const char *name;
    uint32_t features; // all of them, with those of the lower steps that every such CPU has: not AVX-VNNI
    void (*init)(struct kernels *k);
};

static const struct tier ladder[] = {
    {"scalar", 0, kernels_init_scalar},
#if defined(CHORD_SCALAR_ONLY)
#elif defined(__x86_64__) || defined(_M_X64)
    {"avx2", CPU_AVX2, kernels_init_avx2},
    {"avxvnni", CPU_AVX2 | CPU_AVX_VNNI, kernels_init_avxvnni},
    {"avx512", CPU_AVX2 | CPU_AVX512, kernels_init_avx512},
    {"avx512vnni", CPU_AVX2 | CPU_AVX512 | CPU_AVX512_VNNI, kernels_init_avx512vnni},
    {"avx512gfni", CPU_AVX2 | CPU_AVX512 | CPU_AVX512_VNNI | CPU_AVX512_GFNI, kernels_init_avx512gfni},
    {"amx", CPU_AVX2 | CPU_AVX512 | CPU_AVX512_VNNI | CPU_AVX512_GFNI | CPU_AMX, kernels_init_amx},
#elif defined(__aarch64__) || defined(_M_ARM64)
    {"neon", CPU_NEON, kernels_init_neon},
    {"neon_dotprod", CPU_NEON | CPU_NEON_DOTPROD, kernels_init_neon_dotprod},
    {"neon_i8mm", CPU_NEON | CPU_NEON_DOTPROD | CPU_NEON_I8MM, kernels_init_neon_i8mm},
#endif
};

void kernels_init(struct kernels *k, uint32_t features)
{
    memset(k, 0, sizeof *k);
    for (size_t i = 0; i < LENGTH(ladder); i++) {
        if ((ladder[i].features & ~features) != 0)
            continue;
        ladder[i].init(k);
        k->tier = ladder[i].name;
    }
}

bool kernels_features_of_tier(const char *name, uint32_t available, uint32_t *out)
{
    for (size_t i = 0; i < LENGTH(ladder); i++) {
        if (strcmp(ladder[i].name, name) != 0)
            continue;
        if ((ladder[i].features & ~available) != 0)
            return false;
        *out = ladder[i].features;
        return true;
    }
    return false;
}

const char *const *kernels_tier_names(void)
{
    static const char *const names[] = {
        "scalar",
#if defined(CHORD_SCALAR_ONLY)
#elif defined(__x86_64__) || defined(_M_X64)
        "avx2",
        "avxvnni",
        "avx512",
        "avx512vnni",
        "avx512gfni",
        "amx",
#elif defined(__aarch64__) || defined(_M_ARM64)
        "neon",
        "neon_dotprod",
        "neon_i8mm",
#endif
        NULL,
    };
    return names;
}
