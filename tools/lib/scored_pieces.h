/* scored_pieces.h - tokenizer.model (SentencePiece) and tokenizer.bin (llama2.c) -> payloads.
 *
 * Both list pieces with scores, as a GGUF vocabulary of the kind "llama" does. They are brought
 * into its metadata keys, so that there is one reader that makes merges of scores.
 */
#ifndef SLM_TOOLS_SCORED_PIECES_H
#define SLM_TOOLS_SCORED_PIECES_H

#include <stdbool.h>

#include "lib/convert_notes.h"
#include "lib/tokenizer_json.h"

/* SentencePiece's own numbers, which GGUF has taken over. */
enum {
    PIECE_NORMAL = 1,
    PIECE_UNKNOWN = 2,
    PIECE_CONTROL = 3,
    PIECE_USER = 4,
    PIECE_UNUSED = 5,
    PIECE_BYTE = 6
};

typedef struct scored_piece {
    const uint8_t *bytes; /* borrowed */
    uint32_t n_bytes;
    float score;
    uint32_t type;
} scored_piece;

typedef struct scored_pieces {
    scored_piece *pieces; /* owned */
    uint32_t n;
    int32_t bos_id, eos_id; /* -1: none */
    bool prefix;            /* a space is put before a text */
} scored_pieces;

/* The ModelProto of a SentencePiece model of kind BPE, without its own normalization. bytes:
 * borrowed. Errors: EXIT_INPUT with the offset or the field, EXIT_RESOURCE. */
int sentencepiece_parse(const char *name, const uint8_t *bytes, uint64_t n_bytes, scored_pieces *s,
                        failure *f);
void scored_pieces_free(scored_pieces *s); /* accepts a zeroed one; clears */

/* The payload of a file whose name ends in ".model" or ".bin". */
int tokenizer_from_pieces(const char *name, const uint8_t *bytes, uint64_t n_bytes,
                          tokenizer_payload *payload, notes *w, failure *f);

#endif
