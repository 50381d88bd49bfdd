/* eval_metrics.c - the results of a run -> its metrics, over all cases and over each slice.
 *
 * Results are taken in order of the cases' names, so that the figures do not depend on the order in
 * which they were computed. A case that could not be evaluated counts as not passed; means of
 * figures that it does not have go without it, and the metric "errors" tells how many there were.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mathf.h"
#include "lib/eval_store.h"
#include "lib/json_in.h"

typedef struct loaded {
    const store_result *r;
    json_t *detail, *tags;
} loaded;

typedef struct job {
    eval_store *store;
    int64_t run_id;
    loaded *items;
    size_t n;
    const char *slice; /* "" for all */
    sqlite3_stmt *insert;
    failure *f;
} job;

static const estimate UNDEFINED = {
    .value = (double)NAN, .stderr_ = (double)NAN, .low = (double)NAN, .high = (double)NAN};

static void bind_real(sqlite3_stmt *q, int at, double value)
{
    if (isfinite(value)) {
        sqlite3_bind_double(q, at, value);
    } else {
        sqlite3_bind_null(q, at);
    }
}

static int put(job *j, const char *name, estimate e, bool higher_is_better)
{
    sqlite3_stmt *q = j->insert;
    sqlite3_bind_int64(q, 1, j->run_id);
    sqlite3_bind_text(q, 2, j->slice, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 3, name, -1, SQLITE_STATIC);
    sqlite3_bind_int64(q, 4, (int64_t)e.n);
    bind_real(q, 5, e.value);
    bind_real(q, 6, e.stderr_);
    bind_real(q, 7, e.low);
    bind_real(q, 8, e.high);
    sqlite3_bind_int(q, 9, higher_is_better);
    return store_do(j->store, q, j->f);
}

static bool in_slice(const job *j, const loaded *item)
{
    json_t *tag;
    size_t i;
    json_array_foreach(item->tags, i, tag)
    {
        if (strcmp(json_string_value(tag), j->slice) == 0) {
            return true;
        }
    }
    return *j->slice == 0;
}

/* The next result of a kind in the slice, from *at on; NULL at the end. */
static const loaded *next(const job *j, eval_kind kind, size_t *at)
{
    while (*at < j->n) {
        const loaded *item = &j->items[(*at)++];
        if (item->r->kind == kind && in_slice(j, item)) {
            return item;
        }
    }
    return NULL;
}

static uint64_t count(const job *j, eval_kind kind)
{
    size_t at = 0;
    uint64_t n = 0;
    while (next(j, kind, &at)) {
        n++;
    }
    return n;
}

static double real(const loaded *item, const char *key)
{
    return json_number_value(json_object_get(item->detail, key));
}

static int put_share(job *j, const char *name, uint64_t n_passed, uint64_t n)
{
    return put(j, name, stats_proportion(n_passed, n), true);
}

/* The mean of value(item) over results without error. */
static int put_mean(job *j, eval_kind kind, const char *name, bool higher_is_better)
{
    double *values = (double *)malloc((j->n + 1) * sizeof *values);
    size_t at = 0, n = 0;
    const loaded *item;
    if (!values) {
        return fail(j->f, EXIT_RESOURCE, "%s: no memory for metrics", store_path(j->store));
    }
    while ((item = next(j, kind, &at)) != NULL) {
        if (!item->r->error) {
            values[n++] = item->r->score;
        }
    }
    int code = put(j, name, n != 0 ? stats_mean(values, n) : UNDEFINED, higher_is_better);
    free(values);
    return code;
}

/* ---- Kinds with a verdict -------------------------------------------------------------------- */

static int put_passed(job *j, eval_kind kind, const char *name)
{
    size_t at = 0;
    uint64_t n = 0, n_passed = 0;
    const loaded *item;
    while ((item = next(j, kind, &at)) != NULL) {
        n++;
        n_passed += item->r->passed == 1;
    }
    return n != 0 ? put_share(j, name, n_passed, n) : EXIT_OK;
}

static int put_choice(job *j)
{
    static const char *const names[3] = {"choice.accuracy", "choice.accuracy_per_token",
                                         "choice.accuracy_per_byte"};
    static const char *const keys[3] = {"none", "token", "byte"};
    uint64_t n = count(j, EVAL_CHOICE);
    int code = EXIT_OK;
    for (int k = 0; k < 3 && n != 0 && code == EXIT_OK; k++) {
        uint64_t n_right = 0;
        size_t at = 0;
        const loaded *item;
        while ((item = next(j, EVAL_CHOICE, &at)) != NULL) {
            const json_t *correct = json_object_get(item->detail, "correct");
            n_right += json_is_true(json_object_get(correct, keys[k]));
        }
        code = put_share(j, names[k], n_right, n);
    }
    return code;
}

static int put_cloze(job *j)
{
    if (count(j, EVAL_CLOZE) == 0) {
        return EXIT_OK;
    }
    int code = put_passed(j, EVAL_CLOZE, "cloze.accuracy");
    return code ? code : put_mean(j, EVAL_CLOZE, "cloze.nll", false);
}

/* ---- Kinds with a figure per token ----------------------------------------------------------- */

/* The vectors of all results of a kind, one after the other. *values: malloc'd, NULL if *n is 0. */
static int join_vectors(job *j, eval_kind kind, const char *name, double **values, size_t *n)
{
    size_t at = 0;
    const loaded *item;
    *values = NULL;
    *n = 0;
    while ((item = next(j, kind, &at)) != NULL) {
        double *part, *grown;
        size_t n_part;
        int code = store_load_vector(j->store, item->r->id, name, &part, &n_part, j->f);
        if (code == EXIT_OK && n_part != 0) {
            grown = (double *)realloc(*values, (*n + n_part) * sizeof *grown);
            code = grown ? EXIT_OK
                         : fail(j->f, EXIT_RESOURCE, "%s: no memory for metrics",
                                store_path(j->store));
            *values = grown ? grown : *values;
            if (grown) {
                memcpy(grown + *n, part, n_part * sizeof *part);
                *n += n_part;
            }
        }
        free(part);
        if (code != EXIT_OK) {
            free(*values);
            *values = NULL;
            return code;
        }
    }
    return EXIT_OK;
}

static double exp_or_inf(double x)
{
    return x > 700 ? (double)INFINITY : x < -700 ? 0 : slm_exp64(x);
}

/* e^x of an estimate: error to first order, the interval's ends as they are. */
static estimate exponential(estimate e)
{
    double value = exp_or_inf(e.value);
    return (estimate){.n = e.n,
                      .value = value,
                      .stderr_ = value * e.stderr_,
                      .low = exp_or_inf(e.low),
                      .high = exp_or_inf(e.high)};
}

static estimate scaled(estimate e, double by)
{
    return (estimate){.n = e.n,
                      .value = e.value * by,
                      .stderr_ = e.stderr_ * by,
                      .low = e.low * by,
                      .high = e.high * by};
}

static int put_perplexity(job *j)
{
    double *nll, bytes = 0;
    size_t n, at = 0;
    const loaded *item;
    if (count(j, EVAL_PERPLEXITY) == 0) {
        return EXIT_OK;
    }
    int code = join_vectors(j, EVAL_PERPLEXITY, "nll", &nll, &n);
    if (code != EXIT_OK) {
        return code;
    }
    while ((item = next(j, EVAL_PERPLEXITY, &at)) != NULL) {
        bytes += real(item, "bytes");
    }
    const double ln2 = 0.69314718055994530942;
    estimate e = n != 0 ? stats_mean(nll, n) : UNDEFINED;
    code = put(j, "perplexity.nll", e, false);
    code = code ? code : put(j, "perplexity.perplexity", n ? exponential(e) : e, false);
    if (code == EXIT_OK) {
        code = put(j, "perplexity.bits_per_byte",
                   bytes > 0 ? scaled(e, (double)n / ln2 / bytes) : UNDEFINED, false);
    }
    free(nll);
    return code;
}

static estimate point(uint64_t n, double value)
{
    return (estimate){
        .n = n, .value = value, .stderr_ = (double)NAN, .low = (double)NAN, .high = (double)NAN};
}

static int put_quantiles(job *j, double *kl, size_t n)
{
    static const struct {
        const char *name;
        double q;
    } wanted[] = {{"divergence.kl_median", 0.5},
                  {"divergence.kl_p99", 0.99},
                  {"divergence.kl_p999", 0.999},
                  {"divergence.kl_max", 1}};
    int code = EXIT_OK;
    stats_sort(kl, n);
    for (size_t i = 0; i < 4 && code == EXIT_OK; i++) {
        code = put(j, wanted[i].name,
                   n != 0 ? point(n, stats_quantile(kl, n, wanted[i].q)) : UNDEFINED, false);
    }
    return code;
}

/* Top-1 agreement and RMS of the change in probability, from the sums of each result. */
static int put_agreement(job *j, size_t n)
{
    double agreements = 0, squares = 0;
    size_t at = 0;
    const loaded *item;
    while ((item = next(j, EVAL_DIVERGENCE, &at)) != NULL) {
        agreements += real(item, "agreements");
        squares += real(item, "delta_p_squares");
    }
    estimate share = n != 0 ? stats_proportion((uint64_t)agreements, n) : UNDEFINED;
    int code = put(j, "divergence.top1_agreement", share, true);
    estimate rms = n != 0 ? point(n, sqrt(squares / (double)n)) : UNDEFINED;
    return code ? code : put(j, "divergence.rms_delta_p", rms, false);
}

static int put_divergence(job *j)
{
    double *kl = NULL, *difference = NULL;
    size_t n = 0, n_difference = 0;
    if (count(j, EVAL_DIVERGENCE) == 0) {
        return EXIT_OK;
    }
    int code = join_vectors(j, EVAL_DIVERGENCE, "kl", &kl, &n);
    code = code ? code
                : join_vectors(j, EVAL_DIVERGENCE, "nll_difference", &difference, &n_difference);
    if (code == EXIT_OK) {
        code = put(j, "divergence.kl_mean", n ? stats_mean(kl, n) : UNDEFINED, false);
    }
    code = code ? code : put_quantiles(j, kl, n);
    code = code ? code : put_agreement(j, n);
    if (code == EXIT_OK) {
        code = put(j, "divergence.perplexity_ratio",
                   n_difference ? exponential(stats_mean(difference, n_difference)) : UNDEFINED,
                   false);
    }
    free(kl);
    free(difference);
    return code;
}

/* ---- Slices ---------------------------------------------------------------------------------- */

static int put_errors(job *j)
{
    uint64_t n = 0, n_errors = 0;
    for (size_t i = 0; i < j->n; i++) {
        bool here = in_slice(j, &j->items[i]);
        n += here;
        n_errors += here && j->items[i].r->error;
    }
    return put(j, "errors", point(n, (double)n_errors), false);
}

static int put_slice(job *j, const char *slice)
{
    j->slice = slice;
    int code = put_passed(j, EVAL_GENERATE, "generate.passed");
    code = code ? code : put_choice(j);
    code = code ? code : put_cloze(j);
    code = code ? code : put_perplexity(j);
    code = code ? code : put_divergence(j);
    code = code ? code : put_passed(j, EVAL_TOKENIZE, "tokenize.round_trip");
    return code ? code : put_errors(j);
}

/* Each distinct tag once: an object's keys. */
static int put_slices(job *j)
{
    json_t *tags = json_object(), *tag, *unused;
    const char *name;
    int code = tags ? put_slice(j, "") : fail(j->f, EXIT_RESOURCE, "no memory for metrics");
    for (size_t i = 0; i < j->n && code == EXIT_OK; i++) {
        size_t k;
        json_array_foreach(j->items[i].tags, k, tag)
        {
            json_object_set_new(tags, json_string_value(tag), json_true());
        }
    }
    json_object_foreach(tags, name, unused)
    {
        code = code ? code : put_slice(j, name);
    }
    json_decref(tags);
    return code;
}

static int write_all(job *j)
{
    char sql[160];
    snprintf(sql, sizeof sql, "DELETE FROM metrics WHERE run_id = %lld", (long long)j->run_id);
    int code = store_exec(j->store, sql, j->f);
    code = code ? code
                : store_prepare(j->store,
                                "INSERT INTO metrics (run_id, slice, name, n, value, stderr, low, "
                                "high, higher_is_better) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                                &j->insert, j->f);
    code = code ? code : put_slices(j);
    sqlite3_finalize(j->insert);
    snprintf(sql, sizeof sql,
             "UPDATE runs SET status = 'complete' WHERE id = %lld AND n_cases = "
             "(SELECT count(*) FROM results WHERE run_id = %lld)",
             (long long)j->run_id, (long long)j->run_id);
    return code ? code : store_exec(j->store, sql, j->f);
}

static int load_items(job *j, const store_results *results)
{
    j->items = (loaded *)calloc(results->n + 1, sizeof *j->items);
    if (!j->items) {
        return fail(j->f, EXIT_RESOURCE, "%s: no memory for metrics", store_path(j->store));
    }
    for (j->n = 0; j->n < results->n; j->n++) {
        const store_result *r = &results->items[j->n];
        loaded *item = &j->items[j->n];
        item->r = r;
        item->detail = json_loads(r->detail, 0, NULL);
        item->tags = json_loads(r->tags, 0, NULL);
        if (!item->detail || !item->tags) {
            j->n++; /* what there is of it is released too */
            return fail(j->f, EXIT_INPUT, "%s: result %lld is damaged", store_path(j->store),
                        (long long)r->id);
        }
    }
    return EXIT_OK;
}

int store_update_metrics(eval_store *store, int64_t run_id, failure *f)
{
    job j = {.store = store, .run_id = run_id, .f = f};
    store_results results = {0};
    int code = store_begin(store, f); /* no result may come between reading and writing */
    code = code ? code : store_load_results(store, run_id, NULL, &results, f);
    code = code ? code : load_items(&j, &results);
    code = code ? code : write_all(&j);
    for (size_t i = 0; i < j.n; i++) {
        json_decref(j.items[i].detail);
        json_decref(j.items[i].tags);
    }
    free(j.items);
    store_results_free(&results);
    if (code != EXIT_OK) {
        store_rollback(store);
        return code;
    }
    return store_commit(store, f);
}
