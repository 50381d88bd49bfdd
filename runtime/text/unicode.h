/* unicode.h - UTF-8, the character classes that pre-tokenizers ask for, and normalization form C.
 *
 * The tables live in an arena, unpacked from the generated ones; those for NFC only on demand.
 */
#ifndef SLM_TEXT_UNICODE_H
#define SLM_TEXT_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

/* Bits of a character: one class of four, and two properties. */
enum {
    CLASS_OTHER = 0,
    CLASS_LETTER = 1, /* general category L* */
    CLASS_NUMBER = 2, /* general category N* */
    CLASS_SPACE = 3,  /* White_Space */
    CLASS_MASK = 3,
    CLASS_RESTLESS = 4, /* NFC may change it or join it to what stands before it */
    CLASS_WORD = 8      /* a word character of regular expressions (\w) */
};

#define CODEPOINT_BAD 0xffffffffu /* a byte that is not part of well-formed UTF-8 */

typedef struct unicode_pair {
    uint32_t whole;         /* bit 31: the parts compose to it */
    uint32_t first, second; /* second: 0 if there is only one part */
} unicode_pair;

typedef struct slm_unicode {
    const uint32_t *classes;   /* start << 4 | bits, ascending */
    const uint32_t *ccc;       /* start << 8 | combining class, ascending; NULL without NFC */
    const unicode_pair *pairs; /* ascending by whole */
    const uint16_t *composed;  /* hash of (first, second) -> index into pairs + 1 */
    uint32_t n_classes, n_ccc, n_pairs;
    uint8_t ascii[128]; /* bits */
} slm_unicode;

/* Unpacks the tables into the arena (nothing is written when it measures). */
void slm_unicode_init(slm_unicode *u, slm_arena *arena, bool with_nfc);

/* Decodes the character at p (n >= 1 bytes there). Returns its length; for malformed bytes 1, and
 * *c is CODEPOINT_BAD. */
uint32_t slm_utf8_decode(const uint8_t *p, size_t n, uint32_t *c);

/* Writes c (a valid code point) at p, 1..4 bytes; returns how many. */
uint32_t slm_utf8_encode(uint8_t *p, uint32_t c);

/* Bits of a code point; CODEPOINT_BAD is CLASS_OTHER. */
uint32_t slm_unicode_bits(const slm_unicode *u, uint32_t c);

/* Decodes and classifies in one go. */
static inline uint32_t slm_unicode_at(const slm_unicode *u, const uint8_t *p, size_t n,
                                      uint32_t *n_bytes)
{
    if (*p < 0x80) {
        *n_bytes = 1;
        return u->ascii[*p];
    }
    uint32_t c;
    *n_bytes = slm_utf8_decode(p, n, &c);
    return slm_unicode_bits(u, c);
}

/* Normalization form C. out: room for 3 * n + 4 bytes, not overlapping text; malformed bytes stay
 * as they are. Returns the bytes written. Linear in n but for a factor of at most the number of
 * combining classes, whatever the text. */
size_t slm_nfc(const slm_unicode *u, const uint8_t *text, size_t n, uint8_t *out);

#endif
