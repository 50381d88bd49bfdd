/* text_model.h - the tokenizer of a .slm file, or one built in memory from another source. */
#ifndef SLM_TOOLS_TEXT_MODEL_H
#define SLM_TOOLS_TEXT_MODEL_H

#include "lib/convert_notes.h"
#include "lib/input.h"
#include "lib/tokenizer_json.h"

enum { TEXT_MODEL_FILES = 2 };

typedef struct text_model {
    const char *path;              /* borrowed, or own_path */
    char *files[TEXT_MODEL_FILES]; /* what was read; owned */
    uint32_t n_files;
    const slm_tokenizer *tokenizer;
    const uint8_t *payload; /* the TOKN section */
    uint64_t n_payload;
    const char *kind;    /* "BPE1" or "BTOK" */
    const uint8_t *chat; /* the CHAT section, or NULL */
    uint64_t n_chat;
    const char *chat_text; /* the TMPL section, or NULL */
    uint64_t n_chat_text;
    bool has_chat;
    char warnings[2048]; /* of building */
    input file;
    tokenizer_payload built;
    void *memory;
    char *own_path; /* of a file in a folder */
} text_model;

/* A path that ends in ".json" is a tokenizer.json; a tokenizer_config.json beside it is read too.
 * One that ends in ".model" is SentencePiece's, in ".bin" llama2.c's tokenizer.bin; GGUF and .slm
 * files and bare payloads say themselves what they are. Of a folder its tokenizer.json is taken, or
 * else its tokenizer.model, vocab.json with merges.txt, or tokenizer.bin.
 * m is then the caller's to close, also on failure. */
int text_model_open(text_model *m, const char *path, failure *f);

/* The same for payloads in memory, which m takes over (also on failure). path: for messages. */
int text_model_adopt(text_model *m, const char *path, tokenizer_payload *payload, failure *f);

/* Text -> malloc'd ids (the caller's to free). flags: SLM_ENCODE_*. */
int text_model_encode(const text_model *m, const char *text, size_t n_bytes, uint32_t flags,
                      int32_t **ids, size_t *n_ids, failure *f);

/* Moves the payloads out of m (a copy, if it is a .slm file) for a model with n_vocab rows. */
int text_model_take(text_model *m, uint32_t n_vocab, tokenizer_payload *payload, notes *w,
                    failure *f);

void text_model_close(text_model *m);

#endif
