/* select.c - which kernel variants this build has and this machine can run. */
#include <stdbool.h>
#include <string.h>

#include "kernels/variants.h"

#if defined(__x86_64__)

/* __builtin_cpu_supports also asks whether the operating system saves the registers. gcc 12 does
 * not know F16C, which every processor with AVX2 has but a hypervisor may hide, nor AVX-VNNI. */
typedef struct cpuid_words {
    uint32_t a, b, c, d;
} cpuid_words;

static cpuid_words cpuid(uint32_t leaf, uint32_t subleaf)
{
    cpuid_words w = {leaf, 0, subleaf, 0};
    __asm__("cpuid" : "+a"(w.a), "=b"(w.b), "+c"(w.c), "=d"(w.d));
    return w;
}

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && (cpuid(1, 0).c >> 29 & 1) != 0;
}

static bool has_avxvnni(void)
{
    return cpuid(7, 0).a >= 1 && (cpuid(7, 1).a >> 4 & 1) != 0;
}

static bool has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}

/* Each machine has a table of its own: what it can run, best last. */
static const slm_kernels *const PLAIN[] = {&slm_kernels_ref};
static const slm_kernels *const AVX2[] = {&slm_kernels_ref, &slm_kernels_avx2};
static const slm_kernels *const VNNI[] = {&slm_kernels_ref, &slm_kernels_avx2,
                                          &slm_kernels_avxvnni};
static const slm_kernels *const AVX512[] = {&slm_kernels_ref, &slm_kernels_avx2,
                                            &slm_kernels_avx512};
static const slm_kernels *const ALL[] = {&slm_kernels_ref, &slm_kernels_avx2, &slm_kernels_avxvnni,
                                         &slm_kernels_avx512};

uint32_t slm_kernels_available(const slm_kernels *const **table)
{
    __builtin_cpu_init();
    if (!has_avx2()) {
        *table = PLAIN;
        return 1;
    }
    if (has_avx512()) {
        *table = has_avxvnni() ? ALL : AVX512;
        return has_avxvnni() ? 4 : 3;
    }
    *table = has_avxvnni() ? VNNI : AVX2;
    return has_avxvnni() ? 3 : 2;
}

#elif defined(__aarch64__)

static const slm_kernels *const ALL[] = {&slm_kernels_ref, &slm_kernels_neon,
                                         &slm_kernels_neon_dot};

/* Linux answers the question about the register for programs; every Apple processor has it. */
static bool has_dot_product(void)
{
#if defined(__linux__)
    uint64_t features;
    __asm__("mrs %0, ID_AA64ISAR0_EL1" : "=r"(features));
    return (features >> 44 & 15) != 0;
#elif defined(__APPLE__)
    return true;
#else
    return false;
#endif
}

uint32_t slm_kernels_available(const slm_kernels *const **table)
{
    *table = ALL;
    return has_dot_product() ? 3 : 2;
}

#else

#if defined(SLM_ONLY_KERNELS) /* a WebAssembly module has one variant, and slm.js has chosen it */
static const slm_kernels *const ALL[] = {&SLM_ONLY_KERNELS};
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
