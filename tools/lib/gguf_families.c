/* gguf_families.c - see gguf_families.h. What the layers of an architecture are made of is not in
 * the file; it follows from the name of the architecture.
 */
#include "lib/gguf_families.h"

#include <stdio.h>
#include <string.h>

#define GELU_LAYER_NORM .norm_kind = SLM_NORM_LAYER, .activation = SLM_ACTIVATION_GELU_TANH
#define GEMMA .activation = SLM_ACTIVATION_GELU_TANH, .post_norm = true, .root_embedding = true

static const gguf_family FAMILIES[] = {
    {.name = "llama", .architecture = "llama", .interleaved = true, .rope_freqs = true},
    {.name = "llama",
     .architecture = "mistral",
     .interleaved = true,
     .rope_freqs = true,
     .window_unread = true},
    {.name = "qwen2", .architecture = "qwen2", .no_window = true},
    {.name = "qwen3", .architecture = "qwen3", .qk_norm = SLM_QK_NORM_HEAD, .no_window = true},
    {.name = "gemma2", .architecture = "gemma2", GEMMA, .full_period = 2, .wide_layers = 46},
    {.name = "gemma3",
     .architecture = "gemma3",
     GEMMA,
     .qk_norm = SLM_QK_NORM_HEAD,
     .full_period = 6,
     .local_theta = 10000,
     .wide_layers = 62},
    {.name = "gpt2",
     .architecture = "gpt2",
     GELU_LAYER_NORM,
     .ungated = true,
     .learned_positions = true,
     .fused_qkv = true,
     .no_window = true},
    {.name = "phi3",
     .architecture = "phi3",
     .fused_qkv = true,
     .fused_up = true,
     .window_unread = true},
    {.name = "smollm3",
     .architecture = "smollm3",
     .interleaved = true,
     .no_rope_period = 4,
     .no_window = true},
    {.name = "olmo2",
     .architecture = "olmo2",
     .qk_norm = SLM_QK_NORM_ROW,
     .only_post_norm = true,
     .untied_only = true,
     .no_window = true},
    {.name = "granite",
     .architecture = "granite",
     .interleaved = true,
     .scale_keys = true,
     .rope_freqs = true,
     .no_window = true},
    {.name = "starcoder2",
     .architecture = "starcoder2",
     GELU_LAYER_NORM,
     .ungated = true,
     .window_unread = true},
    {.name = "stablelm",
     .architecture = "stablelm",
     .norm_kind = SLM_NORM_LAYER,
     .untied_only = true,
     .no_window = true},
};
enum { N_FAMILIES = sizeof FAMILIES / sizeof FAMILIES[0] };

const gguf_family *gguf_family_find(const char *name, uint64_t n_name)
{
    for (size_t i = 0; i < N_FAMILIES; i++) {
        if (strlen(FAMILIES[i].name) == n_name && memcmp(FAMILIES[i].name, name, n_name) == 0) {
            return &FAMILIES[i];
        }
    }
    return NULL;
}

const gguf_family *gguf_family_of(const char *architecture)
{
    for (size_t i = 0; i < N_FAMILIES; i++) {
        if (strcmp(FAMILIES[i].architecture, architecture) == 0) {
            return &FAMILIES[i];
        }
    }
    return NULL;
}

void gguf_family_names(char out[256])
{
    size_t used = 0;
    out[0] = 0;
    for (size_t i = 0; i < N_FAMILIES && used < 200; i++) {
        if (i == 0 || strcmp(FAMILIES[i].name, FAMILIES[i - 1].name) != 0) {
            used +=
                (size_t)snprintf(out + used, 256 - used, "%s%s", i ? ", " : "", FAMILIES[i].name);
        }
    }
}

void gguf_tensor_name(const char *ours, char *out)
{
    static const char *const renamed[][2] = {{".attn_post_norm.", ".post_attention_norm."},
                                             {".ffn_post_norm.", ".post_ffw_norm."}};
    for (size_t i = 0; i < sizeof renamed / sizeof renamed[0]; i++) {
        const char *at = strstr(ours, renamed[i][0]);
        if (at) {
            snprintf(out, GGUF_MAX_TENSOR_NAME, "%.*s%s%s", (int)(at - ours), ours, renamed[i][1],
                     at + strlen(renamed[i][0]));
            return;
        }
    }
    snprintf(out, GGUF_MAX_TENSOR_NAME, "%s", ours);
}
