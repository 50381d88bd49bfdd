/* replay.c - runs a fuzz target over a corpus without a fuzzer: each file as it is, cut short, and
 * with single bytes changed. A crash, or a sanitizer's report, ends the process; that is the
 * failure.
 *
 *     replay_NAME FOLDER
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { VARIATIONS = 48, LARGE = 1 << 18 };

/* Hands over a copy of exactly n bytes, so that reading past the end is seen. */
static void feed(const uint8_t *bytes, size_t n, size_t changed, uint8_t flip)
{
    uint8_t *copy = (uint8_t *)malloc(n ? n : 1);
    if (!copy) {
        fprintf(stderr, "replay: no memory\n");
        exit(5);
    }
    memcpy(copy, bytes, n);
    if (changed < n) {
        copy[changed] ^= flip;
    }
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void run_variations(const uint8_t *bytes, size_t n)
{
    uint64_t state = 0x9e3779b97f4a7c15u ^ n;
    feed(bytes, n, n, 0);
    for (int i = 0; i < VARIATIONS && n != 0 && n <= LARGE; i++) {
        feed(bytes, (size_t)(next(&state) % n), n, 0);
        /* half of the changes fall on the first bytes, where headers are */
        size_t at = (size_t)(next(&state) % (i % 2 && n > 128 ? 128 : n));
        feed(bytes, n, at, (uint8_t)(1 + next(&state) % 255));
    }
}

static int run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
        return 4;
    }
    static uint8_t bytes[1 << 22];
    size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    run_variations(bytes, n);
    return 0;
}

static int is_file(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

int main(int argc, char **argv)
{
    struct dirent **entries;
    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    int n = scandir(argv[1], &entries, is_file, alphasort);
    if (n < 1) {
        printf("not ok 1 - %s holds no corpus\n1..1\n", argv[1]);
        return 1;
    }
    feed((const uint8_t *)"", 0, 0, 0);
    for (int i = 0; i < n; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", argv[1], entries[i]->d_name);
        int code = run_file(path);
        if (code != 0) {
            return code;
        }
        printf("ok %d - %s\n", i + 1, entries[i]->d_name);
        fflush(stdout); /* so that a crash shows which file came after */
        free(entries[i]);
    }
    free(entries);
    printf("1..%d\n", n);
    return 0;
}
