/* test_kv_pool.c - blocks of the KV cache: sharing, copy on write, giving back. */
#include "state/kv_pool.h"

#include "lib/check.h"

enum { LAYERS = 2, SEQUENCES = 3, CONTEXT = 70, ROW = 16 };

static uint8_t *memory;

static slm_kv_pool make(void)
{
    slm_kv_pool pool;
    slm_arena arena = arena_measure();
    kv_pool_layout(&pool, &arena, LAYERS, SEQUENCES, CONTEXT, ROW);
    free(memory);
    memory = (uint8_t *)aligned_alloc(64, (size_t)(arena.used + 63) / 64 * 64);
    uint64_t need = arena.used;
    arena = arena_over(memory, need);
    kv_pool_layout(&pool, &arena, LAYERS, SEQUENCES, CONTEXT, ROW);
    CHECK(!arena.failed);
    return pool;
}

static uint8_t *row(const slm_kv_pool *pool, uint8_t *base, uint32_t layer, uint32_t sequence,
                    uint32_t pos)
{
    const slm_sequence *s = &pool->sequences[sequence];
    size_t index = (size_t)s->blocks[pos / SLM_KV_BLOCK] * SLM_KV_BLOCK + pos % SLM_KV_BLOCK;
    return base + layer * pool->layer_bytes + index * ROW;
}

/* Writes positions from..to-1 of a sequence with bytes that name it, and reads them back. */
static void fill(slm_kv_pool *pool, uint32_t sequence, uint32_t from, uint32_t to, uint8_t mark)
{
    for (uint32_t layer = 0; layer < LAYERS; layer++) {
        for (uint32_t pos = from; pos < to; pos++) {
            memset(row(pool, pool->k, layer, sequence, pos), mark + (int)pos + (int)layer, ROW);
            memset(row(pool, pool->v, layer, sequence, pos), mark + (int)pos + 100, ROW);
        }
    }
}

static void expect(slm_kv_pool *pool, uint32_t sequence, uint32_t from, uint32_t to, uint8_t mark)
{
    for (uint32_t layer = 0; layer < LAYERS; layer++) {
        for (uint32_t pos = from; pos < to; pos++) {
            CHECK_U64(row(pool, pool->k, layer, sequence, pos)[ROW - 1],
                      (uint8_t)(mark + pos + layer));
            CHECK_U64(row(pool, pool->v, layer, sequence, pos)[0], (uint8_t)(mark + pos + 100));
        }
    }
}

static void counts_blocks(void)
{
    slm_kv_pool pool = make();
    CHECK_U64(pool.n_blocks, 9); /* ceil(70 / 32) = 3 for each of 3 sequences */
    kv_pool_extend(&pool, 0, 32);
    CHECK_U64(pool.n_free, 8);
    kv_pool_extend(&pool, 0, 1);
    CHECK_U64(pool.n_free, 7);
    kv_pool_truncate(&pool, 0, 32);
    CHECK_U64(pool.n_free, 8);
    kv_pool_truncate(&pool, 0, 0);
    CHECK_U64(pool.n_free, 9);
}

static void fork_shares_until_written(void)
{
    slm_kv_pool pool = make();
    kv_pool_extend(&pool, 0, 40);
    fill(&pool, 0, 0, 40, 1);
    kv_pool_fork(&pool, 0, 1);
    CHECK_U64(pool.n_free, 7); /* nothing copied yet */
    kv_pool_extend(&pool, 1, 5);
    CHECK_U64(pool.copies_on_write, 1);
    CHECK_U64(pool.n_free, 6); /* the half-full second block alone */
    fill(&pool, 1, 40, 45, 77);
    kv_pool_extend(&pool, 0, 2); /* sole owner again: no copy */
    CHECK_U64(pool.copies_on_write, 1);
    fill(&pool, 0, 40, 42, 5);
    expect(&pool, 0, 0, 40, 1);
    expect(&pool, 1, 0, 40, 1);
    expect(&pool, 0, 40, 42, 5);
    expect(&pool, 1, 40, 45, 77);
}

static void rollback_then_write_does_not_touch_a_fork(void)
{
    slm_kv_pool pool = make();
    kv_pool_extend(&pool, 2, 64);
    fill(&pool, 2, 0, 64, 9);
    kv_pool_fork(&pool, 2, 0);
    kv_pool_truncate(&pool, 2, 50);
    kv_pool_extend(&pool, 2, 10);
    fill(&pool, 2, 50, 60, 200);
    expect(&pool, 0, 0, 64, 9);
    expect(&pool, 2, 0, 50, 9);
    expect(&pool, 2, 50, 60, 200);
    kv_pool_truncate(&pool, 2, 0);
    kv_pool_truncate(&pool, 0, 0);
    CHECK_U64(pool.n_free, 9);
}

static void every_sequence_can_be_full(void)
{
    slm_kv_pool pool = make();
    for (uint32_t i = 0; i < SEQUENCES; i++) {
        kv_pool_extend(&pool, i, CONTEXT);
        fill(&pool, i, 0, CONTEXT, (uint8_t)(i * 50));
    }
    CHECK_U64(pool.n_free, 0);
    for (uint32_t i = 0; i < SEQUENCES; i++) {
        expect(&pool, i, 0, CONTEXT, (uint8_t)(i * 50));
    }
}

int main(void)
{
    RUN(counts_blocks);
    RUN(fork_shares_until_written);
    RUN(rollback_then_write_does_not_touch_a_fork);
    RUN(every_sequence_can_be_full);
    free(memory);
    return test_finish();
}
