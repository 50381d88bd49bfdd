/* eval_score.h - what a model wrote -> did it pass the checks of its case.
 *
 * {"type": "exact", "value": TEXT}     the text is TEXT, byte for byte
 * {"type": "contains", "value": TEXT}  TEXT stands in it; TEXT is not empty
 * {"type": "regex", "value": PATTERN}  PATTERN matches somewhere in it (eval_regex.h)
 * {"type": "json"}                     all of it is one JSON document
 * {"type": "number", "value": X, "tolerance": T}   its last number is within T of X
 * {"type": "ids", "value": DIGEST}     the generated token ids are those: 16 hexadecimal digits,
 *                                      slm_hash with seed 0 over the ids as little-endian int32
 * Any of them with "not": true passes where it would not, and the other way round.
 */
#ifndef SLM_TOOLS_EVAL_SCORE_H
#define SLM_TOOLS_EVAL_SCORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/failure.h"
#include "lib/json_in.h"

/* Raised whenever the same output could score differently than before; part of a run's key. */
#define SCORERS_VERSION 1

typedef struct eval_check eval_check; /* one, compiled */

/* Compiles a check. where: "FILE:LINE", for messages. *check: owned by the caller. EXIT_INPUT for
 * an unknown type, a missing or unsuitable value, a malformed pattern. */
int check_compile(const char *where, json_t *definition, eval_check **check, failure *f);
void check_free(eval_check **check);

/* text: any bytes; ids: what was generated. */
bool check_passes(const eval_check *check, const char *text, size_t n_text, const int32_t *ids,
                  size_t n_ids);

/* Pass or not in words, such as "contains \"dog\""; valid as long as the check. */
const char *check_describe(const eval_check *check);

uint64_t ids_digest(const int32_t *ids, size_t n_ids);

#endif
