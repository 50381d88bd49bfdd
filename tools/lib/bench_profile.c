/* bench_profile.c - kernels with a clock around them; see bench_profile.h. */
#include "lib/bench_profile.h"

#include <stdatomic.h>
#include <string.h>

#include "lib/cli.h"
#include "model/model.h"

/* ---- Counters: a row for each thread, on cache lines of its own ---------------------------------
 */

enum { MAX_ROWS = 260 }; /* more threads than a team can have */

typedef struct row {
    _Alignas(64) uint64_t ticks[PROFILE_N_PARTS];
    uint64_t calls[PROFILE_N_PARTS];
} row;

/* The slots of a kernel table carry no context, so that what they count into is the process's. */
static row rows[MAX_ROWS];
static _Atomic uint32_t n_rows;
static _Thread_local row *mine;
static slm_kernels timed;
static const slm_kernels *inner;
static uint64_t first_ticks;

/* Some 10 ns on x86, a call of the clock elsewhere; a slot is called up to a million times a
 * second. */
static inline uint64_t read_ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    return (uint64_t)(clock_seconds() * 1e9);
#endif
}

static void count(uint32_t part, uint64_t start)
{
    uint64_t end = read_ticks();
    if (!mine) {
        uint32_t index = atomic_fetch_add(&n_rows, 1);
        mine = &rows[index < MAX_ROWS ? index : MAX_ROWS - 1];
    }
    mine->ticks[part] += end - start;
    mine->calls[part]++;
}

/* ---- Slots ----------------------------------------------------------------------------------- */

static void act_quantize(const float *x, size_t ldx, uint32_t t0, uint32_t t1, uint32_t n_tokens,
                         uint32_t n_cols, void *act)
{
    uint64_t start = read_ticks();
    inner->act_quantize(x, ldx, t0, t1, n_tokens, n_cols, act);
    count(PROFILE_QUANTIZE, start);
}

static void matmul_q(const slm_matrix *w, uint32_t g0, uint32_t g1, const void *act,
                     uint32_t n_tokens, float *y, size_t ldy, void *scratch)
{
    uint64_t start = read_ticks();
    inner->matmul_q(w, g0, g1, act, n_tokens, y, ldy, scratch);
    count(PROFILE_MATRIX + (uint32_t)w->type, start);
}

static void matmul_f(const slm_matrix *w, uint32_t r0, uint32_t r1, const float *x, size_t ldx,
                     uint32_t n_tokens, float *y, size_t ldy)
{
    uint64_t start = read_ticks();
    inner->matmul_f(w, r0, r1, x, ldx, n_tokens, y, ldy);
    count(PROFILE_MATRIX + (uint32_t)w->type, start);
}

static void rms_norm(const float *x, const float *w, uint32_t n, float eps, float *out)
{
    uint64_t start = read_ticks();
    inner->rms_norm(x, w, n, eps, out);
    count(PROFILE_NORM, start);
}

static void layer_norm(const float *x, const float *w, const float *b, uint32_t n, float eps,
                       float *out)
{
    uint64_t start = read_ticks();
    inner->layer_norm(x, w, b, n, eps, out);
    count(PROFILE_NORM, start);
}

static void rope(float *x, const float *cosines, const float *sines, uint32_t n)
{
    uint64_t start = read_ticks();
    inner->rope(x, cosines, sines, n);
    count(PROFILE_ROPE, start);
}

static void silu_mul(float *gate, const float *up, uint32_t n)
{
    uint64_t start = read_ticks();
    inner->silu_mul(gate, up, n);
    count(PROFILE_ACTIVATION, start);
}

static void gelu_mul(float *gate, const float *up, uint32_t n)
{
    uint64_t start = read_ticks();
    inner->gelu_mul(gate, up, n);
    count(PROFILE_ACTIVATION, start);
}

static void softcap(float *x, uint32_t n, float cap)
{
    uint64_t start = read_ticks();
    inner->softcap(x, n, cap);
    count(PROFILE_ACTIVATION, start);
}

static void add(float *x, const float *y, uint32_t n)
{
    uint64_t start = read_ticks();
    inner->add(x, y, n);
    count(PROFILE_ADD, start);
}

static void attention(const slm_attention_args *a, uint32_t kv_head, uint32_t t0, uint32_t t1,
                      void *scratch)
{
    uint64_t start = read_ticks();
    inner->attention(a, kv_head, t0, t1, scratch);
    count(PROFILE_ATTENTION, start);
}

/* ---- The public part ------------------------------------------------------------------------- */

const char *profile_part_name(profile_part part)
{
    static const char *const matrices[SLM_TYPE_COUNT] = {
        [SLM_TYPE_F32] = "F32 matrices",   [SLM_TYPE_F16] = "F16 matrices",
        [SLM_TYPE_BF16] = "BF16 matrices", [SLM_TYPE_Q8_0] = "Q8_0 matrices",
        [SLM_TYPE_Q4_0] = "Q4_0 matrices", [SLM_TYPE_Q4_K] = "Q4_K matrices",
        [SLM_TYPE_Q5_K] = "Q5_K matrices", [SLM_TYPE_Q6_K] = "Q6_K matrices",
    };
    static const char *const names[] = {
        [PROFILE_ATTENTION] = "attention",
        [PROFILE_QUANTIZE] = "quantizing activations",
        [PROFILE_NORM] = "norms",
        [PROFILE_ROPE] = "rotary embedding",
        [PROFILE_ACTIVATION] = "activation functions",
        [PROFILE_ADD] = "additions",
        [PROFILE_SAMPLING] = "sampling",
        [PROFILE_REST] = "waiting and the rest",
    };
    return part < PROFILE_ATTENTION ? matrices[part] : names[part];
}

void profile_attach(model_file *m)
{
    inner = m->model->kernels;
    timed = *inner; /* whatever slots have no clock below go on as they are */
    timed.act_quantize = act_quantize;
    timed.matmul_q = matmul_q;
    timed.matmul_f = matmul_f;
    timed.rms_norm = rms_norm;
    timed.layer_norm = layer_norm;
    timed.rope = rope;
    timed.silu_mul = silu_mul;
    timed.gelu_mul = gelu_mul;
    timed.softcap = softcap;
    timed.add = add;
    timed.attention = attention;
    m->model->kernels = &timed;
}

void profile_detach(model_file *m)
{
    m->model->kernels = inner;
}

void profile_begin(profile *p, const model_file *m)
{
    memset(p, 0, sizeof *p);
    memset(rows, 0, sizeof rows);
    p->n_threads = slm_team_size(m->team);
    p->wall = clock_seconds();
    first_ticks = read_ticks();
}

void profile_end(profile *p)
{
    uint64_t ticks = read_ticks() - first_ticks;
    p->wall = clock_seconds() - p->wall;
    double per_tick = ticks != 0 ? p->wall / (double)ticks : 0;
    double known = p->seconds[PROFILE_SAMPLING];
    for (uint32_t part = 0; part < PROFILE_REST; part++) {
        for (uint32_t i = 0; i < MAX_ROWS; i++) {
            p->seconds[part] += (double)rows[i].ticks[part] * per_tick;
            known += (double)rows[i].ticks[part] * per_tick;
            p->calls[part] += rows[i].calls[part];
        }
    }
    double rest = p->wall * p->n_threads - known;
    p->seconds[PROFILE_REST] = rest > 0 ? rest : 0;
}

double profile_outside(const profile *p)
{
    double matrices = 0, all = p->wall * p->n_threads;
    for (uint32_t type = 0; type < SLM_TYPE_COUNT; type++) {
        matrices += p->seconds[PROFILE_MATRIX + type];
    }
    return all > 0 ? 1 - matrices / all : 0;
}
