/* split_regex.h - the regular expressions by which tokenizers cut text -> instructions of a
 * backtracking matcher, and those of all expressions together -> the program of a BPE1 payload.
 *
 * The meaning is that of Oniguruma with Ruby's syntax, the engine of the reference library. What is
 * not understood exactly is refused by name: possessive repetitions of more than one character,
 * atomic groups, look-behind, word boundaries, look-ahead further than one character.
 */
#ifndef SLM_TOOLS_SPLIT_REGEX_H
#define SLM_TOOLS_SPLIT_REGEX_H

#include "lib/char_set.h"
#include "lib/failure.h"

enum { SPLIT_MAX_CODE = 4096, SPLIT_MAX_SETS = 256, SPLIT_MAX_STAGES = 16 };

typedef enum split_op {
    SPLIT_SET,  /* a character of the set */
    SPLIT_LOOK, /* the next character is of the set, or, with at_end, the text is at its end */
    SPLIT_FORK, /* go on at x; if that fails, at y */
    SPLIT_JUMP, /* go on at x */
    SPLIT_MATCH
} split_op;

typedef struct split_code {
    split_op op;
    uint32_t set;
    int32_t x, y; /* relative to this instruction */
    bool at_end;
} split_code;

typedef struct split_sets {
    char_set sets[SPLIT_MAX_SETS];
    uint32_t n;
} split_sets;

/* Appends nothing to code but fills it from 0 on; *n instructions, the last of them SPLIT_MATCH.
 * Sets are shared by all expressions. Errors: EXIT_INPUT with the place in the expression. */
int split_parse(const char *name, const char *pattern, split_sets *sets,
                split_code code[SPLIT_MAX_CODE], uint32_t *n, failure *f);

/* One step of cutting. */
typedef struct split_stage {
    char *pattern;  /* owned */
    uint32_t flags; /* STAGE_* of the payload */
} split_stage;

/* The program of the payload; malloc'd. Errors: EXIT_INPUT, EXIT_RESOURCE. */
int split_compile(const char *name, const split_stage *stages, uint32_t n_stages, uint8_t **program,
                  uint64_t *n_program, failure *f);

#endif
