// A temporary folder for the files of one run of a test program.
#ifndef CHORD_TEST_FOLDER_H
#define CHORD_TEST_FOLDER_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char test_folder[256];

// For cmocka_run_group_tests.
static inline int make_test_folder(void **state)
{
    const char *parent = getenv("TMPDIR");
    (void)state;
    snprintf(test_folder, sizeof test_folder, "%s/chord-test-XXXXXX",
             parent != NULL && parent[0] != '\0' ? parent : "/tmp");
    return mkdtemp(test_folder) == NULL;
}

static inline int remove_test_folder(void **state)
{
    char path[512];
    (void)state;
    DIR *dir = opendir(test_folder);
    if (dir == NULL)
        return 1;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", test_folder, entry->d_name);
        if (entry->d_name[0] != '.')
            unlink(path);
    }
    closedir(dir);
    return rmdir(test_folder);
}

// Valid for the next three calls.
static inline const char *test_path(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", test_folder, name);
    return path;
}

// A file of the model fixtures, or NULL.
static inline const char *fixture_path(const char *name)
{
    static char path[1024];
    const char *fixtures = getenv("CHORD_FIXTURES");
    snprintf(path, sizeof path, "%s/%s", fixtures != NULL ? fixtures : "../shared/fixtures", name);
    return access(path, R_OK) == 0 ? path : NULL;
}

#endif
