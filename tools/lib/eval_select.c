/* eval_select.c - names of runs -> rows; see eval_select.h. */
#include "lib/eval_select.h"

#include <string.h>

#include "lib/cli.h"

/* Reads the runs whose ids a statement gives. */
static int collect(eval_store *store, sqlite3_stmt *q, run_list *list, failure *f)
{
    int64_t ids[SELECT_MAX];
    uint32_t n = 0;
    bool row, found;
    int code = EXIT_OK;
    while (code == EXIT_OK && (code = store_step(store, q, &row, f)) == EXIT_OK && row) {
        if (n == SELECT_MAX) {
            return fail(f, EXIT_USAGE, "%s: more than %d runs; name one suite with --suite",
                        store_path(store), SELECT_MAX);
        }
        ids[n++] = sqlite3_column_int64(q, 0);
    }
    for (uint32_t i = 0; i < n && code == EXIT_OK; i++) {
        code = store_read_run(store, ids[i], &list->runs[list->n], &found, f);
        list->n += code == EXIT_OK && found;
    }
    return code;
}

static int by_name(eval_store *store, const char *what, const char *suite, run_list *list,
                   failure *f)
{
    const char *slash = what ? strrchr(what, '/') : NULL;
    sqlite3_stmt *q = NULL;
    int code = store_prepare(
        store,
        "SELECT max(r.id) FROM runs r JOIN suites s ON s.id = r.suite_id "
        "JOIN models m ON m.id = r.model_id "
        "WHERE (?1 IS NULL OR r.model_name = ?1 OR (length(?1) >= 8 AND substr(m.sha256, 1, "
        "length(?1)) = ?1)) AND (?2 IS NULL OR s.name = ?2) "
        "GROUP BY s.name, r.model_name ORDER BY s.name, r.model_name",
        &q, f);
    if (code == EXIT_OK && what) {
        sqlite3_bind_text(q, 1, slash ? slash + 1 : what, -1, SQLITE_STATIC);
    }
    if (code == EXIT_OK && suite) {
        sqlite3_bind_text(q, 2, suite, -1, SQLITE_STATIC);
    }
    code = code ? code : collect(store, q, list, f);
    sqlite3_finalize(q);
    return code;
}

int select_runs(eval_store *store, const char *what, const char *suite, run_list *list, failure *f)
{
    uint64_t id;
    bool found = false;
    list->n = 0;
    if (!parse_u64(what, 1, INT64_MAX, &id) || strlen(what) > 7) {
        int code = by_name(store, what, suite, list, f);
        return code != EXIT_OK || list->n != 0
                   ? code
                   : fail(f, EXIT_INPUT, "%s: there is no run of %s%s%s", store_path(store), what,
                          suite ? " on suite " : "", suite ? suite : "");
    }
    int code = store_read_run(store, (int64_t)id, &list->runs[0], &found, f);
    if (code == EXIT_OK && (!found || (suite && strcmp(suite, list->runs[0].suite_name) != 0))) {
        return fail(f, EXIT_INPUT, "%s: there is no run %s%s%s", store_path(store), what,
                    suite ? " of suite " : "", suite ? suite : "");
    }
    list->n = code == EXIT_OK;
    return code;
}

int select_newest(eval_store *store, const char *suite, run_list *list, failure *f)
{
    list->n = 0;
    int code = by_name(store, NULL, suite, list, f);
    return code != EXIT_OK || list->n != 0
               ? code
               : fail(f, EXIT_INPUT, "%s: there is no run%s%s", store_path(store),
                      suite ? " of suite " : "", suite ? suite : "");
}
