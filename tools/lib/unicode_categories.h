/* unicode_categories.h - the generated table of general categories and scripts, for char_set.c. */
#ifndef SLM_TOOLS_UNICODE_CATEGORIES_H
#define SLM_TOOLS_UNICODE_CATEGORIES_H

#include <stdint.h>

extern const uint32_t unicode_n_categories;      /* runs */
extern const char unicode_category_names[];      /* two letters each, by number */
extern const char *const unicode_script_names[]; /* of scripts 1, 2, ..; NULL ends them */
extern const uint8_t unicode_categories[]; /* per run: LEB128 distance, category | script << 5 */

#endif
