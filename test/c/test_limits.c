// What the machine offers: memory, processors, instruction sets, clocks. Compared with the system's own files where there are any.

#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE // sched_setaffinity
#endif

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h> // cmocka.h needs these four before it
#include <cmocka.h>

#include "os/cpu.h"
#include "os/limits.h"
#include "os/thread.h"

#include <stdio.h>
#include <string.h>

#if defined(__linux__)
#include <sched.h>
#include <sys/resource.h>
#endif

#define MIB (UINT64_C(1) << 20)

static void memory_is_within_the_machine(void **state)
{
    (void)state;
    const uint64_t total = os_memory_total();
    assert_true(total >= 16 * MIB);
    assert_true(total <= uv_get_total_memory());
    for (int i = 0; i < 20; i++) {
        const uint64_t available = os_memory_available();
        assert_true(available > 0 && available <= total);
    }
}

#if defined(__linux__)

// The number in a file of one number, or UINT64_MAX.
static uint64_t number_in(const char *path)
{
    unsigned long long number = UINT64_MAX;
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return UINT64_MAX;
    if (fscanf(file, "%llu", &number) != 1)
        number = UINT64_MAX;
    fclose(file);
    return number;
}

static uint64_t meminfo(const char *key)
{
    char line[256];
    uint64_t bytes = UINT64_MAX;
    FILE *file = fopen("/proc/meminfo", "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned long long kib;
        if (strncmp(line, key, strlen(key)) == 0 && sscanf(line + strlen(key), "%llu", &kib) == 1)
            bytes = kib * 1024;
    }
    fclose(file);
    return bytes;
}

// Others use memory while this runs: the numbers are those of the system to within an eighth of the machine.
static void memory_is_what_the_system_says(void **state)
{
    (void)state;
    const uint64_t slack = uv_get_total_memory() / 8;
    uint64_t limit = number_in("/sys/fs/cgroup/memory.max");
    const uint64_t limit_v1 = number_in("/sys/fs/cgroup/memory/memory.limit_in_bytes");
    limit = limit_v1 < limit ? limit_v1 : limit;
    const uint64_t available = os_memory_available(), free_memory = meminfo("MemAvailable:");
    assert_true(available <= free_memory + slack);
    assert_true(available <= limit);
    assert_true(os_memory_total() <= limit);
}

static void own_limits_count(void **state)
{
    (void)state;
    struct rlimit before;
    char line[256];
    unsigned long long held_kib = 0;
    assert_int_equal(getrlimit(RLIMIT_DATA, &before), 0);
    FILE *file = fopen("/proc/self/status", "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL)
        sscanf(line, "VmData: %llu", &held_kib);
    fclose(file);
    assert_true(held_kib > 0);
    const struct rlimit lower = {.rlim_cur = held_kib * 1024 + 64 * MIB, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_DATA, &lower), 0);
    struct rlimit taken;
    assert_int_equal(getrlimit(RLIMIT_DATA, &taken), 0);
    if (taken.rlim_cur != lower.rlim_cur)
        skip(); // an emulator keeps the limits of its guest from itself
    const uint64_t available = os_memory_available();
    assert_int_equal(setrlimit(RLIMIT_DATA, &before), 0);
    assert_true(available <= 65 * MIB);
}

static void affinity_lowers_the_count(void **state)
{
    (void)state;
    cpu_set_t allowed, one;
    assert_int_equal(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    const uint32_t n = cpu_count();
    assert_true(n >= 1 && n <= (uint32_t)CPU_COUNT(&allowed));
    int cpu = 0;
    while (!CPU_ISSET(cpu, &allowed))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(cpu_count(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof allowed, &allowed), 0);
    assert_int_equal(cpu_count(), n);
}

#endif

static void features_are_those_of_the_compiler_too(void **state)
{
    (void)state;
    const uint32_t features = cpu_features();
    assert_int_equal(cpu_features(), features);
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512cd");
    const bool vnni = avx512 && __builtin_cpu_supports("avx512vnni");
    const bool gfni = avx512 && __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
                      __builtin_cpu_supports("gfni");
    assert_int_equal((features & CPU_AVX2) != 0, avx2);
    assert_int_equal((features & CPU_AVX512) != 0, avx512);
    assert_int_equal((features & CPU_AVX512_VNNI) != 0, vnni);
    assert_int_equal((features & CPU_AVX512_GFNI) != 0, gfni);
    assert_int_equal(features & (CPU_NEON | CPU_NEON_DOTPROD | CPU_NEON_I8MM), 0);
#elif defined(__aarch64__)
    assert_int_equal(
        features & (CPU_AVX2 | CPU_AVX_VNNI | CPU_AVX512 | CPU_AVX512_VNNI | CPU_AVX512_GFNI | CPU_AMX), 0);
    assert_true((features & CPU_NEON) != 0);
#endif
}

static void a_name_fits_any_buffer(void **state)
{
    (void)state;
    char whole[128];
    cpu_name(whole, sizeof whole);
    assert_true(strlen(whole) > 0);
    for (uint64_t n = 1; n < sizeof whole; n++) {
        char part[129];
        memset(part, '#', sizeof part);
        cpu_name(part, n);
        assert_non_null(memchr(part, '\0', n));
        assert_int_equal(part[n], '#');
        assert_memory_equal(part, whole, strlen(part));
    }
}

static void clocks_go_forward(void **state)
{
    (void)state;
    uint64_t last = os_now_ns();
    const double begin = os_now_seconds();
    for (int i = 0; i < 1000; i++) {
        const uint64_t now = os_now_ns();
        assert_true(now >= last);
        last = now;
    }
    while (os_now_ns() < last + 2000000)
        os_pause();
    const double seconds = os_now_seconds() - begin;
    assert_true(seconds >= 0.002 && seconds < 60);
}

static void random_numbers_differ(void **state)
{
    (void)state;
    uint64_t ones = 0, zeros = 0;
    uint64_t last = os_random_u64();
    for (int i = 0; i < 64; i++) {
        const uint64_t number = os_random_u64();
        assert_true(number != last);
        ones |= number;
        zeros |= ~number;
        last = number;
    }
    assert_true(ones == UINT64_MAX && zeros == UINT64_MAX); // every bit is now this, now that
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_within_the_machine),
#if defined(__linux__)
        cmocka_unit_test(memory_is_what_the_system_says),
        cmocka_unit_test(own_limits_count),
        cmocka_unit_test(affinity_lowers_the_count),
#endif
        cmocka_unit_test(features_are_those_of_the_compiler_too),
        cmocka_unit_test(a_name_fits_any_buffer),
        cmocka_unit_test(clocks_go_forward),
        cmocka_unit_test(random_numbers_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
