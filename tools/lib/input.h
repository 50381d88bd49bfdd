/* input.h - input files: mapped read-only, or read with pread, always regular files.
 *
 * A FIFO, device or directory is refused without blocking. Size, modification time and inode are
 * compared again by input_unchanged, so that a file replaced or cut while it was read is noticed.
 */
#ifndef SLM_TOOLS_INPUT_H
#define SLM_TOOLS_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/failure.h"

typedef struct input {
    const char *path; /* borrowed */
    int fd;
    uint64_t n_bytes;
    const uint8_t *bytes; /* the mapping (page aligned), or NULL before input_map */
    bool copied;          /* bytes is malloc'd, since the file could not be mapped */
    uint64_t mtime_ns, inode, device;
} input;

int input_open(const char *path, input *in, failure *f);

/* Opens `name`, a single path component (no '/', not "." or ".."), inside folder `dir`, not
 * following a link. in->path is set to `shown`. */
int input_open_in(const char *dir, const char *name, const char *shown, input *in, failure *f);

/* Maps the whole file (copies into memory if mapping fails). An empty file gives bytes == "". A
 * SIGBUS handler turns a file cut while mapped into a plain message and exit 4. */
int input_map(input *in, failure *f);

/* Hints about bytes of a mapped file (elsewhere without effect): these will be wanted soon, so that
 * the disk is read ahead; those are done with, so that they no longer count as this process's
 * memory (touched again, they are read again). Ranges may end beyond the file. */
void input_expect(const input *in, uint64_t offset, uint64_t n_bytes);
void input_release(const input *in, uint64_t offset, uint64_t n_bytes);

/* Exactly n bytes at offset; EINTR and short reads handled; past the end: EXIT_INPUT. */
int input_read_at(const input *in, uint64_t offset, void *bytes, uint64_t n_bytes, failure *f);

int input_unchanged(const input *in, failure *f);
void input_close(input *in); /* accepts a zeroed or closed input */

/* Reads a whole small file (at most `limit` bytes) into malloc'd, NUL-terminated memory. "-" is
 * standard input. */
int input_slurp(const char *path, uint64_t limit, char **text, size_t *n_bytes, failure *f);

#endif
