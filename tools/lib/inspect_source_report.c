/* inspect_source_report.c - what was found in a source, for people and as JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/inspect_source.h"
#include "lib/json_out.h"

/* ---- Configuration --------------------------------------------------------------------------- */

typedef enum field_kind { FIELD_U32, FIELD_I32, FIELD_F32 } field_kind;

typedef struct field {
    const char *name;
    size_t at;
    field_kind kind;
} field;

#define U(name)                                                                                    \
    {                                                                                              \
#name, offsetof(slm_config, name), FIELD_U32                                               \
    }
#define I(name)                                                                                    \
    {                                                                                              \
#name, offsetof(slm_config, name), FIELD_I32                                               \
    }
#define F(name)                                                                                    \
    {                                                                                              \
#name, offsetof(slm_config, name), FIELD_F32                                               \
    }
enum { N_SHAPE = 8 }; /* shown even where they are zero */
static const field FIELDS[] = {
    U(n_vocab),
    U(n_context),
    U(d_model),
    U(n_layers),
    U(n_heads),
    U(n_kv_heads),
    U(head_dim),
    U(d_ff),
    F(norm_eps),
    F(rope_theta),
    U(rope_scaling),
    F(rope_factor),
    F(rope_low_freq_factor),
    F(rope_high_freq_factor),
    U(rope_original_context),
    F(rope_magnitude),
    U(qkv_bias),
    U(qk_norm),
    U(tied_output),
    U(norm_kind),
    U(pre_norm),
    U(post_norm),
    U(output_bias),
    U(ffn_bias),
    U(activation),
    U(gated),
    U(rope_dim),
    U(learned_positions),
    U(window),
    F(rope_local_theta),
    F(embedding_scale),
    F(residual_scale),
    F(attention_scale),
    F(logit_scale),
    F(attention_softcap),
    F(logit_softcap),
    I(bos_id),
    F(temperature),
    F(top_p),
    F(min_p),
    U(top_k),
};
enum { N_FIELDS = sizeof FIELDS / sizeof FIELDS[0] };

static const char *const ROPE_SCALING[] = {"none", "linear", "llama3", "divisors"};
static const char *const NORM_KIND[] = {"rms", "layer"};
static const char *const QK_NORM[] = {"none", "head", "row"};
static const char *const ACTIVATION[] = {"silu", "gelu_tanh"};

/* The name of a number that stands for one of a few things, or NULL. */
static const char *choice(const char *name, uint32_t value)
{
    static const struct {
        const char *field;
        const char *const *names;
        uint32_t n;
    } choices[] = {{"rope_scaling", ROPE_SCALING, 4},
                   {"norm_kind", NORM_KIND, 2},
                   {"qk_norm", QK_NORM, 3},
                   {"activation", ACTIVATION, 2}};
    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++) {
        if (strcmp(choices[i].field, name) == 0 && value < choices[i].n) {
            return choices[i].names[value];
        }
    }
    return NULL;
}

static uint32_t word(const slm_config *c, const field *f)
{
    uint32_t value;
    memcpy(&value, (const char *)c + f->at, sizeof value);
    return value;
}

static float real(const slm_config *c, const field *f)
{
    float value;
    memcpy(&value, (const char *)c + f->at, sizeof value);
    return value;
}

static void json_config(json_out *j, const slm_config *c)
{
    json_object(j, "config");
    for (uint32_t i = 0; i < N_FIELDS; i++) {
        const field *f = &FIELDS[i];
        const char *text = f->kind == FIELD_U32 ? choice(f->name, word(c, f)) : NULL;
        if (text) {
            json_string(j, f->name, text);
        } else if (f->kind == FIELD_U32) {
            json_u64(j, f->name, word(c, f));
        } else if (f->kind == FIELD_I32) {
            json_i64(j, f->name, (int32_t)word(c, f));
        } else {
            json_f32(j, f->name, real(c, f));
        }
    }
    json_array(j, "stop_ids");
    for (uint32_t i = 0; i < c->n_stop_ids; i++) {
        json_i64(j, NULL, c->stop_ids[i]);
    }
    json_array_end(j);
    json_array(j, "layer_flags");
    for (uint32_t i = 0; i < c->n_layer_flags; i++) {
        json_u64(j, NULL, c->layer_flags[i]);
    }
    json_array_end(j);
    json_object_end(j);
}

/* What differs from the format's defaults; the rest would not be news. */
static void print_config(const slm_config *c)
{
    slm_config usual = slm_config_default();
    for (uint32_t i = 0; i < N_FIELDS; i++) {
        const field *f = &FIELDS[i];
        if (i >= N_SHAPE && word(c, f) == word(&usual, f)) {
            continue;
        }
        const char *text = f->kind == FIELD_U32 ? choice(f->name, word(c, f)) : NULL;
        printf("  %-22s ", f->name);
        if (text) {
            printf("%s\n", text);
        } else if (f->kind == FIELD_U32) {
            printf("%" PRIu32 "\n", word(c, f));
        } else if (f->kind == FIELD_I32) {
            printf("%" PRId32 "\n", (int32_t)word(c, f));
        } else {
            printf("%.7g\n", (double)real(c, f));
        }
    }
    if (c->n_stop_ids != 0) {
        printf("  %-22s", "stop_ids");
        for (uint32_t i = 0; i < c->n_stop_ids; i++) {
            printf(" %" PRId32, c->stop_ids[i]);
        }
        printf("\n");
    }
    if (c->n_layer_flags != 0) {
        printf("  %-22s", "layer_flags");
        for (uint32_t i = 0; i < c->n_layer_flags; i++) {
            printf(" %" PRIu32, c->layer_flags[i]);
        }
        printf("\n");
    }
}

/* ---- For programs ---------------------------------------------------------------------------- */

static bool is_dropped(const source_view *v, const source_tensor *t)
{
    return v->failed.exit_code == EXIT_OK && t->use == UINT32_MAX && strcmp(v->kind, "slm") != 0;
}

static void json_tensors(json_out *j, const source_view *v)
{
    json_array(j, "tensors");
    for (uint32_t i = 0; i < v->n_tensors; i++) {
        const source_tensor *t = &v->tensors[i];
        json_object(j, NULL);
        json_string_n(j, "name", t->name, t->n_name);
        json_string(j, "type", t->type);
        json_array(j, "shape");
        for (uint32_t d = 0; d < t->rank; d++) {
            json_u64(j, NULL, t->dims[d]);
        }
        json_array_end(j);
        json_u64(j, "bytes", t->n_bytes);
        if (t->file) {
            json_string(j, "file", t->file);
        }
        json_array(j, "stored_as");
        for (uint32_t use = t->use; use != UINT32_MAX; use = v->uses[use].next) {
            json_string(j, NULL, v->uses[use].ours);
        }
        json_array_end(j);
        json_bool(j, "dropped", is_dropped(v, t));
        json_object_end(j);
    }
    json_array_end(j);
    json_array(j, "missing");
    for (uint32_t i = 0; i < v->n_missing; i++) {
        json_string(j, NULL, v->missing[i]);
    }
    json_array_end(j);
    json_array(j, "types");
    for (uint32_t i = 0; i < v->n_types; i++) {
        json_object(j, NULL);
        json_string(j, "type", v->types[i].type);
        json_u64(j, "tensors", v->types[i].n_tensors);
        json_u64(j, "bytes", v->types[i].n_bytes);
        json_object_end(j);
    }
    json_array_end(j);
}

static void json_tokenizer(json_out *j, const source_view *v)
{
    if (v->n_tokenizer == 0) {
        json_null(j, "tokenizer");
        return;
    }
    json_object(j, "tokenizer");
    json_string(j, "kind", v->tokenizer_kind);
    json_u64(j, "tokens", v->n_tokens);
    json_u64(j, "bytes", v->n_tokenizer);
    json_bool(j, "chat", v->has_chat);
    if (v->chat_text) {
        json_string_n(j, "chat_template", v->chat_text, (size_t)v->n_chat_text);
    } else {
        json_null(j, "chat_template");
    }
    json_object_end(j);
}

void source_view_json(const source_view *v)
{
    json_out j;
    json_begin(&j, stdout, false);
    json_object(&j, NULL);
    json_string(&j, "tool", "slm-convert");
    json_string(&j, "input", v->path);
    json_string(&j, "kind", v->kind);
    json_bool(&j, "convertible", v->failed.exit_code == EXIT_OK);
    json_u64(&j, "exit_code", (uint64_t)v->failed.exit_code);
    if (v->failed.exit_code != EXIT_OK) {
        json_string(&j, "reason", v->failed.text);
    } else {
        json_null(&j, "reason");
    }
    if (v->architecture) {
        json_string(&j, "architecture", v->architecture);
    } else {
        json_null(&j, "architecture");
    }
    if (v->config) {
        json_config(&j, v->config);
    } else {
        json_null(&j, "config");
    }
    json_tokenizer(&j, v);
    json_tensors(&j, v);
    json_array(&j, "warnings");
    for (uint32_t i = 0; i < v->warnings.n; i++) {
        json_string(&j, NULL, v->warnings.text[i]);
    }
    json_array_end(&j);
    json_u64(&j, "n_more_warnings", v->warnings.n_dropped);
    json_object_end(&j);
    json_end(&j);
}

/* ---- For people ------------------------------------------------------------------------------ */

/* Text from a file, cut to what fits and made safe for a terminal. */
static const char *printable(failure *f, const char *text, uint64_t n)
{
    fail(f, EXIT_OK, "%.*s", n < 1000 ? (int)n : 1000, text);
    return f->text;
}

static void print_tensor(const source_view *v, const source_tensor *t)
{
    failure f;
    printf("  %-44s %-5s [", printable(&f, t->name, t->n_name), t->type);
    for (uint32_t d = 0; d < t->rank; d++) {
        printf("%s%" PRIu64, d ? ", " : "", t->dims[d]);
    }
    printf("] %" PRIu64 " bytes", t->n_bytes);
    for (uint32_t use = t->use; use != UINT32_MAX; use = v->uses[use].next) {
        printf("%s%s", use == t->use ? " -> " : ", ", v->uses[use].ours);
    }
    printf("%s\n", is_dropped(v, t) ? " DROPPED" : "");
}

static void print_totals(const source_view *v)
{
    uint64_t n_bytes = 0;
    for (uint32_t i = 0; i < v->n_types; i++) {
        n_bytes += v->types[i].n_bytes;
    }
    printf("totals: %" PRIu32 " tensors, %" PRIu64 " bytes\n", v->n_tensors, n_bytes);
    for (uint32_t i = 0; i < v->n_types; i++) {
        printf("  %-22s %" PRIu64 " tensors, %" PRIu64 " bytes\n", v->types[i].type,
               v->types[i].n_tensors, v->types[i].n_bytes);
    }
    if (v->failed.exit_code == EXIT_OK) {
        printf("dropped: %" PRIu32 " tensors\n", v->n_dropped);
    }
}

static void print_tokenizer(const source_view *v)
{
    if (v->n_tokenizer == 0) {
        printf("tokenizer: none\n");
    } else {
        printf("tokenizer: %s, %" PRIu32 " tokens, %" PRIu64 " bytes%s\n", v->tokenizer_kind,
               v->n_tokens, v->n_tokenizer,
               v->has_chat    ? ", chat turns"
               : v->chat_text ? ", a chat template without turns (--json shows it)"
                              : "");
    }
}

void source_view_people(const source_view *v)
{
    failure f;
    printf("%s: %s", printable(&f, v->path, strlen(v->path)), v->kind);
    printf("%s%s\n", v->architecture ? ", architecture " : "",
           v->architecture ? printable(&f, v->architecture, strlen(v->architecture)) : "");
    printf("configuration:%s\n", v->config ? "" : " not known");
    if (v->config) {
        print_config(v->config);
    }
    printf("tensors:%s\n", v->tensors ? "" : " not known");
    for (uint32_t i = 0; i < v->n_tensors; i++) {
        print_tensor(v, &v->tensors[i]);
    }
    for (uint32_t i = 0; i < v->n_missing; i++) {
        printf("  MISSING: what %s is made from\n", v->missing[i]);
    }
    if (v->tensors) {
        print_totals(v);
    }
    print_tokenizer(v);
    for (uint32_t i = 0; i < v->warnings.n; i++) {
        printf("warning: %s\n", v->warnings.text[i]);
    }
    if (v->warnings.n_dropped != 0) {
        printf("warning: and %" PRIu32 " more\n", v->warnings.n_dropped);
    }
    printf("verdict: %s\n", v->failed.exit_code == EXIT_OK
                                ? "can be converted (values of the weights were not read)"
                                : "cannot be converted");
}
