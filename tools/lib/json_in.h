/* json_in.h - strict JSON documents through Jansson: one object, UTF-8, no duplicate keys, no NUL,
 * limited depth; and getters that name file and key when a value is not what it must be.
 *
 * Getters treat null as absent, leave *value alone then, and set *found (if not NULL).
 */
#ifndef SLM_TOOLS_JSON_IN_H
#define SLM_TOOLS_JSON_IN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "lib/failure.h"

/* Parses a whole document, which must be an object. name: for messages. *root: a new reference
 * (json_decref). EXIT_INPUT with line and column on anything malformed. */
int json_in_parse(const char *name, const char *text, size_t n_bytes, json_t **root, failure *f);

/* The same for documents in which no whole number matters and some do not fit 64 bits, such as the
 * model_max_length of tokenizer_config.json: all numbers come out as reals. */
int json_in_parse_reals(const char *name, const char *text, size_t n_bytes, json_t **root,
                        failure *f);

/* A value as compact text, malloc'd; NULL without memory (json_dumps would leave bytes out then).
 */
char *json_in_text(const json_t *value);

/* The value of a key, borrowed; NULL if it is absent or null. */
json_t *json_in_get(json_t *object, const char *key);

/* "NAME: KEY must be WHAT, not VALUE" as EXIT_INPUT. */
int json_in_refuse(const char *name, const char *key, const char *what, const json_t *value,
                   failure *f);

/* Whole numbers must be written as integers; numbers may be either and come out finite. */
int json_in_u32(const char *name, json_t *object, const char *key, uint32_t min, uint32_t max,
                uint32_t *value, bool *found, failure *f);
int json_in_f32(const char *name, json_t *object, const char *key, double min, double max,
                float *value, bool *found, failure *f);
int json_in_bool(const char *name, json_t *object, const char *key, bool *value, bool *found,
                 failure *f);
/* *value: borrowed from the object. */
int json_in_string(const char *name, json_t *object, const char *key, const char **value,
                   bool *found, failure *f);

#endif
