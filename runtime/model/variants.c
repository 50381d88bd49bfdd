/* variants.c - the kernel variants by name, for programs that let people choose. */
#include "kernels/kernels.h"

const char *slm_kernels_variant(uint32_t index)
{
    const slm_kernels *const *table;
    uint32_t n = slm_kernels_available(&table);
    return index < n ? table[index]->name : NULL;
}
