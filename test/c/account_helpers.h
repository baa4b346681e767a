// What tests of code that takes memory share: an account for each test, which is to end empty, and allocations that fail.
// Included behind headers with functions in them, whose parameters may be called `account` too.
#ifndef CHORD_TEST_ACCOUNT_HELPERS_H
#define CHORD_TEST_ACCOUNT_HELPERS_H

#include "base/alloc.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h> // cmocka.h needs these four before it
#include <cmocka.h>

static struct memory_account account;

static inline int set_up(void **state)
{
    (void)state;
    memory_account_init(&account, UINT64_MAX);
    return 0;
}

// Every test gives back what it took.
static inline int tear_down(void **state)
{
    (void)state;
    return atomic_load(&account.total) == 0 ? 0 : -1;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

// n allocations succeed and the next one fails. Called for n = 0, 1, ..., each time with an empty account, until
// allocation_failed() says that none did.
static inline void fail_allocation(int64_t n)
{
    atomic_store(&account.fail_after, n);
}

// Whether an allocation failed, which must be what `status` says and leave nothing behind; CHORD_OK: none did. From here on none does.
static inline bool allocation_failed(enum chord_status status)
{
    atomic_store(&account.fail_after, -1);
    if (status == CHORD_OK)
        return false;
    assert_int_equal(status, CHORD_OUT_OF_MEMORY);
    assert_int_equal(atomic_load(&account.total), 0);
    return true;
}

#endif
