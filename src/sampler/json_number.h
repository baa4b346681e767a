// Decimal numbers as JSON writes them, exactly, and ranges of them as grammars of digits.
#ifndef CHORD_SAMPLER_JSON_NUMBER_H
#define CHORD_SAMPLER_JSON_NUMBER_H

#include "base/json.h"
#include "sampler/json_text.h"

// Integers beyond are not all numbers of JavaScript. Values that are written stay within.
#define JSON_MAX_INTEGER INT64_C(9007199254740991)

#define DECIMAL_MAX_DIGITS 64u

// (-1)^negative * 0.d[0]d[1]..d[n - 1] * 10^exponent, with d[0] and d[n - 1] not 0; zero: n == 0, exponent 0, not negative.
struct decimal {
    bool negative;
    uint32_t n;
    int32_t exponent;
    uint8_t digits[DECIMAL_MAX_DIGITS];
};

// False: more than DECIMAL_MAX_DIGITS significant digits, or an exponent of more than four.
bool decimal_read(struct json_string number, struct decimal *out);
int decimal_compare(const struct decimal *a, const struct decimal *b); // -1, 0, 1
bool decimal_is_integer(const struct decimal *a);
// a * 10^shift as an integer: false if it is none or its magnitude is beyond JSON_MAX_INTEGER.
bool decimal_scaled(const struct decimal *a, uint32_t shift, int64_t *out);
// value is a multiple of unit, which is not 0. *known false: the numbers are too far apart to say.
bool decimal_is_multiple(const struct decimal *value, const struct decimal *unit, bool *known);

struct number_bounds {
    bool has_min, has_max, excludes_min, excludes_max;
    struct decimal min, max;
    bool has_unit; // multiples of it
    struct decimal unit;
    bool is_integer;
};

// Numbers within the bounds. Integers: those within JSON_MAX_INTEGER. Others are written without an exponent where there are bounds or a
// unit, and with at most 15 significant digits near a bound that is excluded: so that reading them as doubles crosses none.
// NULL and *node, or what is not supported (static).
const char *json_number(struct json_text *text, const struct number_bounds *bounds, uint32_t *node);

#endif
