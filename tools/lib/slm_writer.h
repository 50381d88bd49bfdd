/* slm_writer.h - streams a .slm file: declare sections and tensors, then append tensor data in
 * order.
 *
 * Sections come out as CONF, TOKN, CHAT, TMPL, PROV, TDIR, DATA. The same calls give the same
 * bytes.
 */
#ifndef SLM_TOOLS_SLM_WRITER_H
#define SLM_TOOLS_SLM_WRITER_H

#include "format/config.h"
#include "lib/output.h"

typedef struct slm_writer slm_writer;

/* out: borrowed; committed by the caller after slm_writer_finish. architecture: <= 31 bytes. */
int slm_writer_create(output *out, const char *architecture, const slm_config *config,
                      slm_writer **writer, failure *f);

/* Adds TOKN, CHAT, TMPL or PROV; bytes are copied. */
int slm_writer_section(slm_writer *writer, uint32_t kind, const void *bytes, uint64_t n_bytes,
                       failure *f);

/* Declares the next tensor in file order. */
int slm_writer_tensor(slm_writer *writer, const char *name, slm_type type, uint32_t rank,
                      const uint64_t *dims, failure *f);

/* Fixes the layout; after it only slm_writer_data is allowed. *n_bytes: length of the whole file.
 */
int slm_writer_begin(slm_writer *writer, uint64_t *n_bytes, failure *f);

/* Appends stored bytes (row and group padding included) of the current tensor; any number of calls;
 * may run over into the next tensor only at its exact end. */
int slm_writer_data(slm_writer *writer, const void *bytes, uint64_t n_bytes, failure *f);

/* Checks that every tensor got its bytes, then writes header, section table and directory. */
int slm_writer_finish(slm_writer *writer, failure *f);

void slm_writer_destroy(slm_writer **writer); /* accepts NULL; clears */

#endif
