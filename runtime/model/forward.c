/* forward.c - the transformer: pre-norm layers of grouped-query attention and a gated feed-forward
 * network (Touvron et al. 2023, arXiv 2302.13971; Ainslie et al. 2023, arXiv 2305.13245).
 *
 * A layer is a row of phases; each phase is a job whose items any thread may take. Within a phase
 * no two items write the same memory, and no result depends on how rows or tokens are dealt out.
 * Work that is per token (norms, rope, quantizing activations) is one item a token; matrices are
 * cut into runs of row groups.
 */
#include "model/forward.h"

#include <string.h>

#include "base/bytes.h"
#include "base/mathf.h"
#include "port/port.h"

enum {
    ITEMS_PER_THREAD = 8,    /* of a matrix phase: enough to even out a slow thread */
    MIN_ITEM_WORK = 1 << 17, /* multiplications below which sharing costs more than it gives */
    ATTENTION_TILE = 8       /* tokens of an attention item */
};

/* What the items of a phase need to know. */
typedef struct phase {
    slm_forward *f;
    const slm_layer *layer;
    const slm_kv_view *kv;
    uint8_t *k_pool, *v_pool; /* of this layer */
    const int32_t *ids;
    uint32_t n_tokens, pos0;
    /* Norm phases. */
    const float *norm;
    uint32_t token0;
    bool add_pending; /* x += y first */
    bool quantize;    /* some matrix that follows is quantized */
} phase;

static const slm_kernels *kernels_of(const slm_forward *f)
{
    return f->model->kernels;
}

/* ---- Matrix phases ------------------------------------------------------------------------------
 */

typedef struct product {
    const slm_matrix *w;
    float *y;
    size_t ldy;
    uint32_t first_item; /* of the phase */
} product;

typedef struct matmul_phase {
    slm_forward *f;
    const float *x; /* rows ldx apart; act holds the same, quantized */
    size_t ldx;
    uint32_t n_tokens;
    uint32_t groups_per_item;
    uint32_t n_products;
    product products[3]; /* matrices that share their input */
} matmul_phase;

static uint32_t n_groups(const slm_matrix *w)
{
    return (w->n_rows + SLM_GROUP_ROWS - 1) / SLM_GROUP_ROWS;
}

static void matmul_item(void *context, uint32_t item, uint32_t thread)
{
    const matmul_phase *m = (const matmul_phase *)context;
    uint32_t i = m->n_products - 1;
    while (item < m->products[i].first_item) {
        i--;
    }
    const product *p = &m->products[i];
    uint32_t g0 = (item - p->first_item) * m->groups_per_item;
    uint32_t g1 = g0 + m->groups_per_item;
    g1 = g1 < n_groups(p->w) ? g1 : n_groups(p->w);
    if (slm_type_is_block(p->w->type)) {
        kernels_of(m->f)->matmul_q(p->w, g0, g1, m->f->act, m->n_tokens, p->y, p->ldy,
                                   m->f->scratch + (size_t)thread * SLM_MATMUL_SCRATCH);
    } else {
        uint32_t r1 = g1 * SLM_GROUP_ROWS < p->w->n_rows ? g1 * SLM_GROUP_ROWS : p->w->n_rows;
        kernels_of(m->f)->matmul_f(p->w, g0 * SLM_GROUP_ROWS, r1, m->x, m->ldx, m->n_tokens, p->y,
                                   p->ldy);
    }
}

static void run_matmul(matmul_phase *m)
{
    uint32_t groups = 0;
    for (uint32_t i = 0; i < m->n_products; i++) {
        groups += n_groups(m->products[i].w);
    }
    uint64_t group_work = (uint64_t)SLM_GROUP_ROWS * m->products[0].w->n_cols * m->n_tokens;
    uint32_t smallest = (uint32_t)(MIN_ITEM_WORK / group_work) + 1;
    uint32_t per_item = groups / (slm_team_size(m->f->team) * ITEMS_PER_THREAD) + 1;
    m->groups_per_item = per_item > smallest ? per_item : smallest;
    uint32_t n_items = 0;
    for (uint32_t i = 0; i < m->n_products; i++) {
        m->products[i].first_item = n_items;
        n_items += (n_groups(m->products[i].w) + m->groups_per_item - 1) / m->groups_per_item;
    }
    slm_team_run(m->f->team, matmul_item, m, n_items);
}

static void add_product(matmul_phase *m, const slm_matrix *w, float *y, size_t ldy)
{
    product p = {w, y, ldy, 0};
    m->products[m->n_products++] = p;
}

/* ---- Phases of one item a token -----------------------------------------------------------------
 */

static void embed_item(void *context, uint32_t t, uint32_t thread)
{
    const phase *p = (const phase *)context;
    slm_forward *f = p->f;
    const slm_model *m = f->model;
    (void)thread;
    slm_dequantize_row(m->token_embd.type, m->token_embd.data, m->token_embd.n_cols,
                       (uint64_t)(uint32_t)p->ids[t], f->x + t * f->ld_model);
    for (uint32_t i = 0; i < m->config.head_dim / 2; i++) {
        slm_sincos((double)(p->pos0 + t) * m->rope_frequency[i], &f->sines[t * f->ld_rope + i],
                   &f->cosines[t * f->ld_rope + i]);
    }
}

static void norm_item(void *context, uint32_t item, uint32_t thread)
{
    const phase *p = (const phase *)context;
    slm_forward *f = p->f;
    const slm_kernels *kernels = kernels_of(f);
    const slm_config *c = &f->model->config;
    float *x = f->x + (p->token0 + item) * f->ld_model;
    (void)thread;
    if (p->add_pending) {
        kernels->add(x, f->y + (p->token0 + item) * f->ld_model, c->d_model);
    }
    kernels->rms_norm(x, p->norm, c->d_model, c->norm_eps, f->h + item * f->ld_model);
    if (p->quantize) {
        kernels->act_quantize(f->h, f->ld_model, item, item + 1, p->n_tokens, c->d_model, f->act);
    }
}

/* Norm of one head in place. Kernels work on whole lines, so a head that ends within one takes the
 * way over padded scratch. */
static void norm_head(const phase *p, float *x, const float *norm, uint32_t thread)
{
    const slm_config *c = &p->f->model->config;
    if (c->head_dim % 16 == 0) {
        kernels_of(p->f)->rms_norm(x, norm, c->head_dim, c->norm_eps, x);
        return;
    }
    float *padded = (float *)(void *)(p->f->scratch + (size_t)thread * SLM_MATMUL_SCRATCH);
    memset(padded, 0, round_up_u32(c->head_dim, 16) * sizeof(float));
    memcpy(padded, x, c->head_dim * sizeof(float));
    kernels_of(p->f)->rms_norm(padded, norm, c->head_dim, c->norm_eps, padded);
    memcpy(x, padded, c->head_dim * sizeof(float));
}

/* Norm and rotary embedding of the heads of q or k. */
static void finish_heads(const phase *p, uint32_t t, float *x, uint32_t n_heads, const float *norm,
                         uint32_t thread)
{
    const slm_forward *f = p->f;
    const slm_config *c = &f->model->config;
    const slm_kernels *kernels = kernels_of(f);
    for (uint32_t head = 0; head < n_heads; head++, x += c->head_dim) {
        if (norm) {
            norm_head(p, x, norm, thread);
        }
        kernels->rope(x, f->cosines + t * f->ld_rope, f->sines + t * f->ld_rope, c->head_dim);
    }
}

static void qkv_item(void *context, uint32_t t, uint32_t thread)
{
    const phase *p = (const phase *)context;
    slm_forward *f = p->f;
    const slm_config *c = &f->model->config;
    const slm_kernels *kernels = kernels_of(f);
    float *q = f->q + t * f->ld_q, *k = f->k + t * f->ld_kv, *v = f->v + t * f->ld_kv;
    if (p->layer->q_bias) {
        kernels->add(q, p->layer->q_bias, c->n_heads * c->head_dim);
        kernels->add(k, p->layer->k_bias, c->n_kv_heads * c->head_dim);
        kernels->add(v, p->layer->v_bias, c->n_kv_heads * c->head_dim);
    }
    finish_heads(p, t, q, c->n_heads, p->layer->q_norm, thread);
    finish_heads(p, t, k, c->n_kv_heads, p->layer->k_norm, thread);
    uint32_t pos = p->pos0 + t;
    size_t row = (size_t)p->kv->blocks[pos / SLM_KV_BLOCK] * SLM_KV_BLOCK + pos % SLM_KV_BLOCK;
    slm_kv_store(f->kv_type, k, c->n_kv_heads, c->head_dim, p->k_pool + row * f->kv_row_bytes);
    slm_kv_store(f->kv_type, v, c->n_kv_heads, c->head_dim, p->v_pool + row * f->kv_row_bytes);
}

static void quantize_att_item(void *context, uint32_t t, uint32_t thread)
{
    const phase *p = (const phase *)context;
    const slm_config *c = &p->f->model->config;
    (void)thread;
    kernels_of(p->f)->act_quantize(p->f->att, p->f->ld_q, t, t + 1, p->n_tokens,
                                   c->n_heads * c->head_dim, p->f->act);
}

static void gate_item(void *context, uint32_t t, uint32_t thread)
{
    const phase *p = (const phase *)context;
    slm_forward *f = p->f;
    uint32_t d_ff = f->model->config.d_ff;
    (void)thread;
    kernels_of(f)->silu_mul(f->gate + t * f->ld_ff, f->up + t * f->ld_ff, d_ff);
    if (p->quantize) {
        kernels_of(f)->act_quantize(f->gate, f->ld_ff, t, t + 1, p->n_tokens, d_ff, f->act);
    }
}

/* ---- Attention: one item a kv head and a few tokens ---------------------------------------------
 */

static void attention_item(void *context, uint32_t item, uint32_t thread)
{
    const phase *p = (const phase *)context;
    slm_forward *f = p->f;
    const slm_config *c = &f->model->config;
    slm_attention_args args = {.q = f->q,
                               .out = f->att,
                               .q_stride = f->ld_q,
                               .k = p->k_pool,
                               .v = p->v_pool,
                               .blocks = p->kv->blocks,
                               .kv_type = f->kv_type,
                               .kv_row_bytes = f->kv_row_bytes,
                               .n_heads = c->n_heads,
                               .n_kv_heads = c->n_kv_heads,
                               .head_dim = c->head_dim,
                               .scale = 1.0f / __builtin_sqrtf((float)c->head_dim),
                               .pos0 = p->pos0,
                               .window = 0};
    uint32_t t0 = item / c->n_kv_heads * ATTENTION_TILE;
    uint32_t t1 = t0 + ATTENTION_TILE < p->n_tokens ? t0 + ATTENTION_TILE : p->n_tokens;
    kernels_of(f)->attention(&args, item % c->n_kv_heads, t0, t1,
                             f->scratch + (size_t)thread * SLM_MATMUL_SCRATCH);
}

/* ---- The layers ---------------------------------------------------------------------------------
 */

static void run_norm(phase *p, const float *norm, bool quantize)
{
    p->norm = norm;
    p->quantize = quantize;
    slm_team_run(p->f->team, norm_item, p, p->n_tokens);
    p->add_pending = true;
}

static void run_attention_block(phase *p)
{
    slm_forward *f = p->f;
    const slm_layer *l = p->layer;
    const slm_config *c = &f->model->config;
    run_norm(p, l->attn_norm,
             slm_type_is_block(l->q.type) || slm_type_is_block(l->k.type) ||
                 slm_type_is_block(l->v.type));
    matmul_phase qkv = {.f = f, .x = f->h, .ldx = f->ld_model, .n_tokens = p->n_tokens};
    add_product(&qkv, &l->q, f->q, f->ld_q);
    add_product(&qkv, &l->k, f->k, f->ld_kv);
    add_product(&qkv, &l->v, f->v, f->ld_kv);
    run_matmul(&qkv);
    slm_team_run(f->team, qkv_item, p, p->n_tokens);
    uint32_t tiles = (p->n_tokens + ATTENTION_TILE - 1) / ATTENTION_TILE;
    slm_team_run(f->team, attention_item, p, tiles * c->n_kv_heads);
    if (slm_type_is_block(l->o.type)) {
        slm_team_run(f->team, quantize_att_item, p, p->n_tokens);
    }
    matmul_phase out = {.f = f, .x = f->att, .ldx = f->ld_q, .n_tokens = p->n_tokens};
    add_product(&out, &l->o, f->y, f->ld_model);
    run_matmul(&out);
}

static void run_feed_forward_block(phase *p)
{
    slm_forward *f = p->f;
    const slm_layer *l = p->layer;
    run_norm(p, l->ffn_norm, slm_type_is_block(l->gate.type) || slm_type_is_block(l->up.type));
    matmul_phase in = {.f = f, .x = f->h, .ldx = f->ld_model, .n_tokens = p->n_tokens};
    add_product(&in, &l->gate, f->gate, f->ld_ff);
    add_product(&in, &l->up, f->up, f->ld_ff);
    run_matmul(&in);
    p->quantize = slm_type_is_block(l->down.type);
    slm_team_run(f->team, gate_item, p, p->n_tokens);
    matmul_phase out = {.f = f, .x = f->gate, .ldx = f->ld_ff, .n_tokens = p->n_tokens};
    add_product(&out, &l->down, f->y, f->ld_model);
    run_matmul(&out);
}

void slm_forward_chunk(slm_forward *f, const slm_kv_view *kv, const int32_t *ids, uint32_t n,
                       uint32_t pos0)
{
    phase p = {.f = f, .kv = kv, .ids = ids, .n_tokens = n, .pos0 = pos0};
    slm_team_run(f->team, embed_item, &p, n);
    for (uint32_t i = 0; i < f->model->config.n_layers; i++) {
        p.layer = &f->model->layers[i];
        p.k_pool = kv->k + i * kv->layer_bytes;
        p.v_pool = kv->v + i * kv->layer_bytes;
        run_attention_block(&p);
        run_feed_forward_block(&p);
    }
}

void slm_forward_logits(slm_forward *f, uint32_t t0, uint32_t n)
{
    const slm_model *m = f->model;
    phase p = {.f = f, .n_tokens = n, .token0 = t0, .add_pending = true};
    run_norm(&p, m->output_norm, slm_type_is_block(m->output.type));
    matmul_phase out = {.f = f, .x = f->h, .ldx = f->ld_model, .n_tokens = n};
    add_product(&out, &m->output, f->logits, f->ld_vocab);
    run_matmul(&out);
}

/* ---- Memory -------------------------------------------------------------------------------------
 */

static float *take_rows(slm_arena *arena, uint64_t n_rows, size_t stride)
{
    float *rows = (float *)arena_take(arena, n_rows, stride * sizeof(float));
    if (rows) {
        memset(rows, 0, (size_t)n_rows * stride * sizeof(float));
    }
    return rows;
}

static size_t act_bytes(const slm_kernels *kernels, uint32_t n_tokens, uint32_t n_cols)
{
    return n_cols % SLM_SUB_BLOCK == 0 ? kernels->act_bytes(n_tokens, n_cols) : 0;
}

void slm_forward_layout(slm_forward *f, slm_arena *arena)
{
    const slm_config *c = &f->model->config;
    uint32_t t = f->n_chunk;
    f->kv_row_bytes = c->n_kv_heads * slm_kv_head_bytes(f->kv_type, c->head_dim);
    f->ld_model = round_up_u32(c->d_model, 16);
    f->ld_q = round_up_u32(c->n_heads * c->head_dim, 16);
    f->ld_kv = round_up_u32(c->n_kv_heads * c->head_dim, 16);
    f->ld_ff = round_up_u32(c->d_ff, 16);
    f->ld_vocab = round_up_u32(c->n_vocab, 16);
    f->ld_rope = round_up_u32(c->head_dim / 2, 16);
    uint32_t h_rows = t > SLM_LOGITS_TILE ? t : SLM_LOGITS_TILE;
    f->x = take_rows(arena, t, f->ld_model);
    f->h = take_rows(arena, h_rows, f->ld_model);
    f->y = take_rows(arena, t, f->ld_model);
    f->q = take_rows(arena, t, f->ld_q);
    f->att = take_rows(arena, t, f->ld_q);
    f->k = take_rows(arena, t, f->ld_kv);
    f->v = take_rows(arena, t, f->ld_kv);
    f->gate = take_rows(arena, t, f->ld_ff);
    f->up = take_rows(arena, t, f->ld_ff);
    f->cosines = take_rows(arena, t, f->ld_rope);
    f->sines = take_rows(arena, t, f->ld_rope);
    f->logits = take_rows(arena, SLM_LOGITS_TILE, f->ld_vocab);
    size_t largest = act_bytes(f->model->kernels, h_rows, c->d_model);
    size_t of_att = act_bytes(f->model->kernels, h_rows, c->n_heads * c->head_dim);
    size_t of_ff = act_bytes(f->model->kernels, h_rows, c->d_ff);
    largest = of_att > largest ? of_att : largest;
    largest = of_ff > largest ? of_ff : largest;
    f->act = arena_take(arena, 1, largest);
    f->scratch = (uint8_t *)arena_take(arena, f->n_threads, SLM_MATMUL_SCRATCH);
}
