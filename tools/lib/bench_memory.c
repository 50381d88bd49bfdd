/* bench_memory.c - a model written to a file in memory -> the same in large pages, which such a
 * file does not get. Weights are read from one end to the other, so that small pages show; a
 * model's file in the page cache lies in large ones, too.
 */
#include "lib/bench_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/bench_synthetic.h"

enum { LARGE_PAGE = 1 << 21 };

static int move(bench_memory *m, const char *name, int fd, failure *f)
{
    uint64_t room = m->n_bytes + 2 * LARGE_PAGE;
    void *mapping =
        mmap(NULL, (size_t)room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) {
        return fail_errno(f, name, "finds no memory");
    }
    m->mapping = mapping;
    m->mapping_bytes = room;
    uint8_t *bytes = (uint8_t *)mapping + (LARGE_PAGE - (uintptr_t)mapping % LARGE_PAGE);
    madvise(bytes, (size_t)m->n_bytes, MADV_HUGEPAGE);
    for (uint64_t at = 0; at < m->n_bytes;) {
        uint64_t left = m->n_bytes - at, piece = left < LARGE_PAGE ? left : LARGE_PAGE;
        ssize_t got = pread(fd, bytes + at, (size_t)piece, (off_t)at);
        if (got <= 0) {
            return fail_errno(f, name, "cannot be copied");
        }
        /* Freed as it goes, so that memory never holds the whole twice. */
        fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)got);
        at += (uint64_t)got;
    }
    m->bytes = bytes;
    return EXIT_OK;
}

int bench_memory_make(bench_memory *m, const char *shape, const char *type, failure *f)
{
    output *file = NULL;
    int code = output_create_memory(&file, f);
    code = code ? code : synthetic_write(shape, type, file, &m->n_bytes, f);
    code = code ? code : move(m, shape, output_descriptor(file), f);
    output_destroy(&file);
    return code;
}

void bench_memory_release(bench_memory *m)
{
    if (m->mapping) {
        munmap(m->mapping, (size_t)m->mapping_bytes);
    }
}
