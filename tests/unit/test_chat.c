/* test_chat.c - chat templates in the layouts of the families -> turns, against conversations
 * written out by hand; what messages may hold; templates that must be refused; payloads that were
 * tampered with. The templates are our own.
 */
#include "lib/check.h"
#include <jansson.h>

#include "lib/small_tokenizer.h"
#include "text/payload.h"

static const slm_message TALK[] = {{SLM_ROLE_SYSTEM, "be kind", 7},
                                   {SLM_ROLE_USER, " hi <|im_end|> ", 15},
                                   {SLM_ROLE_ASSISTANT, "ho", 2},
                                   {SLM_ROLE_USER, "so?", 3}};

/* ---- Small models ---------------------------------------------------------------------------- */

/* A byte vocabulary with control tokens (words parted by blanks) from id 257 on. swallow: they take
 * the white space behind them. */
static char *model_json(const char *controls, bool swallow)
{
    char vocab[4096] = "\"vocab\":{", *p = vocab + strlen(vocab), added[4096] = "", name[64];
    for (int i = 0, other = 0x100; i < 256; i++) {
        int c = (i >= 0x21 && i <= 0x7e) || (i >= 0xa1 && i != 0xad) ? i : other++;
        p += sprintf(p, "\"\\u%04x\":%d,", (unsigned)c, i);
    }
    strcpy(p, "\"aa\":256},\"merges\":[\"a a\"]");
    for (int id = 257, n; sscanf(controls, " %63s%n", name, &n) == 1; id++, controls += n) {
        sprintf(added + strlen(added),
                "%s{\"id\":%d,\"content\":\"%s\",\"single_word\":false,\"lstrip\":false,"
                "\"rstrip\":%s,\"normalized\":false,\"special\":true}",
                id == 257 ? "" : ",", id, name, swallow ? "true" : "false");
    }
    static const char old_vocab[] = "\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"ab\":3,\"abc\":4,"
                                    "\"\\u0120\":5,\"bc\":7},\"merges\":[\"a b\",\"b c\",\"ab c\"]";
    char *half = small_json_with(small_json, old_vocab, vocab);
    char *json = small_json_with(half, SMALL_ADDED, added);
    free(half);
    return json;
}

/* s->chat: NULL if the template has no turns. */
static void open_model(small_tokenizer *s, const char *controls, const char *bos, const char *eos,
                       const char *template, bool swallow)
{
    failure f = {0};
    json_t *config =
        json_pack("{s:s*,s:s*,s:s}", "bos_token", bos, "eos_token", eos, "chat_template", template);
    char *text = json_dumps(config, 0), *json = model_json(controls, swallow);
    if (small_build(s, json, text, &f) != EXIT_OK || s->status != SLM_OK) {
        printf("# %s%s\nnot ok 0 - cannot build\n", f.text, s->status ? s->error.text : "");
        exit(1);
    }
    free(json);
    free(text);
    json_decref(config);
}

/* Ids of a conversation, malloc'd; scratch has exactly the promised size. */
static slm_status write_ids(const small_tokenizer *s, const slm_message *messages, size_t n,
                            uint32_t flags, int32_t **ids, size_t *n_ids)
{
    size_t n_bytes = 4096;
    for (size_t i = 0; i < n; i++) {
        n_bytes += messages[i].n_bytes + 512;
    }
    size_t scratch_bytes = slm_encode_scratch_bytes(s->t, n_bytes);
    void *scratch = malloc(scratch_bytes);
    *ids = (int32_t *)malloc((3 * n_bytes + 8) * sizeof **ids);
    *n_ids = 0;
    slm_status status = slm_chat_write(s->chat, s->t, messages, n, flags, *ids, 3 * n_bytes + 8,
                                       n_ids, scratch, scratch_bytes, NULL);
    free(scratch);
    return status;
}

static void expect(const small_tokenizer *s, const slm_message *messages, size_t n, uint32_t flags,
                   const char *want)
{
    static char text[1 << 16];
    int32_t *ids;
    size_t n_ids, used = 0, k;
    slm_decoder d;
    if (!s->chat) {
        printf("# %s", s->payload.warnings);
        CHECK(s->chat != NULL);
        return;
    }
    CHECK(write_ids(s, messages, n, flags, &ids, &n_ids) == SLM_OK);
    slm_decoder_init(&d, SLM_DECODE_CONTROL);
    for (size_t i = 0; i < n_ids; i++) {
        CHECK(slm_decoder_push(&d, s->t, ids[i], text + used, sizeof text - used - 16, &k, NULL) ==
              SLM_OK);
        used += k;
    }
    used += slm_decoder_flush(&d, text + used);
    text[used] = 0;
    CHECK_STRING(text, want);
    free(ids);
}

/* ---- Families -------------------------------------------------------------------------------- */

#define EACH "{% for m in messages %}"
#define END "{% endfor %}"
#define ASK "{% if add_generation_prompt %}"

typedef struct family {
    const char *name, *controls, *bos, *eos, *template;
    const char *alone, *whole; /* the last message; all four of TALK; with an answer asked for */
    const char *stop;          /* the token that ends an answer */
} family;

static const family FAMILIES[] = {
    {"ChatML", "<|im_start|> <|im_end|> <|endoftext|>", NULL, "<|endoftext|>",
     EACH "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}" END ASK
          "<|im_start|>assistant\n{% endif %}",
     "<|im_start|>user\nso?<|im_end|>\n<|im_start|>assistant\n",
     "<|im_start|>system\nbe kind<|im_end|>\n<|im_start|>user\n hi <|im_end|> <|im_end|>\n"
     "<|im_start|>assistant\nho<|im_end|>\n<|im_start|>user\nso?<|im_end|>\n"
     "<|im_start|>assistant\n",
     "<|im_end|>"},
    {"SmolLM2, Qwen2: a system turn of their own", "<|im_start|> <|im_end|> <|endoftext|>", NULL,
     "<|im_end|>",
     EACH "{% if loop.first and messages[0]['role'] != 'system' %}"
          "{{ '<|im_start|>system\nHelp.<|im_end|>\n' }}{% endif %}"
          "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}" END ASK
          "{{ '<|im_start|>assistant\n' }}{% endif %}",
     "<|im_start|>system\nHelp.<|im_end|>\n<|im_start|>user\nso?<|im_end|>\n"
     "<|im_start|>assistant\n",
     "<|im_start|>system\nbe kind<|im_end|>\n<|im_start|>user\n hi <|im_end|> <|im_end|>\n"
     "<|im_start|>assistant\nho<|im_end|>\n<|im_start|>user\nso?<|im_end|>\n"
     "<|im_start|>assistant\n",
     "<|im_end|>"},
    {"Qwen3: thoughts of earlier answers are dropped, an empty one opens a last one",
     "<|im_start|> <|im_end|>", NULL, "<|im_end|>",
     "{%- if tools %}\n{{- tools | tojson }}\n{%- endif %}\n"
     "{%- set ns = namespace(last=messages|length - 1, open=true) %}\n"
     "{%- for m in messages[::-1] %}{%- set i = (messages|length - 1) - loop.index0 %}\n"
     "{%- if ns.open and m.role == 'user' and m.content is string and not "
     "m.content.startswith('<tool>') %}{%- set ns.open = false %}{%- set ns.last = i %}"
     "{%- endif %}\n{%- endfor %}\n"
     "{%- for m in messages %}\n"
     "{%- if m.role == 'assistant' %}{%- set text = m.content %}{%- set thought = '' %}\n"
     "{%- if m.thought is defined and m.thought is not none %}{%- set thought = m.thought %}\n"
     "{%- elif '</think>' in text %}"
     "{%- set thought = text.split('</think>')[0].rstrip('\\n').split('<think>')[-1] %}"
     "{%- set text = text.split('</think>')[-1].lstrip('\\n') %}{%- endif %}\n"
     "{%- if loop.index0 > ns.last %}"
     "{{- '<|im_start|>' + m.role + '\\n<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + "
     "text.lstrip('\\n') }}{%- else %}{{- '<|im_start|>' + m.role + '\\n' + text }}{%- endif %}"
     "{{- '<|im_end|>\\n' }}\n"
     "{%- else %}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' + '\\n' }}"
     "{%- endif %}\n{%- endfor %}\n"
     "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}\n"
     "{%- if enable_thinking is defined and enable_thinking is false %}"
     "{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}\n{%- endif %}",
     "<|im_start|>user\nso?<|im_end|>\n<|im_start|>assistant\n",
     "<|im_start|>system\nbe kind<|im_end|>\n<|im_start|>user\n hi <|im_end|> <|im_end|>\n"
     "<|im_start|>assistant\nho<|im_end|>\n<|im_start|>user\nso?<|im_end|>\n"
     "<|im_start|>assistant\n",
     "<|im_end|>"},
    {"SmolLM3: a date, a mode, newlines off the front of answers", "<|im_start|> <|im_end|>", NULL,
     "<|im_end|>",
     "{%- if not mode is defined %}{%- set mode = '/think' %}{%- endif %}"
     "{%- set first = messages[0] if messages[0].role == 'system' else none %}"
     "{{- '<|im_start|>system\nToday: ' ~ strftime_now('%d %B %Y') ~ '\nMode: ' + mode + '\n\n' }}"
     "{%- if first %}{{- first.content.rstrip() }}{%- else %}{{- 'Be SmolLM.' }}{%- endif %}"
     "{{- '<|im_end|>\n' }}"
     "{%- for m in messages %}{%- if m.role == 'assistant' %}{% generation %}"
     "{{- '<|im_start|>assistant\n' + m.content.lstrip('\n') + '<|im_end|>\n' }}"
     "{% endgeneration %}"
     "{%- elif m.role == 'user' %}{{- '<|im_start|>user\n' + m.content + '<|im_end|>\n' }}"
     "{%- endif %}{%- endfor %}"
     "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}",
     "<|im_start|>system\nToday: 26 July 2024\nMode: /think\n\nBe SmolLM.<|im_end|>\n"
     "<|im_start|>user\nso?<|im_end|>\n<|im_start|>assistant\n",
     "<|im_start|>system\nToday: 26 July 2024\nMode: /think\n\nbe kind<|im_end|>\n"
     "<|im_start|>user\n hi <|im_end|> <|im_end|>\n<|im_start|>assistant\nho<|im_end|>\n"
     "<|im_start|>user\nso?<|im_end|>\n<|im_start|>assistant\n",
     "<|im_end|>"},
    {"Llama 3: every text trimmed",
     "<|begin_of_text|> <|start_header_id|> <|end_header_id|> "
     "<|eot_id|>",
     "<|begin_of_text|>", "<|eot_id|>",
     EACH "{% set c = '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + "
          "m['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
          "{% set c = bos_token + c %}{% endif %}{{ c }}" END ASK
          "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
     "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nso?<|eot_id|>"
     "<|start_header_id|>assistant<|end_header_id|>\n\n",
     "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nbe kind<|eot_id|>"
     "<|start_header_id|>user<|end_header_id|>\n\nhi <|im_end|><|eot_id|>"
     "<|start_header_id|>assistant<|end_header_id|>\n\nho<|eot_id|>"
     "<|start_header_id|>user<|end_header_id|>\n\nso?<|eot_id|>"
     "<|start_header_id|>assistant<|end_header_id|>\n\n",
     "<|eot_id|>"},
    {"Llama 3.2: a header with dates, system or not",
     "<|begin_of_text|> <|start_header_id|> "
     "<|end_header_id|> <|eot_id|>",
     "<|begin_of_text|>", "<|eot_id|>",
     "{{- bos_token }}{%- if not day is defined %}{%- set day = '26 Jul 2024' %}{%- endif %}"
     "{%- if messages[0]['role'] == 'system' %}{%- set text = messages[0]['content']|trim %}"
     "{%- set messages = messages[1:] %}{%- else %}{%- set text = '' %}{%- endif %}"
     "{{- '<|start_header_id|>system<|end_header_id|>\n\n' }}{{- 'Today: ' + day + '\n\n' }}"
     "{{- text }}{{- '<|eot_id|>' }}"
     "{%- for m in messages %}{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + "
     "m.content | trim + '<|eot_id|>' }}{%- endfor %}"
     "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
     "{%- endif %}",
     "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nToday: 26 Jul 2024\n\n"
     "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nso?<|eot_id|>"
     "<|start_header_id|>assistant<|end_header_id|>\n\n",
     "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nToday: 26 Jul 2024\n\n"
     "be kind<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nhi <|im_end|><|eot_id|>"
     "<|start_header_id|>assistant<|end_header_id|>\n\nho<|eot_id|>"
     "<|start_header_id|>user<|end_header_id|>\n\nso?<|eot_id|>"
     "<|start_header_id|>assistant<|end_header_id|>\n\n",
     "<|eot_id|>"},
    {"Llama 2: the system inside the first user turn, BOS and EOS around each pair", "<s> </s>",
     "<s>", "</s>",
     "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}"
     "{% set system = messages[0]['content'] %}{% else %}{% set rest = messages %}"
     "{% set system = false %}{% endif %}{% for m in rest %}"
     "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('order') }}"
     "{% endif %}{% if loop.index0 == 0 and system != false %}"
     "{% set c = '<<SYS>>\n' + system + '\n<</SYS>>\n\n' + m['content'] %}{% else %}"
     "{% set c = m['content'] %}{% endif %}{% if m['role'] == 'user' %}"
     "{{ bos_token + '[INST] ' + c.strip() + ' [/INST]' }}{% elif m['role'] == 'assistant' %}"
     "{{ ' ' + c.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
     "<s>[INST] so? [/INST]",
     "<s>[INST] <<SYS>>\nbe kind\n<</SYS>>\n\n hi <|im_end|> [/INST] ho </s><s>[INST] so? [/INST]",
     "</s>"},
    {"Mistral v1: blanks around the marks, the system before the first user text", "<s> </s>",
     "<s>", "</s>",
     "{%- if messages[0].role == 'system' %}{%- set system = messages[0].content %}"
     "{%- set rest = messages[1:] %}{%- else %}{%- set rest = messages %}{%- endif %}"
     "{{- bos_token }}{%- for m in rest %}{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
     "{{- raise_exception('roles must alternate') }}{%- endif %}{%- if m.role == 'user' %}"
     "{%- if loop.first and system is defined %}"
     "{{- ' [INST] ' + system + '\n\n' + m.content + ' [/INST]' }}{%- else %}"
     "{{- ' [INST] ' + m.content + ' [/INST]' }}{%- endif %}{%- else %}"
     "{{- ' ' + m.content + eos_token }}{%- endif %}{%- endfor %}",
     "<s> [INST] so? [/INST]",
     "<s> [INST] be kind\n\n hi <|im_end|>  [/INST] ho</s> [INST] so? [/INST]", "</s>"},
    {"Mistral v3: marks are tokens, the system before the last user text",
     "<s> </s> [INST] [/INST]", "<s>", "</s>",
     "{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] %}"
     "{%- set rest = messages[1:] %}{%- else %}{%- set rest = messages %}{%- endif %}"
     "{%- set users = rest | selectattr('role', 'equalto', 'user') | list %}"
     "{{- bos_token }}{%- for m in rest %}{%- if m.role == 'user' %}"
     "{%- if loop.last and system is defined %}{{- '[INST] ' + system + '\n\n' + m.content + "
     "'[/INST]' }}{%- else %}{{- '[INST] ' + m.content + '[/INST]' }}{%- endif %}"
     "{%- elif m.role == 'assistant' %}{{- ' ' + m.content|trim + eos_token }}{%- else %}"
     "{{- raise_exception('only users and assistants') }}{%- endif %}{%- endfor %}",
     "<s>[INST] so?[/INST]", "<s>[INST]  hi <|im_end|> [/INST] ho</s>[INST] be kind\n\nso?[/INST]",
     "</s>"},
    {"Mistral v3 tekken: no blanks", "<s> </s> [INST] [/INST]", "<s>", "</s>",
     "{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] %}"
     "{%- set rest = messages[1:] %}{%- else %}{%- set rest = messages %}{%- endif %}"
     "{{- bos_token }}{%- for m in rest %}{%- if m.role == 'user' %}"
     "{%- if loop.last and system is defined %}{{- '[INST]' + system + '\n\n' + m.content + "
     "'[/INST]' }}{%- else %}{{- '[INST]' + m.content + '[/INST]' }}{%- endif %}"
     "{%- else %}{{- m.content + eos_token }}{%- endif %}{%- endfor %}",
     "<s>[INST]so?[/INST]", "<s>[INST] hi <|im_end|> [/INST]ho</s>[INST]be kind\n\nso?[/INST]",
     "</s>"},
    {"Gemma 3: roles of its own, the system in front of the first user text",
     "<bos> <eos> <start_of_turn> <end_of_turn>", "<bos>", "<eos>",
     "{{ bos_token }}\n{%- if messages[0]['role'] == 'system' -%}\n"
     "    {%- set before = messages[0]['content'] + '\n\n' -%}\n"
     "    {%- set rest = messages[1:] -%}\n{%- else -%}\n    {%- set before = '' -%}\n"
     "    {%- set rest = messages -%}\n{%- endif -%}\n{%- for m in rest -%}\n"
     "    {%- set role = 'model' if m['role'] == 'assistant' else m['role'] -%}\n"
     "    {{ '<start_of_turn>' + role + '\n' + (before if loop.first else '') }}\n"
     "    {%- if m['content'] is string -%}\n        {{ m['content'] | trim }}\n"
     "    {%- elif m['content'] is iterable -%}\n        {{ raise_exception('parts') }}\n"
     "    {%- endif -%}\n    {{ '<end_of_turn>\n' }}\n{%- endfor -%}\n"
     "{%- if add_generation_prompt -%}\n    {{'<start_of_turn>model\n'}}\n{%- endif -%}\n",
     "<bos><start_of_turn>user\nso?<end_of_turn>\n<start_of_turn>model\n",
     "<bos><start_of_turn>user\nbe kind\n\nhi <|im_end|><end_of_turn>\n<start_of_turn>model\n"
     "ho<end_of_turn>\n<start_of_turn>user\nso?<end_of_turn>\n<start_of_turn>model\n",
     "<end_of_turn>"},
    {"Phi-3", "<s> <|endoftext|> <|system|> <|user|> <|assistant|> <|end|>", "<s>", "<|endoftext|>",
     EACH "{% if m['role'] == 'system' %}{{'<|system|>\n' + m['content'] + '<|end|>\n'}}"
          "{% elif m['role'] == 'user' %}{{'<|user|>\n' + m['content'] + '<|end|>\n'}}"
          "{% elif m['role'] == 'assistant' %}{{'<|assistant|>\n' + m['content'] + '<|end|>\n'}}"
          "{% endif %}" END ASK "{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
     "<|user|>\nso?<|end|>\n<|assistant|>\n",
     "<|system|>\nbe kind<|end|>\n<|user|>\n hi <|im_end|> <|end|>\n<|assistant|>\nho<|end|>\n"
     "<|user|>\nso?<|end|>\n<|assistant|>\n",
     "<|end|>"},
    {"Zephyr: EOS ends every turn, names of roles are text", "<s> </s>", "<s>", "</s>",
     EACH "\n{% if m['role'] == 'user' %}\n{{ '<|user|>\n' + m['content'] + eos_token }}\n"
          "{% elif m['role'] == 'system' %}\n{{ '<|system|>\n' + m['content'] + eos_token }}\n"
          "{% elif m['role'] == 'assistant' %}\n"
          "{{ '<|assistant|>\n'  + m['content'] + eos_token }}\n{% endif %}\n"
          "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n" END,
     "<|user|>\nso?</s>\n<|assistant|>\n",
     "<|system|>\nbe kind</s>\n<|user|>\n hi <|im_end|> </s>\n<|assistant|>\nho</s>\n<|user|>\n"
     "so?</s>\n<|assistant|>\n",
     "</s>"},
    {"DeepSeek-R1: full-width marks, only what follows a thought is kept",
     "<\xef\xbd\x9c"
     "b\xef\xbd\x9c> <\xef\xbd\x9c"
     "e\xef\xbd\x9c> <\xef\xbd\x9cUser\xef\xbd\x9c> "
     "<\xef\xbd\x9c"
     "Assistant\xef\xbd\x9c>",
     "<\xef\xbd\x9c"
     "b\xef\xbd\x9c>",
     "<\xef\xbd\x9c"
     "e\xef\xbd\x9c>",
     "{% set ns = namespace(text='') %}{%- for m in messages %}{%- if m['role'] == 'system' %}"
     "{% set ns.text = m['content'] %}{%- endif %}{%- endfor %}{{bos_token}}{{ns.text}}"
     "{%- for m in messages %}{%- if m['role'] == 'user' %}{{'<\xef\xbd\x9cUser\xef\xbd\x9c>' + "
     "m['content']}}{%- endif %}{%- if m['role'] == 'assistant' and m['content'] is not none %}"
     "{% set content = m['content'] %}{% if '</think>' in content %}"
     "{% set content = content.split('</think>')[-1] %}{% endif %}"
     "{{'<\xef\xbd\x9c"
     "Assistant\xef\xbd\x9c>' + content + eos_token}}{%- endif %}{%- endfor %}"
     "{% if add_generation_prompt %}{{'<\xef\xbd\x9c"
     "Assistant\xef\xbd\x9c><think>\\n'}}"
     "{% endif %}",
     "<\xef\xbd\x9c"
     "b\xef\xbd\x9c><\xef\xbd\x9cUser\xef\xbd\x9c>so?<\xef\xbd\x9c"
     "Assistant\xef\xbd\x9c><think>\n",
     "<\xef\xbd\x9c"
     "b\xef\xbd\x9c>be kind<\xef\xbd\x9cUser\xef\xbd\x9c> hi <|im_end|> "
     "<\xef\xbd\x9c"
     "Assistant\xef\xbd\x9c>ho<\xef\xbd\x9c"
     "e\xef\xbd\x9c>"
     "<\xef\xbd\x9cUser\xef\xbd\x9c>so?<\xef\xbd\x9c"
     "Assistant\xef\xbd\x9c><think>\n",
     "<\xef\xbd\x9c"
     "e\xef\xbd\x9c>"},
};

static void families(void)
{
    for (size_t i = 0; i < sizeof FAMILIES / sizeof FAMILIES[0]; i++) {
        const family *y = &FAMILIES[i];
        small_tokenizer s;
        int failed = test_failed_here;
        test_failed_here = 0;
        open_model(&s, y->controls, y->bos, y->eos, y->template, false);
        expect(&s, TALK + 3, 1, SLM_CHAT_ANSWER, y->alone);
        expect(&s, TALK, 4, SLM_CHAT_ANSWER, y->whole);
        CHECK(slm_token_is_end(s.t, slm_token_find(s.t, y->stop, strlen(y->stop))));
        CHECK(s.payload.chat_text && s.payload.n_chat_text == strlen(y->template));
        printf("%s# %s\n", test_failed_here ? "# failed: " : "", y->name);
        test_failed_here |= failed;
        small_close(&s);
    }
}

/* ---- Messages -------------------------------------------------------------------------------- */

#define CHATML                                                                                     \
    EACH "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}" END ASK               \
         "<|im_start|>assistant\n{% endif %}"

static size_t count_of(const small_tokenizer *s, uint32_t flags, int32_t id)
{
    int32_t *ids;
    size_t n_ids, count = 0;
    CHECK(write_ids(s, TALK + 1, 1, flags, &ids, &n_ids) == SLM_OK);
    for (size_t i = 0; i < n_ids; i++) {
        count += ids[i] == id;
    }
    free(ids);
    return count;
}

/* TK52: what a user writes is a control token only if the caller says so. */
static void control_tokens_in_messages(void)
{
    small_tokenizer s;
    open_model(&s, "<|im_start|> <|im_end|>", NULL, NULL, CHATML, false);
    CHECK_U64(count_of(&s, SLM_CHAT_ANSWER, 258), 1);
    CHECK_U64(count_of(&s, SLM_CHAT_ANSWER | SLM_CHAT_CONTROL, 258), 2);
    CHECK_U64(count_of(&s, SLM_CHAT_CONTROL, 257), 1);
    small_close(&s);
}

static void arguments(void)
{
    small_tokenizer s;
    open_model(&s, "<|im_start|> <|im_end|>", NULL, NULL, CHATML, false);
    int32_t ids[256];
    size_t n_ids = 0, scratch_bytes = slm_encode_scratch_bytes(s.t, 4096 + 15 + 512);
    void *scratch = malloc(scratch_bytes);
    slm_message odd = {(slm_role)7, "", 0};
    CHECK(slm_chat_write(s.chat, s.t, TALK, 0, 0, ids, 256, &n_ids, scratch, scratch_bytes, NULL) ==
          SLM_ERR_ARGUMENT);
    CHECK(slm_chat_write(s.chat, s.t, TALK + 1, 1, 0, ids, 3, &n_ids, scratch, scratch_bytes,
                         NULL) == SLM_ERR_BUFFER);
    CHECK(slm_chat_write(s.chat, s.t, TALK + 1, 1, 0, ids, 3, &n_ids, scratch, 64, NULL) ==
          SLM_ERR_MEMORY);
    CHECK(slm_chat_write(s.chat, s.t, TALK + 1, 1, 4, ids, 3, &n_ids, scratch, scratch_bytes,
                         NULL) == SLM_ERR_ARGUMENT);
    CHECK(slm_chat_write(s.chat, s.t, &odd, 1, 0, ids, 3, &n_ids, scratch, scratch_bytes, NULL) ==
          SLM_ERR_ARGUMENT);
    free(scratch);
    small_close(&s);
}

/* A template that refuses a system message, or leaves it out, has no place for one. */
static void no_place_for_a_system(void)
{
    static const char *const templates[] = {
        EACH "{% if m.role == 'system' %}{{ raise_exception('none') }}{% endif %}"
             "{{ '<|im_start|>' + m.role + ':' + m.content }}" END,
        EACH "{% if m.role != 'system' %}{{ '<|im_start|>' + m.role + ':' + m.content }}"
             "{% endif %}" END};
    for (int i = 0; i < 2; i++) {
        small_tokenizer s;
        int32_t *ids;
        size_t n_ids;
        open_model(&s, "<|im_start|> <|im_end|>", NULL, NULL, templates[i], false);
        expect(&s, TALK + 1, 2, 0, "<|im_start|>user: hi <|im_end|> <|im_start|>assistant:ho");
        CHECK(strstr(s.payload.warnings, "no place for a system message") != NULL);
        CHECK(write_ids(&s, TALK, 2, 0, &ids, &n_ids) == SLM_ERR_ARGUMENT);
        free(ids);
        small_close(&s);
    }
}

static void white_space_and_thoughts(void)
{
    static const slm_message talk[] = {
        {SLM_ROLE_USER, "\n  hi\n ", 7},
        {SLM_ROLE_ASSISTANT, "<think>a</think>b</think>\n\n c\n", 30},
        {SLM_ROLE_USER, "\xc2\xa0", 2}};
    small_tokenizer s;
    open_model(&s, "<u> <a>", NULL, NULL,
               EACH "{% if m.role == 'user' %}{{ '<u>' + m.content | trim }}{% else %}"
                    "{{ '<a>' + m.content.split('</think>')[-1].lstrip('\\n') }}{% endif %}" END,
               false);
    expect(&s, talk, 3, 0, "<u>hi<a> c\n<u>");
    small_close(&s);
    open_model(&s, "<u> <a>", NULL, NULL,
               EACH "{{ '<u>' if m.role == 'user' else '<a>' }}{{ m.content.rstrip() }}" END,
               false);
    expect(&s, talk, 2, 0, "<u>\n  hi<a><think>a</think>b</think>\n\n c");
    small_close(&s);
}

/* Phi-3's tokens swallow the white space behind them when text is tokenized; turns must too. */
static void swallowed_white_space(void)
{
    static const slm_message talk[] = {
        {SLM_ROLE_USER, " \n hi ", 6}, {SLM_ROLE_ASSISTANT, "ho", 2}, {SLM_ROLE_USER, "x", 1}};
    small_tokenizer s;
    open_model(&s, "<|user|> <|assistant|> <|end|>", NULL, NULL,
               EACH "{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}" END ASK
                    "<|assistant|>\n{% endif %}",
               true);
    expect(&s, talk, 3, SLM_CHAT_ANSWER,
           "<|user|>hi <|end|><|assistant|>ho<|end|><|user|>x<|end|><|assistant|>");
    small_close(&s);
    /* as the first of them had it: the answer begins at the end of the user's turn */
    static const slm_message again[] = {
        {SLM_ROLE_USER, "hi", 2}, {SLM_ROLE_ASSISTANT, "\n ho ", 5}, {SLM_ROLE_USER, " x", 2}};
    open_model(&s, "<|user|> <|assistant|> <|end|>", NULL, NULL,
               EACH "{% if m.role == 'user' %}{{ '<|user|>\n' + m.content + '<|end|>\n' }}"
                    "{{ '<|assistant|>\n' }}{% else %}{{ m.content + '<|end|>\n' }}{% endif %}" END,
               true);
    expect(&s, again, 3, SLM_CHAT_ANSWER,
           "<|user|>hi<|end|><|assistant|>ho <|end|><|user|>x<|end|><|assistant|>");
    small_close(&s);
}

/* ---- Templates that are refused -------------------------------------------------------------- */

typedef struct refused {
    const char *name, *template, *says;
} refused;

#define PLAIN EACH "{{ m.role + ':' + m.content + '<e>' }}" END

/* GG61, TK51: what is not understood, what does not end, what turns cannot say. */
static const refused REFUSED[] = {
    {"GG61 invalid", "{% if %}", "name is missing"},
    {"GG61 not closed", "{% for m in messages %}", "ends inside a statement"},
    {"GG61 a tag not closed", "{{ messages", "'}}' is missing"},
    {"GG61 a string not closed", "{{ 'a }}", "string is not closed"},
    {"GG61 a comment not closed", "{# a", "comment is not closed"},
    {"GG61 a long loop", "{% for i in range(10**9) %}x{% endfor %}", "missing"},
    {"GG61 a long loop", "{% for i in range(1000000000) %}x{% endfor %}", "memory"},
    {"GG61 loops in loops",
     "{% for i in range(900) %}{% for j in range(900) %}{% if 0 or 0 or 0 or 0 or 0 or 0 or 0 or 0 "
     "or 0 or 0 or 0 or 0 or 0 or 0 %}{% endif %}{% endfor %}{% endfor %}",
     "steps"},
    {"GG61 a bomb",
     "{% set ns = namespace(x='xxxxxxxx') %}{% for i in range(64) %}"
     "{% set ns.x = ns.x + ns.x %}{% endfor %}" PLAIN,
     "memory"},
    {"GG61 much output",
     "{% for i in range(9000) %}0123456789012345678901234567890123456789"
     "{% endfor %}",
     "more than 256 KiB"},
    {"GG61 recursion", "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", "too deeply"},
    {"GG61 deep nesting", NULL, "nested too deeply"},
    {"GG61 attributes of Python", "{{ ''.__class__.__mro__ }}" PLAIN, "undefined"},
    {"GG61 a method of Python", "{{ messages.append(1) }}" PLAIN, "'append' is not supported"},
    {"TK51 an unknown filter", "{{ messages | frobnicate }}", "filter 'frobnicate'"},
    {"TK51 an unknown test", "{{ messages is frobnicated }}", "test 'frobnicated'"},
    {"TK51 an unknown function", "{{ frobnicate() }}", "no function"},
    {"TK51 include", "{% include 'x' %}", "'include' is not supported"},
    {"TK51 import", "{% import 'os' as os %}", "'import' is not supported"},
    {"TK51 raises", "{{ raise_exception('not today') }}", "not today"},
    {"TK51 something undefined", "{{ x.y }}", "'y' of something undefined"},
    {"TK51 a sum of kinds", "{{ messages + 1 }}", "arithmetic"},
    {"TK51 a format of dates", "{{ strftime_now(1) }}", "strftime_now"},
    {"TK51 fractions", "{{ 1.5 }}", "whole numbers"},
    {"no messages", "{{ 'Hello' }}", "each message once"},
    {"messages twice", EACH "{{ m.content + m.content }}" END, "each message once"},
    {"messages backwards", "{% for m in messages[::-1] %}{{ m.content }}" END, "once and in order"},
    {"numbers of turns", EACH "{{ loop.index ~ m.role ~ m.content ~ '<e>' }}" END, "turns cannot"},
    {"letters of messages", EACH "{{ m.role ~ m.content | upper ~ '<e>' }}" END, "each message"},
    {"a look at the text",
     EACH "{{ m.role ~ ('!' if 'words' in m.content else '') ~ m.content ~ "
          "'<e>' }}" END,
     "messages of other text"},
    {"other white space", EACH "{{ m.role + ':' + m.content.replace('\\t', '') + '<e>' }}" END,
     "white space around"},
};

static void refused_templates(void)
{
    static char deep[4096];
    for (int i = 0; i < 1000; i++) {
        strcat(deep, "(");
    }
    for (size_t i = 0; i < sizeof REFUSED / sizeof REFUSED[0]; i++) {
        const refused *r = &REFUSED[i];
        char nested[5000];
        small_tokenizer s;
        sprintf(nested, "{{ %s 1 }}", deep);
        open_model(&s, "<e>", NULL, "<e>", r->template ? r->template : nested, false);
        bool good = !s.chat && strstr(s.payload.warnings, "without chat turns") &&
                    strstr(s.payload.warnings, r->says) && s.payload.chat_text;
        if (!good) {
            printf("# %s: %s%s\n", r->name, s.chat ? "has turns " : "", s.payload.warnings);
            CHECK(good);
        }
        small_close(&s);
    }
}

/* GG61: beyond 1 MiB it is not even kept. */
static void long_template(void)
{
    size_t n = (10 << 20) + 1;
    char *text = (char *)malloc(n + 1);
    small_tokenizer s;
    memset(text, 'x', n);
    text[n] = 0;
    open_model(&s, "<e>", NULL, "<e>", text, false);
    CHECK(!s.chat && !s.payload.chat_text);
    CHECK(strstr(s.payload.warnings, "longer than 1 MiB") != NULL);
    small_close(&s);
    free(text);
}

/* CF57: of a list of named templates the one named default counts. */
static void named_templates(void)
{
    static const struct {
        const char *list, *says;
    } cases[] = {{"[{\"name\":\"tools\",\"template\":\"x\"},{\"name\":\"default\",\"template\":"
                  "\"{% for m in messages %}{{ m.role + m.content }}{% endfor %}\"}]",
                  NULL},
                 {"[{\"name\":\"tools\",\"template\":\"x\"}]", "named \"default\""},
                 {"[]", "neither a text"},
                 {"7", "neither a text"},
                 {"[7,null]", "\"default\""}};
    char *json = model_json("<e>", false);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char config[512];
        failure f = {0};
        small_tokenizer s;
        sprintf(config, "{\"chat_template\":%s}", cases[i].list);
        CHECK(small_build(&s, json, config, &f) == EXIT_OK);
        CHECK((s.chat != NULL) == (cases[i].says == NULL));
        CHECK(strstr(s.payload.warnings, cases[i].says ? cases[i].says : "") != NULL);
        small_close(&s);
    }
    free(json);
}

/* ---- Payloads -------------------------------------------------------------------------------- */

static void refused_payloads(void)
{
    static const struct {
        uint32_t at, value;
    } cases[] = {
        {0, 1},       {0, 3},           {4, 32},       {4, 2},        {4, 16},
        {4, 5},       {4, 3 << 16},     {4, 12 << 16}, {4, 3u << 28}, {8, 129},
        {8, 1},       {12, 5000},       {12, 0},       {16, 65535},   {16 + 12, 0xffff0000},
        {16 + 36, 1}, {56 + 0, 100000}, {56 + 4, 7}};
    small_tokenizer s;
    const slm_chat *chat;
    open_model(&s, "<|im_start|> <|im_end|>", NULL, NULL, CHATML, false);
    uint64_t n = s.payload.n_chat;
    uint8_t *copy = (uint8_t *)malloc(n);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        memcpy(copy, s.payload.chat, n);
        memcpy(copy + cases[i].at, &cases[i].value, 4);
        if (slm_chat_open(&chat, copy, n, s.t, &s.error) != SLM_ERR_CHAT) {
            printf("# %u at %u\n", (unsigned)cases[i].value, (unsigned)cases[i].at);
            CHECK(false);
        }
    }
    memcpy(copy, s.payload.chat, n);
    for (uint64_t cut = 0; cut < n; cut++) {
        CHECK(slm_chat_open(&chat, copy, cut, s.t, &s.error) == SLM_ERR_CHAT);
    }
    CHECK(slm_chat_open(&chat, copy, n, NULL, &s.error) == SLM_ERR_CHAT);
    CHECK(slm_chat_open(&chat, copy, n, s.t, &s.error) == SLM_OK);
    free(copy);
    small_close(&s);
}

int main(void)
{
    RUN(families);
    RUN(control_tokens_in_messages);
    RUN(arguments);
    RUN(no_place_for_a_system);
    RUN(white_space_and_thoughts);
    RUN(swallowed_white_space);
    RUN(refused_templates);
    RUN(long_template);
    RUN(named_templates);
    RUN(refused_payloads);
    return test_finish();
}
