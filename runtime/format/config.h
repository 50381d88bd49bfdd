/* config.h - the CONF section: model configuration as tagged fields <-> slm_config.
 *
 * Each field: u16 key, u16 type, u32 count, count values of 4 bytes. Keys ascend; none repeats.
 * A key below 0x8000 that a reader does not know is an error (it would change the numbers); one
 * from 0x8000 on may be skipped. schemas/slm-format.md lists the keys.
 */
#ifndef SLM_FORMAT_CONFIG_H
#define SLM_FORMAT_CONFIG_H

#include "format/slm_file.h"

enum {
    SLM_MAX_LAYERS = 1024,
    SLM_MAX_STOP_IDS = 8,
    SLM_MAX_ROPE_PAIRS = 512,
    SLM_CONFIG_MAX_BYTES = 8192
};

typedef enum slm_rope_scaling {
    SLM_ROPE_SCALING_NONE = 0,
    SLM_ROPE_SCALING_LINEAR = 1, /* positions divided by factor */
    SLM_ROPE_SCALING_LLAMA3 = 2, /* per-frequency, Llama 3.1 model card */
    SLM_ROPE_SCALING_DIVISORS =
        3 /* each frequency divided by a number of its own: YaRN, LongRoPE */
} slm_rope_scaling;

typedef enum slm_norm_kind {
    SLM_NORM_RMS = 0,  /* Zhang and Sennrich 2019, arXiv 1910.07467: a weight */
    SLM_NORM_LAYER = 1 /* Ba et al. 2016, arXiv 1607.06450: a weight and a bias */
} slm_norm_kind;

typedef enum slm_qk_norm {
    SLM_QK_NORM_NONE = 0,
    SLM_QK_NORM_HEAD = 1, /* over each head, one weight of head_dim */
    SLM_QK_NORM_ROW = 2   /* over all heads together, a weight of their width */
} slm_qk_norm;

typedef enum slm_activation {
    SLM_ACTIVATION_SILU = 0,
    SLM_ACTIVATION_GELU_TANH = 1 /* Hendrycks and Gimpel 2016, the tanh form */
} slm_activation;

enum {                           /* what layer_flags say of a layer */
       SLM_LAYER_WINDOW = 1,     /* attention sees only the last `window` positions */
       SLM_LAYER_NO_ROPE = 2,    /* positions are not rotated into q and k */
       SLM_LAYER_LOCAL_ROPE = 4, /* rope with rope_local_theta and without scaling */
       SLM_LAYER_ALL_FLAGS = 7
};

typedef struct slm_config {
    /* Shape. */
    uint32_t n_vocab;    /* rows of the token embedding */
    uint32_t n_context;  /* positions trained for */
    uint32_t d_model;    /* residual width */
    uint32_t n_layers;   /* 1..SLM_MAX_LAYERS */
    uint32_t n_heads;    /* query heads */
    uint32_t n_kv_heads; /* divides n_heads */
    uint32_t head_dim;   /* even */
    uint32_t d_ff;       /* width of the feed-forward hidden layer */
    /* Numbers. */
    float norm_eps; /* of RMSNorm, > 0 */
    /* Rotary position embedding, half-split pairs (i, i + head_dim/2). */
    float rope_theta;
    uint32_t rope_scaling; /* slm_rope_scaling */
    float rope_factor, rope_low_freq_factor, rope_high_freq_factor;
    uint32_t rope_original_context;
    uint32_t n_rope_divisors; /* with SLM_ROPE_SCALING_DIVISORS one for each pair, else 0 */
    float rope_divisors[SLM_MAX_ROPE_PAIRS];
    float rope_magnitude; /* multiplies cosines and sines; with that scaling alone */
    /* Which optional tensors the layers have. */
    uint32_t qkv_bias;    /* 0 or 1: attn_q.bias, attn_k.bias, attn_v.bias */
    uint32_t qk_norm;     /* slm_qk_norm: RMSNorm of q and k before rope */
    uint32_t tied_output; /* 0 or 1: logits use token_embd.weight */
    /* What the layers are made of; the defaults are Llama's. */
    uint32_t norm_kind;         /* slm_norm_kind, of every norm but those of q and k */
    uint32_t pre_norm;          /* 0 or 1: a norm before each block */
    uint32_t post_norm;         /* 0 or 1: a norm of what a block adds to the residual stream */
    uint32_t output_bias;       /* 0 or 1: attn_output.bias */
    uint32_t ffn_bias;          /* 0 or 1: biases of the feed-forward matrices */
    uint32_t activation;        /* slm_activation */
    uint32_t gated;             /* 0 or 1: act(gate x) * up x; else act(up x) */
    uint32_t rope_dim;          /* rotated elements of a head, even; 0: head_dim */
    uint32_t learned_positions; /* 0 or 1: position_embd.weight is added, n_context rows */
    uint32_t window;            /* positions that layers with SLM_LAYER_WINDOW see; 0: none */
    float rope_local_theta;     /* of layers with SLM_LAYER_LOCAL_ROPE; 0: none */
    float embedding_scale;      /* multiplies token embeddings */
    float residual_scale;       /* multiplies what a block adds */
    float attention_scale;      /* multiplies q.k; 0: 1 / sqrt(head_dim) */
    float logit_scale;          /* multiplies logits */
    float attention_softcap;    /* 0: none; else scores become c * tanh(score / c) */
    float logit_softcap;        /* the same for logits, after logit_scale */
    uint32_t n_layer_flags;     /* 0: no layer has any; else n_layers */
    uint32_t layer_flags[SLM_MAX_LAYERS];
    /* Generation. Ids are -1 where there is none. */
    int32_t bos_id;
    int32_t stop_ids[SLM_MAX_STOP_IDS]; /* tokens that end a generation */
    uint32_t n_stop_ids;
    float temperature, top_p, min_p; /* temperature < 0: not given */
    uint32_t top_k;
} slm_config;

/* Defaults of every optional field; all others zero. */
slm_config slm_config_default(void);

/* Parses and range-checks a CONF payload. Errors: SLM_ERR_CONFIG, naming the field. */
slm_status slm_config_read(slm_config *config, const void *payload, size_t n_bytes,
                           slm_error *error);

/* Writes the payload. Returns its length; writes only if capacity suffices;
 * SLM_CONFIG_MAX_BYTES always does. */
size_t slm_config_write(const slm_config *config, uint8_t *out, size_t capacity);

/* Range and consistency checks alone, as slm_config_read applies them. */
slm_status slm_config_check(const slm_config *config, slm_error *error);

/* The names of the architectures that this build runs, NULL-terminated. The name is for people and
 * for going back to other formats; the numbers follow from slm_config alone. */
const char *const *slm_architectures(void);

/* The architecture of a file that holds a tokenizer and no model: its configuration has the least
 * legal numbers, its one tensor is an element 0 named "none". No model can be made of it. */
#define SLM_ARCHITECTURE_TOKENIZER "tokenizer"

/* One tensor that an architecture with this configuration must have. */
typedef struct slm_tensor_spec {
    char name[64]; /* NUL-terminated, "blk.3.attn_q.weight" */
    uint32_t rank;
    uint64_t dims[2];
} slm_tensor_spec;

/* Number of tensors of the configuration, and the i-th of them in canonical file order:
 * token_embd.weight, position_embd.weight, then per layer attn_norm, attn_q, attn_k, attn_v,
 * attn_q_norm, attn_k_norm, attn_output, attn_post_norm, ffn_norm, ffn_gate, ffn_up, ffn_down,
 * ffn_post_norm (each weight, then bias), then output_norm and, unless tied, output.weight; of
 * these the ones that the configuration calls for. */
uint32_t slm_config_n_tensors(const slm_config *config);
void slm_config_tensor(const slm_config *config, uint32_t index, slm_tensor_spec *spec);

/* Compares a file's directory with the configuration: same tensors, same order, same shapes;
 * rank-1 tensors F32; the rest any type. Architectures known: see
 * slm_architectures. Errors: ARCHITECTURE, TENSOR_MISSING, TENSOR_EXTRA, TENSOR_SHAPE, TENSOR_TYPE,
 * and LAYOUT for tensors out of canonical order. */
slm_status slm_config_check_tensors(const slm_config *config, const slm_file *file,
                                    slm_error *error);

#endif
