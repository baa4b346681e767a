// What the machine itself can do, measured by plain loops: the yardsticks of the bench programs. Programs of one run each:
// on a failure, these functions print why and end the process.
#ifndef CHORD_BENCH_MACHINE_H
#define CHORD_BENCH_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#define MACHINE_MAX_THREADS 256

// Memory of a cache line's alignment; free() gives it back.
void *machine_alloc(uint64_t bytes);

// Seconds of the wall clock, and of processor time of the calling thread: a core taken away by another program does not
// count in the latter.
double machine_seconds(void);
double machine_cpu_seconds(void);

// Sorts values[n], n > 0.
double machine_median(double *values, uint32_t n);

// Runs work(context, index, n_threads) on n_threads threads that begin together, each bound to a processor of its own
// where the system can do that. Returns the sum of what they return.
double machine_on_threads(uint32_t n_threads, double (*work)(void *context, uint32_t index, uint32_t n_threads),
                          void *context);

// ---- memory

// Bytes of the last level of cache; 0: the system does not tell.
uint64_t machine_cache_bytes(void);

// A size that caches do not help with: four times the last level of cache, at least 1 GiB, at most half of the memory.
uint64_t machine_buffer_bytes(void);

// `bytes` (a multiple of 8) of memory of its own, in huge pages where they can be had, filled with bytes 0x20 to 0x2f,
// which every weight type reads as normal numbers. Never given back.
uint8_t *machine_buffer(uint64_t bytes);

// Reads p[bytes], bytes a multiple of 256, with the widest loads that the processor has; with or without prefetching.
typedef void machine_read(const uint8_t *p, uint64_t bytes, bool prefetch);

// To be called once per run: CPUID is slow in virtual machines.
machine_read *machine_widest_read(void);

// Bytes per second that n_threads threads read from buffer[bytes] together, during `seconds`: with prefetching or without,
// whichever is faster.
double machine_read_rate(machine_read *read, const uint8_t *buffer, uint64_t bytes, uint32_t n_threads, double seconds);

// ---- arithmetic

// A loop of one instruction (or the shortest sequence that multiplies and adds) with enough independent chains to keep
// all ports busy. Multiplications and additions count one each.
struct machine_peak {
    const char *instruction;
    double (*loop)(uint64_t steps); // operations done
};

// All that this machine has, ended by { NULL }. The AMX tiles count as had when the system lets the process use them,
// whatever chord does with them.
const struct machine_peak *machine_int8_peaks(void);
const struct machine_peak *machine_bf16_peaks(void);
const struct machine_peak *machine_fp32_peaks(void);

// What a tier of kernels with these features (mask of cpu_feature) is to be measured by: the fastest instruction for the
// products of its GEMM, with quantized weights or with floats. Bytes and floats; on the tile unit bfloat16 for both (of which
// weights in BF16, F16 and F32 take 3, 5 and 6 products of parts for one of their own). NULL: none known.
const struct machine_peak *machine_product_peak(uint32_t features, bool of_floats);

// The fastest of fp32 on vectors. NULL: none known.
const struct machine_peak *machine_fp32_peak(uint32_t features);

// Operations per second of n_threads threads together, during `seconds`; 0 for NULL.
double machine_peak_rate(const struct machine_peak *peak, uint32_t n_threads, double seconds);

#endif
