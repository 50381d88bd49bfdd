/* kv.c - heads of the KV cache: f32 to F16, F32 or Q8_0 and back. */
#include <string.h>

#include "base/bytes.h"
#include "base/half.h"
#include "kernels/kernels.h"

enum { POSITIONS = SLM_KV_BLOCK, Q8_BLOCK = 32 };

size_t slm_kv_head_bytes(uint32_t kv_type, uint32_t head_dim)
{
    switch (kv_type) {
    case SLM_KV_F32: return (size_t)head_dim * 4;
    case SLM_KV_Q8_0: return (size_t)head_dim + (head_dim + Q8_BLOCK - 1) / Q8_BLOCK * 2;
    default: return (size_t)head_dim * 2;
    }
}

static int32_t nearest(float v) /* ties to even, |v| < 2^22 */
{
    return (int32_t)(f32_bits(v + 12582912.0f) & 0x7fffff) - 0x400000;
}

/* The half scale of a block of n <= 32; its codes into q. */
static uint16_t encode_q8(const float *x, uint32_t n, uint8_t *q)
{
    uint32_t max = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bits = f32_bits(x[i]) & 0x7fffffffu;
        max = bits > max ? bits : max;
    }
    uint16_t half = half_from_f32(f32_from_bits(max) / 127.0f);
    half = half_is_finite(half) ? half : 0x7bff;
    float d = f32_from_half(half);
    for (uint32_t i = 0; i < n; i++) {
        float v = d > 0.0f ? x[i] / d : 0.0f;
        v = v > 127.0f ? 127.0f : v < -127.0f ? -127.0f : v;
        q[i] = (uint8_t)nearest(v);
    }
    return half;
}

/* One head, its elements one after the other. */
static void encode_head(uint32_t kv_type, const float *x, uint32_t n, uint8_t *out)
{
    if (kv_type == SLM_KV_F32) {
        memcpy(out, x, n * sizeof(float));
        return;
    }
    if (kv_type == SLM_KV_F16) {
        for (uint32_t i = 0; i < n; i++) {
            store_u16(out + 2 * (size_t)i, half_from_f32(x[i]));
        }
        return;
    }
    for (uint32_t i = 0; i < n; i += Q8_BLOCK, out += 2 + Q8_BLOCK) {
        store_u16(out, encode_q8(x + i, n - i < Q8_BLOCK ? n - i : Q8_BLOCK, out + 2));
    }
}

void slm_kv_decode(uint32_t kv_type, const uint8_t *head, uint32_t n, float *x)
{
    if (kv_type == SLM_KV_F32) {
        memcpy(x, head, n * sizeof(float));
        return;
    }
    float d = 0.0f;
    for (uint32_t i = 0; i < n; i++) {
        if (kv_type == SLM_KV_F16) {
            x[i] = f32_from_half(load_u16(head + 2 * (size_t)i));
            continue;
        }
        if (i % Q8_BLOCK == 0) {
            d = f32_from_half(load_u16(head));
            head += 2;
        }
        x[i] = d * (float)(int8_t)*head++;
    }
}

void slm_kv_store_values(uint32_t kv_type, const float *x, uint32_t n_heads, uint32_t head_dim,
                         uint8_t *block, uint32_t position)
{
    size_t head_bytes = slm_kv_head_bytes(kv_type, head_dim);
    for (uint32_t head = 0; head < n_heads; head++, x += head_dim) {
        encode_head(kv_type, x, head_dim, block + (head * POSITIONS + position) * head_bytes);
    }
}

/* The bytes of one element or scale of a key, given those before it in the head. */
static uint8_t *place(uint8_t *head, size_t before, size_t n_bytes, uint32_t position)
{
    return head + before * POSITIONS + n_bytes * position;
}

void slm_kv_store_keys(uint32_t kv_type, const float *x, uint32_t n_heads, uint32_t head_dim,
                       uint8_t *block, uint32_t position)
{
    size_t head_bytes = slm_kv_head_bytes(kv_type, head_dim);
    for (uint32_t h = 0; h < n_heads; h++, x += head_dim, block += head_bytes * POSITIONS) {
        if (kv_type == SLM_KV_F32) {
            for (size_t d = 0; d < head_dim; d++) {
                memcpy(place(block, 4 * d, 4, position), &x[d], 4);
            }
        } else if (kv_type == SLM_KV_F16) {
            for (size_t d = 0; d < head_dim; d++) {
                store_u16(place(block, 2 * d, 2, position), half_from_f32(x[d]));
            }
        } else {
            size_t before = 0;
            for (uint32_t d = 0; d < head_dim; d += Q8_BLOCK) {
                uint8_t q[Q8_BLOCK];
                uint32_t n = head_dim - d < Q8_BLOCK ? head_dim - d : Q8_BLOCK;
                store_u16(place(block, before, 2, position), encode_q8(x + d, n, q));
                before += 2;
                for (uint32_t i = 0; i < n; i++, before++) {
                    *place(block, before, 1, position) = q[i];
                }
            }
        }
    }
}

void slm_kv_load_value(uint32_t kv_type, const uint8_t *block, uint32_t head, uint32_t head_dim,
                       uint32_t position, float *x)
{
    size_t head_bytes = slm_kv_head_bytes(kv_type, head_dim);
    slm_kv_decode(kv_type, block + (head * POSITIONS + position) * head_bytes, head_dim, x);
}

void slm_kv_load_key(uint32_t kv_type, const uint8_t *block, uint32_t head, uint32_t head_dim,
                     uint32_t position, float *x)
{
    const uint8_t *from = block + head * POSITIONS * slm_kv_head_bytes(kv_type, head_dim);
    float scale = 0.0f;
    for (size_t d = 0; d < head_dim; d++) {
        if (kv_type == SLM_KV_F32) {
            memcpy(&x[d], from + 4 * (d * POSITIONS + position), 4);
        } else if (kv_type == SLM_KV_F16) {
            x[d] = f32_from_half(load_u16(from + 2 * (d * POSITIONS + position)));
        } else {
            if (d % Q8_BLOCK == 0) {
                scale = f32_from_half(load_u16(from + 2 * (size_t)position));
                from += 2 * POSITIONS;
            }
            x[d] = scale * (float)(int8_t)from[position];
            from += POSITIONS;
        }
    }
}
