/* hf_config_keys.h - which keys of config.json are harmless, and which must have the one value that
 * leaves the numbers as this project computes them.
 */
#ifndef SLM_TOOLS_HF_CONFIG_KEYS_H
#define SLM_TOOLS_HF_CONFIG_KEYS_H

#include <jansson.h>

#include "lib/hf_config.h"

/* Refuses features that are not supported, and notes keys that are not known. */
int hf_config_check_keys(const char *name, json_t *root, notes *w, failure *f);

#endif
