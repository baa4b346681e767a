// Routes: the chosen experts and their weights beside a reference in double precision, ties, and logits that are no numbers.

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h> // cmocka.h needs these four before it
#include <cmocka.h>

#include "backend/routes.h"
#include "tiny_model.h"

#define MOST 64

static const double *scores_to_sort;

static int by_score(const void *a, const void *b)
{
    const int x = *(const int *)a, y = *(const int *)b;
    return scores_to_sort[x] != scores_to_sort[y] ? (scores_to_sort[x] < scores_to_sort[y] ? 1 : -1) : x - y;
}

static void sort_by(const double *scores, int *places, int n)
{
    for (int i = 0; i < n; i++)
        places[i] = i;
    scores_to_sort = scores;
    qsort(places, (size_t)n, sizeof *places, by_score);
}

static void reference(const struct graph_node *node, const float *logits, int n, int *numbers, double *weights)
{
    double gates[MOST], scores[MOST], sum = 0;
    int order[MOST];
    for (int e = 0; e < n; e++) {
        gates[e] = node->route.is_sigmoid ? 1 / (1 + exp(-(double)logits[e])) : exp((double)logits[e]);
        scores[e] = gates[e] + (node->vector[0] != NULL ? (double)node->vector[0][e] : 0);
    }
    const int n_groups = (int)node->route.n_groups, n_each = n / n_groups;
    double sums[MOST];
    for (int g = 0; g < n_groups; g++) {
        sort_by(scores + g * n_each, order, n_each);
        sums[g] = scores[g * n_each + order[0]] + (n_each > 1 ? scores[g * n_each + order[1]] : 0);
    }
    sort_by(sums, order, n_groups);
    for (int g = (int)node->route.n_groups_used; n_groups > 1 && g < n_groups; g++)
        for (int e = 0; e < n_each; e++)
            scores[order[g] * n_each + e] = -INFINITY;
    sort_by(scores, order, n);
    const int n_used = (int)node->route.n_used;
    for (int e = 0; e < n; e++)
        sum += node->route.renormalized ? (e < n_used ? gates[order[e]] : 0) : gates[e];
    for (int k = 0; k < n_used; k++) {
        numbers[k] = order[k];
        weights[k] = gates[order[k]] / (node->route.is_sigmoid && !node->route.renormalized ? 1 : sum);
    }
}

static void compare(const struct graph_node *node, const float *logits, int n)
{
    float numbers[MOST], weights[MOST];
    int expected[MOST];
    double expected_weights[MOST];
    route_experts(node, logits, (uint32_t)n, numbers, weights);
    reference(node, logits, n, expected, expected_weights);
    for (uint32_t k = 0; k < node->route.n_used; k++) {
        assert_int_equal((int)numbers[k], expected[k]);
        assert_true(fabs((double)weights[k] - expected_weights[k]) < 1e-6);
    }
}

static void routes_are_those_of_the_reference(void **state)
{
    static const struct {
        uint32_t n, n_used, n_groups, n_groups_used;
    } shapes[] = {{8, 2, 1, 0}, {8, 8, 1, 0}, {64, 6, 1, 0}, {16, 4, 4, 2}, {32, 8, 8, 4}, {8, 2, 8, 3}};
    uint64_t random = 7;
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int variant = 0; variant < 8; variant++) {
            float bias[MOST], logits[MOST];
            const bool is_sigmoid = (variant & 1) != 0 || shapes[i].n_groups > 1;
            const struct graph_node node = {.op = GRAPH_ROUTE,
                                            .vector = {is_sigmoid && (variant & 4) != 0 ? bias : NULL},
                                            .route = {.n_used = shapes[i].n_used,
                                                      .renormalized = (variant & 2) != 0,
                                                      .is_sigmoid = is_sigmoid,
                                                      .n_groups = shapes[i].n_groups,
                                                      .n_groups_used = shapes[i].n_groups_used}};
            for (int turn = 0; turn < 50; turn++) {
                for (uint32_t e = 0; e < shapes[i].n; e++) {
                    logits[e] = 3 * (float)tiny_uniform(&random);
                    bias[e] = 0.3f * (float)tiny_uniform(&random);
                }
                compare(&node, logits, (int)shapes[i].n);
            }
        }
}

static void of_equal_experts_the_first_is_chosen(void **state)
{
    const float logits[8] = {1, 2, 2, 2, 0, 2, 1, 2};
    struct graph_node node = {.op = GRAPH_ROUTE, .route = {.n_used = 3, .n_groups = 1}};
    (void)state;
    for (int sigmoid = 0; sigmoid < 2; sigmoid++) {
        float numbers[3], weights[3];
        node.route.is_sigmoid = sigmoid != 0;
        route_experts(&node, logits, 8, numbers, weights);
        assert_true(numbers[0] == 1 && numbers[1] == 2 && numbers[2] == 3);
    }
}

static void gates_that_vanish_divide_by_no_zero(void **state)
{
    const float logits[4] = {-200, -200, -200, -200};
    const struct graph_node node = {.op = GRAPH_ROUTE,
                                    .route = {.n_used = 2, .renormalized = true, .is_sigmoid = true, .n_groups = 1}};
    float numbers[2], weights[2];
    (void)state;
    route_experts(&node, logits, 4, numbers, weights);
    assert_true(weights[0] == 0 && weights[1] == 0);
}

static void logits_that_are_no_numbers_choose_different_experts(void **state)
{
    float logits[16];
    (void)state;
    for (int e = 0; e < 16; e++)
        logits[e] = e % 3 == 0 ? NAN : e % 3 == 1 ? INFINITY : -INFINITY;
    for (int variant = 0; variant < 2; variant++) {
        const struct graph_node node = {
            .op = GRAPH_ROUTE,
            .route = {.n_used = 8, .is_sigmoid = variant == 1, .n_groups = variant == 1 ? 4 : 1, .n_groups_used = 2}};
        float numbers[8], weights[8];
        bool seen[16] = {false};
        route_experts(&node, logits, 16, numbers, weights);
        for (int k = 0; k < 8; k++) {
            assert_true(numbers[k] >= 0 && numbers[k] < 16 && !seen[(int)numbers[k]]);
            seen[(int)numbers[k]] = true;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes_are_those_of_the_reference),
        cmocka_unit_test(of_equal_experts_the_first_is_chosen),
        cmocka_unit_test(gates_that_vanish_divide_by_no_zero),
        cmocka_unit_test(logits_that_are_no_numbers_choose_different_experts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
