/* hf_config_numbers.c - switches, activation, scales and caps of a config.json -> slm_config. */
#include <math.h>
#include <string.h>

#include "lib/hf_config_parts.h"
#include "lib/json_in.h"

/* Whether something is there: always in this family, or as its key says. */
static int read_switch(reading *r, int key, bool always, bool absent, uint32_t *to)
{
    const char *name = r->hf->family->keys[key];
    bool value = absent;
    int code = name ? json_in_bool(r->name, r->root, name, &value, NULL, r->f) : EXIT_OK;
    *to = always || (name && value);
    return code;
}

static int read_switches(reading *r)
{
    slm_config *c = &r->hf->config;
    const hf_family *family = r->hf->family;
    bool biases = family->absent.biases, tied = family->absent.tied;
    int code = json_in_bool(r->name, r->root, "tie_word_embeddings", &tied, NULL, r->f);
    c->tied_output = tied;
    code = code ? code : read_switch(r, HF_QKV_BIAS, family->always_qkv_bias, biases, &c->qkv_bias);
    code =
        code ? code
             : read_switch(r, HF_OUTPUT_BIAS, family->always_output_bias, biases, &c->output_bias);
    code = code ? code : read_switch(r, HF_FFN_BIAS, family->always_ffn_bias, biases, &c->ffn_bias);
    c->norm_kind = family->layer_norm ? SLM_NORM_LAYER : SLM_NORM_RMS;
    c->pre_norm = !family->no_pre_norm;
    c->post_norm = family->post_norm;
    c->gated = !family->no_gate;
    c->learned_positions = family->learned_positions;
    c->qk_norm = family->qk_norm;
    return code;
}

static int read_activation(reading *r)
{
    static const struct {
        const char *name;
        slm_activation kind;
    } known[] = {
        {"silu", SLM_ACTIVATION_SILU},
        {"swish", SLM_ACTIVATION_SILU},
        {"gelu_pytorch_tanh", SLM_ACTIVATION_GELU_TANH},
        {"gelu_new", SLM_ACTIVATION_GELU_TANH},
    };
    slm_config *c = &r->hf->config;
    const char *key = r->hf->family->keys[HF_ACTIVATION], *name = r->hf->family->absent.activation;
    int code = json_in_string(r->name, r->root, key, &name, NULL, r->f);
    for (size_t i = 0; i < sizeof known / sizeof known[0] && code == EXIT_OK; i++) {
        if (strcmp(known[i].name, name) == 0 &&
            (c->gated || known[i].kind != SLM_ACTIVATION_SILU)) {
            c->activation = known[i].kind;
            return EXIT_OK;
        }
    }
    if (code == EXIT_OK && strcmp(name, "gelu") == 0) {
        return fail(r->f, EXIT_INPUT,
                    "%s: %s \"gelu\" is the form with erf, which is not supported "
                    "(gelu_pytorch_tanh and gelu_new are another function)",
                    r->name, key);
    }
    return code ? code
                : fail(r->f, EXIT_INPUT, "%s: %s \"%.60s\" is not supported (supported: %s)",
                       r->name, key, name,
                       c->gated ? "silu, gelu_pytorch_tanh, gelu_new"
                                : "gelu_pytorch_tanh, gelu_new");
}

/* A number whose null means that it is not applied, which 0 stands for in slm_config. */
static int read_cap(reading *r, int key, float absent, float *cap)
{
    const char *name = r->hf->family->keys[key];
    *cap = name && json_is_null(json_object_get(r->root, name)) ? 0 : absent;
    return name ? json_in_f32(r->name, r->root, name, 1e-6, 1e6, cap, NULL, r->f) : EXIT_OK;
}

static int read_scale(reading *r, int key, float *scale)
{
    const char *name = r->hf->family->keys[key];
    return name ? json_in_f32(r->name, r->root, name, 1e-6, 1e6, scale, NULL, r->f) : EXIT_OK;
}

static int read_scales(reading *r)
{
    slm_config *c = &r->hf->config;
    const hf_family *family = r->hf->family;
    float divisor = 1, scalar = family->absent.query_scalar;
    float multiplier = family->keys[HF_ATTENTION_SCALE] ? 1.0f : 0.0f;
    if (read_scale(r, HF_EMBEDDING_SCALE, &c->embedding_scale) ||
        read_scale(r, HF_RESIDUAL_SCALE, &c->residual_scale) ||
        read_scale(r, HF_LOGIT_DIVISOR, &divisor) || read_scale(r, HF_QUERY_SCALAR, &scalar) ||
        read_scale(r, HF_ATTENTION_SCALE, &multiplier) ||
        read_cap(r, HF_ATTENTION_CAP, family->absent.attention_cap, &c->attention_softcap) ||
        read_cap(r, HF_LOGIT_CAP, family->absent.logit_cap, &c->logit_softcap)) {
        return r->f->exit_code;
    }
    c->attention_scale = scalar > 0 ? (float)(1 / sqrt((double)scalar)) : multiplier;
    if (!(scalar < (float)c->head_dim) && !(scalar > (float)c->head_dim)) {
        c->attention_scale = 0; /* the same, said as other formats say it */
    }
    c->logit_scale = (float)(1 / (double)divisor);
    if (family->embedding_root) {
        c->embedding_scale = (float)sqrt((double)c->d_model);
    }
    return EXIT_OK;
}

int hf_config_numbers(reading *r)
{
    slm_config *c = &r->hf->config;
    c->norm_eps = r->hf->family->absent.norm_eps;
    int code = json_in_f32(r->name, r->root, r->hf->family->keys[HF_NORM_EPS], 1e-20, 1,
                           &c->norm_eps, NULL, r->f);
    code = code ? code : read_switches(r);
    code = code ? code : read_activation(r);
    return code ? code : read_scales(r);
}
