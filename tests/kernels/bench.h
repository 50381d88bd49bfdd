/* bench.h - the timing half of check_kernels.c: best of several runs, one thread. */
#ifndef SLM_TESTS_KERNELS_BENCH_H
#define SLM_TESTS_KERNELS_BENCH_H

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void bench_matmul(const slm_kernels *k, const slm_matrix *w, uint32_t n_tokens,
                         uint64_t bytes)
{
    uint32_t ldx = (w->n_cols + 15) / 16 * 16, ldy = (w->n_rows + 15) / 16 * 16;
    float *x = activations(RANDOM, n_tokens, w->n_cols, ldx);
    float *y = (float *)take((size_t)n_tokens * ldy * sizeof(float));
    bool block = slm_type_is_block(w->type);
    void *act = take(block ? k->act_bytes(n_tokens, w->n_cols) : 0);
    void *scratch = take(SLM_MATMUL_SCRATCH);
    double best = 1e9, start = now();
    for (int i = 0; i < 3 || (now() - start < 0.25 && i < 1000); i++) {
        double t = now();
        if (block) {
            k->act_quantize(x, ldx, 0, n_tokens, n_tokens, w->n_cols, act);
            k->matmul_q(w, 0, (w->n_rows + 15) / 16, act, n_tokens, y, ldy, scratch);
        } else {
            k->matmul_f(w, 0, w->n_rows, x, ldx, n_tokens, y, ldy);
        }
        t = now() - t;
        best = t < best ? t : best;
    }
    double macs = (double)w->n_rows * w->n_cols * n_tokens;
    printf("%-7s %-5s %6u x %5u  tokens %3u  %8.2f GMAC/s  %7.2f GB/s\n", k->name,
           TYPE_NAMES[w->type], w->n_rows, w->n_cols, n_tokens, macs / best * 1e-9,
           (double)bytes / best * 1e-9);
    fflush(stdout);
    free(x);
    free(y);
    free(act);
    free(scratch);
}

static int bench(const char *only)
{
    static const uint32_t SHAPES[][2] = {{576, 1536}, {2048, 8192}}, TOKENS[] = {1, 4, 64, 256};
    for (slm_type type = SLM_TYPE_F32; type < SLM_TYPE_COUNT; type++) {
        for (int s = 0; s < 2 && (!only || strcmp(only, TYPE_NAMES[type]) == 0); s++) {
            uint32_t rows = SHAPES[s][0], cols = SHAPES[s][1];
            bool block = slm_type_is_block(type);
            slm_matrix w = block ? block_matrix(type, RANDOM, rows, cols)
                                 : float_matrix(type, RANDOM, rows, cols);
            uint64_t bytes = block ? rows / 16 * slm_t16_group_bytes(type, cols)
                                   : rows * slm_row_bytes(type, cols);
            for (uint32_t v = 1; v < n_variants; v++) {
                for (int t = 0; t < 4; t++) {
                    bench_matmul(variants[v], &w, TOKENS[t], bytes);
                }
            }
            free((void *)(uintptr_t)w.data);
        }
    }
    return 0;
}

#endif
