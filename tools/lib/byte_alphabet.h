/* byte_alphabet.h - GPT-2's printable stand-ins for bytes, in which byte-level vocabularies are
 * written: bytes that print stand for themselves, the 68 others follow from U+0100 on in their
 * order.
 */
#ifndef SLM_TOOLS_BYTE_ALPHABET_H
#define SLM_TOOLS_BYTE_ALPHABET_H

#include <stdint.h>

#include "text/unicode.h"

/* The byte that a character stands for, or -1. */
static inline int alphabet_byte(uint32_t c)
{
    if ((c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xff && c != 0xad)) {
        return (int)c;
    }
    if (c < 0x100 || c > 0x143) {
        return -1;
    }
    uint32_t k = c - 0x100; /* 0..32, 127..160, 173 */
    return (int)(k < 33 ? k : k < 67 ? k - 33 + 127 : 173);
}

/* The character that stands for a byte. */
static inline uint32_t alphabet_character(uint8_t byte)
{
    return byte < 33     ? 0x100u + byte
           : byte < 127  ? byte
           : byte < 161  ? 0x100u + 33 + byte - 127
           : byte == 173 ? 0x143
                         : byte;
}

/* Writes the bytes that text in the alphabet stands for (room for n); how many, or 0 if it has
 * other characters. */
static inline uint32_t alphabet_decode(const uint8_t *text, size_t n, uint8_t *out)
{
    uint32_t n_out = 0, c;
    for (size_t pos = 0; pos < n;) {
        pos += slm_utf8_decode(text + pos, n - pos, &c);
        int byte = alphabet_byte(c);
        if (byte < 0) {
            return 0;
        }
        out[n_out++] = (uint8_t)byte;
    }
    return n_out;
}

/* The other way round: room for 2 n bytes; how many. */
static inline size_t alphabet_encode(const uint8_t *bytes, size_t n, char *out)
{
    size_t n_out = 0;
    for (size_t i = 0; i < n; i++) {
        n_out += slm_utf8_encode((uint8_t *)out + n_out, alphabet_character(bytes[i]));
    }
    return n_out;
}

#endif
