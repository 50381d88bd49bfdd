/* sha256.h - SHA-256 (FIPS 180-4) of bytes given in any pieces. */
#ifndef SLM_TOOLS_SHA256_H
#define SLM_TOOLS_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct sha256 {
    uint32_t state[8];
    uint8_t pending[64];
    uint64_t n_bytes;
} sha256;

void sha256_init(sha256 *s);
void sha256_update(sha256 *s, const void *bytes, size_t n_bytes);

/* 64 lower-case hexadecimal digits and a NUL. The state is used up. */
void sha256_final_hex(sha256 *s, char hex[65]);

#endif
