/* lanes.h - vectors of LANES 32-bit lanes by the compilers' vector extensions, for code that keeps
 * one row of a row group in each lane: no operation looks across lanes but the transposition, so
 * that any number of lanes gives the same bits. Whoever includes this defines LANES (1, 4, 8, 16).
 */
#ifndef SLM_QUANT_LANES_H
#define SLM_QUANT_LANES_H

#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline, unused))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

typedef uint32_t vu __attribute__((vector_size(LANES * 4)));
typedef int32_t vi __attribute__((vector_size(LANES * 4)));
typedef uint16_t vh __attribute__((vector_size(LANES * 2)));
typedef float vf __attribute__((vector_size(LANES * 4)));

INLINE vu vu_load(const void *p)
{
    vu v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void vu_store(void *p, vu v)
{
    memcpy(p, &v, sizeof v);
}

INLINE vf vf_load(const void *p)
{
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void vf_store(void *p, vf v)
{
    memcpy(p, &v, sizeof v);
}

INLINE vu vu_splat(uint32_t x)
{
    return x - (vu){0};
}

INLINE vf vf_splat(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (vf)vu_splat(bits);
}

/* Where all bits of a lane of the mask are set, yes; where none is, no. */
INLINE vf vf_choose(vi mask, vf yes, vf no)
{
    return (vf)(((vi)yes & mask) | ((vi)no & ~mask));
}

INLINE vf vf_magnitude(vf v)
{
    return (vf)((vu)v & vu_splat(0x7fffffffu));
}

/* a / b where b > 0, else 0. */
INLINE vf vf_ratio(vf a, vf b)
{
    vi good = (vi)(b > vf_splat(0.0f));
    return vf_choose(good, a / vf_choose(good, b, vf_splat(1.0f)), vf_splat(0.0f));
}

/* Adding this rounds |v| < 2^22 to the nearest integer, ties to even, and leaves that integer in
 * the low bits: bits(v + MAGIC) = MAGIC_BITS + integer. */
#define MAGIC 12582912.0f
#define MAGIC_BITS 0x4b400000u

INLINE vf vf_nearest(vf v)
{
    return v + vf_splat(MAGIC) - vf_splat(MAGIC);
}

INLINE vu vu_from_nearest(vf v)
{
    return (vu)(v + vf_splat(MAGIC)) - vu_splat(MAGIC_BITS);
}

/* As half_from_f32 of base/half.h for |v| <= 65504, in the low 16 bits; the rest is zero. */
INLINE vu vu_half_from(vf v)
{
    vu sign = ((vu)v >> 16) & vu_splat(0x8000u), u = (vu)v & vu_splat(0x7fffffffu);
    vu small = (vu)((vf)u + vf_splat(0.5f)) - vu_splat(0x3f000000u);
    vu rounded = (u + vu_splat(0xfffu) + (u >> 13 & vu_splat(1u)) - vu_splat(0x38000000u)) >> 13;
    return sign | (vu)vf_choose((vi)(u < vu_splat(0x38800000u)), (vf)small, (vf)rounded);
}

/* As f32_from_half: the half in the low 16 bits, the rest zero. */
INLINE vf vf_from_half(vu v)
{
    vf magnitude = (vf)((v & vu_splat(0x7fffu)) << 13) * (vf)vu_splat(0x77800000u);
    return (vf)((vu)magnitude | (v & vu_splat(0x8000u)) << 16);
}

/* LANES integers of 16 bits, as C says it. */
INLINE vu vu_widened(const void *p)
{
    vh narrow;
    memcpy(&narrow, p, sizeof narrow);
    return __builtin_convertvector(narrow, vu);
}

/* Halves to f32; infinity and NaN, which vf_from_half makes large numbers, to infinity. */
INLINE vf vf_from_any_half(vu v)
{
    vi infinite = (vi)((v & vu_splat(0x7c00u)) == vu_splat(0x7c00u));
    return vf_choose(infinite, (vf)vu_splat(0x7f800000u), vf_from_half(v));
}

/* ---- Transposition --------------------------------------------------------------------------- */

#if LANES == 16
#define LOG_LANES 4
#define ZIP_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define ZIP_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif LANES == 8
#define LOG_LANES 3
#define ZIP_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define ZIP_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#elif LANES == 4
#define LOG_LANES 2
#define ZIP_LOW 0, 4, 1, 5
#define ZIP_HIGH 2, 6, 3, 7
#endif

/* Rows to columns: afterwards lane l of v[i] is what lane i of v[l] was. */
INLINE void transpose(vf v[LANES])
{
#if LANES > 1
    vf w[LANES];
    UNROLL for (int stage = 0; stage < LOG_LANES; stage++)
    {
        UNROLL for (int i = 0; i < LANES / 2; i++)
        {
            w[2 * i] = __builtin_shufflevector(v[i], v[i + LANES / 2], ZIP_LOW);
            w[2 * i + 1] = __builtin_shufflevector(v[i], v[i + LANES / 2], ZIP_HIGH);
        }
        memcpy(v, w, sizeof w);
    }
#else
    (void)v;
#endif
}

#endif
