#include "os/thread.h"

#include <string.h>

uint64_t os_now_ns(void)
{
    return uv_hrtime();
}

double os_now_seconds(void)
{
    return (double)uv_hrtime() * 1e-9;
}

uint64_t os_random_u64(void)
{
    uint64_t value;
    // Refused only on systems without a random device; the clock and an address then still differ between runs.
    if (uv_random(NULL, NULL, &value, sizeof value, 0, NULL) != 0)
        value = uv_hrtime() * 0x9e3779b97f4a7c15u ^ (uint64_t)(uintptr_t)&value;
    return value;
}
