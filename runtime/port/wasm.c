/* wasm.c - the port of a WebAssembly module that imports nothing but, at most, its memory: the
 * clock that JavaScript sets, and the C library functions that compilers call by themselves. The
 * team is in wasm_one.c or wasm_threads.c.
 */
#include <string.h>

#include "port/port.h"
#include "port/wasm.h"

static double clock_seconds;

double slm_clock_seconds(void)
{
    return clock_seconds;
}

void wasm_set_clock(double seconds)
{
    clock_seconds = seconds;
}

/* ---- What the compiler calls ----------------------------------------------------------------- */

/* With bulk memory the first three become single instructions. The other loops must not be
 * recognised and turned into calls of themselves: the makefile compiles this file -fno-builtin. */
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef strlen
#undef strcmp

void *memcpy(void *restrict to, const void *restrict from, size_t n_bytes)
{
    return __builtin_memcpy(to, from, n_bytes);
}

void *memmove(void *to, const void *from, size_t n_bytes)
{
    return __builtin_memmove(to, from, n_bytes);
}

void *memset(void *to, int value, size_t n_bytes)
{
    return __builtin_memset(to, value, n_bytes);
}

int memcmp(const void *a, const void *b, size_t n_bytes)
{
    const unsigned char *x = (const unsigned char *)a, *y = (const unsigned char *)b;
    for (size_t i = 0; i < n_bytes; i++) {
        if (x[i] != y[i]) {
            return x[i] < y[i] ? -1 : 1;
        }
    }
    return 0;
}

size_t strlen(const char *text)
{
    size_t n = 0;
    while (text[n] != 0) {
        n++;
    }
    return n;
}

int strcmp(const char *a, const char *b)
{
    while (*a != 0 && *a == *b) {
        a++;
        b++;
    }
    return (int)(unsigned char)*a - (int)(unsigned char)*b;
}

/* The checked 64-bit products of base/bytes.h multiply in 128 bits; this is what compiler-rt would
 * add. Only the low 128 bits of the product are wanted. */
__extension__ typedef __int128 int128;
__extension__ typedef unsigned __int128 uint128;

int128 __multi3(int128 a, int128 b);

int128 __multi3(int128 a, int128 b)
{
    uint64_t a0 = (uint64_t)a, b0 = (uint64_t)b;
    uint64_t a1 = (uint64_t)((uint128)a >> 64), b1 = (uint64_t)((uint128)b >> 64);
    uint64_t low = (a0 & 0xffffffffu) * (b0 & 0xffffffffu);
    uint64_t mid = (a0 >> 32) * (b0 & 0xffffffffu) + (low >> 32);
    uint64_t mid2 = (a0 & 0xffffffffu) * (b0 >> 32) + (mid & 0xffffffffu);
    uint64_t high = (a0 >> 32) * (b0 >> 32) + (mid >> 32) + (mid2 >> 32) + a0 * b1 + a1 * b0;
    return (int128)((uint128)high << 64 | (mid2 << 32 | (low & 0xffffffffu)));
}
