/* payload.h - the layout of BTOK and BPE1 payloads, for the reader here and the writer in tools/.
 * schemas/slm-tokenizer.md is the normative description.
 */
#ifndef SLM_TEXT_PAYLOAD_H
#define SLM_TEXT_PAYLOAD_H

#include <stdint.h>

#define BTOK_MAGIC 0x4b4f5442u /* "BTOK" */
#define BPE1_MAGIC 0x31455042u /* "BPE1" */

enum {
    BTOK_VERSION = 1,
    BTOK_BYTES = 16,
    BTOK_BOS = 256,
    BTOK_EOS = 257,
    BTOK_TOKENS = 258,

    BPE1_VERSION = 1,
    BPE1_HEADER_BYTES = 64,
    BPE1_MAX_TOKENS = 1 << 24,
    BPE1_MAX_MERGES = 1 << 24,
    BPE1_MAX_ADDED = 1 << 16,
    BPE1_MAX_PATTERN = 1024, /* bytes of an added token as it is looked for in text */
    BPE1_MAX_STOPS = 64
};

#define BPE1_NO_ID 0xffffffffu

/* Flags of the header (BTOK: the two ADD flags only). */
enum {
    TOK_ADD_BOS = 1,
    TOK_ADD_EOS = 2,
    TOK_BYTE_LEVEL = 4,     /* merging starts from bytes; without it from characters */
    TOK_NFC = 8,            /* text is brought into normalization form C first */
    TOK_MARK_SPACES = 16,   /* spaces become U+2581 before merging, and back in decoding */
    TOK_SPACES_LATE = 32,   /* ... after normalized added tokens were looked for, not before */
    TOK_BYTE_FALLBACK = 64, /* characters without a token become BYTE tokens */
    TOK_FUSE_UNK = 128,     /* neighbouring unknown characters give one unknown token */
    TOK_STRIP_SPACE = 256,  /* decoding drops one space at the very beginning */
    TOK_TIES = 512,         /* merges may have the same rank: the leftmost comes first */
    TOK_FLAGS_ALL = 1023
};

/* How text is cut into words before merging. */
enum {
    PRE_NONE = 0, /* not at all */
    PRE_GPT2 = 1,
    PRE_LLAMA3 = 2,
    PRE_QWEN2 = 3,
    PRE_MARKS = 4,   /* a word begins at each U+2581 */
    PRE_DIGITS = 5,  /* GPT-2, after every number character was cut out */
    PRE_PROGRAM = 6, /* by the automata of a program */
    PRE_COUNT = 7
};

/* The program of PRE_PROGRAM: stages that cut what the stage before them left, by automata. */
enum {
    PROGRAM_HEADER_BYTES = 272,
    PROGRAM_MAX_STAGES = 16,
    PROGRAM_MAX_COLUMNS = 255,
    PROGRAM_MAX_STATES = 256,
    PROGRAM_BAD_CHARACTER = 0x110000, /* a byte that belongs to none */
    PROGRAM_MATCH = 0x8000,           /* in a transition: a match ends before this character */

    STAGE_BYTES = 1,     /* characters are bytes, as the byte-level alphabet writes them */
    STAGE_DROP_GAPS = 2, /* what lies between matches is left out, and not a word */
    STAGE_FLAGS_ALL = 3
};

/* What is put before a piece of text: U+2581, or a space if TOK_BYTE_LEVEL. */
enum {
    PREFIX_NONE = 0,
    PREFIX_ALWAYS = 1, /* before every piece that is not empty */
    PREFIX_UNLESS = 2, /* ... unless it begins with one */
    PREFIX_FIRST = 3,  /* ... only before a piece at the beginning of the text */
    PREFIX_COUNT = 4
};

/* A token's kind (low 3 bits) and attributes. */
enum {
    TOKEN_UNUSED = 0, /* an id that stands for nothing */
    TOKEN_NORMAL = 1,
    TOKEN_BYTE = 2,    /* one byte of a character that has no token */
    TOKEN_ADDED = 3,   /* added to the vocabulary, plain text */
    TOKEN_CONTROL = 4, /* not text: BOS, end of turn, ... */
    TOKEN_KIND_MASK = 7,
    TOKEN_MERGES = 8, /* merging may make or use it */
    TOKEN_DIRECT = 16 /* a word with these bytes is this token, without merging */
};

/* Flags of an entry of the added-token tables. */
enum {
    ADDED_CONTROL = 1,     /* recognised only with SLM_ENCODE_CONTROL */
    ADDED_LSTRIP = 2,      /* takes the white space before it */
    ADDED_RSTRIP = 4,      /* takes the white space behind it */
    ADDED_SINGLE_WORD = 8, /* not inside a word */
    ADDED_FLAGS_ALL = 15
};

/* ---- CHAT ------------------------------------------------------------------------------------ */

enum {
    CHAT_VERSION = 2,
    CHAT_HEADER_BYTES = 16,
    CHAT_MAX_PIECES = 128,
    CHAT_MAX_TURN_TEXT = 384,  /* bytes in all prefixes and suffixes: 512 more than a message do */
    CHAT_MAX_ONCE_TEXT = 4032, /* bytes in what is written once: 4096 more than the messages do */
    CHAT_MAX_TEXT = CHAT_MAX_TURN_TEXT + CHAT_MAX_ONCE_TEXT,
    CHAT_MAX_TEMPLATE = 1 << 20, /* bytes of a chat template that is kept as text */

    CHAT_SYSTEM_IN_USER = 1, /* a system message is written inside the user turn that follows */
    CHAT_SYSTEM_LAST = 2,    /* ... inside the last user turn */
    CHAT_NO_SYSTEM_TURN = 4, /* there is no place for a system message */
    CHAT_DROP_THOUGHT = 8,   /* of an answer only what follows the last "</think>" is written */
    CHAT_DROP_NEWLINES = 16, /* ... without the newlines that follow it */
    CHAT_FLAGS_ALL = 31,

    /* How the ends of a text are trimmed, 4 bits each from bit 16 on: system, user, assistant, user
     * behind a system message inside its turn. Low two bits the left end, high two the right. */
    CHAT_TRIM_SHIFT = 16,
    CHAT_TRIM_NONE = 0,
    CHAT_TRIM_SPACE = 1,    /* white space */
    CHAT_TRIM_NEWLINES = 2, /* newlines */
    CHAT_TRIM_IN_USER = 3   /* the fourth */
};

/* Sequences of pieces. */
enum {
    CHAT_BEGIN = 0,     /* once, before everything */
    CHAT_NO_SYSTEM = 1, /* after BEGIN, if the first message is not the system's */
    CHAT_GENERATE = 2,  /* the beginning of the answer that is asked for */
    CHAT_PREFIX = 3,    /* + role: before its text */
    CHAT_SUFFIX = 6,    /* + role: behind its text */
    CHAT_SEQUENCES = 9
};

#endif
