/* forward.c - the transformer: layers of grouped-query attention and a feed-forward network
 * (Touvron et al. 2023, arXiv 2302.13971; Ainslie et al. 2023, arXiv 2305.13245). What a layer is
 * made of - norms before or after its blocks, biases, gate, windows, scales - the configuration
 * says.
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
    ATTENTION_TILE = 16,     /* tokens of an attention item */
    LOGITS_PIECE = 4096      /* logits of an item, when they need scaling */
};

/* What the last block has left in y, and what is still to be done to it before x takes it up. */
typedef struct pending {
    bool there;
    const float *bias; /* or NULL */
    const slm_norm *norm;
} pending;

/* What the items of a phase need to know. */
typedef struct phase {
    slm_forward *f;
    const slm_layer *layer;
    const slm_kv_view *kv;
    uint8_t *k_pool, *v_pool; /* of this layer */
    const int32_t *ids;
    uint32_t n_tokens, pos0;
    /* Norm phases. */
    pending block;
    const slm_norm *norm;
    uint32_t token0;
    bool quantize; /* some matrix that follows is quantized */
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

static void scale_row(float *x, uint32_t n, float scale)
{
    for (uint32_t i = 0; scale != 1.0f && i < n; i++) {
        x[i] = x[i] * scale;
    }
}

/* Cosines and sines of the angles of one position. */
static void rotate_position(const double *frequency, uint32_t n_pairs, uint32_t pos, float *cosines,
                            float *sines)
{
    for (uint32_t i = 0; i < n_pairs; i++) {
        slm_sincos((double)pos * frequency[i], &sines[i], &cosines[i]);
    }
}

static void embed_item(void *context, uint32_t t, uint32_t thread)
{
    const phase *p = (const phase *)context;
    slm_forward *f = p->f;
    const slm_model *m = f->model;
    float *x = f->x + t * f->ld_model;
    size_t at = t * f->ld_rope;
    (void)thread;
    slm_dequantize_row(m->token_embd.type, m->token_embd.data, m->token_embd.n_cols,
                       (uint64_t)(uint32_t)p->ids[t], x);
    scale_row(x, m->config.d_model, m->config.embedding_scale);
    if (m->position_embd.data) {
        float *position = f->h + t * f->ld_model;
        slm_dequantize_row(m->position_embd.type, m->position_embd.data, m->position_embd.n_cols,
                           p->pos0 + t, position);
        kernels_of(f)->add(x, position, m->config.d_model);
    }
    rotate_position(m->rope_frequency, m->rope_dim / 2, p->pos0 + t, f->cosines + at,
                    f->sines + at);
    scale_row(f->cosines + at, m->rope_dim / 2, m->config.rope_magnitude);
    scale_row(f->sines + at, m->rope_dim / 2, m->config.rope_magnitude);
    if (m->local_frequency) {
        rotate_position(m->local_frequency, m->rope_dim / 2, p->pos0 + t, f->local_cosines + at,
                        f->local_sines + at);
    }
}

/* The norm of one row of the residual stream's width; without a norm, a copy. */
static void apply_norm(const slm_forward *f, const slm_norm *norm, const float *x, float *out)
{
    const slm_config *c = &f->model->config;
    if (!norm->weight) {
        memcpy(out, x, f->ld_model * sizeof(float));
    } else if (norm->bias) {
        kernels_of(f)->layer_norm(x, norm->weight, norm->bias, c->d_model, c->norm_eps, out);
    } else {
        kernels_of(f)->rms_norm(x, norm->weight, c->d_model, c->norm_eps, out);
    }
}

/* x takes up what the last block left in y. */
static void settle(const phase *p, float *x, float *y)
{
    const slm_config *c = &p->f->model->config;
    const slm_kernels *kernels = kernels_of(p->f);
    if (p->block.bias) {
        kernels->add(y, p->block.bias, c->d_model);
    }
    if (p->block.norm->weight) {
        apply_norm(p->f, p->block.norm, y, y);
    }
    scale_row(y, c->d_model, c->residual_scale);
    kernels->add(x, y, c->d_model);
}

static void norm_item(void *context, uint32_t item, uint32_t thread)
{
    const phase *p = (const phase *)context;
    slm_forward *f = p->f;
    size_t at = (p->token0 + item) * f->ld_model;
    (void)thread;
    if (p->block.there) {
        settle(p, f->x + at, f->y + at);
    }
    apply_norm(f, p->norm, f->x + at, f->h + item * f->ld_model);
    if (p->quantize) {
        kernels_of(f)->act_quantize(f->h, f->ld_model, item, item + 1, p->n_tokens,
                                    f->model->config.d_model, f->act);
    }
}

/* Norm of n elements of q or k in place. Kernels work on whole lines, so a head that ends within
 * one takes the way over padded scratch. */
static void norm_heads(const phase *p, float *x, uint32_t n, const float *norm, uint32_t thread)
{
    const slm_config *c = &p->f->model->config;
    if (n % 16 == 0 || c->qk_norm == SLM_QK_NORM_ROW) {
        kernels_of(p->f)->rms_norm(x, norm, n, c->norm_eps, x);
        return;
    }
    float *padded = (float *)(void *)(p->f->scratch + (size_t)thread * SLM_MATMUL_SCRATCH);
    memset(padded, 0, round_up_u32(n, 16) * sizeof(float));
    memcpy(padded, x, n * sizeof(float));
    kernels_of(p->f)->rms_norm(padded, norm, n, c->norm_eps, padded);
    memcpy(x, padded, n * sizeof(float));
}

/* Bias, norm and rotary embedding of the heads of q or k of token t. */
static void finish_heads(const phase *p, uint32_t t, float *x, uint32_t n_heads, const float *bias,
                         const float *norm, uint32_t thread)
{
    const slm_forward *f = p->f;
    const slm_config *c = &f->model->config;
    const slm_kernels *kernels = kernels_of(f);
    bool local = (p->layer->flags & SLM_LAYER_LOCAL_ROPE) != 0;
    const float *cosines = (local ? f->local_cosines : f->cosines) + t * f->ld_rope;
    const float *sines = (local ? f->local_sines : f->sines) + t * f->ld_rope;
    if (bias) {
        kernels->add(x, bias, n_heads * c->head_dim);
    }
    if (norm && c->qk_norm == SLM_QK_NORM_ROW) {
        norm_heads(p, x, n_heads * c->head_dim, norm, thread);
    }
    for (uint32_t head = 0; head < n_heads; head++, x += c->head_dim) {
        if (norm && c->qk_norm == SLM_QK_NORM_HEAD) {
            norm_heads(p, x, c->head_dim, norm, thread);
        }
        if (!(p->layer->flags & SLM_LAYER_NO_ROPE) && !c->learned_positions) {
            kernels->rope(x, cosines, sines, f->model->rope_dim);
        }
    }
}

static void qkv_item(void *context, uint32_t t, uint32_t thread)
{
    const phase *p = (const phase *)context;
    slm_forward *f = p->f;
    const slm_config *c = &f->model->config;
    const slm_layer *l = p->layer;
    float *q = f->q + t * f->ld_q, *k = f->k + t * f->ld_kv, *v = f->v + t * f->ld_kv;
    finish_heads(p, t, q, c->n_heads, l->q_bias, l->q_norm, thread);
    finish_heads(p, t, k, c->n_kv_heads, l->k_bias, l->k_norm, thread);
    if (l->v_bias) {
        kernels_of(f)->add(v, l->v_bias, c->n_kv_heads * c->head_dim);
    }
    uint32_t pos = p->pos0 + t;
    size_t block = (size_t)p->kv->blocks[pos / SLM_KV_BLOCK] * SLM_KV_BLOCK * f->kv_row_bytes;
    slm_kv_store_keys(f->kv_type, k, c->n_kv_heads, c->head_dim, p->k_pool + block,
                      pos % SLM_KV_BLOCK);
    slm_kv_store_values(f->kv_type, v, c->n_kv_heads, c->head_dim, p->v_pool + block,
                        pos % SLM_KV_BLOCK);
}

static void quantize_att_item(void *context, uint32_t t, uint32_t thread)
{
    const phase *p = (const phase *)context;
    const slm_config *c = &p->f->model->config;
    (void)thread;
    kernels_of(p->f)->act_quantize(p->f->att, p->f->ld_q, t, t + 1, p->n_tokens,
                                   c->n_heads * c->head_dim, p->f->act);
}

/* The hidden layer of the feed-forward network is left in f->gate. */
static void hidden_item(void *context, uint32_t t, uint32_t thread)
{
    const phase *p = (const phase *)context;
    slm_forward *f = p->f;
    const slm_config *c = &f->model->config;
    const slm_layer *l = p->layer;
    const slm_kernels *kernels = kernels_of(f);
    float *hidden = f->gate + t * f->ld_ff, *up = c->gated ? f->up + t * f->ld_ff : NULL;
    const float *bias = c->gated ? l->gate_bias : l->up_bias;
    (void)thread;
    if (bias) {
        kernels->add(hidden, bias, c->d_ff);
    }
    if (up && l->up_bias) {
        kernels->add(up, l->up_bias, c->d_ff);
    }
    if (c->activation == SLM_ACTIVATION_SILU) {
        kernels->silu_mul(hidden, up, c->d_ff);
    } else {
        kernels->gelu_mul(hidden, up, c->d_ff);
    }
    if (p->quantize) {
        kernels->act_quantize(f->gate, f->ld_ff, t, t + 1, p->n_tokens, c->d_ff, f->act);
    }
}

/* ---- Attention: one item a kv head and a few tokens, the last ones first: they see the most
 * -------
 */

static uint32_t attention_tiles(uint32_t n_tokens)
{
    return (n_tokens + ATTENTION_TILE - 1) / ATTENTION_TILE;
}

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
                               .scale = c->attention_scale > 0.0f
                                            ? c->attention_scale
                                            : 1.0f / __builtin_sqrtf((float)c->head_dim),
                               .pos0 = p->pos0,
                               .window = p->layer->flags & SLM_LAYER_WINDOW ? c->window : 0,
                               .softcap = c->attention_softcap};
    uint32_t tile = attention_tiles(p->n_tokens) - 1 - item / c->n_kv_heads;
    uint32_t t0 = tile * ATTENTION_TILE;
    uint32_t t1 = t0 + ATTENTION_TILE < p->n_tokens ? t0 + ATTENTION_TILE : p->n_tokens;
    kernels_of(f)->attention(&args, item % c->n_kv_heads, t0, t1,
                             f->scratch + (size_t)thread * SLM_MATMUL_SCRATCH);
}

/* ---- The layers ---------------------------------------------------------------------------------
 */

static void run_norm(phase *p, const slm_norm *norm, bool quantize)
{
    p->norm = norm;
    p->quantize = quantize;
    slm_team_run(p->f->team, norm_item, p, p->n_tokens);
}

static pending left_in_y(const float *bias, const slm_norm *norm)
{
    pending block = {true, bias, norm};
    return block;
}

static void run_attention_block(phase *p)
{
    slm_forward *f = p->f;
    const slm_layer *l = p->layer;
    const slm_config *c = &f->model->config;
    run_norm(p, &l->attn_norm,
             slm_type_is_block(l->q.type) || slm_type_is_block(l->k.type) ||
                 slm_type_is_block(l->v.type));
    matmul_phase qkv = {.f = f, .x = f->h, .ldx = f->ld_model, .n_tokens = p->n_tokens};
    add_product(&qkv, &l->q, f->q, f->ld_q);
    add_product(&qkv, &l->k, f->k, f->ld_kv);
    add_product(&qkv, &l->v, f->v, f->ld_kv);
    run_matmul(&qkv);
    slm_team_run(f->team, qkv_item, p, p->n_tokens);
    slm_team_run(f->team, attention_item, p, attention_tiles(p->n_tokens) * c->n_kv_heads);
    if (slm_type_is_block(l->o.type)) {
        slm_team_run(f->team, quantize_att_item, p, p->n_tokens);
    }
    matmul_phase out = {.f = f, .x = f->att, .ldx = f->ld_q, .n_tokens = p->n_tokens};
    add_product(&out, &l->o, f->y, f->ld_model);
    run_matmul(&out);
    p->block = left_in_y(l->o_bias, &l->attn_post_norm);
}

static void run_feed_forward_block(phase *p)
{
    slm_forward *f = p->f;
    const slm_layer *l = p->layer;
    run_norm(p, &l->ffn_norm, slm_type_is_block(l->gate.type) || slm_type_is_block(l->up.type));
    matmul_phase in = {.f = f, .x = f->h, .ldx = f->ld_model, .n_tokens = p->n_tokens};
    if (f->model->config.gated) {
        add_product(&in, &l->gate, f->gate, f->ld_ff);
        add_product(&in, &l->up, f->up, f->ld_ff);
    } else {
        add_product(&in, &l->up, f->gate, f->ld_ff);
    }
    run_matmul(&in);
    p->quantize = slm_type_is_block(l->down.type);
    slm_team_run(f->team, hidden_item, p, p->n_tokens);
    matmul_phase out = {.f = f, .x = f->gate, .ldx = f->ld_ff, .n_tokens = p->n_tokens};
    add_product(&out, &l->down, f->y, f->ld_model);
    run_matmul(&out);
    p->block = left_in_y(l->down_bias, &l->ffn_post_norm);
}

void slm_forward_layers(slm_forward *f, const slm_kv_view *kv, const int32_t *ids, uint32_t n,
                        uint32_t pos0, uint32_t first, uint32_t end)
{
    phase p = {.f = f, .kv = kv, .ids = ids, .n_tokens = n, .pos0 = pos0};
    if (first == 0) {
        slm_team_run(f->team, embed_item, &p, n);
    } else {
        const slm_layer *before = &f->model->layers[first - 1];
        p.block = left_in_y(before->down_bias, &before->ffn_post_norm);
    }
    for (uint32_t i = first; i < end; i++) {
        p.layer = &f->model->layers[i];
        p.k_pool = kv->k + i * kv->layer_bytes;
        p.v_pool = kv->v + i * kv->layer_bytes;
        run_attention_block(&p);
        run_feed_forward_block(&p);
    }
}

/* Scale and soft cap of LOGITS_PIECE logits of one position. */
static void logits_item(void *context, uint32_t item, uint32_t thread)
{
    const phase *p = (const phase *)context;
    const slm_config *c = &p->f->model->config;
    uint32_t pieces = (c->n_vocab + LOGITS_PIECE - 1) / LOGITS_PIECE;
    uint32_t first = item % pieces * LOGITS_PIECE;
    uint32_t n = c->n_vocab - first < LOGITS_PIECE ? c->n_vocab - first : LOGITS_PIECE;
    float *logits = p->f->logits + item / pieces * p->f->ld_vocab + first;
    (void)thread;
    scale_row(logits, n, c->logit_scale);
    if (c->logit_softcap != 0.0f) {
        kernels_of(p->f)->softcap(logits, n, c->logit_softcap);
    }
}

void slm_forward_logits(slm_forward *f, uint32_t t0, uint32_t n)
{
    const slm_model *m = f->model;
    const slm_layer *last = &m->layers[m->config.n_layers - 1];
    phase p = {.f = f,
               .n_tokens = n,
               .token0 = t0,
               .block = left_in_y(last->down_bias, &last->ffn_post_norm)};
    run_norm(&p, &m->output_norm, slm_type_is_block(m->output.type));
    matmul_phase out = {.f = f, .x = f->h, .ldx = f->ld_model, .n_tokens = n};
    add_product(&out, &m->output, f->logits, f->ld_vocab);
    run_matmul(&out);
    if (m->config.logit_scale != 1.0f || m->config.logit_softcap != 0.0f) {
        slm_team_run(f->team, logits_item, &p,
                     n * ((m->config.n_vocab + LOGITS_PIECE - 1) / LOGITS_PIECE));
    }
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
    f->ld_rope = round_up_u32(f->model->rope_dim / 2, 16);
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
    if (f->model->local_frequency) {
        f->local_cosines = take_rows(arena, t, f->ld_rope);
        f->local_sines = take_rows(arena, t, f->ld_rope);
    }
    f->logits = take_rows(arena, SLM_LOGITS_TILE, f->ld_vocab);
    size_t largest = act_bytes(f->model->kernels, h_rows, c->d_model);
    size_t of_att = act_bytes(f->model->kernels, h_rows, c->n_heads * c->head_dim);
    size_t of_ff = act_bytes(f->model->kernels, h_rows, c->d_ff);
    largest = of_att > largest ? of_att : largest;
    largest = of_ff > largest ? of_ff : largest;
    f->act = arena_take(arena, 1, largest);
    f->scratch = (uint8_t *)arena_take(arena, f->n_threads, SLM_MATMUL_SCRATCH);
}
