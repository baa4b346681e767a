#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE // sched_getaffinity
#endif
#include "os/cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#include <sys/types.h>
#include <unistd.h>
#else
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

// ---- instruction sets ------------------------------------------------------------------------------------------------

#if defined(__x86_64__) || defined(_M_X64)

#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif

struct cpuid {
    uint32_t eax, ebx, ecx, edx;
};

// Leaf not supported: all zero.
static struct cpuid read_cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid r = {0, 0, 0, 0};
#if defined(_MSC_VER)
    int words[4];
    __cpuid(words, (int)(leaf & 0x80000000u));
    if ((uint32_t)words[0] < leaf)
        return r;
    __cpuidex(words, (int)leaf, (int)subleaf);
    memcpy(&r, words, sizeof r);
#else
    if (!__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx))
        memset(&r, 0, sizeof r);
#endif
    return r;
}

// The register sets that the operating system saves (XCR0). Only to be called when CPUID says OSXSAVE.
static uint64_t read_xcr0(void)
{
#if defined(_MSC_VER)
    return _xgetbv(0);
#else
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
#endif
}

// Linux gives the 8 KB of tile registers to a process that asks for them (Documentation/arch/x86/xstate.rst); to ask again is
// harmless. Other systems are not known to give them.
static bool may_use_tiles(void)
{
#if defined(__linux__)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return false;
#endif
}

static bool has_all(uint32_t word, uint32_t bits)
{
    return (word & bits) == bits;
}

#define BIT(n) (1u << (n))

// Bit positions: Intel SDM volume 2A, CPUID.
uint32_t cpu_features(void)
{
    const struct cpuid leaf1 = read_cpuid(1, 0);
    const struct cpuid leaf7 = read_cpuid(7, 0);
    const struct cpuid leaf7_1 = leaf7.eax >= 1 ? read_cpuid(7, 1) : (struct cpuid){0, 0, 0, 0};
    if (!has_all(leaf1.ecx, BIT(27))) // OSXSAVE
        return 0;
    const uint64_t saved = read_xcr0();
    if ((saved & 0x6) != 0x6) // XMM, YMM
        return 0;
    uint32_t features = 0;
    if (has_all(leaf1.ecx, BIT(12) | BIT(28) | BIT(29))  // FMA, AVX, F16C
        && has_all(leaf7.ebx, BIT(3) | BIT(5) | BIT(8))) // BMI1, AVX2, BMI2
        features |= CPU_AVX2;
    else
        return 0;
    if (has_all(leaf7_1.eax, BIT(4)))
        features |= CPU_AVX_VNNI;
    if ((saved & 0xe6) != 0xe6) // opmask, ZMM 0-15, ZMM 16-31
        return features;
    if (has_all(leaf7.ebx, BIT(16) | BIT(17) | BIT(28) | BIT(30) | BIT(31))) // F, DQ, CD, BW, VL
        features |= CPU_AVX512;
    else
        return features;
    if (has_all(leaf7.ecx, BIT(11)))
        features |= CPU_AVX512_VNNI;
    if (has_all(leaf7.ecx, BIT(1) | BIT(6) | BIT(8))) // VBMI, VBMI2, GFNI
        features |= CPU_AVX512_GFNI;
    const bool has_amx = has_all(leaf7.edx, BIT(22) | BIT(24) | BIT(25)); // BF16, TILE, INT8
    const bool has_bf16 = has_all(leaf7_1.eax, BIT(5));
    if (has_amx && has_bf16 && (saved & 0x60000) == 0x60000 && may_use_tiles())
        features |= CPU_AMX;
    return features;
}

#elif defined(__aarch64__) && defined(__linux__)

#include <sys/auxv.h>

uint32_t cpu_features(void)
{
    // Bits of the kernel's ABI (asm/hwcap.h), spelled out because older headers lack some.
    const unsigned long hwcap = getauxval(AT_HWCAP);
    const unsigned long hwcap2 = getauxval(AT_HWCAP2);
    uint32_t features = 0;
    if ((hwcap & 1ul << 1) != 0) // ASIMD
        features |= CPU_NEON;
    if ((hwcap & 1ul << 20) != 0) // ASIMDDP
        features |= CPU_NEON_DOTPROD;
    if ((hwcap2 & 1ul << 13) != 0) // I8MM
        features |= CPU_NEON_I8MM;
    return features;
}

#elif defined(__aarch64__) && defined(__APPLE__)

static bool sysctl_flag(const char *name)
{
    int value = 0;
    size_t bytes = sizeof value;
    return sysctlbyname(name, &value, &bytes, NULL, 0) == 0 && value != 0;
}

uint32_t cpu_features(void)
{
    uint32_t features = CPU_NEON;
    if (sysctl_flag("hw.optional.arm.FEAT_DotProd"))
        features |= CPU_NEON_DOTPROD;
    if (sysctl_flag("hw.optional.arm.FEAT_I8MM"))
        features |= CPU_NEON_I8MM;
    return features;
}

#else

uint32_t cpu_features(void)
{
    return 0;
}

#endif

// ---- name ------------------------------------------------------------------------------------------------------------

// Copies at most out_bytes - 1 characters of `text` without blanks at both ends; false when nothing is left.
static bool copy_trimmed(const char *text, char *out, uint64_t out_bytes)
{
    while (*text == ' ' || *text == '\t')
        text++;
    size_t length = strlen(text);
    while (length > 0 && strchr(" \t\r\n", text[length - 1]) != NULL)
        length--;
    if (length == 0)
        return false;
    if (length > out_bytes - 1)
        length = (size_t)(out_bytes - 1);
    memcpy(out, text, length);
    out[length] = '\0';
    return true;
}

static bool system_cpu_name(char *out, uint64_t out_bytes)
{
#if defined(__x86_64__) || defined(_M_X64)
    char brand[49] = {0};
    for (uint32_t i = 0; i < 3; i++) {
        const struct cpuid r = read_cpuid(0x80000002u + i, 0);
        memcpy(brand + 16 * i, &r, 16);
    }
    return copy_trimmed(brand, out, out_bytes);
#elif defined(__APPLE__)
    char brand[128] = {0};
    size_t bytes = sizeof brand - 1;
    return sysctlbyname("machdep.cpu.brand_string", brand, &bytes, NULL, 0) == 0 && copy_trimmed(brand, out, out_bytes);
#elif defined(__linux__)
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (f == NULL)
        return false;
    char line[256];
    bool found = false;
    while (!found && fgets(line, sizeof line, f) != NULL) {
        const char *colon = strchr(line, ':');
        if (colon != NULL && (strncmp(line, "model name", 10) == 0 || strncmp(line, "Model", 5) == 0))
            found = copy_trimmed(colon + 1, out, out_bytes);
    }
    fclose(f);
    return found;
#else
    (void)out;
    (void)out_bytes;
    return false;
#endif
}

void cpu_name(char *out, uint64_t out_bytes)
{
    if (out_bytes == 0)
        return;
    if (!system_cpu_name(out, out_bytes))
        (void)copy_trimmed("unknown", out, out_bytes);
}

// ---- count -----------------------------------------------------------------------------------------------------------

#if defined(__linux__)

#define PATH_BYTES 1024

// Whole processors that one control group's quota is worth, 0 when it sets none (or the file is not there).
static uint32_t quota_v2(const char *directory)
{
    char path[PATH_BYTES];
    if ((size_t)snprintf(path, sizeof path, "%s/cpu.max", directory) >= sizeof path)
        return 0;
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return 0;
    long long quota = 0, period = 0;
    const int n = fscanf(f, "%lld %lld", &quota, &period); // "max 100000" matches nothing
    fclose(f);
    if (n != 2 || quota <= 0 || period <= 0)
        return 0;
    return quota < period ? 1 : (uint32_t)(quota / period);
}

static bool read_number(const char *directory, const char *name, long long *out)
{
    char path[PATH_BYTES];
    if ((size_t)snprintf(path, sizeof path, "%s/%s", directory, name) >= sizeof path)
        return false;
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return false;
    const int n = fscanf(f, "%lld", out);
    fclose(f);
    return n == 1;
}

static uint32_t quota_v1(const char *directory)
{
    long long quota, period;
    if (!read_number(directory, "cpu.cfs_quota_us", &quota) || !read_number(directory, "cpu.cfs_period_us", &period))
        return 0;
    if (quota <= 0 || period <= 0) // -1: none
        return 0;
    return quota < period ? 1 : (uint32_t)(quota / period);
}

static uint32_t lower_quota(uint32_t a, uint32_t b)
{
    if (a == 0 || b == 0)
        return a + b;
    return a < b ? a : b;
}

// The lowest quota of the group `path` below the mount point and of all the groups above it. A container often sees its
// own group as the root of the mount although `path` names it from the host: groups that are not there count as none.
static uint32_t quota_upwards(const char *mount, const char *group, uint32_t (*quota)(const char *))
{
    char path[PATH_BYTES];
    if ((size_t)snprintf(path, sizeof path, "%s%s", mount, group) >= sizeof path)
        return quota(mount);
    uint32_t lowest = 0;
    for (;;) {
        lowest = lower_quota(lowest, quota(path));
        char *slash = strrchr(path, '/');
        if (slash == NULL || (size_t)(slash - path) < strlen(mount))
            return lowest;
        *slash = '\0';
    }
}

// True when the comma-separated list `controllers` (its end marked by `end`) has "cpu".
static bool lists_cpu(const char *controllers, const char *end)
{
    while (controllers < end) {
        const char *comma = memchr(controllers, ',', (size_t)(end - controllers));
        const char *stop = comma != NULL ? comma : end;
        if (stop - controllers == 3 && memcmp(controllers, "cpu", 3) == 0)
            return true;
        controllers = stop + 1;
    }
    return false;
}

// Whole processors that this process's control groups allow, 0 when there is no limit. Lines of /proc/self/cgroup are
// "0::/path" for version 2 and "N:cpu,cpuacct:/path" for version 1 (cgroups(7)).
static uint32_t container_quota(void)
{
    FILE *f = fopen("/proc/self/cgroup", "r");
    if (f == NULL)
        return 0;
    uint32_t lowest = 0;
    char line[PATH_BYTES];
    while (fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        const char *controllers = strchr(line, ':');
        const char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (group == NULL)
            continue;
        controllers++;
        if (group == controllers) {
            lowest = lower_quota(lowest, quota_upwards("/sys/fs/cgroup", group + 1, quota_v2));
        } else if (lists_cpu(controllers, group)) {
            const uint32_t a = quota_upwards("/sys/fs/cgroup/cpu", group + 1, quota_v1);
            const uint32_t b = quota_upwards("/sys/fs/cgroup/cpu,cpuacct", group + 1, quota_v1);
            lowest = lower_quota(lowest, lower_quota(a, b));
        }
    }
    fclose(f);
    return lowest;
}

static uint32_t affinity_count(void)
{
    // The kernel refuses a set smaller than its own (EINVAL), so grow until it fits.
    for (int n_cpus = 1024; n_cpus <= 1 << 20; n_cpus *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)n_cpus);
        if (set == NULL)
            return 0;
        const size_t bytes = CPU_ALLOC_SIZE((size_t)n_cpus);
        const bool got = sched_getaffinity(0, bytes, set) == 0;
        const int count = got ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (got)
            return (uint32_t)count;
    }
    return 0;
}

uint32_t cpu_count(void)
{
    uint32_t count = affinity_count();
    if (count == 0) {
        const long online = sysconf(_SC_NPROCESSORS_ONLN);
        count = online > 0 ? (uint32_t)online : 1;
    }
    const uint32_t quota = container_quota();
    return quota != 0 && quota < count ? quota : count;
}

#elif defined(_WIN32)

uint32_t cpu_count(void)
{
    const DWORD count = GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
    return count > 0 ? (uint32_t)count : 1;
}

#else

uint32_t cpu_count(void)
{
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (uint32_t)online : 1;
}

#endif
