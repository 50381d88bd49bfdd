/* hf_config_parts.h - the parts of reading a config.json: each takes its keys and fills its fields
 * of the configuration. Used by hf_config.c alone.
 */
#ifndef SLM_TOOLS_HF_CONFIG_PARTS_H
#define SLM_TOOLS_HF_CONFIG_PARTS_H

#include <jansson.h>

#include "lib/hf_config.h"

/* The limits of the .slm format, applied here so that messages can name the key. */
enum { MAX_WIDTH = 1 << 20, MAX_HEADS = 4096, MAX_HEAD_DIM = 1024, MAX_COUNT = 1 << 24 };

typedef struct reading {
    const char *name; /* of the file, for messages */
    json_t *root;
    hf_config *hf;
    notes *w;
    failure *f;
} reading;

/* Refuses features that are not supported, and notes keys that are not known. */
int hf_config_check_keys(reading *r);

int hf_config_numbers(reading *r); /* switches, activation, scales, caps */
int hf_config_rope(reading *r);
int hf_config_layers(reading *r); /* windows and layers without rope */

#endif
