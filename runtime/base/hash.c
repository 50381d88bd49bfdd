/* hash.c - 64-bit checksum of bytes: four interleaved multiply chains over 8-byte words, so that it
 * runs at several bytes a cycle without vector instructions, then one mix64 chain over the lanes
 * and the length. Guards against damage, not against an adversary.
 */
#include "base/hash.h"

#include "base/bytes.h"

static const uint64_t LANE_SEED[4] = {0x9e3779b97f4a7c15u, 0xc2b2ae3d27d4eb4fu, 0x165667b19e3779f9u,
                                      0x27d4eb2f165667c5u};

static inline uint64_t lane_step(uint64_t lane, uint64_t word)
{
    lane = (lane ^ word) * 0xbf58476d1ce4e5b9u;
    return lane ^ (lane >> 32);
}

/* Blocks of 32 bytes; the lanes stay in registers from one to the next. Returns where it ended. */
static const uint8_t *absorb(slm_hash *hash, const uint8_t *p, size_t n_blocks)
{
    uint64_t a = hash->lane[0], b = hash->lane[1], c = hash->lane[2], d = hash->lane[3];
    for (; n_blocks != 0; n_blocks--, p += 32) {
        a = lane_step(a, load_u64(p));
        b = lane_step(b, load_u64(p + 8));
        c = lane_step(c, load_u64(p + 16));
        d = lane_step(d, load_u64(p + 24));
    }
    hash->lane[0] = a;
    hash->lane[1] = b;
    hash->lane[2] = c;
    hash->lane[3] = d;
    return p;
}

void slm_hash_init(slm_hash *hash, uint64_t seed)
{
    memset(hash, 0, sizeof *hash);
    for (int i = 0; i < 4; i++) {
        hash->lane[i] = mix64(seed ^ LANE_SEED[i]);
    }
}

void slm_hash_update(slm_hash *hash, const void *bytes, size_t n_bytes)
{
    const uint8_t *p = (const uint8_t *)bytes;
    size_t held = (size_t)(hash->n_bytes & 31);
    hash->n_bytes += n_bytes;
    if (held != 0) {
        size_t take = 32 - held < n_bytes ? 32 - held : n_bytes;
        memcpy(hash->pending + held, p, take);
        p += take;
        n_bytes -= take;
        if (held + take < 32) {
            return;
        }
        absorb(hash, hash->pending, 1);
    }
    p = absorb(hash, p, n_bytes / 32);
    if (n_bytes % 32 != 0) {
        memcpy(hash->pending, p, n_bytes % 32);
    }
}

uint64_t slm_hash_final(const slm_hash *hash)
{
    slm_hash h = *hash;
    size_t held = (size_t)(h.n_bytes & 31);
    if (held != 0) {
        memset(h.pending + held, 0, 32 - held);
        absorb(&h, h.pending, 1);
    }
    uint64_t digest = mix64(h.n_bytes);
    for (int i = 0; i < 4; i++) {
        digest = mix64_chain(digest, h.lane[i]);
    }
    return digest;
}

uint64_t slm_hash_bytes(uint64_t seed, const void *bytes, size_t n_bytes)
{
    slm_hash hash;
    slm_hash_init(&hash, seed);
    slm_hash_update(&hash, bytes, n_bytes);
    return slm_hash_final(&hash);
}
