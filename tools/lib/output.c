/* output.c - bytes -> a file that appears under its name complete, synced, or not at all. */
#include "lib/output.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_OUTPUTS = 16, MAX_TRIES = 100 };

struct output {
    char *path;   /* as given, for messages */
    char *target; /* the final name, links resolved */
    char *folder; /* of target */
    char *temporary;
    int fd;
    int slot; /* in the table below; -1 for standard output and memory */
    bool memory;
    bool force;
};

/* The one piece of global state: signal handlers must find the temporary names. A slot is changed
 * only while the signals are blocked. */
static struct {
    volatile sig_atomic_t active;
    char name[PATH_MAX];
} slots[MAX_OUTPUTS];

static const int SIGNALS[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
enum { N_SIGNALS = sizeof SIGNALS / sizeof SIGNALS[0] };

void output_abandon_all(void)
{
    for (int i = 0; i < MAX_OUTPUTS; i++) {
        if (slots[i].active) {
            slots[i].active = 0;
            unlink(slots[i].name);
        }
    }
}

/* Cleans up, then dies of the same signal, so that the parent sees it. */
static void on_signal(int number)
{
    output_abandon_all();
    signal(number, SIG_DFL);
    raise(number);
}

/* Handlers are set once; a signal that the parent made us ignore (nohup) stays ignored. A file size
 * limit must be an error of write(), not a death that leaves the temporary file. */
static void watch_signals(void)
{
    static bool watching;
    if (watching) {
        return;
    }
    watching = true;
    signal(SIGXFSZ, SIG_IGN);
    for (int i = 0; i < N_SIGNALS; i++) {
        struct sigaction action, old;
        memset(&action, 0, sizeof action);
        action.sa_handler = on_signal;
        if (sigaction(SIGNALS[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL) {
            sigaction(SIGNALS[i], &action, NULL);
        }
    }
}

static void block_signals(sigset_t *old)
{
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < N_SIGNALS; i++) {
        sigaddset(&set, SIGNALS[i]);
    }
    pthread_sigmask(SIG_BLOCK, &set, old);
}

static void restore_signals(const sigset_t *old)
{
    pthread_sigmask(SIG_SETMASK, old, NULL);
}

static int take_slot(const char *name)
{
    for (int i = 0; i < MAX_OUTPUTS; i++) {
        if (!slots[i].active) {
            snprintf(slots[i].name, sizeof slots[i].name, "%s", name);
            slots[i].active = 1;
            return i;
        }
    }
    return -1;
}

/* ---- Names ----------------------------------------------------------------------------------- */

static int check_inputs(const struct stat *s, const char *path, const char *const *inputs,
                        uint32_t n_inputs, failure *f)
{
    struct stat other;
    for (uint32_t i = 0; i < n_inputs; i++) {
        if (inputs[i] && stat(inputs[i], &other) == 0 && other.st_dev == s->st_dev &&
            other.st_ino == s->st_ino) {
            return fail(f, EXIT_USAGE, "%s: is the input %s; choose another output", path,
                        inputs[i]);
        }
    }
    return EXIT_OK;
}

/* May this path be written? Afterwards out->target is set: the path, or where its link leads. */
static int resolve_target(output *out, const char *const *inputs, uint32_t n_inputs, failure *f)
{
    const char *path = out->path;
    struct stat s;
    if (lstat(path, &s) != 0) {
        if (errno != ENOENT) {
            return fail_errno(f, path, "cannot be written");
        }
        size_t n = strlen(path);
        if (n == 0 || path[n - 1] == '/') {
            return fail(f, EXIT_USAGE, "%s: the name of an output file is %s", path,
                        n == 0 ? "empty" : "missing after the folder");
        }
        out->target = strdup(path);
        return out->target ? EXIT_OK : fail(f, EXIT_RESOURCE, "%s: no memory", path);
    }
    bool is_link = S_ISLNK(s.st_mode);
    if (is_link && stat(path, &s) != 0) {
        return fail(f, EXIT_USAGE, "%s: is a link to nothing; remove it or name its target", path);
    }
    if (S_ISDIR(s.st_mode)) {
        return fail(f, EXIT_USAGE, "%s: is a folder; name a file in it", path);
    }
    if (!S_ISREG(s.st_mode)) {
        return fail(f, EXIT_USAGE,
                    "%s: is not a regular file, and cannot be replaced; write to a file, or to '-' "
                    "where the command allows it",
                    path);
    }
    int code = check_inputs(&s, path, inputs, n_inputs, f);
    if (code != EXIT_OK) {
        return code;
    }
    if (!out->force) {
        return fail(f, EXIT_USAGE, "%s: exists; use --force to replace it", path);
    }
    out->target = is_link ? realpath(path, NULL) : strdup(path);
    return out->target ? EXIT_OK : fail_errno(f, path, "cannot be resolved");
}

/* "DIR" and ".NAME.tmp-" of DIR/NAME; a long NAME is cut so that the suffix fits 255 bytes. */
static int split_target(output *out, char prefix[static 240], failure *f)
{
    const char *slash = strrchr(out->target, '/');
    size_t n = slash ? (size_t)(slash - out->target) + 1 : 0;
    snprintf(prefix, 240, ".%.200s.tmp-", out->target + n);
    out->folder = n ? strndup(out->target, n) : strdup(".");
    if (!out->folder) {
        return fail(f, EXIT_RESOURCE, "%s: no memory", out->path);
    }
    struct stat s;
    if (stat(out->folder, &s) != 0) {
        return errno == ENOENT ? fail(f, EXIT_IO, "%s: its folder does not exist", out->path)
                               : fail_errno(f, out->path, "its folder cannot be used");
    }
    return EXIT_OK;
}

/* Removes leftovers of writers that were killed: a living one holds a lock on its file. */
static void remove_leftovers(const char *folder, const char *prefix)
{
    DIR *list = opendir(folder);
    if (!list) {
        return;
    }
    size_t n = strlen(prefix);
    for (struct dirent *e = readdir(list); e; e = readdir(list)) {
        if (strncmp(e->d_name, prefix, n) != 0) {
            continue;
        }
        int flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
        int fd = openat(dirfd(list), e->d_name, flags);
        struct stat s;
        if (fd >= 0 && fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && s.st_uid == geteuid() &&
            flock(fd, LOCK_EX | LOCK_NB) == 0) {
            unlinkat(dirfd(list), e->d_name, 0);
        }
        if (fd >= 0) {
            close(fd);
        }
    }
    closedir(list);
}

/* Creates DIR/.NAME.tmp-PID (with -2, -3, ... where that name is taken), locked. */
static int create_temporary(output *out, const char *prefix, failure *f)
{
    bool here = strcmp(out->folder, ".") == 0;
    for (int i = 1; i <= MAX_TRIES; i++) {
        char name[PATH_MAX], number[16] = "";
        if (i > 1) {
            snprintf(number, sizeof number, "-%d", i);
        }
        int n = snprintf(name, sizeof name, "%s%s%ld%s", here ? "" : out->folder, prefix,
                         (long)getpid(), number);
        if (n < 0 || (size_t)n >= sizeof name) {
            return fail(f, EXIT_IO, "%s: the path is too long", out->path);
        }
        sigset_t old;
        block_signals(&old);
        out->fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        int error = errno;
        struct stat s;
        if (out->fd >= 0) {
            out->slot = take_slot(name);
            /* no lock, or no name any more: another run took it for a leftover in between */
            flock(out->fd, LOCK_EX | LOCK_NB);
            out->temporary = strdup(name);
        }
        restore_signals(&old);
        if (out->fd < 0 && error == EEXIST) {
            continue;
        }
        if (out->fd < 0) {
            errno = error;
            return fail_errno(f, out->path, "cannot be created");
        }
        if (out->slot < 0 || !out->temporary) {
            unlink(name);
            if (out->slot >= 0) {
                slots[out->slot].active = 0;
                out->slot = -1;
            }
            return fail(f, EXIT_RESOURCE, "%s: too many outputs at once", out->path);
        }
        if (fstat(out->fd, &s) == 0 && s.st_nlink == 0) {
            slots[out->slot].active = 0;
            close(out->fd);
            free(out->temporary);
            out->fd = -1;
            out->temporary = NULL;
            continue;
        }
        return EXIT_OK;
    }
    return fail(f, EXIT_IO, "%s: no temporary name beside it is free", out->path);
}

/* ---- The public part ------------------------------------------------------------------------- */

static int open_standard(output *out, failure *f)
{
    if (isatty(STDOUT_FILENO)) {
        return fail(f, EXIT_USAGE, "binary data is not written to a terminal; redirect it");
    }
    out->fd = dup(STDOUT_FILENO);
    return out->fd >= 0 ? EXIT_OK : fail_errno(f, "standard output", "cannot be written");
}

int output_create(const char *path, bool force, const char *const *inputs, uint32_t n_inputs,
                  output **out_pointer, failure *f)
{
    output *out = (output *)calloc(1, sizeof *out);
    if (!out || !(out->path = strdup(path))) {
        free(out);
        return fail(f, EXIT_RESOURCE, "%s: no memory", path);
    }
    out->fd = -1;
    out->slot = -1;
    out->force = force;
    int code;
    if (strcmp(path, "-") == 0) {
        code = open_standard(out, f);
    } else {
        char prefix[240];
        watch_signals();
        code = resolve_target(out, inputs, n_inputs, f);
        code = code ? code : split_target(out, prefix, f);
        if (code == EXIT_OK) {
            remove_leftovers(out->folder, prefix);
            code = create_temporary(out, prefix, f);
        }
    }
    if (code != EXIT_OK) {
        output_destroy(&out);
        return code;
    }
    *out_pointer = out;
    return EXIT_OK;
}

int output_create_memory(output **out_pointer, failure *f)
{
    output *out = (output *)calloc(1, sizeof *out);
    if (!out || !(out->path = strdup("(in memory)"))) {
        free(out);
        return fail(f, EXIT_RESOURCE, "no memory for a file in memory");
    }
    out->slot = -1;
    out->memory = true;
    out->fd = memfd_create("slm", MFD_CLOEXEC);
    if (out->fd < 0) {
        int code = fail_errno(f, out->path, "cannot be created");
        output_destroy(&out);
        return code;
    }
    *out_pointer = out;
    return EXIT_OK;
}

int output_descriptor(const output *out)
{
    return out->fd;
}

/* offset UINT64_MAX: append. */
static int write_all(output *out, uint64_t offset, const void *bytes, uint64_t n_bytes, failure *f)
{
    const uint8_t *from = (const uint8_t *)bytes;
    bool append = offset == UINT64_MAX;
    while (n_bytes != 0) {
        size_t piece = n_bytes < 0x40000000u ? (size_t)n_bytes : 0x40000000u;
        ssize_t put =
            append ? write(out->fd, from, piece) : pwrite(out->fd, from, piece, (off_t)offset);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            errno = put == 0 ? EIO : errno;
            return fail_errno(f, out->path, "cannot be written");
        }
        from += put;
        offset += append ? 0 : (uint64_t)put;
        n_bytes -= (uint64_t)put;
    }
    return EXIT_OK;
}

int output_write(output *out, const void *bytes, uint64_t n_bytes, failure *f)
{
    return write_all(out, UINT64_MAX, bytes, n_bytes, f);
}

int output_write_at(output *out, uint64_t offset, const void *bytes, uint64_t n_bytes, failure *f)
{
    if (out->slot < 0 && !out->memory) {
        return fail(f, EXIT_USAGE, "this output cannot go to standard output; name a file");
    }
    if (offset > INT64_MAX || n_bytes > INT64_MAX - offset) {
        return fail(f, EXIT_INTERNAL, "%s: write beyond any file's end", out->path);
    }
    return write_all(out, offset, bytes, n_bytes, f);
}

/* Some file systems cannot sync a folder: that is not this file's failure. A disk that fails is. */
static int sync_folder(const output *out, failure *f)
{
    int fd = open(out->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return EXIT_OK;
    }
    int code = EXIT_OK;
    if (fsync(fd) != 0 && (errno == EIO || errno == ENOSPC || errno == EDQUOT)) {
        code = fail_errno(f, out->folder, "cannot be synced");
    }
    close(fd);
    return code;
}

static int take_final_name(const output *out)
{
#ifdef RENAME_NOREPLACE
    if (!out->force) { /* the name was free when we began: do not replace what came since */
        if (renameat2(AT_FDCWD, out->temporary, AT_FDCWD, out->target, RENAME_NOREPLACE) == 0) {
            return 0;
        }
        if (errno != EINVAL && errno != ENOSYS) {
            return -1;
        }
    }
#endif
    return rename(out->temporary, out->target);
}

int output_commit(output *out, failure *f)
{
    if (out->fd < 0) {
        return fail(f, EXIT_INTERNAL, "%s: committed twice", out->path);
    }
    bool file = out->slot >= 0;
    bool synced = !file || fsync(out->fd) == 0;
    int error = errno;
    bool closed = close(out->fd) == 0;
    out->fd = -1;
    if (!synced || !closed) {
        errno = synced ? errno : error;
        return fail_errno(f, out->path, "cannot be written");
    }
    if (!file) {
        return EXIT_OK;
    }
    sigset_t old;
    block_signals(&old);
    bool renamed = take_final_name(out) == 0;
    error = errno;
    if (renamed) {
        slots[out->slot].active = 0;
        out->slot = -1;
    }
    restore_signals(&old);
    if (!renamed) {
        errno = error;
        return error == EEXIST ? fail(f, EXIT_USAGE,
                                      "%s: appeared while it was being written; use "
                                      "--force to replace it",
                                      out->path)
                               : fail_errno(f, out->path, "cannot be given its name");
    }
    return sync_folder(out, f);
}

void output_destroy(output **out_pointer)
{
    output *out = *out_pointer;
    if (!out) {
        return;
    }
    if (out->slot >= 0) {
        sigset_t old;
        block_signals(&old);
        unlink(out->temporary);
        slots[out->slot].active = 0;
        restore_signals(&old);
    }
    if (out->fd >= 0) {
        close(out->fd);
    }
    free(out->path);
    free(out->target);
    free(out->folder);
    free(out->temporary);
    free(out);
    *out_pointer = NULL;
}
