/* eval_manifest.h - a model, its figures and the gates' verdicts -> MODEL.slm.quality.json
 * (schemas/quality.schema.json; read again by quality.h).
 */
#ifndef SLM_TOOLS_EVAL_MANIFEST_H
#define SLM_TOOLS_EVAL_MANIFEST_H

#include "format/slm_file.h"
#include "lib/eval_gate.h"
#include "lib/model_file.h"

enum { MANIFEST_CONTEXT = 2048 }; /* memory_bytes is stated for this context, or the model's own */

/* A .slm file as a manifest describes it. */
typedef struct manifest_model {
    const char *path, *name; /* name: without folders */
    char sha256[65];
    char header_checksum[17];
    model_file opened; /* checked whole; no session */
    slm_file file;     /* borrows from opened.file */
    void *arena;
    uint64_t memory_bytes; /* file, model and a session of one thread with an F16 cache */
    uint32_t memory_context;
    double bits_per_weight;
} manifest_model;

/* Opens, checks and hashes. *m is the caller's (manifest_model_close), also on failure. Sizes are
 * those of the scalar reference kernels, so that they are the same on every machine. */
int manifest_model_open(const char *path, manifest_model *m, failure *f);
void manifest_model_close(manifest_model *m); /* accepts a zeroed one */

typedef struct manifest_parts {
    eval_store *store;
    const manifest_model *model, *baseline; /* baseline NULL: none */
    const gate_policy *policy;
    const gate_subjects *subjects;
    const gate_result *results; /* policy->n_rules of them */
    const json_t *logits_digest;
    const char *kernels; /* that computed it; volatile */
    uint64_t created_at; /* seconds since 1970, volatile */
} manifest_parts;

/* The whole document with its hash, indented; *text: malloc'd. */
int manifest_write(const manifest_parts *parts, char **text, size_t *n_bytes, failure *f);

#endif
