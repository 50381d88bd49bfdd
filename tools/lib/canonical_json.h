/* canonical_json.h - a JSON value -> its one canonical text (RFC 8785, the JSON Canonicalization
 * Scheme), so that a hash over a document means the same to every program in every language.
 *
 * No white space; keys sorted; the shortest escapes; numbers as ECMAScript prints them. Keys are
 * sorted by bytes, which is RFC 8785's order for all but characters beyond U+FFFF. Whole numbers
 * beyond 2^53 have no faithful ECMAScript form: documents of ours write such values as text.
 */
#ifndef SLM_TOOLS_CANONICAL_JSON_H
#define SLM_TOOLS_CANONICAL_JSON_H

#include "lib/json_in.h"

/* *text: malloc'd, NUL-terminated, *n_bytes long. EXIT_INPUT for a whole number beyond 2^53;
 * EXIT_RESOURCE without memory. name: for messages. */
int canonical_json(const char *name, const json_t *value, char **text, size_t *n_bytes, failure *f);

/* The same with line breaks and two spaces a level, for documents that people read too. */
int canonical_json_indented(const char *name, const json_t *value, char **text, size_t *n_bytes,
                            failure *f);

/* A finite number as ECMAScript's Number::toString writes it. */
void canonical_number(double value, char text[static 32]);

#endif
