/* json_out.h - writes one JSON document to a stream: commas, indentation, escaping, numbers.
 *
 * Strings that are not UTF-8 have their bad bytes written as U+FFFD, so that the document is always
 * valid. Doubles are written with %.17g shortened to the fewest digits that read back equal; NaN
 * and infinity as null.
 */
#ifndef SLM_TOOLS_JSON_OUT_H
#define SLM_TOOLS_JSON_OUT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Jansson exports functions of these names; without this a call of its json_object() would link to
 * ours. A file that needs both headers includes json_in.h first. */
#define json_object json_out_object
#define json_array json_out_array
#define json_null json_out_null
#define json_string json_out_string

typedef struct json_out {
    FILE *stream;
    int depth;
    bool first; /* nothing written yet in the current container */
    bool compact;
} json_out;

void json_begin(json_out *j, FILE *stream, bool compact); /* no output yet */
void json_end(json_out *j);                               /* newline */

/* A stream into memory, as open_memstream; but that of glibc loses bytes in silence when memory
 * runs out. NULL without memory. *text: malloc'd, the caller's from then on; *n_bytes long,
 * NUL-terminated and whole once json_close_memory said true. */
FILE *json_open_memory(char **text, size_t *n_bytes);
bool json_close_memory(FILE *stream);

/* key: NULL inside an array or for the document itself. */
void json_object(json_out *j, const char *key);
void json_object_end(json_out *j);
void json_array(json_out *j, const char *key);
void json_array_end(json_out *j);
void json_string(json_out *j, const char *key, const char *value);
void json_string_n(json_out *j, const char *key, const char *value, uint64_t n_bytes);
void json_u64(json_out *j, const char *key, uint64_t value);
void json_i64(json_out *j, const char *key, int64_t value);
void json_f64(json_out *j, const char *key, double value);
void json_f32(json_out *j, const char *key, float value); /* fewest digits for an f32 */
void json_bool(json_out *j, const char *key, bool value);
void json_null(json_out *j, const char *key);
void json_hex64(json_out *j, const char *key, uint64_t value); /* "0123456789abcdef" */

#endif
