/* quality.h - a quality manifest (MODEL.slm.quality.json, schemas/quality.schema.json): read, and
 * held against a model's bytes and this machine's arithmetic.
 *
 * Its "manifest_sha256" is the SHA-256 of the document's canonical text (canonical_json.h) without
 * that key and without "volatile": times, speeds, the machine. Its "logits_digest" names prompts as
 * token ids and the digest of all their logits, which every build must reproduce.
 */
#ifndef SLM_TOOLS_QUALITY_H
#define SLM_TOOLS_QUALITY_H

#include "lib/json_in.h"
#include "lib/model_file.h"

#define QUALITY_SCHEMA "slm-quality/1"
#define QUALITY_SUFFIX ".quality.json"

enum { QUALITY_MAX_BYTES = 16 << 20, QUALITY_MAX_PROMPTS = 16, QUALITY_MAX_PROMPT = 256 };

/* The manifest's own place beside a model: MODEL + QUALITY_SUFFIX, malloc'd; NULL without memory.
 */
char *quality_path(const char *model_path);

/* The hash that belongs into "manifest_sha256". */
int quality_hash(const char *name, const json_t *manifest, char hex[static 65], failure *f);

/* Reads a manifest: its version is known and its hash right. *manifest: a new reference. EXIT_IO if
 * it is missing or unreadable, EXIT_INPUT if it is malformed, EXIT_CHECK if it was changed after it
 * was written. */
int quality_read(const char *path, json_t **manifest, failure *f);

/* Its verdict is "passed" and it speaks of the model's bytes. EXIT_CHECK if not, saying which. */
int quality_check_subject(const char *path, const json_t *manifest, const char *model_path,
                          failure *f);

/* Computes the digest anew on this machine, with the kernels and threads given (NULL, 0: the best,
 * all). EXIT_CHECK if it differs. */
int quality_check_digest(const char *path, const json_t *manifest, const char *model_path,
                         const char *kernels, uint32_t n_threads, failure *f);

/* All of the above, in that order. path: NULL for quality_path(model_path), which must exist
 * (EXIT_CHECK). */
int quality_prove(const char *path, const char *model_path, const char *kernels, uint32_t n_threads,
                  failure *f);

/* The value of "logits_digest" for a model: fixed prompts, one of text if it has a tokenizer and
 * one of drawn ids. *digest: a new reference. */
int quality_digest(const char *model_path, const char *kernels, uint32_t n_threads, json_t **digest,
                   failure *f);

#endif
