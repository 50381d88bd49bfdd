/* input.c - paths -> bytes, from regular files only. */
#include "lib/input.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/output.h"

static const char *kind_of(mode_t mode)
{
    return S_ISDIR(mode)    ? "a folder"
           : S_ISFIFO(mode) ? "a pipe"
           : S_ISSOCK(mode) ? "a socket"
           : S_ISLNK(mode)  ? "a symbolic link"
                            : "a device";
}

static uint64_t mtime_of(const struct stat *s)
{
    return (uint64_t)s->st_mtim.tv_sec * 1000000000u + (uint64_t)s->st_mtim.tv_nsec;
}

/* Takes over fd (also on failure). */
static int adopt(int fd, const char *shown, input *in, failure *f)
{
    struct stat s;
    if (fstat(fd, &s) != 0) {
        fail_errno(f, shown, "cannot be examined");
        close(fd);
        return f->exit_code;
    }
    if (!S_ISREG(s.st_mode)) {
        close(fd);
        return fail(f, EXIT_IO, "%s: is %s, not a file", shown, kind_of(s.st_mode));
    }
    input made = {.path = shown,
                  .fd = fd,
                  .n_bytes = (uint64_t)s.st_size,
                  .mtime_ns = mtime_of(&s),
                  .inode = (uint64_t)s.st_ino,
                  .device = (uint64_t)s.st_dev};
    *in = made;
    return EXIT_OK;
}

/* Opens unless a look beforehand shows that it is not a file: opening a device can have effects.
 * O_NONBLOCK, because the path may have become a FIFO in between. */
static int open_file(int folder, const char *name, int link_flags, const char *shown, input *in,
                     failure *f)
{
    struct stat s;
    if (fstatat(folder, name, &s, link_flags) == 0 && !S_ISREG(s.st_mode)) {
        return fail(f, EXIT_IO, "%s: is %s, not a file", shown, kind_of(s.st_mode));
    }
    int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    int fd = openat(folder, name, flags | (link_flags != 0 ? O_NOFOLLOW : 0));
    if (fd < 0) {
        return fail_errno(f, shown, "cannot be opened");
    }
    return adopt(fd, shown, in, f);
}

int input_open(const char *path, input *in, failure *f)
{
    memset(in, 0, sizeof *in);
    in->fd = -1;
    if (*path == 0) {
        return fail(f, EXIT_IO, "the name of an input file is empty");
    }
    return open_file(AT_FDCWD, path, 0, path, in, f);
}

int input_open_in(const char *dir, const char *name, const char *shown, input *in, failure *f)
{
    memset(in, 0, sizeof *in);
    in->fd = -1;
    if (*name == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strchr(name, '/')) {
        return fail(f, EXIT_INPUT, "%s: '%s' is not the plain name of a file", shown, name);
    }
    int folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) {
        return fail_errno(f, dir, "cannot be opened as a folder");
    }
    int code = open_file(folder, name, AT_SYMLINK_NOFOLLOW, shown, in, f);
    close(folder);
    return code;
}

/* What is mapped, so that the handler can name the file. More than these go without a name. */
enum { MAX_NAMED = 64 };
static struct mapping {
    const uint8_t *bytes;
    uint64_t n_bytes;
    const char *path;
} mappings[MAX_NAMED];

static void name_mapping(const uint8_t *old, struct mapping made)
{
    for (int i = 0; i < MAX_NAMED; i++) {
        if (mappings[i].bytes == old) {
            mappings[i] = made;
            return;
        }
    }
}

/* "error: PATH: was cut short ...", in one write; control characters do not reach a terminal. */
static void say_cut(const char *path)
{
    static const char head[] = "error: ", tail[] = ": was cut short while it was being read\n";
    char line[4096];
    size_t n = sizeof head - 1;
    memcpy(line, head, n);
    for (; *path && n < sizeof line - sizeof tail; path++) {
        line[n++] = (unsigned char)*path < 0x20 || *path == 0x7f ? '?' : *path;
    }
    memcpy(line + n, tail, sizeof tail - 1);
    ssize_t ignored = write(STDERR_FILENO, line, n + sizeof tail - 1);
    (void)ignored;
}

/* A page of a mapped file that is no longer there when touched; the first thread to do so tells.
 * Only async-signal-safe calls. */
static void on_sigbus(int signal_number, siginfo_t *info, void *context)
{
    static atomic_flag told = ATOMIC_FLAG_INIT;
    while (atomic_flag_test_and_set(&told)) {
        pause(); /* until the other one ends the process */
    }
    const uint8_t *at = (const uint8_t *)info->si_addr;
    const char *path = "an input file";
    (void)signal_number;
    (void)context;
    for (int i = 0; i < MAX_NAMED; i++) {
        const struct mapping *m = &mappings[i];
        path =
            m->bytes && at >= m->bytes && (uint64_t)(at - m->bytes) < m->n_bytes ? m->path : path;
    }
    say_cut(path);
    output_abandon_all();
    _exit(EXIT_IO);
}

/* The alternative where a file system cannot map: a copy, aligned as the runtime wants it. */
static int read_whole(input *in, failure *f)
{
    void *copy = NULL;
    if (posix_memalign(&copy, 64, (size_t)in->n_bytes) != 0) {
        return fail(f, EXIT_RESOURCE, "%s: no memory for its %" PRIu64 " bytes", in->path,
                    in->n_bytes);
    }
    int code = input_read_at(in, 0, copy, in->n_bytes, f);
    if (code != EXIT_OK) {
        free(copy);
        return code;
    }
    in->bytes = (const uint8_t *)copy;
    in->copied = true;
    return EXIT_OK;
}

int input_map(input *in, failure *f)
{
    if (in->bytes) {
        return EXIT_OK;
    }
    if (in->n_bytes == 0) {
        in->bytes = (const uint8_t *)"";
        return EXIT_OK;
    }
    if (in->n_bytes > SIZE_MAX) {
        return fail(f, EXIT_RESOURCE, "%s: %" PRIu64 " bytes do not fit this machine's addresses",
                    in->path, in->n_bytes);
    }
    void *map = mmap(NULL, (size_t)in->n_bytes, PROT_READ, MAP_PRIVATE, in->fd, 0);
    if (map == MAP_FAILED) {
        return read_whole(in, f);
    }
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_sigbus;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGBUS, &action, NULL);
    in->bytes = (const uint8_t *)map;
    name_mapping(NULL, (struct mapping){in->bytes, in->n_bytes, in->path});
    return EXIT_OK;
}

/* Whole pages of a range, its last partial page left out. */
static void advise(const input *in, uint64_t offset, uint64_t n_bytes, int advice)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    if (in->copied || in->fd < 0 || !in->bytes || offset >= in->n_bytes) {
        return;
    }
    uint64_t left = in->n_bytes - offset, end = offset + (n_bytes < left ? n_bytes : left);
    uint64_t from = offset / page * page, to = end / page * page;
    if (from < to) {
        madvise((void *)(uintptr_t)(in->bytes + from), (size_t)(to - from), advice);
    }
}

void input_expect(const input *in, uint64_t offset, uint64_t n_bytes)
{
    advise(in, offset, n_bytes, MADV_WILLNEED);
}

void input_release(const input *in, uint64_t offset, uint64_t n_bytes)
{
    advise(in, offset, n_bytes, MADV_DONTNEED);
}

int input_read_at(const input *in, uint64_t offset, void *bytes, uint64_t n_bytes, failure *f)
{
    uint8_t *to = (uint8_t *)bytes;
    if (offset > in->n_bytes || n_bytes > in->n_bytes - offset) {
        return fail(f, EXIT_INPUT, "%s: ends at byte %" PRIu64 ", before byte %" PRIu64, in->path,
                    in->n_bytes, offset > in->n_bytes ? offset : offset + n_bytes);
    }
    if (in->fd < 0 && n_bytes != 0) { /* bytes that never were a file */
        memcpy(to, in->bytes + offset, (size_t)n_bytes);
        return EXIT_OK;
    }
    while (n_bytes != 0) {
        size_t piece = n_bytes < 0x40000000u ? (size_t)n_bytes : 0x40000000u;
        ssize_t got = pread(in->fd, to, piece, (off_t)offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return fail_errno(f, in->path, "cannot be read");
        }
        if (got == 0) {
            return fail(f, EXIT_IO, "%s: was cut short while it was being read", in->path);
        }
        to += got;
        offset += (uint64_t)got;
        n_bytes -= (uint64_t)got;
    }
    return EXIT_OK;
}

static bool is_same(const input *in, const struct stat *s)
{
    return (uint64_t)s->st_size == in->n_bytes && mtime_of(s) == in->mtime_ns &&
           (uint64_t)s->st_ino == in->inode && (uint64_t)s->st_dev == in->device;
}

int input_unchanged(const input *in, failure *f)
{
    struct stat s;
    if (fstat(in->fd, &s) != 0) {
        return fail_errno(f, in->path, "cannot be examined");
    }
    if (!is_same(in, &s)) {
        return fail(f, EXIT_IO, "%s: changed while it was being read; run again", in->path);
    }
    if (stat(in->path, &s) != 0 || !is_same(in, &s)) {
        return fail(f, EXIT_IO, "%s: was replaced or removed while it was being read; run again",
                    in->path);
    }
    return EXIT_OK;
}

void input_close(input *in)
{
    if (in->copied) {
        free((void *)(uintptr_t)in->bytes);
    } else if (in->bytes && in->n_bytes != 0) {
        name_mapping(in->bytes, (struct mapping){0});
        munmap((void *)(uintptr_t)in->bytes, (size_t)in->n_bytes);
    }
    if (in->path && in->fd >= 0) {
        close(in->fd);
    }
    memset(in, 0, sizeof *in);
    in->fd = -1;
}

/* Reads to the end of fd into growing memory. *text is the caller's to free, also on failure. */
static int read_stream(int fd, const char *shown, uint64_t limit, char **text, size_t *n_bytes,
                       failure *f)
{
    size_t capacity = 1 << 16, used = 0;
    *text = (char *)malloc(capacity);
    while (*text) {
        if (used + 1 == capacity) {
            char *grown = (char *)realloc(*text, capacity * 2);
            if (!grown) {
                break;
            }
            *text = grown;
            capacity *= 2;
        }
        ssize_t got = read(fd, *text + used, capacity - 1 - used);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return fail_errno(f, shown, "cannot be read");
        }
        used += (size_t)got;
        if (used > limit) {
            return fail(f, EXIT_INPUT, "%s: is longer than %" PRIu64 " bytes", shown, limit);
        }
        if (got == 0) {
            (*text)[used] = 0;
            *n_bytes = used;
            return EXIT_OK;
        }
    }
    return fail(f, EXIT_RESOURCE, "%s: no memory to read it into", shown);
}

int input_slurp(const char *path, uint64_t limit, char **text, size_t *n_bytes, failure *f)
{
    input in = {.fd = -1};
    bool standard = strcmp(path, "-") == 0;
    int code = standard ? EXIT_OK : input_open(path, &in, f);
    if (code == EXIT_OK && in.n_bytes > limit) {
        code = fail(f, EXIT_INPUT, "%s: is longer than %" PRIu64 " bytes", path, limit);
    }
    char *read_text = NULL;
    if (code == EXIT_OK) {
        code = read_stream(standard ? STDIN_FILENO : in.fd, standard ? "standard input" : path,
                           limit, &read_text, n_bytes, f);
    }
    input_close(&in);
    if (code != EXIT_OK) {
        free(read_text);
        return code;
    }
    *text = read_text;
    return EXIT_OK;
}
