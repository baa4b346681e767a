#include "sampler/json_number.h"

#include <string.h>

// ---- Decimals --------------------------------------------------------------------------------------------------------

bool decimal_read(struct json_string number, struct decimal *out)
{
    const char *p = number.bytes, *end = p + number.n_bytes;
    int32_t exponent = 0, written = 0;
    uint32_t n = 0;
    bool after_point = false, too_long = false;
    *out = (struct decimal){.negative = p < end && *p == '-'};
    p += out->negative;
    for (; p < end && *p != 'e' && *p != 'E'; p++) {
        if (*p == '.') {
            after_point = true;
            continue;
        }
        if (n == 0 && *p == '0') {
            exponent -= after_point;
            continue;
        }
        exponent += !after_point;
        if (n < DECIMAL_MAX_DIGITS)
            out->digits[n++] = (uint8_t)(*p - '0');
        else
            too_long |= *p != '0';
        if (exponent > 100000 || exponent < -100000)
            return false;
    }
    if (p < end) {
        const bool negative = p[1] == '-';
        for (p += p[1] == '-' || p[1] == '+' ? 2 : 1; p < end; p++) {
            written = written * 10 + (*p - '0');
            if (written > 9999)
                return n == 0 && !too_long; // zero is zero
        }
        exponent += negative ? -written : written;
    }
    while (n > 0 && out->digits[n - 1] == 0)
        n--;
    out->n = n;
    out->exponent = n > 0 ? exponent : 0;
    out->negative &= n > 0;
    return !too_long;
}

static int compare_magnitudes(const struct decimal *a, const struct decimal *b)
{
    if (a->n == 0 || b->n == 0)
        return (a->n > 0) - (b->n > 0);
    if (a->exponent != b->exponent)
        return a->exponent > b->exponent ? 1 : -1;
    for (uint32_t i = 0; i < a->n || i < b->n; i++) {
        const int x = i < a->n ? a->digits[i] : 0, y = i < b->n ? b->digits[i] : 0;
        if (x != y)
            return x > y ? 1 : -1;
    }
    return 0;
}

int decimal_compare(const struct decimal *a, const struct decimal *b)
{
    if (a->negative != b->negative)
        return a->negative ? -1 : 1;
    const int order = compare_magnitudes(a, b);
    return a->negative ? -order : order;
}

bool decimal_is_integer(const struct decimal *a)
{
    return a->n == 0 || (int64_t)a->n <= a->exponent;
}

// The magnitude of a * 10^shift without its fraction, at most JSON_MAX_INTEGER + 1; *exact: there was neither a fraction nor more.
static uint64_t whole_part(const struct decimal *a, uint32_t shift, bool *exact)
{
    const uint64_t most = (uint64_t)JSON_MAX_INTEGER + 1;
    const int64_t n_digits = (int64_t)a->exponent + shift;
    uint64_t whole = 0;
    *exact = a->n == 0 || (int64_t)a->n <= n_digits;
    for (int64_t i = 0; i < n_digits && a->n > 0; i++) {
        whole = whole * 10 + (i < a->n ? a->digits[i] : 0);
        if (whole >= most) {
            *exact = false;
            return most;
        }
    }
    return whole;
}

bool decimal_scaled(const struct decimal *a, uint32_t shift, int64_t *out)
{
    bool exact;
    const uint64_t whole = whole_part(a, shift, &exact);
    *out = a->negative ? -(int64_t)whole : (int64_t)whole;
    return exact;
}

bool decimal_is_multiple(const struct decimal *value, const struct decimal *unit, bool *known)
{
    const int64_t fraction = (int64_t)unit->n - unit->exponent; // digits behind the point
    const int64_t shift = fraction > 0 ? fraction : 0;
    int64_t divisor;
    *known = shift <= 1000 && decimal_scaled(unit, (uint32_t)shift, &divisor);
    if (!*known)
        return false;
    const uint64_t m = (uint64_t)(divisor < 0 ? -divisor : divisor);
    const int64_t n_digits = value->exponent + shift;
    if (value->n > 0 && value->n > n_digits)
        return false; // it has digits where multiples have none
    uint64_t rest = 0;
    for (int64_t i = 0; i < n_digits && value->n > 0; i++)
        rest = (rest * 10 + (i < value->n ? value->digits[i] : 0)) % m;
    return rest == 0;
}

// ---- Ranges of digits ------------------------------------------------------------------------------------------------

#define MAX_FRACTION 20u
#define MAX_WHOLE 16u // digits of JSON_MAX_INTEGER
#define MAX_MODULUS 4096u
#define MAX_REMAINDERS 3000u // that are counted, in all places of a number
#define N_DIGITS (MAX_WHOLE + MAX_FRACTION)

// Magnitudes from lo to hi, multiples of `modulus` as integers of all their digits: n_whole before the point, then up to n_fraction, of
// which zeros at the end may be left out.
struct range {
    struct json_text *text;
    uint32_t n_whole, n_fraction;
    uint8_t lo[N_DIGITS], hi[N_DIGITS];
    uint64_t modulus;
    uint32_t *free_rules; // [N_DIGITS + 1][modulus]: of so many digits left and such a remainder, rule + 1; 0: not made
};

static uint32_t digit_class(const struct range *r, uint32_t first, uint32_t last)
{
    const char one = (char)('0' + first);
    if (first == last)
        return grammar_literal(r->text->builder, &one, 1);
    return grammar_class(r->text->builder, &(struct grammar_range){'0' + first, '0' + last}, 1, false);
}

static uint32_t digits_of(const struct range *r, uint32_t min, uint32_t max)
{
    return grammar_repeat(r->text->builder, digit_class(r, 0, 9), min, max);
}

static uint32_t optional(const struct range *r, uint32_t node)
{
    return grammar_repeat(r->text->builder, node, 0, 1);
}

static uint32_t pair(const struct range *r, uint32_t first, uint32_t second)
{
    return grammar_sequence(r->text->builder, (uint32_t[]){first, second}, 2);
}

// Any digits from `at` on.
static uint32_t any_digits(const struct range *r, uint32_t at)
{
    const uint32_t n = r->n_whole + r->n_fraction;
    if (at > r->n_whole)
        return digits_of(r, 0, n - at);
    const uint32_t whole = digits_of(r, r->n_whole - at, r->n_whole - at);
    if (r->n_fraction == 0)
        return whole;
    return pair(r, whole, optional(r, pair(r, json_text_plain(r->text, "."), digits_of(r, 1, r->n_fraction))));
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        const uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

// What remainders are told apart by with so many digits to come: n * 10^n_left is a multiple of the modulus if n is one of this.
static uint64_t modulus_before(uint64_t modulus, uint32_t n_left)
{
    for (; n_left > 0 && modulus > 1; n_left--) {
        const uint64_t shared = common_divisor(modulus, 10);
        if (shared == 1)
            break;
        modulus /= shared;
    }
    return modulus;
}

static uint32_t rest_of(struct range *r, uint32_t at, bool at_lo, bool at_hi, uint64_t remainder);

// What may follow where neither bound matters any more: a rule per remainder.
static uint32_t free_rest(struct range *r, uint32_t at, uint64_t remainder)
{
    struct grammar_builder *b = r->text->builder;
    if (r->modulus == 1)
        return any_digits(r, at);
    const uint32_t n_left = r->n_whole + r->n_fraction - at;
    remainder %= modulus_before(r->modulus, n_left);
    uint32_t *rule = &r->free_rules[n_left * r->modulus + remainder];
    if (*rule == 0) {
        const uint32_t made = grammar_rule(b, "multiples");
        *rule = made + 1;
        grammar_define(b, made, rest_of(r, at, false, false, remainder));
    }
    return grammar_reference(b, *rule - 1);
}

static bool all_from(const uint8_t *digits, uint32_t at, uint32_t n, uint8_t digit)
{
    for (; at < n; at++)
        if (digits[at] != digit)
            return false;
    return true;
}

// May the text end here, as if zeros followed?
static bool may_end(const struct range *r, uint32_t at, bool at_lo, uint64_t remainder)
{
    const uint32_t n = r->n_whole + r->n_fraction;
    for (uint32_t i = at; i < n; i++)
        remainder = remainder * 10 % r->modulus;
    return at >= r->n_whole && remainder == 0 && (!at_lo || all_from(r->lo, at, n, 0));
}

// The digits from `at` on; at_lo, at_hi: those before are those of the bound. remainder: of those before.
static uint32_t rest_of(struct range *r, uint32_t at, bool at_lo, bool at_hi, uint64_t remainder)
{
    struct grammar_builder *b = r->text->builder;
    const uint32_t n = r->n_whole + r->n_fraction;
    uint32_t alternatives[10], n_alternatives = 0;
    if (at == n)
        return remainder == 0 ? grammar_sequence(b, NULL, 0) : grammar_choice(b, NULL, 0);
    const bool was_bound = at_lo || at_hi;
    at_lo = at_lo && !all_from(r->lo, at, n, 0);
    at_hi = at_hi && !all_from(r->hi, at, n, 9);
    if (!at_lo && !at_hi && (was_bound || r->modulus == 1))
        return free_rest(r, at, remainder);
    const uint32_t first = at_lo ? r->lo[at] : 0, last = at_hi ? r->hi[at] : 9;
    for (uint32_t digit = first; digit <= last; digit++) {
        const bool still_lo = at_lo && digit == first, still_hi = at_hi && digit == last;
        const uint64_t next = (remainder * 10 + digit) % r->modulus;
        uint32_t run = digit; // of digits that the same may follow
        if (!still_lo && !still_hi && r->modulus == 1)
            run = at_hi ? last - 1 : last;
        const uint32_t rest =
            still_lo || still_hi ? rest_of(r, at + 1, still_lo, still_hi, next) : free_rest(r, at + 1, next);
        alternatives[n_alternatives++] = pair(r, digit_class(r, digit, run), rest);
        digit = run;
    }
    uint32_t node = grammar_choice(b, alternatives, n_alternatives);
    if (at == r->n_whole)
        node = pair(r, json_text_plain(r->text, "."), node);
    return may_end(r, at, at_lo, remainder) ? optional(r, node) : node;
}

// A bound: its digits before the point as a number, and those behind.
struct bound {
    uint64_t whole;
    uint8_t fraction[MAX_FRACTION];
};

static uint32_t count_digits(uint64_t n)
{
    uint32_t count = 1;
    while (n >= 10) {
        n /= 10;
        count++;
    }
    return count;
}

static uint64_t power_of_10(uint32_t n)
{
    uint64_t power = 1;
    while (n-- > 0)
        power *= 10;
    return power;
}

static void set_digits(uint8_t *out, uint64_t whole, uint32_t n_whole, const uint8_t *fraction, uint32_t n_fraction)
{
    for (uint32_t i = n_whole; i-- > 0; whole /= 10)
        out[i] = (uint8_t)(whole % 10);
    memcpy(out + n_whole, fraction, n_fraction);
}

// Magnitudes from lo to hi, lo <= hi.
static uint32_t magnitudes(struct range *r, const struct bound *lo, const struct bound *hi)
{
    static const uint8_t zeros[MAX_FRACTION] = {0};
    static const uint8_t nines[MAX_FRACTION] = {9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9};
    struct grammar_builder *b = r->text->builder;
    const uint32_t shortest = count_digits(lo->whole), longest = count_digits(hi->whole);
    uint32_t alternatives[MAX_WHOLE + 1], n = 0;
    uint32_t first_full = 0, last_full = 0; // numbers of digits of which all numbers are in the range
    for (uint32_t length = shortest; length <= longest; length++) {
        const bool has_lo = length == shortest, has_hi = length == longest;
        r->n_whole = length;
        set_digits(r->lo, has_lo ? lo->whole : power_of_10(length - 1), length, has_lo ? lo->fraction : zeros,
                   r->n_fraction);
        set_digits(r->hi, has_hi ? hi->whole : power_of_10(length) - 1, length, has_hi ? hi->fraction : nines,
                   r->n_fraction);
        if (!has_lo && !has_hi && r->modulus == 1) {
            first_full = first_full == 0 ? length : first_full;
            last_full = length;
        } else {
            alternatives[n++] = rest_of(r, 0, true, true, 0);
        }
    }
    if (first_full > 0) {
        r->n_whole = 1;
        const uint32_t more = digits_of(r, first_full - 1, last_full - 1);
        alternatives[n++] = pair(r, digit_class(r, 1, 9), pair(r, more, any_digits(r, 1)));
    }
    return grammar_choice(b, alternatives, n);
}

// ---- Signed ranges ---------------------------------------------------------------------------------------------------

static int compare_bounds(const struct range *r, const struct bound *a, const struct bound *b)
{
    if (a->whole != b->whole)
        return a->whole > b->whole ? 1 : -1;
    return memcmp(a->fraction, b->fraction, r->n_fraction);
}

// The next number of so many digits behind the point, or the one before (of one that is not 0).
static void step_bound(const struct range *r, struct bound *bound, bool up)
{
    for (uint32_t i = r->n_fraction; i-- > 0;) {
        if (bound->fraction[i] != (up ? 9 : 0)) {
            bound->fraction[i] = (uint8_t)(bound->fraction[i] + (up ? 1 : -1));
            return;
        }
        bound->fraction[i] = up ? 0 : 9;
    }
    bound->whole = up ? bound->whole + 1 : bound->whole - 1;
}

static bool is_zero(const struct range *r, const struct bound *bound)
{
    return bound->whole == 0 && all_from(bound->fraction, 0, r->n_fraction, 0);
}

// One side of zero: magnitudes from `lo` (or from 0 if it is on the other side) to `hi`.
struct side {
    struct bound lo, hi;
    bool excludes_lo, excludes_hi, is_empty;
};

static uint32_t write_side(struct range *r, struct side *side, bool negative)
{
    struct grammar_builder *b = r->text->builder;
    const uint32_t nothing = grammar_choice(b, NULL, 0);
    if (side->is_empty || (side->excludes_hi && is_zero(r, &side->hi)))
        return nothing;
    if (side->excludes_lo || (negative && is_zero(r, &side->lo))) // there is no -0
        step_bound(r, &side->lo, true);
    if (side->excludes_hi)
        step_bound(r, &side->hi, false);
    if (compare_bounds(r, &side->lo, &side->hi) > 0)
        return nothing;
    const uint32_t node = magnitudes(r, &side->lo, &side->hi);
    return negative ? pair(r, json_text_plain(r->text, "-"), node) : node;
}

// The magnitude of a bound; false: it has more digits behind the point than are written.
static bool read_bound(const struct range *r, const struct decimal *decimal, struct bound *out)
{
    bool exact;
    *out = (struct bound){.whole = whole_part(decimal, 0, &exact)};
    if (out->whole > (uint64_t)JSON_MAX_INTEGER) {
        out->whole = (uint64_t)JSON_MAX_INTEGER;
        return true;
    }
    for (uint32_t i = 0; i < decimal->n; i++) {
        const int64_t place = (int64_t)i - decimal->exponent;
        if (place >= (int64_t)r->n_fraction)
            return false;
        if (place >= 0)
            out->fraction[place] = decimal->digits[i];
    }
    return true;
}

static bool is_beyond(const struct decimal *decimal)
{
    bool exact;
    return whole_part(decimal, 0, &exact) > (uint64_t)JSON_MAX_INTEGER;
}

// Bounds of decimals as two sides. What a missing bound is: the largest integer.
static const char *write_decimals(struct range *r, const struct number_bounds *bounds, uint32_t *node)
{
    struct side positive = {.hi.whole = (uint64_t)JSON_MAX_INTEGER}, negative = positive;
    const bool has_min = bounds->has_min && !(bounds->min.negative && is_beyond(&bounds->min));
    const bool has_max = bounds->has_max && (bounds->max.negative || !is_beyond(&bounds->max));
    if ((has_min && is_beyond(&bounds->min)) || (has_max && is_beyond(&bounds->max)))
        return "only numbers beyond 2^53, which JavaScript does not hold exactly";
    r->n_fraction = MAX_FRACTION;
    for (int i = 0; i < 2; i++) {
        const struct decimal *d = i == 0 ? &bounds->min : &bounds->max;
        if ((i == 0 ? has_min && bounds->excludes_min : has_max && bounds->excludes_max) && d->n > 0) {
            const int32_t whole = d->exponent > 0 ? d->exponent : 0;
            const uint32_t room = whole < 15 ? 15 - (uint32_t)whole : 0;
            r->n_fraction = room < r->n_fraction ? room : r->n_fraction;
        }
    }
    if (has_min) {
        struct side *side = bounds->min.negative ? &negative : &positive;
        if (!read_bound(r, &bounds->min, bounds->min.negative ? &side->hi : &side->lo))
            return "a minimum of too many digits";
        *(bounds->min.negative ? &side->excludes_hi : &side->excludes_lo) = bounds->excludes_min;
        negative.is_empty = !bounds->min.negative;
    }
    if (has_max) {
        struct side *side = bounds->max.negative ? &negative : &positive;
        if (!read_bound(r, &bounds->max, bounds->max.negative ? &side->lo : &side->hi))
            return "a maximum of too many digits";
        *(bounds->max.negative ? &side->excludes_lo : &side->excludes_hi) = bounds->excludes_max;
        positive.is_empty = bounds->max.negative;
    }
    const uint32_t sides[2] = {write_side(r, &positive, false), write_side(r, &negative, true)};
    *node = grammar_choice(r->text->builder, sides, 2);
    return NULL;
}

// The least integer that is within the bounds as so many units of 10^-shift, at least -limit; and the most, likewise.
static int64_t least_of(const struct number_bounds *bounds, uint32_t shift, int64_t limit)
{
    bool exact;
    if (!bounds->has_min)
        return -limit;
    const int64_t whole = (int64_t)whole_part(&bounds->min, shift, &exact);
    if (bounds->min.negative)
        return whole > limit ? -limit : exact && bounds->excludes_min ? -whole + 1 : -whole;
    return exact && !bounds->excludes_min ? whole : whole + 1;
}

static int64_t most_of(const struct number_bounds *bounds, uint32_t shift, int64_t limit)
{
    struct number_bounds mirrored = {
        .has_min = bounds->has_max, .excludes_min = bounds->excludes_max, .min = bounds->max};
    mirrored.min.negative = !bounds->max.negative && bounds->max.n > 0;
    return -least_of(&mirrored, shift, limit);
}

// From lo to hi >= lo >= 0 in units of the last digit that is written.
static uint32_t split_bound(struct range *r, int64_t lo, int64_t hi, bool negative)
{
    const uint64_t scale = power_of_10(r->n_fraction);
    struct bound bounds[2] = {0};
    const int64_t ends[2] = {lo, hi};
    for (int i = 0; i < 2; i++) {
        uint64_t fraction = (uint64_t)ends[i] % scale;
        bounds[i].whole = (uint64_t)ends[i] / scale;
        for (uint32_t k = r->n_fraction; k-- > 0; fraction /= 10)
            bounds[i].fraction[k] = (uint8_t)(fraction % 10);
    }
    const uint32_t node = magnitudes(r, &bounds[0], &bounds[1]);
    return negative ? pair(r, json_text_plain(r->text, "-"), node) : node;
}

#define MAX_LISTED 200

// Multiples of a unit that is too large to count remainders of, one by one; n_zeros at their ends.
static const char *list_multiples(struct range *r, int64_t lo, int64_t hi, uint32_t n_zeros, uint32_t *node)
{
    const int64_t unit = (int64_t)r->modulus, first = lo / unit, last = hi / unit;
    uint32_t listed[MAX_LISTED + 2], n = 0;
    if (last - first > MAX_LISTED)
        return "a unit so large, over so wide a range";
    r->modulus = 1;
    for (int64_t i = first; i <= last; i++) {
        const int64_t value = i * unit;
        if (value < lo || value > hi)
            continue;
        const uint32_t ending = grammar_literal(r->text->builder, "000000000000000", i != 0 ? n_zeros : 0);
        listed[n++] =
            pair(r, split_bound(r, value < 0 ? -value : value, value < 0 ? -value : value, value < 0), ending);
    }
    *node = grammar_choice(r->text->builder, listed, n);
    return NULL;
}

static const char *write_multiples(struct range *r, const struct number_bounds *bounds, uint32_t *node)
{
    int64_t unit = 1;
    uint32_t shift = 0;
    if (bounds->has_unit) {
        while (!decimal_scaled(&bounds->unit, shift, &unit))
            if (++shift > 9)
                return "a unit of more than nine digits behind the point";
        // Integers that are multiples of 2.5 are those of 5, and so on.
        if (bounds->is_integer) {
            unit /= (int64_t)common_divisor((uint64_t)unit, power_of_10(shift));
            shift = 0;
        }
    }
    const int64_t limit = shift == 0 ? JSON_MAX_INTEGER : INT64_C(999999999999999);
    int64_t lo = least_of(bounds, shift, limit), hi = most_of(bounds, shift, limit);
    lo = lo < -limit ? -limit : lo;
    hi = hi > limit ? limit : hi;
    if (lo > limit || hi < -limit)
        return "only numbers beyond 2^53, which JavaScript does not hold exactly";
    if (lo > hi) {
        *node = grammar_choice(r->text->builder, NULL, 0);
        return NULL;
    }
    r->n_fraction = shift;
    r->modulus = (uint64_t)unit;
    const bool has_zero = lo <= 0 && hi >= 0;
    uint32_t n_zeros = 0; // at the end of all multiples but 0 itself
    for (; shift == 0 && r->modulus % 10 == 0; r->modulus /= 10) {
        n_zeros++;
        lo = lo / 10 + (lo > 0 && lo % 10 != 0);
        hi = hi / 10 - (hi < 0 && hi % 10 != 0);
    }
    uint64_t n_remainders = 0;
    for (uint32_t n_left = 1; n_left < MAX_WHOLE + shift; n_left++)
        n_remainders += modulus_before(r->modulus, n_left);
    if (r->modulus > MAX_MODULUS || (r->modulus > 1 && n_remainders > MAX_REMAINDERS))
        return list_multiples(r, lo, hi, n_zeros, node);
    if (r->modulus > 1) {
        r->free_rules = arena_alloc(r->text->arena, (N_DIGITS + 1) * r->modulus, sizeof *r->free_rules);
        if (r->free_rules == NULL) {
            *node = json_text_no_memory(r->text);
            return NULL;
        }
    }
    const uint32_t ending = grammar_literal(r->text->builder, "000000000000000", n_zeros);
    uint32_t sides[3], n = 0;
    if (has_zero)
        sides[n++] = split_bound(r, 0, 0, false);
    if (hi > 0)
        sides[n++] = pair(r, split_bound(r, lo > 1 ? lo : 1, hi, false), ending);
    if (lo < 0)
        sides[n++] = pair(r, split_bound(r, hi < -1 ? -hi : 1, -lo, true), ending);
    *node = grammar_choice(r->text->builder, sides, n);
    return NULL;
}

// Any number that a double holds and JSON.stringify writes, up to 10^308.
static uint32_t any_number(struct range *r)
{
    struct grammar_builder *b = r->text->builder;
    const uint32_t point = json_text_plain(r->text, "."), minus = json_text_plain(r->text, "-");
    const uint32_t whole = grammar_choice(
        b, (uint32_t[]){json_text_plain(r->text, "0"), pair(r, digit_class(r, 1, 9), digits_of(r, 0, 20))}, 2);
    const uint32_t plain = pair(r, whole, optional(r, pair(r, point, digits_of(r, 1, 25))));
    // One digit before the point, so that no number is infinite.
    const uint32_t mantissa = pair(r, digit_class(r, 1, 9), optional(r, pair(r, point, digits_of(r, 1, 17))));
    const uint32_t exponents[4] = {pair(r, digit_class(r, 1, 9), digits_of(r, 0, 1)),
                                   pair(r, digit_class(r, 1, 2), digits_of(r, 2, 2)),
                                   pair(r, json_text_plain(r->text, "30"), digit_class(r, 0, 7))};
    const uint32_t sign = grammar_class(b, (struct grammar_range[]){{'+', '+'}, {'-', '-'}}, 2, false);
    const uint32_t parts[4] = {mantissa, json_text_plain(r->text, "e"), sign, grammar_choice(b, exponents, 3)};
    const uint32_t forms[2] = {plain, grammar_sequence(b, parts, 4)};
    return pair(r, optional(r, minus), grammar_choice(b, forms, 2));
}

const char *json_number(struct json_text *text, const struct number_bounds *bounds, uint32_t *node)
{
    struct range range = {.text = text, .modulus = 1};
    if (bounds->has_unit || bounds->is_integer)
        return write_multiples(&range, bounds, node);
    if (bounds->has_min || bounds->has_max)
        return write_decimals(&range, bounds, node);
    *node = any_number(&range);
    return NULL;
}
