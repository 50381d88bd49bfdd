/* gguf_families.h - the architectures of GGUF files that can be converted, as data. */
#ifndef SLM_TOOLS_GGUF_FAMILIES_H
#define SLM_TOOLS_GGUF_FAMILIES_H

#include <stdbool.h>

#include "format/config.h"
#include "lib/gguf.h"

/* One architecture. A new one that needs no new mathematics is one more entry. */
typedef struct gguf_family {
    const char *name;         /* general.architecture, and the prefix of its keys */
    const char *architecture; /* in the .slm file */
    uint32_t norm_kind, qk_norm, activation;
    bool only_post_norm;    /* norms after blocks instead of before them */
    bool post_norm;         /* norms after blocks too */
    bool ungated;           /* act(up x) instead of act(gate x) * up x */
    bool learned_positions; /* position_embd instead of rope */
    bool interleaved;       /* rope pairs are neighbours: rows 2i, 2i+1 of each head of q and k */
    bool fused_qkv;         /* attn_qkv holds the rows of q, k and v; used when writing */
    bool fused_up;          /* ffn_up holds the rows of gate and up; used when writing */
    bool scale_keys;        /* embedding_scale and its like are read by llama.cpp */
    /* What llama.cpp (tried: the release of docs/benchmarks.md) makes of such files. */
    bool window_unread;      /* every layer sees all positions */
    bool rope_freqs;         /* loads rope_freqs.weight */
    bool untied_only;        /* does not load a file without output.weight */
    bool root_embedding;     /* embeddings are multiplied by sqrt(width) */
    uint32_t full_period;    /* every so many layers one attends without window; 0: none does */
    bool no_window;          /* attention.sliding_window must not be shorter than the context */
    uint32_t no_rope_period; /* every so many layers one is without rope; 0: none is */
    float local_theta;    /* rope base of windowed layers unless rope.freq_base_swa; 0: the same */
    uint32_t wide_layers; /* the size with that many layers scales q by sqrt(heads / width) */
} gguf_family;

/* NULL if there is none of that name. */
const gguf_family *gguf_family_find(const char *name, uint64_t n_name);

/* The first entry for an architecture of .slm files, or NULL. */
const gguf_family *gguf_family_of(const char *architecture);

/* "llama, qwen2, ...": all names. out: 256 bytes. */
void gguf_family_names(char out[256]);

/* "blk.3.attn_post_norm.weight" -> "blk.3.post_attention_norm.weight": llama.cpp's name of one of
 * our tensors. out: GGUF_MAX_TENSOR_NAME bytes. */
void gguf_tensor_name(const char *ours, char *out);

#endif
