/* quantizer.c - which variants of the scale search this machine can run, and the calls of blocks.h
 * that use the best of them.
 */
#include "quant/quantizer.h"

extern const slm_quantizer slm_quantizer_ref;
extern const slm_quantizer slm_quantizer_128;

#if defined(__x86_64__)

extern const slm_quantizer slm_quantizer_avx2;
extern const slm_quantizer slm_quantizer_avx512;

/* Ascending: a machine that has avx512 has avx2. */
static const slm_quantizer *const ALL[] = {&slm_quantizer_ref, &slm_quantizer_128,
                                           &slm_quantizer_avx2, &slm_quantizer_avx512};

uint32_t slm_quantizers_available(const slm_quantizer *const **table)
{
    *table = ALL;
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2")) {
        return 2;
    }
    bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return wide ? 4 : 3;
}

#else

static const slm_quantizer *const ALL[] = {&slm_quantizer_ref, &slm_quantizer_128};

uint32_t slm_quantizers_available(const slm_quantizer *const **table)
{
    *table = ALL;
    return sizeof ALL / sizeof ALL[0];
}

#endif

void slm_quantize_group(slm_type type, const float *x, size_t ldx, uint32_t n_rows, uint32_t n_cols,
                        uint8_t *group)
{
    const slm_quantizer *const *table;
    uint32_t n = slm_quantizers_available(&table);
    slm_row_check check[SLM_GROUP_ROWS];
    slm_source_rows in = {(const uint8_t *)x, ldx * sizeof *x, SLM_TYPE_F32, n_rows, n_cols};
    table[n - 1]->group(type, &in, group, check);
}

void slm_super_block_encode(slm_type type, const float *x, uint32_t n_sub, slm_super_block *out)
{
    enum { LARGEST_GROUP = (8 * 8 + 4) * SLM_LINE_BYTES }; /* a Q8_0 plane and its lines */
    _Alignas(64) uint8_t group[LARGEST_GROUP];
    slm_quantize_group(type, x, 0, 1, n_sub * SLM_SUB_BLOCK, group);
    slm_t16_load(type, group, n_sub * SLM_SUB_BLOCK, 0, 0, out);
}
