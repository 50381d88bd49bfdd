/* bytes.h - checked size arithmetic, unaligned little-endian loads, and a reader that cannot leave
 * its bytes. Every length and offset that comes from a file goes through these.
 */
#ifndef SLM_BASE_BYTES_H
#define SLM_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* True, and *out = a + b (or a * b), if the result fits; false, *out untouched, if not. */
static inline bool checked_add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    if (b > UINT64_MAX - a) {
        return false;
    }
    *out = a + b;
    return true;
}

static inline bool checked_mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    if (a != 0 && b > UINT64_MAX / a) {
        return false;
    }
    *out = a * b;
    return true;
}

/* Rounds n up to a multiple of align, a power of two. */
static inline bool checked_align_u64(uint64_t n, uint64_t align, uint64_t *out)
{
    uint64_t sum;
    if (!checked_add_u64(n, align - 1, &sum)) {
        return false;
    }
    *out = sum & ~(align - 1);
    return true;
}

static inline uint32_t round_up_u32(uint32_t n, uint32_t align) /* n <= 2^31, align a power of 2 */
{
    return (n + align - 1) & ~(align - 1);
}

/* Little-endian loads and stores at any alignment; bytes are assembled so that a big-endian host
 * reads the same values. Compilers turn these into one instruction. */
static inline uint16_t load_u16(const void *p)
{
    const uint8_t *b = (const uint8_t *)p;
    return (uint16_t)(b[0] | b[1] << 8);
}

static inline uint32_t load_u32(const void *p)
{
    const uint8_t *b = (const uint8_t *)p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static inline uint64_t load_u64(const void *p)
{
    const uint8_t *b = (const uint8_t *)p;
    return (uint64_t)load_u32(b) | (uint64_t)load_u32(b + 4) << 32;
}

static inline void store_u16(void *p, uint16_t v)
{
    uint8_t *b = (uint8_t *)p;
    b[0] = (uint8_t)v;
    b[1] = (uint8_t)(v >> 8);
}

static inline void store_u32(void *p, uint32_t v)
{
    store_u16(p, (uint16_t)v);
    store_u16((uint8_t *)p + 2, (uint16_t)(v >> 16));
}

static inline void store_u64(void *p, uint64_t v)
{
    store_u32(p, (uint32_t)v);
    store_u32((uint8_t *)p + 4, (uint32_t)(v >> 32));
}

/* A cursor over bytes. After the first read past the end every read returns 0 and `failed` stays
 * set, so that a parser may read a whole structure and check once. */
typedef struct byte_reader {
    const uint8_t *bytes;
    uint64_t n_bytes;
    uint64_t pos;
    bool failed;
} byte_reader;

static inline byte_reader byte_reader_view(const void *bytes, uint64_t n_bytes)
{
    byte_reader r = {(const uint8_t *)bytes, n_bytes, 0, false};
    return r;
}

/* A pointer to the next n bytes, or NULL (and failed) if there are fewer. */
static inline const uint8_t *read_bytes(byte_reader *r, uint64_t n)
{
    if (r->failed || n > r->n_bytes - r->pos) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *p = r->bytes + r->pos;
    r->pos += n;
    return p;
}

static inline uint8_t read_u8(byte_reader *r)
{
    const uint8_t *p = read_bytes(r, 1);
    return p ? *p : 0;
}

static inline uint16_t read_u16(byte_reader *r)
{
    const uint8_t *p = read_bytes(r, 2);
    return p ? load_u16(p) : 0;
}

static inline uint32_t read_u32(byte_reader *r)
{
    const uint8_t *p = read_bytes(r, 4);
    return p ? load_u32(p) : 0;
}

static inline uint64_t read_u64(byte_reader *r)
{
    const uint8_t *p = read_bytes(r, 8);
    return p ? load_u64(p) : 0;
}

#endif
