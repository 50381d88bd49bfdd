/* tokenizer_build_cli.h - `slm-tokenizer build` and `export`: a vocabulary from anywhere -> a file.
 */
#ifndef SLM_TOOLS_TOKENIZER_BUILD_CLI_H
#define SLM_TOOLS_TOKENIZER_BUILD_CLI_H

#include "lib/cli.h"
#include "lib/json_out.h"
#include "lib/tokenizer_rules.h"
#include "lib/vocabulary_file.h"

/* argv[0] is the command's name. They return the exit code. */
int tokenizer_build_main(int argc, char **argv);
int tokenizer_export_main(int argc, char **argv);

/* The options that fill tokenizer_rules, shared with `train`. */
typedef struct rules_options {
    const char *pre; /* a name */
    cli_list specials;
    tokenizer_rules rules;
} rules_options;
enum { RULES_OPTIONS = 8 };
void rules_options_table(rules_options *o, cli_option table[RULES_OPTIONS]);
/* Errors: EXIT_USAGE. */
int rules_options_read(rules_options *o, failure *f);

/* What became of it, for people or as JSON. */
typedef struct build_report {
    const char *command, *output, *form;
    const text_model *model;
    uint64_t n_bytes;
    bool json, quiet;
} build_report;
/* more: called to write further members of the document; may be NULL. */
void build_report_write(cli *c, const build_report *r, const notes *w,
                        void (*more)(void *user, json_out *j), void *user);

#endif
