/* tokenizer_build.h - a tokenizer as read from its source, before it becomes payloads. Shared by
 * the files that read tokenizer.json and write BPE1 and CHAT.
 */
#ifndef SLM_TOOLS_TOKENIZER_BUILD_H
#define SLM_TOOLS_TOKENIZER_BUILD_H

#include <stdbool.h>

#include "lib/json_in.h"
#include "lib/split_regex.h"
#include "lib/tokenizer_json.h"
#include "text/payload.h"

typedef struct build_token {
    const uint8_t *bytes; /* borrowed */
    uint32_t n_bytes;
    uint8_t kind; /* TOKEN_* and attributes */
} build_token;

typedef struct build_added {
    const char *content; /* borrowed */
    uint8_t *pattern;    /* owned */
    uint32_t id, n_bytes;
    uint16_t flags; /* ADDED_* */
    bool normalized;
} build_added;

/* What the steps of the decoder do. */
enum { DECODES_MARKS = 1, DECODES_BYTES = 2, DECODES_FUSED = 4 };

typedef struct tokenizer_build {
    const char *name;            /* of tokenizer.json, for messages; borrowed */
    json_t *vocab;               /* borrowed */
    uint32_t flags, pre, prefix; /* as in the payload */
    uint32_t decodes;            /* DECODES_*, of the steps so far */
    bool has_decoder;
    build_token *tokens;
    uint32_t n_tokens;
    uint32_t *merges; /* n_merges pairs of ids, by rank */
    uint32_t n_merges;
    uint8_t *ties; /* a bit per merge: it has the rank of the one before; NULL: none has */
    split_stage stages[SPLIT_MAX_STAGES]; /* how the pre-tokenizer cuts */
    uint32_t n_stages;
    uint8_t *program; /* of PRE_PROGRAM */
    uint64_t n_program;
    build_added *added;
    uint32_t n_added;
    uint8_t *pool; /* bytes of tokens that differ from their JSON strings */
    int32_t unk_id, bos_id, eos_id;
    bool ignore_merges, template_bos, template_eos, has_template;
    int32_t stops[BPE1_MAX_STOPS];
    uint32_t n_stops;
    char *warnings; /* n_warnings bytes, one line each */
    size_t n_warnings;
} tokenizer_build;

/* Appends "name: TEXT\n" to the warnings; what does not fit is dropped. */
void build_warn(tokenizer_build *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The id of a token by its JSON string, in the vocabulary or among the added tokens; -1: none. */
int32_t build_find(const tokenizer_build *b, const char *text);

/* Adds an id to the sorted stop ids; ignores -1 and repetitions. */
void build_stop(tokenizer_build *b, int32_t id);

/* The regular expression of a pre-tokenizer that a Split step writes so, or NULL. */
const char *build_split(uint32_t pre);

/* normalizer, pre_tokenizer, decoder -> flags, pre, prefix. */
int build_read_steps(tokenizer_build *b, json_t *root, failure *f);

/* The stages -> pre, and the program if that is PRE_PROGRAM. */
int build_cut(tokenizer_build *b, failure *f);

/* post_processor -> template_bos, template_eos and their ids. Needs tokens. */
int build_read_template(tokenizer_build *b, json_t *root, failure *f);

/* The BPE1 payload, proved by the runtime's reader; malloc'd. */
int build_payload(tokenizer_build *b, uint8_t **payload, uint64_t *n_payload, failure *f);

#endif
