/* half.h - IEEE half and bfloat16 to and from f32 with integer operations and one exact multiply,
 * so that every build rounds alike (no F16C, no NEON conversion needed).
 */
#ifndef SLM_BASE_HALF_H
#define SLM_BASE_HALF_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t f32_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

static inline float f32_from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, 4);
    return f;
}

/* Exact for every finite half, subnormals included. Infinity and NaN come out as large finite
 * numbers: files that hold them are refused before this is reached (use half_is_finite). */
static inline float f32_from_half(uint16_t h)
{
    float magnitude = f32_from_bits((uint32_t)(h & 0x7fff) << 13) * f32_from_bits(0x77800000u);
    return f32_from_bits(f32_bits(magnitude) | (uint32_t)(h & 0x8000) << 16);
}

static inline bool half_is_finite(uint16_t h)
{
    return (h & 0x7c00) != 0x7c00;
}

/* Rounds to nearest, ties to even; overflow gives infinity, NaN a quiet NaN. */
static inline uint16_t half_from_f32(float f)
{
    uint32_t u = f32_bits(f);
    uint32_t sign = (u >> 16) & 0x8000;
    u &= 0x7fffffffu;
    if (u >= 0x47800000u) { /* 65536 and up, infinity, NaN */
        return (uint16_t)(sign | (u > 0x7f800000u ? 0x7e00u : 0x7c00u));
    }
    if (u < 0x38800000u) { /* below 2^-14: a subnormal half; adding 0.5 aligns and rounds */
        uint32_t r = f32_bits(f32_from_bits(u) + 0.5f) - 0x3f000000u;
        return (uint16_t)(sign | r);
    }
    uint32_t rounded = u + 0xfffu + ((u >> 13) & 1u) - 0x38000000u;
    return (uint16_t)(sign | rounded >> 13);
}

static inline float f32_from_bf16(uint16_t h)
{
    return f32_from_bits((uint32_t)h << 16);
}

/* Rounds to nearest, ties to even; NaN stays a NaN. */
static inline uint16_t bf16_from_f32(float f)
{
    uint32_t u = f32_bits(f);
    if ((u & 0x7fffffffu) > 0x7f800000u) {
        return (uint16_t)(u >> 16 | 0x40u);
    }
    return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

static inline bool f32_is_finite(float f)
{
    return (f32_bits(f) & 0x7f800000u) != 0x7f800000u;
}

#endif
