/* kv.c - heads of the KV cache: f32 to F16, F32 or Q8_0 and back. */
#include <string.h>

#include "base/bytes.h"
#include "base/half.h"
#include "kernels/kernels.h"

size_t slm_kv_head_bytes(uint32_t kv_type, uint32_t head_dim)
{
    switch (kv_type) {
    case SLM_KV_F32: return (size_t)head_dim * 4;
    case SLM_KV_Q8_0: return (size_t)head_dim + (head_dim + 31) / 32 * 2;
    default: return (size_t)head_dim * 2;
    }
}

static int32_t nearest(float v) /* ties to even, |v| < 2^22 */
{
    return (int32_t)(f32_bits(v + 12582912.0f) & 0x7fffff) - 0x400000;
}

static uint8_t *store_q8(const float *x, uint32_t n, uint8_t *out)
{
    uint32_t max = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bits = f32_bits(x[i]) & 0x7fffffffu;
        max = bits > max ? bits : max;
    }
    uint16_t half = half_from_f32(f32_from_bits(max) / 127.0f);
    half = half_is_finite(half) ? half : 0x7bff;
    float d = f32_from_half(half);
    store_u16(out, half);
    for (uint32_t i = 0; i < n; i++) {
        float v = d > 0.0f ? x[i] / d : 0.0f;
        v = v > 127.0f ? 127.0f : v < -127.0f ? -127.0f : v;
        out[2 + i] = (uint8_t)nearest(v);
    }
    return out + 2 + n;
}

void slm_kv_store(uint32_t kv_type, const float *x, uint32_t n_heads, uint32_t head_dim,
                  uint8_t *row)
{
    uint32_t n = n_heads * head_dim;
    if (kv_type == SLM_KV_F32) {
        memcpy(row, x, n * sizeof(float));
        return;
    }
    if (kv_type == SLM_KV_F16) {
        for (uint32_t i = 0; i < n; i++) {
            store_u16(row + 2 * (size_t)i, half_from_f32(x[i]));
        }
        return;
    }
    for (uint32_t head = 0; head < n_heads; head++, x += head_dim) {
        for (uint32_t i = 0; i < head_dim; i += 32) {
            row = store_q8(x + i, head_dim - i < 32 ? head_dim - i : 32, row);
        }
    }
}

void slm_kv_load(uint32_t kv_type, const uint8_t *head, uint32_t head_dim, float *x)
{
    if (kv_type == SLM_KV_F32) {
        memcpy(x, head, head_dim * sizeof(float));
        return;
    }
    float d = 0.0f;
    for (uint32_t i = 0; i < head_dim; i++) {
        if (kv_type == SLM_KV_F16) {
            x[i] = f32_from_half(load_u16(head + 2 * (size_t)i));
            continue;
        }
        if (i % 32 == 0) {
            d = f32_from_half(load_u16(head));
            head += 2;
        }
        x[i] = d * (float)(int8_t)*head++;
    }
}
