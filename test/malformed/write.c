// Writes the files of malformed.h, and the good ones of good.h, into a folder: `write FOLDER` (to try other readers on,
// and as seeds for fuzzing).
// Sparse ones come with the bytes they have.
#include "good.h"
#include "malformed.h"

#include <stdio.h>

static bool write_file(const char *folder, const char *name, struct maker *m)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.gguf", folder, name);
    FILE *file = fopen(path, "wb");
    const bool written = file != NULL && (m->n == 0 || fwrite(m->bytes, 1, m->n, file) == m->n);
    if (!written || fclose(file) != 0) {
        perror(path);
        return false;
    }
    free(m->bytes);
    *m = (struct maker){0};
    return true;
}

int main(int argc, char **argv)
{
    struct maker m = {0};
    if (argc != 2) {
        fprintf(stderr, "usage: write FOLDER\n");
        return 2;
    }
    for (size_t i = 0; i < N_MALFORMED_FILES; i++) {
        malformed_files[i].make(&m);
        if (!write_file(argv[1], malformed_files[i].name, &m))
            return 1;
    }
    put_good_file(&m, 2, 64);
    if (!write_file(argv[1], "good-version-2", &m))
        return 1;
    put_good_file(&m, 3, 32);
    return !write_file(argv[1], "good-version-3", &m);
}
