/* unicode_tables.h - the generated tables, for unicode.c alone. */
#ifndef SLM_TEXT_UNICODE_TABLES_H
#define SLM_TEXT_UNICODE_TABLES_H

#include <stdint.h>

/* Numbers of: runs of classes, runs of combining classes, decompositions, of them pairs. */
extern const uint16_t slm_unicode_counts[4];
extern const uint8_t slm_unicode_class_starts[], slm_unicode_class_bits[];
extern const uint8_t slm_unicode_ccc_starts[], slm_unicode_ccc_values[];
extern const uint8_t slm_unicode_wholes[], slm_unicode_firsts[], slm_unicode_seconds[];

#endif
