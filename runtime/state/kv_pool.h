/* kv_pool.h - paged KV cache: a pool of blocks of SLM_KV_BLOCK positions, reference counts, and a
 * block table for each sequence (Kwon et al. 2023, arXiv 2309.06180).
 *
 * Keys and values of a block lie in pools per layer:
 *
 *     k: [n_layers][n_blocks][SLM_KV_BLOCK][kv_row_bytes]      v: the same
 *
 * Fork copies a table; writing to a block that others hold copies the block first; rollback
 * shortens the table.
 */
#ifndef SLM_STATE_KV_POOL_H
#define SLM_STATE_KV_POOL_H

#include "base/arena.h"
#include "model/forward.h"

typedef struct slm_sequence {
    uint32_t *blocks; /* table: ceil(length / SLM_KV_BLOCK) entries in use */
    uint32_t length;  /* positions */
} slm_sequence;

typedef struct slm_kv_pool {
    uint8_t *k, *v;
    size_t block_bytes; /* of keys, or of values, of one layer */
    size_t layer_bytes;
    uint32_t n_layers, n_blocks, n_free;
    uint32_t *free_blocks; /* stack of n_free */
    uint32_t *n_users;     /* per block */
    slm_sequence *sequences;
    uint32_t n_sequences, blocks_per_sequence;
    uint64_t copies_on_write;
} slm_kv_pool;

/* Draws a pool in which every sequence can reach n_context positions. */
void kv_pool_layout(slm_kv_pool *pool, slm_arena *arena, uint32_t n_layers, uint32_t n_sequences,
                    uint32_t n_context, size_t kv_row_bytes);

/* Makes positions length .. length + n - 1 of a sequence writable by it alone: takes new blocks,
 * and copies the last one if it is shared. The caller has checked that n more positions fit. */
void kv_pool_extend(slm_kv_pool *pool, uint32_t sequence, uint32_t n);

/* Shortens a sequence to n positions (not longer than it is). */
void kv_pool_truncate(slm_kv_pool *pool, uint32_t sequence, uint32_t n);

/* Makes `to` a copy of `from` that shares its blocks. */
void kv_pool_fork(slm_kv_pool *pool, uint32_t from, uint32_t to);

/* The whole blocks of a sequence, layer after layer, each block's keys and then its values, to and
 * from bytes. Before restoring, the sequence is as long as they are, and holds its blocks alone. */
void kv_pool_save(const slm_kv_pool *pool, uint32_t sequence, uint8_t *bytes);
void kv_pool_restore(slm_kv_pool *pool, uint32_t sequence, const uint8_t *bytes);

slm_kv_view kv_pool_view(const slm_kv_pool *pool, uint32_t sequence);

#endif
