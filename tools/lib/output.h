/* output.h - files that appear whole or not at all.
 *
 * The data goes to a temporary name in the target's folder (".NAME.tmp-PID", O_EXCL, mode 0666 less
 * umask), is synced, and takes the final name by rename; then the folder is synced. Until commit
 * the final name keeps whatever it had. SIGINT, SIGTERM and SIGHUP remove the temporary file.
 */
#ifndef SLM_TOOLS_OUTPUT_H
#define SLM_TOOLS_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/failure.h"

typedef struct output output;

/* Opens the temporary file. Refuses (EXIT_USAGE) a path that exists unless `force`; a directory,
 * device, pipe or dangling link; a path that is the same file as one of inputs[0..n_inputs-1] (NULL
 * entries are skipped), also through links. A link to a file is replaced at the link's target.
 * Others: EXIT_IO. "-" is standard output unless that is a terminal; it takes no output_write_at.
 * Leftovers of killed writers of the same path are removed. *out owned by the caller. */
int output_create(const char *path, bool force, const char *const *inputs, uint32_t n_inputs,
                  output **out, failure *f);

/* A file in memory that never gets a name: written as any other, read back through its descriptor
 * (borrowed), gone with output_destroy and the last mapping. */
int output_create_memory(output **out, failure *f);
int output_descriptor(const output *out);

/* Appends, or overwrites at an offset; any length; short writes and EINTR are handled. */
int output_write(output *out, const void *bytes, uint64_t n_bytes, failure *f);
int output_write_at(output *out, uint64_t offset, const void *bytes, uint64_t n_bytes, failure *f);

/* Syncs, closes, renames, syncs the folder. The output is done afterwards, also on failure. */
int output_commit(output *out, failure *f);

/* Removes the temporary file unless committed; frees; accepts NULL; clears. */
void output_destroy(output **out);

/* Removes the temporary files of all outputs not yet committed. For signal handlers that exit. */
void output_abandon_all(void);

#endif
