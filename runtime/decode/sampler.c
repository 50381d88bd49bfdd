/* sampler.c - logits -> one token id.
 *
 * The same logits, settings and state give the same token on every platform: the order of
 * candidates is total (ties go to the lower id), weights come from slm_exp, and sums run in f64 in
 * that order.
 */
#include "base/hash.h"
#include "base/mathf.h"
#include "base/status.h"

typedef struct candidate {
    float score; /* a logit at first, a weight later */
    int32_t id;
} candidate; /* SLM_MAX_CANDIDATES of them are 8 KiB of stack */

/* Below this distance from the best logit (in units of temperature) a token has no weight: e^-87 of
 * the best one's probability is less than any drawn number resolves. */
#define NEGLIGIBLE (-87.0f)

static int in_range(float value, float min, float max) /* false for NaN */
{
    return value >= min && value <= max;
}

slm_status slm_sampler_init(slm_sampler *sampler, float temperature, uint32_t top_k, float top_p,
                            float min_p, uint64_t seed, slm_error *error)
{
    const char *wrong = !in_range(temperature, 0, 100) ? "temperature is not in 0 to 100"
                        : top_k > SLM_MAX_CANDIDATES   ? "top_k is not in 0 to 1024"
                        : !in_range(top_p, 0, 1)       ? "top_p is not in 0 to 1"
                        : !in_range(min_p, 0, 1)       ? "min_p is not in 0 to 1"
                                                       : NULL;
    if (wrong) {
        return slm_fail(error, SLM_ERR_ARGUMENT, 0, "%s", wrong);
    }
    uint64_t state = mix64(seed + 0x9e3779b97f4a7c15u);
    slm_sampler made = {temperature, top_k, top_p, min_p, state != 0 ? state : 1};
    *sampler = made;
    return SLM_OK;
}

/* The next number in [0, 1) of the sequence: Marsaglia's XorShift64 (13, 7, 17), upper 53 bits. */
static double draw(slm_sampler *sampler)
{
    uint64_t x = sampler->state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    sampler->state = x;
    return (double)(x >> 11) * 0x1p-53;
}

static int32_t best_id(const float *logits, uint32_t n_vocab)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n_vocab; i++) {
        /* the second test lets a number win over a NaN in front */
        if (logits[i] > logits[best] || (logits[best] != logits[best] && logits[i] == logits[i])) {
            best = i;
        }
    }
    return (int32_t)best;
}

static int is_worse(candidate a, candidate b)
{
    return a.score < b.score || (a.score == b.score && a.id > b.id);
}

/* Restores the heap property (each parent worse than its children) below `at`. */
static void sift_down(candidate *heap, uint32_t n, uint32_t at)
{
    candidate moved = heap[at];
    for (uint32_t child = 2 * at + 1; child < n; child = 2 * at + 1) {
        if (child + 1 < n && is_worse(heap[child + 1], heap[child])) {
            child++;
        }
        if (!is_worse(heap[child], moved)) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

/* The k best tokens, best first. A heap whose root is the worst of them is the rolling minimum:
 * almost every logit of a large vocabulary is done with after one comparison. */
static void select_best(candidate *best, uint32_t k, const float *logits, uint32_t n_vocab)
{
    for (uint32_t i = 0; i < n_vocab; i++) {
        float logit = logits[i] == logits[i] ? logits[i] : -__builtin_inff(); /* NaN: last */
        candidate c = {logit, (int32_t)i};
        if (i < k) {
            best[i] = c;
            if (i + 1 == k) {
                for (uint32_t at = k / 2; at-- > 0;) {
                    sift_down(best, k, at);
                }
            }
        } else if (logit > best[0].score) { /* a tie goes to the id that is in already: lower */
            best[0] = c;
            sift_down(best, k, 0);
        }
    }
    for (uint32_t n = k; n > 1; n--) { /* worst to the end, again and again */
        candidate worst = best[0];
        best[0] = best[n - 1];
        best[n - 1] = worst;
        sift_down(best, n - 1, 0);
    }
}

/* Turns scores into weights relative to the best (1); returns their sum. */
static double weigh(candidate *best, uint32_t n, float temperature)
{
    float top = best[0].score;
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        float x = i == 0 ? 0.0f : (best[i].score - top) / temperature;
        best[i].score = x >= NEGLIGIBLE ? slm_exp(x) : 0.0f;
        sum += (double)best[i].score;
    }
    return sum;
}

/* Candidates that top_p and min_p leave, at least one; *sum becomes the sum of their weights. */
static uint32_t cut(const slm_sampler *s, const candidate *best, uint32_t n, double *sum)
{
    double enough = (double)s->top_p * *sum, kept = (double)best[0].score;
    uint32_t i = 1;
    for (; i < n; i++) {
        if ((s->top_p < 1 && kept >= enough) || best[i].score < s->min_p) {
            break;
        }
        kept += (double)best[i].score;
    }
    *sum = kept;
    return i;
}

int32_t slm_sample(slm_sampler *sampler, const float *logits, uint32_t n_vocab)
{
    if (sampler->temperature <= 0 || n_vocab == 0) {
        return best_id(logits, n_vocab);
    }
    candidate best[SLM_MAX_CANDIDATES];
    uint32_t k = sampler->top_k != 0 ? sampler->top_k : SLM_MAX_CANDIDATES;
    k = k < n_vocab ? k : n_vocab;
    select_best(best, k, logits, n_vocab);
    double sum = weigh(best, k, sampler->temperature);
    k = cut(sampler, best, k, &sum);
    double mark = draw(sampler) * sum, passed = 0;
    for (uint32_t i = 0; i + 1 < k; i++) {
        passed += (double)best[i].score;
        if (passed > mark) {
            return best[i].id;
        }
    }
    return best[k - 1].id;
}
