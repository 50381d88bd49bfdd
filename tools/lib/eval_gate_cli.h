/* eval_gate_cli.h - the subcommand slm-eval gate. */
#ifndef SLM_TOOLS_EVAL_GATE_CLI_H
#define SLM_TOOLS_EVAL_GATE_CLI_H

int eval_gate_main(int argc, char **argv);

#endif
