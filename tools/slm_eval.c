/* slm_eval.c - measures models: one subcommand per kind of measurement. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lib/cli.h"
#include "lib/eval_compare_cli.h"
#include "lib/eval_gate_cli.h"
#include "lib/eval_import.h"
#include "lib/eval_merge.h"
#include "lib/eval_perplexity.h"
#include "lib/eval_run.h"

typedef struct command {
    const char *name, *help;
    int (*run)(int argc, char **argv); /* argv[0] is the subcommand */
} command;

static const command COMMANDS[] = {
    {"run", "a model on suites of cases, results into a database", eval_run_main},
    {"merge", "the databases of shards into one", eval_merge_main},
    {"import", "other harnesses' cases into a suite", eval_import_main},
    {"gate", "verdicts by a policy, and the quality manifest that travels with the model",
     eval_gate_main},
    {"compare", "two models on the cases that both have done", eval_compare_main},
    {"show", "one case and what models made of it", eval_show_main},
    {"export", "figures and verdicts as CSV, JSON, a model card's or in-toto", eval_export_main},
    {"perplexity", "how well a model predicts a text", eval_perplexity_main},
};

enum { N_COMMANDS = sizeof COMMANDS / sizeof COMMANDS[0] };

static void print_help(FILE *stream)
{
    fprintf(stream, "usage: slm-eval COMMAND [arguments]\n\nMeasures .slm models.\n\ncommands:\n");
    for (int i = 0; i < N_COMMANDS; i++) {
        fprintf(stream, "  %-16s%s\n", COMMANDS[i].name, COMMANDS[i].help);
    }
    fprintf(stream, "\nslm-eval COMMAND --help describes a command.\n");
}

int main(int argc, char **argv)
{
    for (int i = 0; argc > 1 && i < N_COMMANDS; i++) {
        if (strcmp(argv[1], COMMANDS[i].name) == 0) {
            return COMMANDS[i].run(argc - 1, argv + 1);
        }
    }
    /* Not a command: only --help, --version and the messages of misuse are left to say. */
    bool json = false;
    cli_option options[] = {{.name = "json", .kind = CLI_FLAG, .value = &json}};
    const char *operand = NULL;
    cli c = {.tool = "slm-eval",
             .synopsis = "COMMAND [arguments]",
             .summary = "",
             .options = options,
             .n_options = 1,
             .min_operands = 1,
             .max_operands = 1,
             .operands = &operand};
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        print_help(stdout);
        return cli_finish(&c, EXIT_OK);
    }
    int code = cli_parse(&c, argc > 2 && strcmp(argv[1], "--json") != 0 ? 2 : argc, argv);
    if (code >= 0) {
        return code;
    }
    for (int i = 2; i < argc; i++) {
        json = json || strcmp(argv[i], "--json") == 0;
    }
    failure f = {0};
    fail(&f, EXIT_USAGE, "'%s': unknown command (slm-eval --help lists them)", operand);
    return cli_report(&c, &f);
}
