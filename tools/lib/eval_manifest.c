/* eval_manifest.c - figures and verdicts -> the quality manifest; see eval_manifest.h.
 *
 * Jansson builds the document. Its functions answer failed allocations with NULL or -1 and pass
 * them on (a NULL member fails the call that takes it), so `failed` is looked at once, at the end.
 */
#include "lib/eval_manifest.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/canonical_json.h"
#include "lib/eval_score.h"
#include "lib/quality.h"
#include "lib/sha256.h"

enum { MAX_ERRORS = 20 };

typedef struct builder {
    const manifest_parts *p;
    json_t *root;
    int failed; /* an allocation did */
    failure *f;
} builder;

static void put(builder *b, json_t *object, const char *key, json_t *value)
{
    b->failed |= json_object_set_new(object, key, value);
}

/* A member of its own; borrowed from the parent. */
static json_t *put_object(builder *b, json_t *parent, const char *key)
{
    json_t *object = json_object();
    put(b, parent, key, object);
    return b->failed ? NULL : object;
}

static void put_text(builder *b, json_t *object, const char *key, const char *text)
{
    put(b, object, key, json_string(text));
}

static void put_u64(builder *b, json_t *object, const char *key, uint64_t value)
{
    put(b, object, key, json_integer((json_int_t)value));
}

static void put_hex(builder *b, json_t *object, const char *key, uint64_t value)
{
    char text[17];
    snprintf(text, sizeof text, "%016" PRIx64, value);
    put_text(b, object, key, text);
}

/* null where there is no figure. */
static void put_real(builder *b, json_t *object, const char *key, double value)
{
    put(b, object, key, isfinite(value) ? json_real(value) : json_null());
}

/* ---- What was measured ----------------------------------------------------------------------- */

static void describe_model(builder *b, json_t *o, const manifest_model *m)
{
    const slm_model_info *info = &m->opened.info;
    put_text(b, o, "name", m->name);
    put_u64(b, o, "bytes", m->opened.file.n_bytes);
    put_text(b, o, "sha256", m->sha256);
    put_text(b, o, "header_checksum", m->header_checksum);
    put_hex(b, o, "content_checksum", m->file.content_checksum);
    put_hex(b, o, "layout_checksum", m->file.layout_checksum);
    put_hex(b, o, "tokenizer_checksum", m->file.tokenizer_checksum);
    put_text(b, o, "architecture", info->architecture);
    put_u64(b, o, "parameters", info->n_parameters);
    put_real(b, o, "bits_per_weight", m->bits_per_weight);
    json_t *types = put_object(b, o, "types");
    for (int type = 0; type < SLM_TYPE_COUNT; type++) {
        uint64_t n = 0;
        for (uint32_t i = 0; i < m->file.n_tensors; i++) {
            n += m->file.tensors[i].type == (slm_type)type;
        }
        if (n != 0) {
            put_u64(b, types, slm_type_name((slm_type)type), n);
        }
    }
}

static void describe_tensors(builder *b, json_t *o)
{
    const slm_file *file = &b->p->model->file;
    json_t *tensors = put_object(b, o, "tensors");
    for (uint32_t i = 0; i < file->n_tensors; i++) {
        const slm_tensor *t = &file->tensors[i];
        b->failed |= json_object_setn_new(tensors, t->name, t->name_bytes,
                                          json_string(slm_type_name(t->type)));
    }
}

/* A baseline whose file is not at hand, as the database knows it. */
static int describe_stored(builder *b, int64_t id)
{
    static const char *const keys[] = {"name",
                                       "sha256",
                                       "architecture",
                                       "content_checksum",
                                       "layout_checksum",
                                       "tokenizer_checksum"};
    sqlite3_stmt *q = NULL;
    bool row = false;
    int code = store_prepare(b->p->store,
                             "SELECT name, sha256, architecture, content_checksum, "
                             "layout_checksum, tokenizer_checksum, bytes, n_parameters FROM models "
                             "WHERE id = ?",
                             &q, b->f);
    sqlite3_bind_int64(q, 1, id);
    code = code ? code : store_step(b->p->store, q, &row, b->f);
    if (code == EXIT_OK && row) {
        json_t *o = put_object(b, b->root, "baseline");
        for (int i = 0; i < 6; i++) {
            put_text(b, o, keys[i], (const char *)sqlite3_column_text(q, i));
        }
        put_u64(b, o, "bytes", (uint64_t)sqlite3_column_int64(q, 6));
        put_u64(b, o, "parameters", (uint64_t)sqlite3_column_int64(q, 7));
    }
    sqlite3_finalize(q);
    return code;
}

/* The file's own account of where it came from, and from it the scheme of quantization. */
static int describe_origin(builder *b)
{
    const slm_file *file = &b->p->model->file;
    const slm_section *s = slm_file_section(file, SLM_SECTION_PROVENANCE);
    json_t *origin = NULL;
    int code = EXIT_OK;
    if (s) {
        code = json_in_parse("section PROV", (const char *)file->bytes + s->offset,
                             (size_t)s->length, &origin, b->f);
    }
    if (code != EXIT_OK) {
        return code;
    }
    json_t *steps = json_object_get(origin, "steps");
    json_t *last = json_array_get(steps, json_array_size(steps) - (steps ? 1 : 0));
    json_t *scheme = json_object_get(last, "type");
    json_t *quantization = put_object(b, b->root, "quantization");
    put(b, quantization, "scheme", scheme ? json_incref(scheme) : json_null());
    put_real(b, quantization, "bits_per_weight", b->p->model->bits_per_weight);
    put_u64(b, quantization, "non_finite", 0); /* the file was checked whole */
    describe_tensors(b, quantization);
    put(b, b->root, "source", origin ? origin : json_null());
    return EXIT_OK;
}

static void describe_tokenizer(builder *b)
{
    const model_file *m = &b->p->model->opened;
    if (!m->tokenizer) {
        put(b, b->root, "tokenizer", json_null());
        return;
    }
    json_t *o = put_object(b, b->root, "tokenizer");
    const slm_section *chat = slm_file_section(&b->p->model->file, SLM_SECTION_CHAT);
    put_hex(b, o, "checksum", b->p->model->file.tokenizer_checksum);
    put_u64(b, o, "tokens", slm_token_count(m->tokenizer));
    put(b, o, "bos_id", m->info.bos_id >= 0 ? json_integer(m->info.bos_id) : json_null());
    put(b, o, "eos_id", m->info.eos_id >= 0 ? json_integer(m->info.eos_id) : json_null());
    if (chat) {
        put_hex(b, o, "chat_checksum", chat->checksum);
    } else {
        put(b, o, "chat_checksum", json_null());
    }
}

/* ---- Figures --------------------------------------------------------------------------------- */

static void describe_metric(builder *b, json_t *list, const char *suite, const store_metric *m,
                            const store_metric *base)
{
    json_t *o = json_object();
    b->failed |= json_array_append_new(list, o);
    put_text(b, o, "suite", suite);
    put_text(b, o, "slice", m->slice);
    put_text(b, o, "name", m->name);
    put_u64(b, o, "n", m->e.n);
    put_real(b, o, "value", m->e.value);
    put_real(b, o, "stderr", m->e.stderr_);
    put_real(b, o, "low", m->e.low);
    put_real(b, o, "high", m->e.high);
    put(b, o, "higher_is_better", json_boolean(m->higher_is_better));
    if (base) {
        put_real(b, o, "baseline", base->e.value);
        put_real(b, o, "difference", m->e.value - base->e.value);
    }
}

static double column_real(sqlite3_stmt *q, int column)
{
    return sqlite3_column_type(q, column) == SQLITE_NULL ? (double)NAN
                                                         : sqlite3_column_double(q, column);
}

/* All metrics of a run beside the baseline's; those of divergence in an object of their own too. */
static int describe_metrics(builder *b, json_t *list, json_t *divergence, const store_run *run,
                            const store_run *base)
{
    sqlite3_stmt *q = NULL;
    bool row, have = false;
    int code = store_prepare(b->p->store,
                             "SELECT name, slice, n, value, stderr, low, high, higher_is_better "
                             "FROM metrics WHERE run_id = ? ORDER BY slice, name",
                             &q, b->f);
    sqlite3_bind_int64(q, 1, run->id);
    while (code == EXIT_OK && (code = store_step(b->p->store, q, &row, b->f)) == EXIT_OK && row) {
        store_metric m = {.e = {(uint64_t)sqlite3_column_int64(q, 2), column_real(q, 3),
                                column_real(q, 4), column_real(q, 5), column_real(q, 6)},
                          .higher_is_better = sqlite3_column_int(q, 7) != 0};
        store_metric before;
        snprintf(m.name, sizeof m.name, "%s", (const char *)sqlite3_column_text(q, 0));
        snprintf(m.slice, sizeof m.slice, "%s", (const char *)sqlite3_column_text(q, 1));
        if (base) {
            code = store_read_metric(b->p->store, base->id, m.slice, m.name, &before, &have, b->f);
        }
        describe_metric(b, list, run->suite_name, &m, base && have ? &before : NULL);
        if (strncmp(m.name, "divergence.", 11) == 0 && !*m.slice) {
            put_real(b, divergence, m.name + 11, m.e.value);
        }
    }
    sqlite3_finalize(q);
    return code;
}

static int describe_errors(builder *b, json_t *list, const store_run *run)
{
    sqlite3_stmt *q = NULL;
    bool row;
    int code = store_prepare(b->p->store,
                             "SELECT c.name, x.error FROM results x JOIN cases c ON c.id = "
                             "x.case_id WHERE x.run_id = ? AND x.status = 'error' "
                             "ORDER BY c.name LIMIT 20",
                             &q, b->f);
    sqlite3_bind_int64(q, 1, run->id);
    while (code == EXIT_OK && (code = store_step(b->p->store, q, &row, b->f)) == EXIT_OK && row) {
        if (json_array_size(list) < MAX_ERRORS) {
            b->failed |= json_array_append_new(
                list, json_pack("{s:s, s:s, s:s}", "suite", run->suite_name, "case",
                                (const char *)sqlite3_column_text(q, 0), "reason",
                                (const char *)sqlite3_column_text(q, 1)));
        }
    }
    sqlite3_finalize(q);
    return code;
}

/* How the same cases came out with the baseline. */
static int describe_pairs(builder *b, json_t *o, const store_run *run, const store_run *base)
{
    store_results before = {0}, after = {0};
    store_pairs pairs = {0};
    int code = store_load_results(b->p->store, base->id, NULL, &before, b->f);
    code = code ? code : store_load_results(b->p->store, run->id, NULL, &after, b->f);
    code = code ? code : store_pair(&before, &after, &pairs, b->f);
    uint8_t *passed = code == EXIT_OK ? (uint8_t *)malloc(2 * pairs.n + 1) : NULL;
    size_t n = 0;
    for (size_t i = 0; passed && i < pairs.n; i++) {
        int8_t was = before.items[pairs.before[i]].passed, is = after.items[pairs.after[i]].passed;
        if (was >= 0 && is >= 0) {
            passed[n] = (uint8_t)was;
            passed[pairs.n + n++] = (uint8_t)is;
        }
    }
    if (code == EXIT_OK && !passed) {
        code = fail(b->f, EXIT_RESOURCE, "no memory for the pairs");
    } else if (code == EXIT_OK && n != 0) {
        paired_outcomes p = stats_paired_outcomes(passed, passed + pairs.n, n);
        json_t *paired = put_object(b, o, "paired");
        put_u64(b, paired, "n", p.n);
        put_u64(b, paired, "lost", p.lost);
        put_u64(b, paired, "gained", p.gained);
        put_real(b, paired, "difference", p.difference);
        put_real(b, paired, "low", p.low);
        put_real(b, paired, "high", p.high);
        put_real(b, paired, "p", p.p);
        put_real(b, paired, "detectable", p.detectable);
    }
    free(passed);
    store_pairs_free(&pairs);
    store_results_free(&before);
    store_results_free(&after);
    return code;
}

typedef struct suite_lists {
    json_t *suites, *metrics, *divergence, *errors;
    uint64_t n_errors;
} suite_lists;

static int describe_suite(builder *b, suite_lists *l, const char *suite)
{
    store_run run, base;
    bool has_run, has_base;
    int code =
        gate_find_runs(b->p->store, b->p->subjects, suite, &run, &has_run, &base, &has_base, b->f);
    if (code != EXIT_OK || !has_run) {
        return code;
    }
    has_base = has_base && strcmp(base.suite_sha256, run.suite_sha256) == 0;
    json_t *o = json_object();
    b->failed |= json_array_append_new(l->suites, o);
    put_text(b, o, "name", suite);
    put_text(b, o, "sha256", run.suite_sha256);
    put_u64(b, o, "cases", run.n_cases);
    put_u64(b, o, "errors", run.n_errors);
    l->n_errors += run.n_errors;
    code = describe_metrics(b, l->metrics, l->divergence, &run, has_base ? &base : NULL);
    code = code ? code : describe_errors(b, l->errors, &run);
    return code || !has_base ? code : describe_pairs(b, o, &run, &base);
}

/* Every suite that a gate looks at, once. */
static int describe_suites(builder *b)
{
    const gate_policy *policy = b->p->policy;
    suite_lists l = {json_array(), json_array(), json_object(), json_array(), 0};
    int code = EXIT_OK;
    for (size_t i = 0; i < policy->n_rules && code == EXIT_OK; i++) {
        const char *suite = policy->rules[i].suite;
        bool seen = *suite == 0;
        for (size_t k = 0; k < i; k++) {
            seen |= strcmp(policy->rules[k].suite, suite) == 0;
        }
        code = seen ? EXIT_OK : describe_suite(b, &l, suite);
    }
    put(b, b->root, "suites", l.suites);
    put(b, b->root, "metrics", l.metrics);
    put(b, b->root, "divergence", l.divergence);
    put(b, b->root, "errors",
        json_pack("{s:I, s:o}", "count", (json_int_t)l.n_errors, "first", l.errors));
    return code;
}

/* ---- Verdicts -------------------------------------------------------------------------------- */

static void describe_gates(builder *b)
{
    const gate_policy *policy = b->p->policy;
    json_t *list = json_array();
    for (size_t i = 0; i < policy->n_rules; i++) {
        const gate_result *r = &b->p->results[i];
        const gate_rule *rule = r->rule;
        json_t *o = json_object();
        b->failed |= json_array_append_new(list, o);
        put_text(b, o, "id", rule->id);
        put_text(b, o, "kind", gate_kind_name(rule->kind));
        put_text(b, o, "suite", rule->suite);
        put_text(b, o, "metric", rule->metric);
        put_text(b, o, "slice", rule->slice);
        put_text(b, o, "operator", rule->at_least ? ">=" : "<=");
        put_real(b, o, "threshold", rule->threshold);
        put_real(b, o, "observed", r->observed);
        put_u64(b, o, "n", r->n);
        put_text(b, o, "verdict", gate_verdict_name(r->verdict));
        put_text(b, o, "reason", r->reason);
    }
    put(b, b->root, "gates", list);
    put(b, b->root, "policy",
        json_pack("{s:s, s:s}", "name", policy->name, "sha256", policy->sha256));
    put_text(b, b->root, "result", gate_verdict_name(gate_overall(b->p->results, policy->n_rules)));
}

static void describe_rest(builder *b)
{
    const manifest_parts *p = b->p;
    json_t *o = put_object(b, b->root, "resources");
    put_u64(b, o, "file_bytes", p->subjects->resources.file_bytes);
    put_u64(b, o, "memory_bytes", p->subjects->resources.memory_bytes);
    put_u64(b, o, "memory_context", p->model->memory_context);
    put(b, b->root, "adapters", json_array());
    put(b, b->root, "logits_digest", json_deep_copy(p->logits_digest));
    put(b, b->root, "tool",
        json_pack("{s:s, s:s, s:i}", "name", "slm-eval", "version", SLM_VERSION, "scorers",
                  SCORERS_VERSION));
    put(b, b->root, "volatile",
        json_pack("{s:I, s:s, s:s}", "created", (json_int_t)p->created_at, "kernels", p->kernels,
                  "compiler", __VERSION__));
}

static int build(builder *b)
{
    const manifest_parts *p = b->p;
    put_text(b, b->root, "schema", QUALITY_SCHEMA);
    describe_model(b, put_object(b, b->root, "subject"), p->model);
    int code = EXIT_OK;
    put(b, b->root, "baseline", json_null());
    if (p->baseline) {
        describe_model(b, put_object(b, b->root, "baseline"), p->baseline);
    } else if (p->subjects->baseline_id != 0) {
        code = describe_stored(b, p->subjects->baseline_id);
    }
    describe_tokenizer(b);
    describe_gates(b);
    describe_rest(b);
    code = code ? code : describe_origin(b);
    code = code ? code : describe_suites(b);
    if (code == EXIT_OK && b->failed) {
        code = fail(b->f, EXIT_RESOURCE, "no memory for the quality manifest");
    }
    return code;
}

int manifest_write(const manifest_parts *parts, char **text, size_t *n_bytes, failure *f)
{
    builder b = {.p = parts, .root = json_object(), .f = f};
    char hex[65];
    int code = build(&b);
    code = code ? code : quality_hash("the quality manifest", b.root, hex, f);
    if (code == EXIT_OK) {
        put_text(&b, b.root, "manifest_sha256", hex);
        code = b.failed ? fail(f, EXIT_RESOURCE, "no memory for the quality manifest")
                        : canonical_json_indented("the quality manifest", b.root, text, n_bytes, f);
    }
    json_decref(b.root);
    return code;
}
