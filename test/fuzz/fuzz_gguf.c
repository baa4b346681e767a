// Any bytes as a GGUF file, from memory. What is opened is then read to the last element through the whole interface, so
// that a wrong length shows as an access outside the header. The first byte of the input chooses how to open.
#include "gguf/header.h"
#include "quant/quant.h"
#include "target.h"

#include <string.h>

struct input {
    const uint8_t *bytes;
    uint64_t n;
};

static volatile uint64_t sink; // keeps the reads

static enum chord_status read_input(const void *context, uint64_t offset, void *out, uint64_t n_bytes,
                                    struct chord_error *err)
{
    const struct input *input = context;
    (void)err;
    require(offset <= input->n && n_bytes <= input->n - offset, "reads stay inside the source");
    memcpy(out, input->bytes + offset, n_bytes);
    return CHORD_OK;
}

static uint64_t sum_bytes(const void *bytes, uint64_t n)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++)
        sum += ((const unsigned char *)bytes)[i];
    return sum;
}

static uint64_t use_value(const struct gguf *gguf, uint64_t index)
{
    char key[256], shown[32];
    const struct gguf_value *value = gguf_value(gguf, index);
    uint64_t sum = sum_bytes(value->data, value->n_data_bytes);
    chord_printable(shown, sizeof shown, value->key.bytes, value->key.n_bytes);
    if (value->element == GGUF_STRING) {
        struct gguf_string_walk walk = gguf_strings(value);
        struct gguf_string string;
        uint64_t n = 0;
        while (gguf_next_string(&walk, &string)) {
            sum += sum_bytes(string.bytes, string.n_bytes);
            n++;
        }
        require(n == value->n_elements && walk.at == value->data + value->n_data_bytes, "strings fill their value");
    }
    for (uint64_t i = 0; i < value->n_elements; i++) {
        int64_t integer;
        double number;
        sum += gguf_element_i64(value, i, &integer) ? (uint64_t)integer : 0;
        sum += gguf_element_f64(value, i, &number) ? number > 1.0 : 0;
    }
    if (value->key.n_bytes < sizeof key) {
        uint32_t u32;
        uint64_t u64;
        float f32;
        bool truth;
        struct gguf_string string;
        struct chord_error err;
        memcpy(key, value->key.bytes, value->key.n_bytes);
        key[value->key.n_bytes] = '\0';
        require(gguf_find(gguf, key) == value, "a key is found");
        gguf_get_u32(gguf, key, &u32, &err);
        gguf_get_u64(gguf, key, &u64, &err);
        gguf_get_f32(gguf, key, &f32, &err);
        gguf_get_bool(gguf, key, &truth, &err);
        gguf_get_string(gguf, key, &string, &err);
    }
    return sum;
}

static void check_tensor(const struct gguf *gguf, uint64_t index, uint64_t n_source, bool any_type)
{
    char name[GGUF_MAX_TENSOR_NAME_BYTES + 1];
    const struct gguf_tensor *tensor = gguf_tensor(gguf, index);
    const uint64_t tail_bytes = tensor->type == QUANT_I2_S ? 32 : 0; // its scale
    uint64_t n_elements = 1, row_bytes;
    for (int i = 0; i < GGUF_MAX_DIMENSIONS; i++)
        n_elements *= tensor->ne[i];
    if (quant_row_bytes(tensor->type, tensor->ne[0], &row_bytes))
        require(tensor->n_bytes == n_elements / tensor->ne[0] * row_bytes + tail_bytes && tensor->n_bytes > 0,
                "size of a tensor");
    else
        require(any_type && tensor->n_bytes == 0, "only types that are read, unless any is asked for");
    require(tensor->offset <= n_source && tensor->n_bytes <= n_source - tensor->offset, "tensors lie in the file");
    require(tensor->offset >= gguf_file(gguf, 0)->header_bytes, "tensors lie behind the header");
    memcpy(name, tensor->name.bytes, tensor->name.n_bytes);
    name[tensor->name.n_bytes] = '\0';
    require(gguf_find_tensor(gguf, name) == tensor, "a tensor is found");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0)
        return 0;
    const struct input input = {data + 1, n - 1};
    const bool any_type = data[0] & 1;
    const struct gguf_source source = {.name = "input", .n_bytes = input.n, .read = read_input, .context = &input};
    struct memory_account account;
    struct chord_error err = {0};
    struct gguf *gguf;
    memory_account_init(&account, UINT64_MAX);
    if (data[0] & 2) // an allocation fails
        atomic_store(&account.fail_after, data[0] >> 2 & 15);
    const enum chord_status status = gguf_open_source(&gguf, &source, any_type, &account, &err);
    // Counts are checked against what the input can hold, so memory is linear in its size.
    require(atomic_load(&account.peak) <= 20 * input.n + (1 << 14), "memory stays in proportion");
    if (status == CHORD_OK) {
        for (uint64_t i = 0; i < gguf_n_values(gguf); i++)
            sink += use_value(gguf, i);
        for (uint64_t i = 0; i < gguf_n_tensors(gguf); i++)
            check_tensor(gguf, i, input.n, any_type);
    } else {
        require(gguf == NULL && err.code == status && err.message[0] != '\0', "a failure says what it is");
    }
    gguf_close(gguf);
    require(atomic_load(&account.total) == 0, "all memory is given back");
    return 0;
}
