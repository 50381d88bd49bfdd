/* eval_suite.h - a suite of evaluation cases (JSON Lines) -> checked cases, hashed.
 *
 * The first line describes the suite, {"slm_suite": 1, "name": "...", "description": "..."}; every
 * other line is a case, an object with "id" and "kind". Blank lines are skipped. Every key is known
 * and every value checked when the suite is read: what a run can still meet is a case that does not
 * fit the model. schemas/suite.schema.json lists the keys. Warnings are for what is allowed but
 * rarely meant: ids that differ in case only, one prompt with two different expectations.
 *
 * Texts are UTF-8 without NUL. A "file" is a relative path below the suite's folder, with no "..",
 * no link on the way; its bytes are read and hashed with the suite.
 */
#ifndef SLM_TOOLS_EVAL_SUITE_H
#define SLM_TOOLS_EVAL_SUITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/convert_notes.h"
#include "lib/failure.h"
#include "lib/json_in.h"

#define SUITE_VERSION 1

enum {
    SUITE_MAX_CASES = 1000000,
    SUITE_MAX_LINE = 16 << 20,
    SUITE_MAX_FILE = 64 << 20, /* of a text that a case names */
    SUITE_MAX_NAME = 256,      /* bytes of an id, a tag, the suite's name */
    SUITE_MAX_CHOICES = 64,
    SUITE_MAX_CHECKS = 16,
    SUITE_MAX_STOPS = 16,
    SUITE_MAX_TAGS = 16
};

typedef enum eval_kind {
    EVAL_GENERATE,   /* write on from a prompt; checks on the text */
    EVAL_CHOICE,     /* which option is likeliest */
    EVAL_CLOZE,      /* one continuation: is each of its tokens the model's first choice */
    EVAL_PERPLEXITY, /* how well is a text predicted */
    EVAL_DIVERGENCE, /* how far are the predictions from the baseline's */
    EVAL_TOKENIZE,   /* text -> ids -> the same text */
    EVAL_KINDS
} eval_kind;

const char *eval_kind_name(eval_kind kind); /* "generate", ...; static */

/* One case. Everything is borrowed from the suite. */
typedef struct eval_case {
    const char *id;
    eval_kind kind;
    uint32_t ordinal, line; /* place in the file from 0; line number from 1 */
    json_t *definition;     /* the line, checked */
    char *canonical;        /* the same as compact JSON, keys sorted: what is hashed and stored */
    char sha256[65];        /* over canonical and, if it names a file, its bytes' SHA-256 */
    const char *text;       /* perplexity, divergence, tokenize: from "text" or the file */
    size_t n_text;
} eval_case;

typedef struct eval_suite eval_suite;

/* Reads and checks a whole suite. *suite: owned by the caller (suite_close). name of messages: the
 * path. EXIT_INPUT with path and line for anything malformed, also for a suite without a case;
 * EXIT_IO if a file cannot be read. */
int suite_open(const char *path, eval_suite **suite, notes *warnings, failure *f);
/* The same from text in memory; path stands in messages and is where files are looked for. */
int suite_from_text(const char *path, const char *text, size_t n_bytes, eval_suite **suite,
                    notes *warnings, failure *f);
void suite_close(eval_suite **suite); /* accepts NULL; clears */

const char *suite_path(const eval_suite *suite);
const char *suite_name(const eval_suite *suite);
const char *suite_description(const eval_suite *suite); /* "" if it has none */
const char *suite_sha256(const eval_suite *suite);      /* over the cases' hashes, in order of id */
uint32_t suite_n_cases(const eval_suite *suite);
const eval_case *suite_case(const eval_suite *suite, uint32_t ordinal);
/* The i-th in order of id, bytewise. */
const eval_case *suite_case_by_id(const eval_suite *suite, uint32_t i);
uint32_t suite_count(const eval_suite *suite, eval_kind kind);

#endif
