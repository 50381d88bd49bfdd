/* utf8.h - how long the well-formed UTF-8 character at a place is. */
#ifndef SLM_TOOLS_UTF8_H
#define SLM_TOOLS_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Length (1..4) of the well-formed character that s begins with, n bytes being there; 0 if it is
 * malformed: overlong, a surrogate, above U+10FFFF, cut short. */
static inline size_t utf8_length(const char *s, size_t n)
{
    const unsigned char *b = (const unsigned char *)s;
    if (n == 0 || (b[0] >= 0x80 && b[0] < 0xc2) || b[0] > 0xf4) {
        return 0;
    }
    size_t length = b[0] < 0x80 ? 1 : b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : 4;
    if (length > n) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((b[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((b[0] == 0xe0 && b[1] < 0xa0) || (b[0] == 0xed && b[1] > 0x9f) ||
        (b[0] == 0xf0 && b[1] < 0x90) || (b[0] == 0xf4 && b[1] > 0x8f)) {
        return 0;
    }
    return length;
}

#endif
