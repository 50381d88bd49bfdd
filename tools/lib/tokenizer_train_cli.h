/* tokenizer_train_cli.h - `slm-tokenizer train`: texts -> a vocabulary. */
#ifndef SLM_TOOLS_TOKENIZER_TRAIN_CLI_H
#define SLM_TOOLS_TOKENIZER_TRAIN_CLI_H

/* argv[0] is the command's name. Returns the exit code. */
int tokenizer_train_main(int argc, char **argv);

#endif
