/* bench_measure.h - a model and a list of settings -> times, taken in turns.
 *
 * Every repetition measures every setting once, so that whatever else the machine does meets all of
 * them alike; the median of the repetitions is the figure, the lowest and highest its spread.
 */
#ifndef SLM_TOOLS_BENCH_MEASURE_H
#define SLM_TOOLS_BENCH_MEASURE_H

#include "lib/bench_profile.h"
#include "lib/cli.h"

enum { BENCH_MAX_REPEATS = 101, BENCH_MAX_CASES = 64, BENCH_MAX_TESTS = 64 };

/* What is timed. */
typedef struct bench_test {
    bool is_prefill; /* n_tokens at once, logits of the last; else `batch` tokens a step */
    uint32_t n_tokens;
    uint32_t batch; /* 1: each token is chosen from the logits before it; more: all logits */
    uint32_t depth; /* tokens that stand before */
} bench_test;

typedef struct bench_samples {
    double values[BENCH_MAX_REPEATS];
    uint32_t n;
} bench_samples;

/* What it is timed with. */
typedef struct bench_case {
    const char *kernels;
    slm_kv_type kv;
    uint32_t threads;
    model_file model;
    bench_samples tokens_per_second[BENCH_MAX_TESTS];
    bench_samples cpu_share[BENCH_MAX_TESTS]; /* of the threads' time: how long they had a core */
    bench_samples read_rate;    /* bytes per second: reading the model's weights once */
    bench_samples integer_rate; /* multiply-accumulates per second; none: not known */
    profile *profiles;          /* n_tests, or NULL */
} bench_case;

typedef struct bench {
    const char *name; /* of the model, for messages */
    const uint8_t *bytes;
    uint64_t n_bytes;
    bench_case *cases;
    uint32_t n_cases;
    bench_test tests[BENCH_MAX_TESTS];
    uint32_t n_tests;
    uint32_t n_chunk, repeats;
    uint64_t weight_bytes;  /* of the matrices, which one token reads */
    uint64_t layer_weights; /* of the matrices of the layers */
    uint64_t output_weights;
    double load[2]; /* of the machine, before and after */
} bench;

/* Opens the model and starts the threads of every case. b is then the caller's to close, also on
 * failure. */
int bench_open(bench *b, failure *f);
int bench_run(bench *b, bool with_profile, progress *p, failure *f);
void bench_close(bench *b);

double samples_median(const bench_samples *s); /* 0 for none */
double samples_low(const bench_samples *s);
double samples_high(const bench_samples *s);

/* Multiply-accumulates of the matrices per token of a test. */
double bench_macs_per_token(const bench *b, const bench_test *t);

/* Bytes of weights read per token when every step reads them once; 0 for a prefill, which is not
 * bound by reading. */
double bench_bytes_per_token(const bench *b, const bench_test *t);

#endif
