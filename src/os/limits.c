#include "os/limits.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#if defined(__linux__)
#include <sys/resource.h>

#define PATH_BYTES 4096

// The number after `key` at the start of a line of a small text file (key "" takes the first line). False: none.
static bool read_number(const char *path, const char *key, uint64_t *out)
{
    char line[512];
    bool found = false;
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    const size_t n_key = strlen(key);
    while (!found && fgets(line, sizeof line, f) != NULL) {
        unsigned long long value;
        if (strncmp(line, key, n_key) == 0 && sscanf(line + n_key, "%llu", &value) == 1) {
            *out = value;
            found = true;
        }
    }
    fclose(f);
    return found;
}

struct cgroup_files {
    const char *root;
    const char *limit, *usage;
    const char *reclaimable_key; // in memory.stat
};
static const struct cgroup_files cgroup_v2 = {"/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file "};
static const struct cgroup_files cgroup_v1 = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
                                              "total_inactive_file "};

static bool group_number(const struct cgroup_files *files, const char *group, const char *name, const char *key,
                         uint64_t *out)
{
    char path[PATH_BYTES];
    const int n = snprintf(path, sizeof path, "%s%s/%s", files->root, group, name);
    return n > 0 && (size_t)n < sizeof path && read_number(path, key, out);
}

// Least limit, and least room below a limit, over a control group and all above it.
static void walk_group(const struct cgroup_files *files, char *group, uint64_t *limit, uint64_t *room)
{
    for (;;) {
        uint64_t group_limit, usage, reclaimable = 0;
        if (group_number(files, group, files->limit, "", &group_limit) &&
            group_number(files, group, files->usage, "", &usage)) {
            group_number(files, group, "memory.stat", files->reclaimable_key, &reclaimable);
            usage -= reclaimable < usage ? reclaimable : usage;
            const uint64_t left = group_limit > usage ? group_limit - usage : 0;
            *limit = group_limit < *limit ? group_limit : *limit;
            *room = left < *room ? left : *room;
        }
        char *slash = strrchr(group, '/');
        if (slash == NULL)
            return;
        *slash = '\0';
    }
}

static void container_limits(uint64_t *limit, uint64_t *room)
{
    char line[PATH_BYTES];
    *limit = *room = UINT64_MAX;
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (f == NULL)
        return;
    while (fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (group == NULL)
            continue;
        *group++ = '\0';
        if (strcmp(group, "/") == 0)
            group[0] = '\0';
        if (controllers[1] == '\0')
            walk_group(&cgroup_v2, group, limit, room);
        else if (strstr(controllers + 1, "memory") != NULL)
            walk_group(&cgroup_v1, group, limit, room);
    }
    fclose(f);
}

// What the process's own limits (ulimit -v, -d) leave: of address space, and of data.
static uint64_t own_room(void)
{
    static const struct {
        int resource;
        const char *held; // in /proc/self/status
    } limits[] = {{RLIMIT_AS, "VmSize:"}, {RLIMIT_DATA, "VmData:"}};
    uint64_t room = UINT64_MAX;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct rlimit limit;
        uint64_t kib;
        if (getrlimit(limits[i].resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
            !read_number("/proc/self/status", limits[i].held, &kib))
            continue;
        const uint64_t left = limit.rlim_cur > kib * 1024 ? limit.rlim_cur - kib * 1024 : 0;
        room = left < room ? left : room;
    }
    return room;
}

uint64_t os_memory_available(void)
{
    uint64_t limit, room, kib, available;
    container_limits(&limit, &room);
    available = read_number("/proc/meminfo", "MemAvailable:", &kib) ? kib * 1024 : uv_get_free_memory();
    const uint64_t own = own_room();
    available = available < room ? available : room;
    return available < own ? available : own;
}

uint64_t os_memory_total(void)
{
    uint64_t limit, room;
    container_limits(&limit, &room);
    const uint64_t total = uv_get_total_memory();
    return total < limit ? total : limit;
}

#else

uint64_t os_memory_available(void)
{
    return uv_get_free_memory();
}

uint64_t os_memory_total(void)
{
    return uv_get_total_memory();
}

#endif
