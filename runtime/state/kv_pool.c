/* kv_pool.c - blocks of the KV cache: taken, shared, copied on write, given back. */
#include "state/kv_pool.h"

#include <string.h>

static uint32_t blocks_for(uint32_t n_positions)
{
    return n_positions / SLM_KV_BLOCK + (n_positions % SLM_KV_BLOCK != 0);
}

void kv_pool_layout(slm_kv_pool *pool, slm_arena *arena, uint32_t n_layers, uint32_t n_sequences,
                    uint32_t n_context, size_t kv_row_bytes)
{
    memset(pool, 0, sizeof *pool);
    pool->n_layers = n_layers;
    pool->n_sequences = n_sequences;
    pool->blocks_per_sequence = blocks_for(n_context);
    pool->n_blocks = pool->blocks_per_sequence * n_sequences;
    pool->n_free = pool->n_blocks;
    pool->block_bytes = SLM_KV_BLOCK * kv_row_bytes;
    pool->layer_bytes = pool->n_blocks * pool->block_bytes;
    pool->free_blocks = (uint32_t *)arena_take(arena, pool->n_blocks, sizeof(uint32_t));
    pool->n_users = (uint32_t *)arena_take(arena, pool->n_blocks, sizeof(uint32_t));
    pool->sequences = (slm_sequence *)arena_take(arena, n_sequences, sizeof(slm_sequence));
    uint32_t *tables = (uint32_t *)arena_take(arena, pool->n_blocks, sizeof(uint32_t));
    uint64_t per_layer = (uint64_t)pool->n_blocks * SLM_KV_BLOCK * (uint64_t)kv_row_bytes;
    pool->k = (uint8_t *)arena_take(arena, n_layers, per_layer);
    pool->v = (uint8_t *)arena_take(arena, n_layers, per_layer);
    if (arena->failed || !arena->base) {
        return;
    }
    for (uint32_t i = 0; i < pool->n_blocks; i++) {
        pool->free_blocks[i] = pool->n_blocks - 1 - i;
        pool->n_users[i] = 0;
    }
    for (uint32_t i = 0; i < n_sequences; i++) {
        pool->sequences[i].blocks = tables + (size_t)i * pool->blocks_per_sequence;
        pool->sequences[i].length = 0;
    }
}

/* Never fails: each sequence can hold blocks_per_sequence blocks, and there are that many for all.
 */
static uint32_t take_block(slm_kv_pool *pool)
{
    uint32_t block = pool->free_blocks[--pool->n_free];
    pool->n_users[block] = 1;
    return block;
}

static void release_block(slm_kv_pool *pool, uint32_t block)
{
    if (--pool->n_users[block] == 0) {
        pool->free_blocks[pool->n_free++] = block;
    }
}

static void copy_block(slm_kv_pool *pool, uint32_t from, uint32_t to)
{
    for (uint32_t layer = 0; layer < pool->n_layers; layer++) {
        size_t base = layer * pool->layer_bytes;
        memcpy(pool->k + base + to * pool->block_bytes, pool->k + base + from * pool->block_bytes,
               pool->block_bytes);
        memcpy(pool->v + base + to * pool->block_bytes, pool->v + base + from * pool->block_bytes,
               pool->block_bytes);
    }
}

void kv_pool_extend(slm_kv_pool *pool, uint32_t sequence, uint32_t n)
{
    slm_sequence *s = &pool->sequences[sequence];
    uint32_t have = blocks_for(s->length), need = blocks_for(s->length + n);
    if (n != 0 && s->length % SLM_KV_BLOCK != 0 && pool->n_users[s->blocks[have - 1]] > 1) {
        uint32_t shared = s->blocks[have - 1];
        s->blocks[have - 1] = take_block(pool);
        copy_block(pool, shared, s->blocks[have - 1]);
        release_block(pool, shared);
        pool->copies_on_write++;
    }
    for (uint32_t i = have; i < need; i++) {
        s->blocks[i] = take_block(pool);
    }
    s->length += n;
}

void kv_pool_truncate(slm_kv_pool *pool, uint32_t sequence, uint32_t n)
{
    slm_sequence *s = &pool->sequences[sequence];
    for (uint32_t i = blocks_for(s->length); i > blocks_for(n); i--) {
        release_block(pool, s->blocks[i - 1]);
    }
    s->length = n;
}

void kv_pool_fork(slm_kv_pool *pool, uint32_t from, uint32_t to)
{
    if (from == to) {
        return;
    }
    kv_pool_truncate(pool, to, 0);
    const slm_sequence *source = &pool->sequences[from];
    slm_sequence *target = &pool->sequences[to];
    for (uint32_t i = 0; i < blocks_for(source->length); i++) {
        target->blocks[i] = source->blocks[i];
        pool->n_users[source->blocks[i]]++;
    }
    target->length = source->length;
}

/* Offset in the pools of a sequence's whole block number i % n, of layer i / n. */
static size_t block_offset(const slm_kv_pool *pool, const slm_sequence *s, size_t i, size_t n)
{
    return i / n * pool->layer_bytes + s->blocks[i % n] * pool->block_bytes;
}

void kv_pool_save(const slm_kv_pool *pool, uint32_t sequence, uint8_t *bytes)
{
    const slm_sequence *s = &pool->sequences[sequence];
    size_t n = s->length / SLM_KV_BLOCK;
    for (size_t i = 0; i < n * pool->n_layers; i++, bytes += 2 * pool->block_bytes) {
        size_t at = block_offset(pool, s, i, n);
        memcpy(bytes, pool->k + at, pool->block_bytes);
        memcpy(bytes + pool->block_bytes, pool->v + at, pool->block_bytes);
    }
}

void kv_pool_restore(slm_kv_pool *pool, uint32_t sequence, const uint8_t *bytes)
{
    const slm_sequence *s = &pool->sequences[sequence];
    size_t n = s->length / SLM_KV_BLOCK;
    for (size_t i = 0; i < n * pool->n_layers; i++, bytes += 2 * pool->block_bytes) {
        size_t at = block_offset(pool, s, i, n);
        memcpy(pool->k + at, bytes, pool->block_bytes);
        memcpy(pool->v + at, bytes + pool->block_bytes, pool->block_bytes);
    }
}

slm_kv_view kv_pool_view(const slm_kv_pool *pool, uint32_t sequence)
{
    slm_kv_view view = {pool->k, pool->v, pool->layer_bytes, pool->sequences[sequence].blocks};
    return view;
}
