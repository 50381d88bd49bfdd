/* eval_compare_cli.h - the subcommands of slm-eval that look into a database: compare, show,
 * export.
 */
#ifndef SLM_TOOLS_EVAL_COMPARE_CLI_H
#define SLM_TOOLS_EVAL_COMPARE_CLI_H

int eval_compare_main(int argc, char **argv);
int eval_show_main(int argc, char **argv);
int eval_export_main(int argc, char **argv);

#endif
