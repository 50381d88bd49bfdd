/* select.c - which kernel variants this build has and this machine can run. */
#include <string.h>

#include "kernels/variants.h"

#if defined(__x86_64__)

static const slm_kernels *const PLAIN[] = {&slm_kernels_ref};

uint32_t slm_kernels_available(const slm_kernels *const **table)
{
    *table = PLAIN;
    return 1;
}

#else

static const slm_kernels *const ALL[] = {&slm_kernels_ref};

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
