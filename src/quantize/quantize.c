#include "quantize/quantize.h"

#include "base/checked.h"
#include "base/half.h"
#include "os/pool.h"
#include "os/thread.h"
#include "quant/i2_s.h"
#include "quant/quant.h"
#include "quantize/header.h"

#include <inttypes.h>
#include <string.h>

#define PIECE_BYTES (4 * (uint64_t)QUANTIZE_PIECE) // of a piece in any type: none has more than four bytes for a value
#define PIECES_PER_THREAD 2u                       // of one round: between two rounds the clock is looked at

// One thread's memory.
struct bench {
    unsigned char read[PIECE_BYTES];
    float values[QUANTIZE_PIECE];
    unsigned char written[PIECE_BYTES];
};

// One thread's importances of columns that the next row may want too.
struct importances {
    const struct imatrix_entry *entry; // NULL: none yet
    uint64_t first, n;                 // of its sums
    float values[QUANTIZE_PIECE];
};

struct quantizer {
    struct memory_account *account;
    struct gguf *gguf;
    const struct mix *mix;
    struct quantize_item *items; // [gguf_n_tensors]
    struct pool *pool;
    struct bench *benches;             // [n_threads]
    struct imatrix *imatrix;           // NULL: none, and so is the next
    struct importances *importances;   // [n_threads]
    uint64_t n_weighted, n_unweighted; // tensors that are weighed with it, that it lacks
    struct os_output output;
    uint64_t data_at, output_bytes, input_bytes;
    uint64_t
        n_measures; // pieces of tensors whose type has one scale for all of them: each is read beforehand, to find the scale
    uint64_t n_pieces, next_piece; // measures, then the pieces of all tensors
    uint64_t input_bytes_done;

    // Of the round under way.
    const _Atomic bool *cancel, *stop;
    _Atomic bool has_failed;  // some thread has taken `error`, and nobody else writes it
    struct chord_error error; // valid after the round when has_failed
    _Atomic uint64_t round_bytes;
};

static const struct quant_traits *input_type(const struct quantize_item *item)
{
    return quant_traits(item->tensor->type);
}

static bool is_copied(const struct quantize_item *item)
{
    return item->type->type == item->tensor->type;
}

// To a type of one scale for the whole tensor.
static bool is_measured(const struct quantize_item *item)
{
    return item->type->tail_bytes != 0 && !is_copied(item);
}

static bool is_float_type(const struct quant_traits *type)
{
    return type->block_size == 1;
}

static uint64_t n_elements(const struct gguf_tensor *tensor)
{
    return tensor->ne[0] * tensor->ne[1] * tensor->ne[2] * tensor->ne[3]; // checked when the file was opened
}

static char *shown_name(const struct gguf_tensor *tensor, char out[80])
{
    return chord_printable(out, 80, tensor->name.bytes, (size_t)tensor->name.n_bytes);
}

// ------------------------------------------------------------------------------------------------------------- opening

static enum chord_status check_paths(const struct gguf *gguf, const char *output, const char *imatrix,
                                     struct chord_error *err)
{
    if (imatrix != NULL && os_file_same(imatrix, output))
        return chord_fail(err, CHORD_INVALID_ARGUMENT,
                          "%s is the importance matrix that is to be read; give the result another name", output);
    for (uint32_t i = 0; i < gguf_n_files(gguf); i++)
        if (os_file_same(gguf_file(gguf, i)->path, output))
            return chord_fail(err, CHORD_INVALID_ARGUMENT,
                              "%s is the model that is to be read; give the result another name", output);
    if (gguf_n_tensors(gguf) == 0)
        return chord_fail(err, CHORD_INVALID_ARGUMENT, "%s holds no tensors, so there is nothing to quantize",
                          gguf_file(gguf, 0)->path);
    return CHORD_OK;
}

// What the importance matrix has for a tensor whose type is chosen.
static enum chord_status find_importance(struct quantizer *q, struct quantize_item *item, uint64_t *n_known,
                                         struct chord_error *err)
{
    const struct gguf_tensor *tensor = item->tensor;
    const struct imatrix_entry *entry = imatrix_find(q->imatrix, tensor->name);
    const bool can_weigh = !is_copied(item) && quant_weighted_of(item->type->type) != NULL;
    const uint64_t n_matrices = tensor->ne[2] * tensor->ne[3];
    if (entry == NULL) {
        q->n_unweighted += can_weigh;
        return CHORD_OK;
    }
    if (entry->n_sums != tensor->ne[0] * n_matrices) {
        char name[80];
        return chord_fail(err, CHORD_INVALID_ARGUMENT,
                          "%s is the importance matrix of another model: it has %" PRIu64
                          " sums for the tensor '%s', which has %" PRIu64 " columns in %" PRIu64 " %s",
                          imatrix_path(q->imatrix), entry->n_sums, shown_name(tensor, name), tensor->ne[0], n_matrices,
                          n_matrices == 1 ? "matrix" : "matrices");
    }
    item->importance = can_weigh ? entry : NULL;
    q->n_weighted += can_weigh;
    *n_known += 1;
    return CHORD_OK;
}

static enum chord_status find_importances(struct quantizer *q, struct chord_error *err)
{
    uint64_t n_known = 0;
    enum chord_status status = CHORD_OK;
    for (uint64_t i = 0; i < gguf_n_tensors(q->gguf) && status == CHORD_OK; i++)
        status = find_importance(q, &q->items[i], &n_known, err);
    if (status == CHORD_OK && n_known == 0) {
        char first[80];
        const char *name = imatrix_entry(q->imatrix, 0)->name;
        status = chord_fail(err, CHORD_INVALID_ARGUMENT,
                            "%s is the importance matrix of another model: none of its %" PRIu64
                            " tensors, such as '%s', is one of %s",
                            imatrix_path(q->imatrix), imatrix_n_entries(q->imatrix),
                            chord_printable(first, sizeof first, name, strlen(name)), gguf_file(q->gguf, 0)->path);
    }
    return status;
}

static struct quantize_head head_of(const struct quantizer *q)
{
    return (struct quantize_head){.gguf = q->gguf, .mix = q->mix, .items = q->items, .imatrix = q->imatrix};
}

static enum chord_status choose_types(struct quantizer *q, bool requantize, struct chord_error *err)
{
    struct mix_model model = mix_model_of(q->gguf);
    model.has_imatrix = q->imatrix != NULL;
    const uint64_t alignment = quantize_alignment(q->gguf);
    uint64_t offset = 0;
    for (uint64_t i = 0; i < gguf_n_tensors(q->gguf); i++) {
        struct quantize_item *item = &q->items[i];
        item->tensor = gguf_tensor(q->gguf, i);
        item->type = quant_traits(mix_type_of(q->mix, &model, item->tensor));
        if (!is_copied(item) && !is_float_type(input_type(item)) && !requantize) {
            char name[80];
            return chord_fail(
                err, CHORD_INVALID_ARGUMENT,
                "the tensor '%s' is quantized already, to %s: quantize the model's F32, F16 or BF16 file, "
                "or allow requantizing, which adds one loss to the other",
                shown_name(item->tensor, name), input_type(item)->name);
        }
        item->offset = offset;
        const uint64_t n_pieces = (n_elements(item->tensor) + QUANTIZE_PIECE - 1) / QUANTIZE_PIECE;
        item->first_piece = q->n_pieces;
        item->first_measure = q->n_measures;
        q->n_pieces += n_pieces;
        q->n_measures += is_measured(item) ? n_pieces : 0;
        q->input_bytes += item->tensor->n_bytes * (is_measured(item) ? 2 : 1);
        const uint64_t n_rows = n_elements(item->tensor) / item->tensor->ne[0];
        if (!quant_tensor_bytes(item->type->type, item->tensor->ne[0], n_rows, &item->n_bytes) ||
            !checked_add(offset, item->n_bytes, &offset) || !checked_align(offset, alignment, &offset))
            return chord_fail(err, CHORD_GGUF_LIMIT, "the new file would be larger than 2^64 bytes");
    }
    q->n_pieces += q->n_measures;
    const struct quantize_head head = head_of(q);
    q->data_at = quantize_data_at(&head);
    if (q->data_at == 0 || !checked_add(q->data_at, offset, &q->output_bytes))
        return chord_fail(err, CHORD_GGUF_LIMIT, "the new file would be larger than 2^64 bytes");
    return CHORD_OK;
}

static enum chord_status find_mix(struct quantizer *q, const char *type, struct chord_error *err)
{
    char names[256] = "";
    q->mix = mix_by_name(type);
    if (q->mix != NULL)
        return CHORD_OK;
    for (uint32_t i = 0; mix_name(i) != NULL; i++) {
        if (i > 0)
            strncat(names, ", ", sizeof names - strlen(names) - 1);
        strncat(names, mix_name(i), sizeof names - strlen(names) - 1);
    }
    char shown[64];
    return chord_fail(err, CHORD_INVALID_ARGUMENT, "there is no type '%s' to quantize to: there are %s",
                      chord_printable(shown, sizeof shown, type, strlen(type)), names);
}

static enum chord_status allocate(struct quantizer *q, uint32_t n_threads, struct chord_error *err)
{
    q->items = memory_zalloc(q->account, MEMORY_METADATA, gguf_n_tensors(q->gguf), sizeof *q->items);
    if (q->items == NULL)
        return memory_account_fail(q->account, err, gguf_n_tensors(q->gguf) * sizeof *q->items, "the list of tensors");
    uint64_t n_bytes;
    if (checked_mul(n_threads, sizeof *q->benches, &n_bytes))
        q->benches = memory_alloc(q->account, MEMORY_SCRATCH, n_bytes, 64);
    if (q->benches == NULL)
        return memory_account_fail(q->account, err, n_threads * sizeof *q->benches, "pieces of tensors");
    if (q->imatrix != NULL) {
        q->importances = memory_zalloc(q->account, MEMORY_SCRATCH, n_threads, sizeof *q->importances);
        if (q->importances == NULL)
            return memory_account_fail(q->account, err, n_threads * sizeof *q->importances, "importances");
    }
    return pool_create(&q->pool, n_threads, q->account, err);
}

static enum chord_status write_header(struct quantizer *q, struct chord_error *err)
{
    const struct quantize_head head = head_of(q);
    return quantize_write_header(&head, &q->output, q->account, err);
}

enum chord_status quantizer_open(struct quantizer **out, const char *input, const char *output,
                                 const struct quantizer_options *options, struct memory_account *account,
                                 struct chord_error *err)
{
    *out = NULL;
    struct quantizer *q = memory_zalloc(account, MEMORY_METADATA, 1, sizeof *q);
    if (q == NULL)
        return memory_account_fail(account, err, sizeof *q, "the quantizer");
    q->account = account;
    enum chord_status status = find_mix(q, options->type, err);
    if (status == CHORD_OK)
        status = gguf_open(&q->gguf, input, account, err);
    if (status == CHORD_OK)
        status = check_paths(q->gguf, output, options->imatrix, err);
    if (status == CHORD_OK && options->imatrix != NULL)
        status = imatrix_open(&q->imatrix, options->imatrix, account, err);
    if (status == CHORD_OK)
        status = allocate(q, options->n_threads, err);
    if (status == CHORD_OK)
        status = choose_types(q, options->requantize, err);
    if (status == CHORD_OK && q->imatrix != NULL)
        status = find_importances(q, err);
    if (status == CHORD_OK)
        status = os_output_open(&q->output, output, q->output_bytes, account, err);
    if (status == CHORD_OK)
        status = write_header(q, err);
    if (status != CHORD_OK) {
        quantizer_free(q);
        return status;
    }
    *out = q;
    return CHORD_OK;
}

void quantizer_discard(struct quantizer *q)
{
    os_output_discard(&q->output);
}

void quantizer_free(struct quantizer *q)
{
    if (q == NULL)
        return;
    pool_free(q->pool);
    os_output_discard(&q->output);
    gguf_close(q->gguf);
    imatrix_close(q->imatrix);
    memory_free(q->account, q->importances);
    memory_free(q->account, q->benches);
    memory_free(q->account, q->items);
    memory_free(q->account, q);
}

const char *quantizer_type(const struct quantizer *q)
{
    return q->mix->name;
}

uint64_t quantizer_input_bytes(const struct quantizer *q)
{
    return q->input_bytes;
}

uint64_t quantizer_output_bytes(const struct quantizer *q)
{
    return q->output_bytes;
}

void quantizer_weighted(const struct quantizer *q, uint64_t *n_weighted, uint64_t *n_unweighted)
{
    *n_weighted = q->n_weighted;
    *n_unweighted = q->n_unweighted;
}

// -------------------------------------------------------------------------------------------------------------- pieces

// The tensor that a piece, or a measure, belongs to: the last whose first one is not behind it. (Every tensor has a piece.)
static struct quantize_item *item_of(const struct quantizer *q, uint64_t index, bool measure)
{
    uint64_t low = 0, high = gguf_n_tensors(q->gguf);
    while (high - low > 1) {
        const uint64_t middle = low + (high - low) / 2;
        const uint64_t first = measure ? q->items[middle].first_measure : q->items[middle].first_piece;
        if (first <= index)
            low = middle;
        else
            high = middle;
    }
    return &q->items[low];
}

// Not finite, or beyond the largest half where halves are to be made. 65520 is the least number that rounds to infinity.
static enum chord_status check_values(const struct quantize_item *item, const float *x, uint64_t n, uint64_t first,
                                      struct chord_error *err)
{
    const float limit = item->type->type == QUANT_F16 ? 65520.0f : __builtin_inff();
    uint64_t i = 0;
    while (i < n && x[i] < limit && x[i] > -limit)
        i++;
    if (i == n)
        return CHORD_OK;
    char name[80];
    return chord_fail(err, CHORD_INVALID_ARGUMENT,
                      "value %" PRIu64 " of the tensor '%s' is %g, which %s cannot hold: %s", first + i,
                      shown_name(item->tensor, name), (double)x[i], item->type->name,
                      x[i] - x[i] == 0.0f ? "quantize to BF16 or F32" : "the model is damaged, convert it again");
}

// Of a type whose scale stands behind the tensor's last row.
static enum chord_status multiply_by_scale(const struct quantizer *q, const struct gguf_tensor *tensor, float *values,
                                           uint64_t n, struct chord_error *err)
{
    const uint64_t at = tensor->offset + tensor->n_bytes - quant_traits(tensor->type)->tail_bytes;
    uint8_t bytes[4];
    const enum chord_status status = os_file_read(&gguf_file(q->gguf, tensor->file)->os, at, bytes, sizeof bytes, err);
    const uint32_t low = (uint32_t)(bytes[0] | bytes[1] << 8), high = (uint32_t)(bytes[2] | bytes[3] << 8);
    for (uint64_t i = 0; status == CHORD_OK && i < n; i++)
        values[i] *= float_from_bits(low | high << 16);
    return status;
}

// Values first .. first + n - 1 as they are in the input: as bytes, and as floats where they are not to be copied. `tail` bytes more
// are read.
static enum chord_status read_values(struct quantizer *q, const struct quantize_item *item, uint64_t first, uint64_t n,
                                     uint64_t tail, struct bench *bench, struct chord_error *err)
{
    const struct quant_traits *from = input_type(item);
    const uint64_t at = item->tensor->offset + first / from->block_size * from->block_bytes;
    const uint64_t n_read = n / from->block_size * from->block_bytes + tail;
    enum chord_status status = os_file_read(&gguf_file(q->gguf, item->tensor->file)->os, at, bench->read, n_read, err);
    if (status == CHORD_OK && !is_copied(item)) {
        from->dequantize_row(bench->read, bench->values, n);
        if (from->tail_bytes != 0)
            status = multiply_by_scale(q, item->tensor, bench->values, n, err);
        if (status == CHORD_OK)
            status = check_values(item, bench->values, n, first, err);
    }
    const bool is_last = first + n == n_elements(item->tensor);
    if (status == CHORD_OK)
        atomic_fetch_add(&q->round_bytes, n_read - tail + (is_last ? from->tail_bytes : 0));
    return status;
}

static enum chord_status measure_piece(struct quantizer *q, uint64_t measure, struct bench *bench,
                                       struct chord_error *err)
{
    struct quantize_item *item = item_of(q, measure, true);
    const uint64_t first = (measure - item->first_measure) * QUANTIZE_PIECE;
    const uint64_t left = n_elements(item->tensor) - first;
    const uint64_t n = left < QUANTIZE_PIECE ? left : QUANTIZE_PIECE;
    const enum chord_status status = read_values(q, item, first, n, 0, bench, err);
    uint32_t largest = 0; // magnitudes order like their bits
    for (uint64_t i = 0; status == CHORD_OK && i < n; i++) {
        const uint32_t magnitude = bits_from_float(bench->values[i]) & 0x7fffffffu;
        largest = magnitude > largest ? magnitude : largest;
    }
    uint32_t before = atomic_load(&item->largest);
    while (before < largest && !atomic_compare_exchange_weak(&item->largest, &before, largest))
        ;
    return status;
}

static void set_tail(unsigned char *tail, uint32_t n_bytes, uint32_t scale)
{
    memset(tail, 0, n_bytes);
    for (int i = 0; i < 4; i++)
        tail[i] = (unsigned char)(scale >> 8 * i);
}

// Sees to it that a thread holds the importances first .. first + n - 1 of an entry.
static enum chord_status get_importances(const struct quantizer *q, struct importances *held,
                                         const struct imatrix_entry *entry, uint64_t first, uint64_t n,
                                         struct chord_error *err)
{
    if (held->entry == entry && held->first == first && held->n == n)
        return CHORD_OK;
    held->entry = NULL;
    const enum chord_status status = imatrix_read(q->imatrix, entry, first, n, held->values, err);
    if (status != CHORD_OK)
        return status;
    held->entry = entry;
    held->first = first;
    held->n = n;
    return CHORD_OK;
}

// Values first .. first + n - 1 of a tensor, row by row: each has its columns' importances, those of its expert.
static enum chord_status quantize_weighted(const struct quantizer *q, const struct quantize_item *item, uint64_t first,
                                           uint64_t n, struct bench *bench, struct chord_error *err)
{
    const struct gguf_tensor *tensor = item->tensor;
    const struct quant_traits *to = item->type;
    const quant_weighted quantize = quant_weighted_of(to->type);
    struct importances *held = &q->importances[bench - q->benches];
    const uint64_t n_columns = tensor->ne[0];
    enum chord_status status = CHORD_OK;
    for (uint64_t done = 0; done < n && status == CHORD_OK;) {
        const uint64_t column = (first + done) % n_columns;
        const uint64_t matrix = (first + done) / n_columns / tensor->ne[1];
        const uint64_t left = n - done, rest = n_columns - column, now = left < rest ? left : rest;
        const bool whole = n_columns <= QUANTIZE_PIECE; // all columns, which the next row wants too
        const uint64_t from = whole ? 0 : column;
        status = get_importances(q, held, item->importance, matrix * n_columns + from, whole ? n_columns : now, err);
        if (status == CHORD_OK)
            quantize(bench->values + done, held->values + column - from,
                     bench->written + done / to->block_size * to->block_bytes, now);
        done += now;
    }
    return status;
}

static enum chord_status convert_piece(struct quantizer *q, uint64_t piece, struct bench *bench,
                                       struct chord_error *err)
{
    const struct quantize_item *item = item_of(q, piece, false);
    const struct quant_traits *to = item->type;
    const uint64_t first = (piece - item->first_piece) * QUANTIZE_PIECE;
    const uint64_t left = n_elements(item->tensor) - first;
    const uint64_t n = left < QUANTIZE_PIECE ? left : QUANTIZE_PIECE;
    const uint64_t tail = n == left ? to->tail_bytes : 0;
    const uint64_t n_rows_bytes = n / to->block_size * to->block_bytes;
    const uint64_t write_at = q->data_at + item->offset + first / to->block_size * to->block_bytes;
    enum chord_status status = read_values(q, item, first, n, is_copied(item) ? tail : 0, bench, err);
    if (status == CHORD_OK && is_measured(item)) {
        const uint32_t scale = atomic_load(&item->largest);
        quant_quantize_i2_s(bench->values, float_from_bits(scale), bench->written, n);
        if (tail != 0)
            set_tail(bench->written + n_rows_bytes, (uint32_t)tail, scale);
    } else if (status == CHORD_OK && item->importance != NULL) {
        status = quantize_weighted(q, item, first, n, bench, err);
    } else if (status == CHORD_OK && !is_copied(item)) {
        to->quantize_row(bench->values, bench->written, n);
    }
    if (status == CHORD_OK)
        status = os_output_write(&q->output, write_at, is_copied(item) ? bench->read : bench->written,
                                 n_rows_bytes + tail, err);
    return status;
}

static bool is_cancelled(const struct quantizer *q)
{
    return (q->cancel != NULL && atomic_load(q->cancel)) || (q->stop != NULL && atomic_load(q->stop));
}

static void piece_work(void *context, uint32_t chunk, uint32_t thread)
{
    struct quantizer *q = context;
    struct chord_error error;
    if (atomic_load(&q->has_failed) || is_cancelled(q))
        return;
    const uint64_t piece = q->next_piece + chunk;
    const enum chord_status status = piece < q->n_measures
                                         ? measure_piece(q, piece, &q->benches[thread], &error)
                                         : convert_piece(q, piece - q->n_measures, &q->benches[thread], &error);
    if (status != CHORD_OK && !atomic_exchange(&q->has_failed, true))
        q->error = error;
}

// What follows the last tensor up to the file's end: alignment, which a file that was made to size already has.
static enum chord_status finish(struct quantizer *q, struct chord_error *err)
{
    const uint64_t n_tensors = gguf_n_tensors(q->gguf);
    const struct quantize_item *last = &q->items[n_tensors - 1];
    const uint64_t end = q->data_at + last->offset + last->n_bytes;
    enum chord_status status = CHORD_OK;
    for (uint64_t at = end; at < q->output_bytes && status == CHORD_OK;) {
        static const unsigned char zeros[4096];
        const uint64_t n = q->output_bytes - at < sizeof zeros ? q->output_bytes - at : sizeof zeros;
        status = os_output_write(&q->output, at, zeros, n, err);
        at += n;
    }
    for (uint32_t i = 0; i < gguf_n_files(q->gguf) && status == CHORD_OK; i++)
        status = os_file_check_unchanged(&gguf_file(q->gguf, i)->os, gguf_file(q->gguf, i)->path, err);
    if (status == CHORD_OK && q->imatrix != NULL)
        status = imatrix_check_unchanged(q->imatrix, err);
    return status == CHORD_OK ? os_output_finish(&q->output, err) : status;
}

enum chord_status quantizer_run(struct quantizer *q, double seconds, const _Atomic bool *cancel,
                                const _Atomic bool *stop, uint64_t *done, uint64_t *total, struct chord_error *err)
{
    const double end = os_now_seconds() + seconds;
    enum chord_status status = CHORD_OK;
    q->cancel = cancel;
    q->stop = stop;
    do {
        // Measures end with a round: what follows builds on them.
        const uint64_t end_of_kind = q->next_piece < q->n_measures ? q->n_measures : q->n_pieces;
        const uint64_t left = end_of_kind - q->next_piece;
        const uint64_t most = (uint64_t)pool_n_threads(q->pool) * PIECES_PER_THREAD;
        const uint32_t n = (uint32_t)(left < most ? left : most);
        atomic_store(&q->round_bytes, 0);
        pool_run(q->pool, piece_work, q, n);
        if (atomic_load(&q->has_failed)) {
            if (err != NULL)
                *err = q->error;
            status = q->error.code;
        } else if (is_cancelled(q)) {
            status = chord_fail(err, CHORD_CANCELLED, "quantizing was cancelled");
        }
        q->next_piece += n;
        q->input_bytes_done += atomic_load(&q->round_bytes);
    } while (status == CHORD_OK && q->next_piece < q->n_pieces && os_now_seconds() < end);
    if (status == CHORD_OK && q->next_piece == q->n_pieces)
        status = finish(q, err);
    if (status != CHORD_OK)
        os_output_discard(&q->output);
    *done = q->input_bytes_done;
    *total = q->input_bytes;
    return status;
}
