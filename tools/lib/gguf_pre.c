/* gguf_pre.c - the pre-tokenizers that GGUF files name. The expressions are those of the models'
 * own tokenizer.json files.
 */
#include "lib/gguf_pre.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/split_regex.h"

#define CASED_ENDINGS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPACES "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CL100K(numbers)                                                                            \
    CASED_ENDINGS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" numbers                                        \
                  "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES

/* Words that begin with capitals or are of them alone: o200k and its kin. */
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define O200K(ending, numbers)                                                                     \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" ending "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER  \
    "*" ending "|" numbers "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES

/* Cased letters. */
#define DEEPSEEK_LETTERS                                                                           \
    "\\s?[A-Za-z\\u00b5\\u00c0-\\u00d6\\u00d8-\\u00f6\\u00f8-\\u01ba\\u01bc-\\u01bf"               \
    "\\u01c4-\\u0293\\u0295-\\u02af\\u0370-\\u0373\\u0376\\u0377\\u037b-\\u037d\\u037f\\u0386"     \
    "\\u0388-\\u038a\\u038c\\u038e-\\u03a1\\u03a3-\\u03f5\\u03f7-\\u0481\\u048a-\\u052f"           \
    "\\u0531-\\u0556\\u10a0-\\u10c5\\u13a0-\\u13f5\\u13f8-\\u13fd\\u1c90-\\u1cba"                  \
    "\\u1cbd-\\u1cbf\\u1d00-\\u1d2b\\u1d6b-\\u1d77\\u1d79-\\u1d9a\\u1e00-\\u1f15"                  \
    "\\u1f18-\\u1f1d\\u1f20-\\u1f45\\u1f48-\\u1f4d\\u1f50-\\u1f57\\u1f59\\u1f5b\\u1f5d"            \
    "\\u1f5f-\\u1f7d\\u1f80-\\u1fb4\\u1fb6-\\u1fbc\\u1fbe\\u1fc2-\\u1fc4\\u1fc6-\\u1fcc"           \
    "\\u1fd0-\\u1fd3\\u1fd6-\\u1fdb\\u1fe0-\\u1fec\\u1ff2-\\u1ff4\\u1ff6-\\u1ffc\\u2102"           \
    "\\u2107\\u210a-\\u2113\\u2115\\u2119-\\u211d\\u2124\\u2126\\u2128\\u212a-\\u212d"             \
    "\\u212f-\\u2134\\u2139\\u213c-\\u213f\\u2145-\\u2149\\u214e\\u2183\\u2184\\u2c00-\\u2c7b"     \
    "\\u2c7e-\\u2ce4\\u2ceb-\\u2cee\\u2cf2\\u2cf3\\ua640-\\ua66d\\ua680-\\ua69b"                   \
    "\\ua722-\\ua76f\\ua771-\\ua787\\ua78b-\\ua78e\\uab70-\\uabbf\\ufb00-\\ufb06"                  \
    "\\ufb13-\\ufb17\\uff21-\\uff3a\\uff41-\\uff5a\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}"      \
    "\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}"         \
    "\\x{1e900}-\\x{1e943}]+"
#define DEEPSEEK_MARKS "\\s?[!-/:-~\\uff01-\\uff0f\\uff1a-\\uff5e\\u2018-\\u201f\\u3000-\\u3002]+"
#define DEEPSEEK_CJK "[\\u4e00-\\u9fa5\\u0800-\\u4e00\\uac00-\\ud7ff]+"
#define DEEPSEEK3_WORDS                                                                            \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?"           \
    "[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+"
#define BLOOM " ?[^(\\s|.,!?\\u2026\\u3002\\uff0c\\u3001\\u0964\\u06d4\\u060c)]+"

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define KANA_AND_HAN "[\\u4e00-\\u9fa5\\u3040-\\u309f\\u30a0-\\u30ff]+"
#define CJK_PUNCTUATION                                                                            \
    "[\\uff01\\u2026\\u201c\\u201d\\u2018\\u2019\\u2014\\uff1a\\uff1b\\uff0c\\u3001-\\u303f"       \
    "\\ufe30-\\ufe4f]+"

static const pre_kind KINDS[] = {
    {.names = " gpt-2 phi-2 olmo mpt jais jina-es jina-de gigachat mellum a.x-4.0 exaone4 trillion"
              " granite-docling ",
     .gpt2 = true},
    {.names = " jina-v2-es jina-v2-de ", .gpt2 = true, .lstrip = "<mask>"},
    {.names = " modern-bert ", .gpt2 = true, .lstrip = "[MASK]"},
    {.names = " default ",
     .splits = {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
    {.names = " smollm starcoder refact command-r codeshell exaone minerva-7b mellum2 ",
     .splits = {"\\p{N}"},
     .gpt2 = true},
    {.names = " llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano ",
     .splits = {CL100K("\\p{N}{1,3}")},
     .ignore_merges = true,
     .add_bos = true},
    {.names = " dbrx smaug-bpe glm4 chatglm-bpe ", .splits = {CL100K("\\p{N}{1,3}")}},
    {.names = " minicpm5 ", .splits = {"\\p{N}{1,3}", CL100K("\\p{N}+")}, .ignore_merges = true},
    {.names = " qwen2 deepseek-r1-qwen stablelm2 ", .splits = {CL100K("\\p{N}")}, .nfc = true},
    {.names = " hunyuan grok-2 solar-open megrez kormo f2llmv2 ", .splits = {CL100K("\\p{N}")}},
    {.names = " qwen35 ",
     .splits = {CASED_ENDINGS "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}"
                              "| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" SPACES},
     .nfc = true},
    {.names = " gpt-4o llama4 kanana2 minimax-m2 talkie ",
     .splits = {O200K(CASED_ENDINGS "?", "\\p{N}{1,3}")}},
    {.names = " tekken ", .splits = {O200K("", "\\p{N}")}, .ignore_merges = true, .add_bos = true},
    {.names = " deepseek-llm ",
     .splits = {"[\\r\\n]", DEEPSEEK_LETTERS, DEEPSEEK_MARKS, "\\s+$", DEEPSEEK_CJK, "\\p{N}+"}},
    {.names = " deepseek-coder ",
     .splits = {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", DEEPSEEK_CJK, "\\p{N}"}},
    {.names = " deepseek-v3 hunyuan-dense joyai-llm hy_v4 ",
     .splits = {"\\p{N}{1,3}", KANA_AND_HAN, DEEPSEEK3_WORDS "[\\r\\n]*|" SPACES}},
    {.names = " spark2_5 ",
     .splits = {"\\p{N}{1,3}", KANA_AND_HAN, DEEPSEEK3_WORDS "|[\\r\\n]|\\s+(?!\\S)|\\s+",
                "\\p{N}"}},
    {.names = " youtu ",
     .splits = {"[\\uac00-\\ud7a3\\u3131-\\u318e]+|" CJK_PUNCTUATION
                "|[\\u3105-\\u312f]+|" KANA_AND_HAN,
                O200K(CASED_ENDINGS "?", "\\p{N}")},
     .ignore_merges = true},
    {.names = " chameleon ",
     .splits = {"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\\t\\n]|    |  )",
                "\\p{N}", "[\\p{P}!-/:-@\\[-`{-~]", GPT2},
     .add_bos = true},
    {.names = " exaone-moe ",
     .splits = {CASED_ENDINGS "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+"
                              "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]"
                              "|\\s+(?!\\S)|\\s+"}},
    {.names = " laguna ", .splits = {"[^\\n]+|[\\n]+", CL100K("\\p{N}")}},
    {.names = " ufakzeka ",
     .splits = {"[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES}},
    {.names = " falcon ", .splits = {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"}},
    {.names = " bloom poro-chat gpt3-finnish ", .splits = {BLOOM}},
    {.names = " viking ", .splits = {BLOOM, "\\p{N}"}},
    {.names = " seed-coder ",
     .splits = {CASED_ENDINGS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}"
                              "| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" SPACES}},
    {.names = " bailingmoe bailingmoe2 llada-moe ",
     .splits = {"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
                "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"}},
};

#define MARK "\xe2\x96\x81"
#define BAR "\xef\xbd\x9c" /* U+FF5C */

/* What ends a turn or a text, or marks the places of what is to be filled in. */
static const char CONTROL_NAMES[] =
    " <|eot_id|> <|eom_id|> <|im_end|> <|end|> <|return|> <|call|> <|calls|> <|flush|> "
    "<end_of_turn>"
    " <|endoftext|> </s> <EOT> _<EOT> [EOT] [EOS] <|end_of_text|> <eos> <end_of_utterance> <turn|>"
    " <|tool_response> [e~[ <" BAR "end" MARK "of" MARK "sentence" BAR ">"
    " <|fim_prefix|> <fim-prefix> <fim_prefix> <PRE> <|code_prefix|> <|prefix|> " MARK "<PRE>"
    " <|fim_suffix|> <fim-suffix> <fim_suffix> <SUF> <|code_suffix|> <|suffix|> " MARK "<SUF>"
    " <|fim_middle|> <fim-middle> <fim_middle> <MID> <|code_middle|> <|middle|> " MARK "<MID>"
    " <" BAR "fim" MARK "begin" BAR "> <" BAR "fim" MARK "hole" BAR "> <" BAR "fim" MARK "end" BAR
    "> <|fim_pad|> <fim-pad> <fim_pad> <PAD> [PAD] <|fim_repo|> <fim-repo> <|repo_name|> <REPO>"
    " <reponame> <|file_sep|> ";

/* Is a name one of those, each with a space before and behind it? */
static bool is_among(const char *names, const char *name, size_t n)
{
    for (const char *at = names; at[1]; at = strchr(at + 1, ' ')) {
        size_t length = (size_t)(strchr(at + 1, ' ') - at) - 1;
        if (length == n && memcmp(at + 1, name, n) == 0) {
            return true;
        }
    }
    return false;
}

bool gguf_token_is_control(const char *text, size_t n)
{
    return is_among(CONTROL_NAMES, text, n);
}

const pre_kind *gguf_pre_find(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof KINDS / sizeof KINDS[0]; i++) {
        if (is_among(KINDS[i].names, name, n)) {
            return &KINDS[i];
        }
    }
    return NULL;
}

const pre_kind *gguf_pre_gemma4(void)
{
    static const pre_kind gemma4 = {.names = " ", .add_bos = true, .force_bos = true};
    return &gemma4;
}

static int compile(const pre_kind *kind, uint8_t **program, uint64_t *n_program, failure *f)
{
    split_stage stages[MAX_SPLITS];
    uint32_t n = 0;
    int code = EXIT_OK;
    for (; n < MAX_SPLITS && kind->splits[n] && code == EXIT_OK; n++) {
        stages[n] = (split_stage){strdup(kind->splits[n]), 0};
        code = stages[n].pattern ? EXIT_OK : fail(f, EXIT_RESOURCE, "no memory");
    }
    code = code ? code : split_compile("tokenizer.ggml.pre", stages, n, program, n_program, f);
    for (uint32_t i = 0; i < n; i++) {
        free(stages[i].pattern);
    }
    return code;
}

int gguf_pre_of_program(const uint8_t *program, uint64_t n_program, const pre_kind **kind,
                        failure *f)
{
    int code = EXIT_OK;
    *kind = NULL;
    for (size_t i = 0; i < sizeof KINDS / sizeof KINDS[0] && !*kind && code == EXIT_OK; i++) {
        uint8_t *made = NULL;
        uint64_t n_made = 0;
        if (KINDS[i].gpt2) {
            continue; /* those are known without a program */
        }
        code = compile(&KINDS[i], &made, &n_made, f);
        if (code == EXIT_OK && n_made == n_program && memcmp(made, program, n_made) == 0) {
            *kind = &KINDS[i];
        }
        free(made);
    }
    return code;
}

void gguf_pre_names(char *text, size_t n)
{
    size_t used = 0;
    for (size_t i = 0; i < sizeof KINDS / sizeof KINDS[0]; i++) {
        int more = snprintf(text + used, n - used, "%.*s", (int)strlen(KINDS[i].names) - 1,
                            KINDS[i].names);
        used = used + (size_t)more < n ? used + (size_t)more : n - 1;
    }
}
