#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE // pthread_setaffinity_np
#endif
#include "machine.h"

#include "os/cpu.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#if defined(__linux__)
#include <sched.h>
#include <sys/syscall.h>
#endif

// ---- the run ---------------------------------------------------------------------------------------------------------

static void fail(const char *what, uint64_t n)
{
    fprintf(stderr, "%s: %llu\n", what, (unsigned long long)n);
    exit(1);
}

void *machine_alloc(uint64_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    if (p == NULL)
        fail("out of memory, bytes", bytes);
    return p;
}

static double clock_seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double machine_seconds(void)
{
    return clock_seconds(CLOCK_MONOTONIC);
}

double machine_cpu_seconds(void)
{
    return clock_seconds(CLOCK_THREAD_CPUTIME_ID);
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double machine_median(double *values, uint32_t n)
{
    qsort(values, n, sizeof *values, compare_doubles);
    return n % 2 == 1 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
}

struct thread {
    double (*work)(void *context, uint32_t index, uint32_t n_threads);
    void *context;
    pthread_barrier_t *barrier;
    uint32_t index, n_threads;
    double result;
};

// Binds the calling thread to the index-th of the processors that the process may use. Without, rates merely vary more.
static void bind_to_processor(uint32_t index)
{
#if defined(__linux__)
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) == 0)
        return;
    uint32_t left = index % (uint32_t)CPU_COUNT(&allowed);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed) || left-- > 0)
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        pthread_setaffinity_np(pthread_self(), sizeof one, &one);
        return;
    }
#else
    (void)index;
#endif
}

static void *run_thread(void *argument)
{
    struct thread *t = argument;
    bind_to_processor(t->index);
    pthread_barrier_wait(t->barrier);
    t->result = t->work(t->context, t->index, t->n_threads);
    return NULL;
}

double machine_on_threads(uint32_t n_threads, double (*work)(void *context, uint32_t index, uint32_t n_threads),
                          void *context)
{
    static pthread_t ids[MACHINE_MAX_THREADS];
    static struct thread threads[MACHINE_MAX_THREADS];
    pthread_barrier_t barrier;
    double sum = 0.0;
    if (n_threads == 0 || n_threads > MACHINE_MAX_THREADS || pthread_barrier_init(&barrier, NULL, n_threads) != 0)
        fail("cannot run so many threads", n_threads);
    for (uint32_t i = 0; i < n_threads; i++) {
        threads[i] = (struct thread){work, context, &barrier, i, n_threads, 0.0};
        if (pthread_create(&ids[i], NULL, run_thread, &threads[i]) != 0)
            fail("cannot start thread", i);
    }
    for (uint32_t i = 0; i < n_threads; i++) {
        pthread_join(ids[i], NULL);
        sum += threads[i].result;
    }
    pthread_barrier_destroy(&barrier);
    return sum;
}

// ---- memory ----------------------------------------------------------------------------------------------------------

uint64_t machine_cache_bytes(void)
{
#if defined(_SC_LEVEL3_CACHE_SIZE) && defined(_SC_LEVEL2_CACHE_SIZE)
    const long l3 = sysconf(_SC_LEVEL3_CACHE_SIZE), l2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return l3 > 0 ? (uint64_t)l3 : l2 > 0 ? (uint64_t)l2 : 0;
#else
    return 0;
#endif
}

uint64_t machine_buffer_bytes(void)
{
    const uint64_t gib = (uint64_t)1 << 30;
    const long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    uint64_t bytes = 4 * machine_cache_bytes();
    bytes = bytes < gib ? gib : bytes;
    if (pages > 0 && page_bytes > 0 && bytes > (uint64_t)pages / 2 * (uint64_t)page_bytes)
        bytes = (uint64_t)pages / 2 * (uint64_t)page_bytes;
    return bytes >> 20 << 20;
}

uint8_t *machine_buffer(uint64_t bytes)
{
    uint8_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        fail("cannot get a buffer of bytes", bytes);
#if defined(MADV_HUGEPAGE)
    madvise(p, bytes, MADV_HUGEPAGE); // where refused, the rates are those of small pages
#endif
    uint64_t state = 1;
    for (uint64_t i = 0; i < bytes; i += 8) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        const uint64_t word = (state >> 4 & 0x0f0f0f0f0f0f0f0fu) | 0x2020202020202020u;
        memcpy(p + i, &word, 8);
    }
    return p;
}

// The results of loops go here, which keeps the compiler from leaving them out.
static volatile uint64_t sink;
static volatile float float_sink;

// The four lines that lie 1 KiB ahead into the nearest cache, those 4 KiB ahead into the next: past the page in which the
// hardware's own prefetching ends.
static inline __attribute__((always_inline)) void prefetch_ahead(const uint8_t *p)
{
    for (int line = 0; line < 4; line++) {
        __builtin_prefetch(p + 1024 + 64 * line, 0, 3);
        __builtin_prefetch(p + 4096 + 64 * line, 0, 2);
    }
}

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx512f"))) static void read_512(const uint8_t *p, uint64_t bytes, bool prefetch)
{
    __m512i v0 = _mm512_setzero_si512(), v1 = v0, v2 = v0, v3 = v0;
    for (const uint8_t *end = p + bytes; p < end; p += 256) {
        if (prefetch)
            prefetch_ahead(p);
        v0 = _mm512_xor_si512(v0, _mm512_loadu_si512(p));
        v1 = _mm512_xor_si512(v1, _mm512_loadu_si512(p + 64));
        v2 = _mm512_xor_si512(v2, _mm512_loadu_si512(p + 128));
        v3 = _mm512_xor_si512(v3, _mm512_loadu_si512(p + 192));
    }
    sink = (uint64_t)_mm512_reduce_or_epi64(_mm512_or_si512(_mm512_or_si512(v0, v1), _mm512_or_si512(v2, v3)));
}

__attribute__((target("avx2"))) static __m256i load_256(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

__attribute__((target("avx2"))) static void read_256(const uint8_t *p, uint64_t bytes, bool prefetch)
{
    __m256i v0 = _mm256_setzero_si256(), v1 = v0, v2 = v0, v3 = v0;
    for (const uint8_t *end = p + bytes; p < end; p += 256) {
        if (prefetch)
            prefetch_ahead(p);
        for (const uint8_t *q = p; q < p + 256; q += 128) {
            v0 = _mm256_xor_si256(v0, load_256(q));
            v1 = _mm256_xor_si256(v1, load_256(q + 32));
            v2 = _mm256_xor_si256(v2, load_256(q + 64));
            v3 = _mm256_xor_si256(v3, load_256(q + 96));
        }
    }
    sink = (uint64_t)_mm256_extract_epi64(_mm256_or_si256(_mm256_or_si256(v0, v1), _mm256_or_si256(v2, v3)), 0);
}
#endif

// The compiler makes 128-bit loads of it.
static void read_128(const uint8_t *p, uint64_t bytes, bool prefetch)
{
    uint64_t v[8] = {0}, words[8];
    for (const uint8_t *end = p + bytes; p < end; p += 256) {
        if (prefetch)
            prefetch_ahead(p);
        for (int line = 0; line < 4; line++) {
            memcpy(words, p + line * sizeof words, sizeof words);
            for (int i = 0; i < 8; i++)
                v[i] ^= words[i];
        }
    }
    sink = v[0] ^ v[1] ^ v[2] ^ v[3] ^ v[4] ^ v[5] ^ v[6] ^ v[7];
}

machine_read *machine_widest_read(void)
{
#if defined(__x86_64__)
    const uint32_t features = cpu_features();
    if ((features & CPU_AVX512) != 0)
        return read_512;
    if ((features & CPU_AVX2) != 0)
        return read_256;
#endif
    return read_128;
}

#define READ_CHUNK_BYTES (256u << 10)

struct reading {
    machine_read *read;
    const uint8_t *buffer;
    uint64_t bytes;
    double seconds;
    bool prefetch;
};

// Each thread reads its own part, round and round, and begins in the middle of it, which the measurement before did not
// leave in a cache.
static double read_part(void *context, uint32_t index, uint32_t n_threads)
{
    const struct reading *r = context;
    const uint64_t n_chunks = r->bytes / n_threads / READ_CHUNK_BYTES;
    const uint8_t *part = r->buffer + index * n_chunks * READ_CHUNK_BYTES;
    const double start = machine_seconds(), cpu_start = machine_cpu_seconds();
    uint64_t done = 0;
    for (uint64_t chunk = n_chunks / 2; machine_seconds() - start < r->seconds; chunk = (chunk + 1) % n_chunks) {
        r->read(part + chunk * READ_CHUNK_BYTES, READ_CHUNK_BYTES, r->prefetch);
        done += READ_CHUNK_BYTES;
    }
    return (double)done / (machine_cpu_seconds() - cpu_start);
}

double machine_read_rate(machine_read *read, const uint8_t *buffer, uint64_t bytes, uint32_t n_threads, double seconds)
{
    struct reading reading = {read, buffer, bytes, 0.5 * seconds, false};
    if (bytes / n_threads < READ_CHUNK_BYTES)
        fail("the buffer is too small for so many threads", n_threads);
    const double plain = machine_on_threads(n_threads, read_part, &reading);
    reading.prefetch = true;
    const double prefetching = machine_on_threads(n_threads, read_part, &reading);
    return plain > prefetching ? plain : prefetching;
}

// ---- arithmetic ------------------------------------------------------------------------------------------------------

// Independent accumulators, enough to hide the latency on two ports (four on ARM, 128 bits wide). The empty asm keeps the
// compiler from seeing that they are equal.
#define CHAINS 12
#define UNROLLED _Pragma("GCC unroll 12") for (int i = 0; i < CHAINS; i++)
#define PEAK_LOOP(name, target_features, vector, constraint, first, step, last, operations) \
    __attribute__((target(target_features))) static double name(uint64_t steps)             \
    {                                                                                       \
        vector v[CHAINS], w = first;                                                        \
        UNROLLED v[i] = first;                                                              \
        for (uint64_t s = 0; s < steps; s++) {                                              \
            UNROLLED                                                                        \
            {                                                                               \
                __asm__("" : "+" constraint(w));                                            \
                v[i] = step;                                                                \
                __asm__("" : "+" constraint(v[i]));                                         \
            }                                                                               \
        }                                                                                   \
        UNROLLED last;                                                                      \
        return (double)(operations)*CHAINS * (double)steps;                                 \
    }

#if defined(__x86_64__)
PEAK_LOOP(vpmaddubsw_256, "avx2", __m256i, "x", _mm256_set1_epi32(0x01020304),
          _mm256_add_epi16(v[i], _mm256_maddubs_epi16(w, w)), sink = (uint64_t)_mm256_extract_epi64(v[i], 0), 2 * 32)
PEAK_LOOP(vpmaddubsw_512, "avx512f,avx512bw", __m512i, "v", _mm512_set1_epi32(0x01020304),
          _mm512_add_epi16(v[i], _mm512_maddubs_epi16(w, w)), sink = (uint64_t)_mm512_reduce_or_epi64(v[i]), 2 * 64)
PEAK_LOOP(vpdpbusd_256, "avx2,avxvnni", __m256i, "x", _mm256_set1_epi32(0x01020304),
          _mm256_dpbusd_avx_epi32(v[i], w, w), sink = (uint64_t)_mm256_extract_epi64(v[i], 0), 2 * 32)
PEAK_LOOP(vpdpbusd_512, "avx512f,avx512vnni", __m512i, "v", _mm512_set1_epi32(0x01020304),
          _mm512_dpbusd_epi32(v[i], w, w), sink = (uint64_t)_mm512_reduce_or_epi64(v[i]), 2 * 64)
PEAK_LOOP(vfmadd_256, "avx2,fma", __m256, "x", _mm256_set1_ps(1e-30f), _mm256_fmadd_ps(w, w, v[i]),
          float_sink = _mm256_cvtss_f32(v[i]), 2 * 8)
PEAK_LOOP(vfmadd_512, "avx512f", __m512, "v", _mm512_set1_ps(1e-30f), _mm512_fmadd_ps(w, w, v[i]),
          float_sink = _mm512_reduce_add_ps(v[i]), 2 * 16)

#if defined(__linux__)
#define XFEATURE_TILE_DATA 18
#ifndef ARCH_REQ_XCOMP_PERM
#define ARCH_REQ_XCOMP_PERM 0x1023
#endif

// CPUID leaf 7: AMX-BF16, AMX-TILE and AMX-INT8; then the kernel's leave to use the tile registers, which holds for the process.
static bool amx_is_ours(void)
{
    uint32_t a = 7, b, c = 0, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return (d >> 22 & 13) == 13 && syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_TILE_DATA) == 0;
}

struct __attribute__((aligned(64))) tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t column_bytes[16];
    uint8_t rows[16];
};

// Tiles 0 to 3 accumulate 16 x 16 sums of 64 products of bytes, or 32 of bfloat16, each: two tiles of the one side times two of
// the other, the shape in which a matrix product uses them.
#define TILE_LOOP(name, target_features, step, products)                                                    \
    __attribute__((target(target_features))) static double name(uint64_t steps)                             \
    {                                                                                                       \
        struct tile_config config = {.palette = 1};                                                         \
        static const uint8_t zeros[16 * 64];                                                                \
        for (int t = 0; t < 8; t++) {                                                                       \
            config.column_bytes[t] = 64;                                                                    \
            config.rows[t] = 16;                                                                            \
        }                                                                                                   \
        __asm__ volatile("" : : "r"(&config) : "memory"); /* gcc 12 believes that 8 bytes of it are read */ \
        _tile_loadconfig(&config);                                                                          \
        _tile_loadd(4, zeros, 64);                                                                          \
        _tile_loadd(5, zeros, 64);                                                                          \
        _tile_loadd(6, zeros, 64);                                                                          \
        _tile_loadd(7, zeros, 64);                                                                          \
        _tile_zero(0);                                                                                      \
        _tile_zero(1);                                                                                      \
        _tile_zero(2);                                                                                      \
        _tile_zero(3);                                                                                      \
        for (uint64_t s = 0; s < steps; s++) {                                                              \
            step(0, 4, 6);                                                                                  \
            step(1, 4, 7);                                                                                  \
            step(2, 5, 6);                                                                                  \
            step(3, 5, 7);                                                                                  \
        }                                                                                                   \
        _tile_release();                                                                                    \
        return 2.0 * 4 * 16 * 16 * (products) * (double)steps;                                              \
    }
TILE_LOOP(tdpbusd, "amx-tile,amx-int8", _tile_dpbusd, 64)
TILE_LOOP(tdpbf16ps, "amx-tile,amx-bf16", _tile_dpbf16ps, 32)
#endif
#elif defined(__aarch64__)
#include <arm_neon.h>

PEAK_LOOP(smlal, "arch=armv8-a", int16x8_t, "w", vdupq_n_s16(1),
          vmlal_s8(v[i], vget_low_s8(vreinterpretq_s8_s16(w)), vget_low_s8(vreinterpretq_s8_s16(w))),
          sink = (uint64_t)vgetq_lane_s16(v[i], 0), 2 * 8)
PEAK_LOOP(sdot, "arch=armv8.2-a+dotprod", int32x4_t, "w", vdupq_n_s32(1),
          vdotq_s32(v[i], vreinterpretq_s8_s32(w), vreinterpretq_s8_s32(w)), sink = (uint64_t)vgetq_lane_s32(v[i], 0),
          2 * 16)
PEAK_LOOP(smmla, "arch=armv8.2-a+i8mm", int32x4_t, "w", vdupq_n_s32(1),
          vmmlaq_s32(v[i], vreinterpretq_s8_s32(w), vreinterpretq_s8_s32(w)), sink = (uint64_t)vgetq_lane_s32(v[i], 0),
          2 * 32)
PEAK_LOOP(fmla, "arch=armv8-a", float32x4_t, "w", vdupq_n_f32(1e-30f), vfmaq_f32(v[i], w, w),
          float_sink = vgetq_lane_f32(v[i], 0), 2 * 4)
#endif

// A peak and the features that it takes; slowest first.
struct known_peak {
    uint32_t features;
    struct machine_peak peak;
};

static const struct known_peak int8_peaks[] = {
#if defined(__x86_64__)
    {CPU_AVX2, {"vpmaddubsw + vpaddw, 256 bits", vpmaddubsw_256}},
    {CPU_AVX512, {"vpmaddubsw + vpaddw, 512 bits", vpmaddubsw_512}},
    {CPU_AVX_VNNI, {"vpdpbusd, 256 bits", vpdpbusd_256}},
    {CPU_AVX512_VNNI, {"vpdpbusd, 512 bits", vpdpbusd_512}},
#if defined(__linux__)
    {CPU_AMX, {"tdpbusd, 16 x 64 bytes", tdpbusd}},
#endif
#elif defined(__aarch64__)
    {CPU_NEON, {"smlal, 64 bits", smlal}},
    {CPU_NEON_DOTPROD, {"sdot, 128 bits", sdot}},
    {CPU_NEON_I8MM, {"smmla, 128 bits", smmla}},
#endif
    {0, {NULL, NULL}},
};

static const struct known_peak bf16_peaks[] = {
#if defined(__x86_64__) && defined(__linux__)
    {CPU_AMX, {"tdpbf16ps, 16 x 32 pairs", tdpbf16ps}},
#endif
    {0, {NULL, NULL}},
};

static const struct known_peak fp32_peaks[] = {
#if defined(__x86_64__)
    {CPU_AVX2, {"vfmadd, 256 bits", vfmadd_256}},
    {CPU_AVX512, {"vfmadd, 512 bits", vfmadd_512}},
#elif defined(__aarch64__)
    {CPU_NEON, {"fmla, 128 bits", fmla}},
#endif
    {0, {NULL, NULL}},
};

static uint32_t machine_features(void)
{
    uint32_t features = cpu_features();
#if defined(__x86_64__) && defined(__linux__)
    if (amx_is_ours())
        features |= CPU_AMX;
#endif
    return features;
}

#define MAX_PEAKS 8

static void peaks_of(const struct known_peak *known, struct machine_peak *out)
{
    const uint32_t features = machine_features();
    for (; known->peak.instruction != NULL; known++)
        if ((known->features & ~features) == 0)
            *out++ = known->peak;
    *out = (struct machine_peak){NULL, NULL};
}

const struct machine_peak *machine_int8_peaks(void)
{
    static struct machine_peak list[MAX_PEAKS];
    peaks_of(int8_peaks, list);
    return list;
}

const struct machine_peak *machine_bf16_peaks(void)
{
    static struct machine_peak list[MAX_PEAKS];
    peaks_of(bf16_peaks, list);
    return list;
}

const struct machine_peak *machine_fp32_peaks(void)
{
    static struct machine_peak list[MAX_PEAKS];
    peaks_of(fp32_peaks, list);
    return list;
}

static const struct machine_peak *best_of(const struct known_peak *known, uint32_t features)
{
    const struct machine_peak *best = NULL;
    for (; known->peak.instruction != NULL; known++)
        if ((known->features & ~features) == 0)
            best = &known->peak;
    return best;
}

const struct machine_peak *machine_fp32_peak(uint32_t features)
{
    return best_of(fp32_peaks, features);
}

const struct machine_peak *machine_product_peak(uint32_t features, bool of_floats)
{
    const struct machine_peak *tiles = best_of(bf16_peaks, features);
    return tiles != NULL ? tiles : best_of(of_floats ? fp32_peaks : int8_peaks, features);
}

struct peak_run {
    const struct machine_peak *peak;
    double seconds;
};

static double run_peak(void *context, uint32_t index, uint32_t n_threads)
{
    const struct peak_run *run = context;
    const double start = machine_cpu_seconds();
    double operations = 0.0, spent;
    (void)index;
    (void)n_threads;
    do {
        operations += run->peak->loop(1 << 16);
        spent = machine_cpu_seconds() - start;
    } while (spent < run->seconds);
    return operations / spent;
}

double machine_peak_rate(const struct machine_peak *peak, uint32_t n_threads, double seconds)
{
    struct peak_run run = {peak, seconds};
    return peak == NULL ? 0.0 : machine_on_threads(n_threads, run_peak, &run);
}
