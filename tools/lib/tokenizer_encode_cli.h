/* tokenizer_encode_cli.h - `slm-tokenizer encode` and `stats`: a text -> its tokens, or figures. */
#ifndef SLM_TOOLS_TOKENIZER_ENCODE_CLI_H
#define SLM_TOOLS_TOKENIZER_ENCODE_CLI_H

/* argv[0] is the command's name. They return the exit code. */
int tokenizer_encode_main(int argc, char **argv);
int tokenizer_stats_main(int argc, char **argv);

#endif
