// Blocked matrix product: panels of both operands are packed so that the inner loop reads memory in order, and a tile of
// TILE_ROWS x TILE_COLS sums stays in registers (Goto and van de Geijn, "Anatomy of high-performance matrix
// multiplication", ACM TOMS 34, 2008).
#include "gemm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LANES 16
#define TILE_ROWS 8
#define TILE_VECTORS 2
#define TILE_COLS (LANES * TILE_VECTORS)
#define BLOCK_K 384     // a packed panel of TILE_ROWS and one of TILE_COLS fit L1 together
#define BLOCK_ROWS 64   // rows of `a` that one chunk of work packs: with BLOCK_K half of an L2
#define BLOCK_COLS 4096 // columns of `b` packed at once

typedef real vector __attribute__((vector_size(LANES * sizeof(real))));

struct gemm_scratch {
    real *b;            // [BLOCK_COLS / TILE_COLS][BLOCK_K][TILE_COLS]
    real **a;           // per thread: [BLOCK_ROWS / TILE_ROWS][BLOCK_K][TILE_ROWS]
    uint32_t n_threads;
};

static void *allocate(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (p == NULL) {
        fprintf(stderr, "out of memory: %zu bytes\n", bytes);
        exit(1);
    }
    return p;
}

struct gemm_scratch *gemm_scratch_create(uint32_t n_threads)
{
    struct gemm_scratch *scratch = allocate(sizeof *scratch);
    scratch->n_threads = n_threads;
    scratch->b = allocate(sizeof(real) * BLOCK_COLS * BLOCK_K);
    scratch->a = allocate(sizeof *scratch->a * n_threads);
    for (uint32_t i = 0; i < n_threads; i++)
        scratch->a[i] = allocate(sizeof(real) * BLOCK_ROWS * BLOCK_K);
    return scratch;
}

void gemm_scratch_free(struct gemm_scratch *scratch)
{
    for (uint32_t i = 0; i < scratch->n_threads; i++)
        free(scratch->a[i]);
    free(scratch->a);
    free(scratch->b);
    free(scratch);
}

struct product {
    struct matrix a, b, c;
    struct gemm_scratch *scratch;
    size_t col, n_cols; // of the block of b
    size_t k, n_k;      // of the block of k
    bool add;           // onto what c holds
};

static void pack_b(void *context, uint32_t panel, uint32_t thread)
{
    const struct product *p = context;
    real *out = p->scratch->b + (size_t)panel * TILE_COLS * BLOCK_K;
    const size_t first = p->col + (size_t)panel * TILE_COLS;
    const size_t left = p->col + p->n_cols - first, n = left < TILE_COLS ? left : TILE_COLS;
    (void)thread;
    for (size_t k = 0; k < p->n_k; k++) {
        const real *in = p->b.data + (p->k + k) * p->b.row_stride + first * p->b.col_stride;
        for (size_t j = 0; j < TILE_COLS; j++)
            out[k * TILE_COLS + j] = j < n ? in[j * p->b.col_stride] : 0;
    }
}

static void pack_a(const struct product *p, size_t first, size_t n_rows, real *out)
{
    for (size_t i0 = 0; i0 < n_rows; i0 += TILE_ROWS, out += TILE_ROWS * BLOCK_K)
        for (size_t i = 0; i < TILE_ROWS; i++) {
            const real *in = p->a.data + (first + i0 + i) * p->a.row_stride + p->k * p->a.col_stride;
            for (size_t k = 0; k < p->n_k; k++)
                out[k * TILE_ROWS + i] = i0 + i < n_rows ? in[k * p->a.col_stride] : 0;
        }
}

// One tile: TILE_ROWS x TILE_COLS sums over n_k.
static void multiply_tile(const real *a, const real *b, size_t n_k, vector sums[TILE_ROWS][TILE_VECTORS])
{
    vector s[TILE_ROWS][TILE_VECTORS];
    memset(s, 0, sizeof s);
    for (size_t k = 0; k < n_k; k++, a += TILE_ROWS, b += TILE_COLS) {
        const vector b0 = *(const vector *)b, b1 = *(const vector *)(b + LANES);
        for (int i = 0; i < TILE_ROWS; i++) {
            s[i][0] += a[i] * b0;
            s[i][1] += a[i] * b1;
        }
    }
    memcpy(sums, s, sizeof s);
}

static void multiply_rows(void *context, uint32_t chunk, uint32_t thread)
{
    const struct product *p = context;
    const size_t first = (size_t)chunk * BLOCK_ROWS;
    const size_t left = p->c.rows - first, n_rows = left < BLOCK_ROWS ? left : BLOCK_ROWS;
    real *packed = p->scratch->a[thread];
    pack_a(p, first, n_rows, packed);
    for (size_t j0 = 0; j0 < p->n_cols; j0 += TILE_COLS) {
        const real *b = p->scratch->b + j0 * BLOCK_K;
        const size_t n = p->n_cols - j0 < TILE_COLS ? p->n_cols - j0 : TILE_COLS;
        for (size_t i0 = 0; i0 < n_rows; i0 += TILE_ROWS) {
            vector sums[TILE_ROWS][TILE_VECTORS];
            multiply_tile(packed + i0 * BLOCK_K, b, p->n_k, sums);
            for (size_t i = 0; i < TILE_ROWS && i0 + i < n_rows; i++) {
                real *c = p->c.data + (first + i0 + i) * p->c.row_stride + p->col + j0;
                const real *sum = (const real *)sums[i];
                if (p->add)
                    for (size_t j = 0; j < n; j++)
                        c[j] += sum[j];
                else
                    memcpy(c, sum, n * sizeof *c);
            }
        }
    }
}

static void run(struct pool *pool, pool_work *work, struct product *p, size_t n_chunks)
{
    if (pool != NULL)
        pool_run(pool, work, p, (uint32_t)n_chunks);
    else
        for (uint32_t chunk = 0; chunk < n_chunks; chunk++)
            work(p, chunk, 0);
}

void gemm(struct pool *pool, struct gemm_scratch *scratch, struct matrix a, struct matrix b, struct matrix c,
          bool add)
{
    struct product p = {.a = a, .b = b, .c = c, .scratch = scratch};
    for (p.col = 0; p.col < c.cols; p.col += BLOCK_COLS) {
        p.n_cols = c.cols - p.col < BLOCK_COLS ? c.cols - p.col : BLOCK_COLS;
        for (p.k = 0; p.k < a.cols; p.k += BLOCK_K) {
            p.n_k = a.cols - p.k < BLOCK_K ? a.cols - p.k : BLOCK_K;
            p.add = add || p.k > 0;
            run(pool, pack_b, &p, (p.n_cols + TILE_COLS - 1) / TILE_COLS);
            run(pool, multiply_rows, &p, (c.rows + BLOCK_ROWS - 1) / BLOCK_ROWS);
        }
    }
}
