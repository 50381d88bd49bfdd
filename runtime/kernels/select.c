/* select.c - which kernel variants this build has and this machine can run. */
#include <string.h>

#include "kernels/variants.h"

#if defined(__x86_64__)

/* Ascending: a machine that has avx512 has avx2. */
static const slm_kernels *const ALL[] = {&slm_kernels_ref, &slm_kernels_avx2, &slm_kernels_avx512};

/* __builtin_cpu_supports also asks whether the operating system saves the registers. It does not
 * know F16C in gcc 12, which every processor with AVX2 has but a hypervisor may hide. */
static bool has_f16c(void)
{
    uint32_t a = 1, b, c = 0, d;
    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return (c >> 29 & 1) != 0;
}

uint32_t slm_kernels_available(const slm_kernels *const **table)
{
    *table = ALL;
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !has_f16c()) {
        return 1;
    }
    bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                __builtin_cpu_supports("avx512vnni");
    return wide ? 3 : 2;
}

#else

#if defined(__wasm_simd128__)
static const slm_kernels *const ALL[] = {&slm_kernels_ref, &slm_kernels_simd128};
#else
static const slm_kernels *const ALL[] = {&slm_kernels_ref};
#endif

uint32_t slm_kernels_available(const slm_kernels *const **table)
{
    *table = ALL;
    return (uint32_t)(sizeof ALL / sizeof ALL[0]);
}

#endif

const slm_kernels *slm_kernels_select(const char *name)
{
    const slm_kernels *const *table;
    uint32_t n = slm_kernels_available(&table);
    if (!name) {
        return table[n - 1];
    }
    for (uint32_t i = 0; i < n; i++) {
        if (strcmp(table[i]->name, name) == 0) {
            return table[i];
        }
    }
    return NULL;
}
