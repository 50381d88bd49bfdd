/* vectors.h - vectors of VECTOR_LANES 32-bit lanes, by the compilers' vector extensions, and the 16
 * virtual lanes of the numeric contract made of them. An isa_*.h defines VECTOR_LANES, includes
 * this and adds the few operations that C cannot say.
 */
#ifndef SLM_KERNELS_VECTORS_H
#define SLM_KERNELS_VECTORS_H

#include <string.h>

#include "base/half.h"
#include "kernels/kernels.h"

/* a > b ? a : b in each lane, of vectors of any size. */
#define F_MAX(a, b)                                                                                \
    ((__typeof__(a))(((__typeof__((a) > (b)))(a) & ((a) > (b))) |                                  \
                     ((__typeof__((a) > (b)))(b) & ~((a) > (b)))))
#define INLINE static inline __attribute__((always_inline, unused))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#define NO_UNROLL _Pragma("clang loop unroll(disable)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#define NO_UNROLL _Pragma("GCC unroll 1")
#endif
/* Variants that are downloaded define SMALL_CODE: long unrolled loops are rolled up somewhat, which
 * there costs no speed. */
#ifdef SMALL_CODE
#define UNROLL_STEPS _Pragma("clang loop unroll_count(2)")
#define COLD __attribute__((minsize))
#else
#define COLD
#define UNROLL_STEPS UNROLL
#endif

enum {
    VL = VECTOR_LANES,
    VB = VECTOR_LANES * 4,            /* bytes of a vector */
    GROUP_VECTORS = 16 / VECTOR_LANES /* vectors that hold one word of 16 rows, or 16 lanes */
};

typedef uint32_t vu __attribute__((vector_size(VECTOR_LANES * 4)));
typedef int32_t vi __attribute__((vector_size(VECTOR_LANES * 4)));
typedef int16_t vh __attribute__((vector_size(VECTOR_LANES * 4)));
typedef float vf __attribute__((vector_size(VECTOR_LANES * 4)));
typedef float f4 __attribute__((vector_size(16)));

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

INLINE vu vu_splat_load(const void *p)
{
    uint32_t x;
    memcpy(&x, p, 4);
    return vu_splat(x);
}

INLINE vf vf_splat(float x)
{
    return (vf)vu_splat(f32_bits(x));
}

INLINE vf vf_from_ints(vu v)
{
    return __builtin_convertvector((vi)v, vf);
}

/* f32_from_half in each lane; the half is the low 16 bits, the rest zero. */
INLINE vf vf_from_halves(vu v)
{
    vf magnitude = (vf)((v & vu_splat(0x7fffu)) << 13) * (vf)vu_splat(0x77800000u);
    return (vf)((vu)magnitude | (v & vu_splat(0x8000u)) << 16);
}

/* ---- 16 virtual lanes ------------------------------------------------------------------------ */

typedef struct lanes {
    vf v[GROUP_VECTORS];
} lanes;

INLINE lanes lanes_zero(void)
{
    lanes r = {{{0}}};
    return r;
}

INLINE lanes lanes_load(const float *p)
{
    lanes r;
    UNROLL for (int i = 0; i < GROUP_VECTORS; i++)
    {
        r.v[i] = vf_load(p + i * VL);
    }
    return r;
}

INLINE void lanes_store(float *p, lanes a)
{
    UNROLL for (int i = 0; i < GROUP_VECTORS; i++)
    {
        vf_store(p + i * VL, a.v[i]);
    }
}

/* sum + a * b, rounded after each. */
INLINE lanes lanes_add_product(lanes sum, lanes a, lanes b)
{
    UNROLL for (int i = 0; i < GROUP_VECTORS; i++)
    {
        vf product = a.v[i] * b.v[i];
        sum.v[i] = sum.v[i] + product;
    }
    return sum;
}

/* Lanes l += l + 8, then l += l + 4. */
INLINE f4 lanes_fold4(lanes a)
{
#if VECTOR_LANES == 4
    return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]);
#else
#if VECTOR_LANES == 8
    vf w = a.v[0] + a.v[1];
#else
    typedef float f8 __attribute__((vector_size(32)));
    f8 w = __builtin_shufflevector(a.v[0], a.v[0], 0, 1, 2, 3, 4, 5, 6, 7) +
           __builtin_shufflevector(a.v[0], a.v[0], 8, 9, 10, 11, 12, 13, 14, 15);
#endif
    return __builtin_shufflevector(w, w, 0, 1, 2, 3) + __builtin_shufflevector(w, w, 4, 5, 6, 7);
#endif
}

/* The sums of four sets of lanes. */
INLINE f4 lanes_sum4(lanes a, lanes b, lanes c, lanes d)
{
    f4 fa = lanes_fold4(a), fb = lanes_fold4(b), fc = lanes_fold4(c), fd = lanes_fold4(d);
    f4 ab =
        __builtin_shufflevector(fa, fb, 0, 1, 4, 5) + __builtin_shufflevector(fa, fb, 2, 3, 6, 7);
    f4 cd =
        __builtin_shufflevector(fc, fd, 0, 1, 4, 5) + __builtin_shufflevector(fc, fd, 2, 3, 6, 7);
    return __builtin_shufflevector(ab, cd, 0, 2, 4, 6) +
           __builtin_shufflevector(ab, cd, 1, 3, 5, 7);
}

INLINE float lanes_sum(lanes a)
{
    f4 f = lanes_fold4(a);
    f4 pair = f + __builtin_shufflevector(f, f, 2, 3, 0, 1);
    return pair[0] + pair[1];
}

/* The largest lane. */
INLINE float vf_largest(vf v)
{
#if VECTOR_LANES == 16
    typedef float f8 __attribute__((vector_size(32)));
    f8 a = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7);
    f8 b = __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
    a = F_MAX(a, b);
#else
    vf a = v;
#endif
#if VECTOR_LANES >= 8
    f4 x = __builtin_shufflevector(a, a, 0, 1, 2, 3), y = __builtin_shufflevector(a, a, 4, 5, 6, 7);
    x = F_MAX(x, y);
#else
    f4 x = a;
#endif
    x = F_MAX(x, __builtin_shufflevector(x, x, 2, 3, 0, 1));
    return x[0] > x[1] ? x[0] : x[1];
}

/* ---- Memory ---------------------------------------------------------------------------------- */

/* Reads a byte of each of n lines.
 *
 * Memory is read as fast as the processor's own prefetching goes, and that follows lines which are
 * missed one after the other. So where lines are used in another order, or at two places in turn,
 * they are made to come in theirs first: 1.3 to 1.6 times as fast as asking for each far ahead. */
INLINE void read_lines(const uint8_t *p, uint32_t n)
{
    NO_UNROLL for (uint32_t i = 0; i < n; i++, p += SLM_LINE_BYTES)
    {
        (void)*(const volatile uint8_t *)p;
    }
}

#endif
