/* config.json, table-driven: each case is a good configuration with some keys changed ("KEY":
 * VALUE; a VALUE of DROP removes the key), and what must come of it. The class defaults come from
 * the documentation of the transformers library's configuration classes.
 */
#include "lib/check.h"
#include "lib/hf_config.h"

#include <jansson.h>

static failure last;
static notes *said;
static hf_config hf;

static const char BASE[] =
    "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"hidden_size\":64,"
    "\"intermediate_size\":96,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
    "\"num_key_value_heads\":2,\"vocab_size\":300,\"max_position_embeddings\":512,"
    "\"rms_norm_eps\":1e-5,\"rope_theta\":10000,\"hidden_act\":\"silu\",\"bos_token_id\":1,"
    "\"eos_token_id\":2,\"torch_dtype\":\"float32\"}";

/* Reads BASE with the keys of `changes` (the inside of an object) replaced. */
static int read_changed(const char *changes)
{
    char text[2048];
    snprintf(text, sizeof text, "{%s}", changes);
    json_t *base = json_loads(BASE, 0, NULL), *change = json_loads(text, 0, NULL), *value;
    const char *key;
    if (!base || !change) {
        printf("# the test's own JSON is wrong: %s\n", text);
        test_failed_here = 1;
        json_decref(base);
        json_decref(change);
        return -1;
    }
    json_object_foreach(change, key, value)
    {
        if (json_is_string(value) && strcmp(json_string_value(value), "DROP") == 0) {
            json_object_del(base, key);
        } else {
            json_object_set(base, key, value);
        }
    }
    char *merged = json_dumps(base, 0);
    last = (failure){0};
    memset(said, 0, sizeof *said);
    int code = hf_config_read("config.json", merged, strlen(merged), &hf, said, &last);
    free(merged);
    json_decref(base);
    json_decref(change);
    return code;
}

typedef struct change {
    const char *id, *keys;
    const char *message; /* NULL: accepted; of the refusal, which must begin with the file's name */
} change;

#define MISTRAL "\"architectures\":[\"MistralForCausalLM\"],\"model_type\":\"mistral\""
#define QWEN2 "\"architectures\":[\"Qwen2ForCausalLM\"],\"model_type\":\"qwen2\""
#define QWEN3 "\"architectures\":[\"Qwen3ForCausalLM\"],\"model_type\":\"qwen3\""
#define LLAMA3(rest) "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0" rest "}"
#define LLAMA3_ALL                                                                                 \
    ",\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,\"original_max_position_embeddings\":256"

static const change CASES[] = {
    {"as it is", "", NULL},
    {"CF07 float for int", "\"hidden_size\":64.0", "hidden_size must be a whole number"},
    {"CF07 string for int", "\"hidden_size\":\"64\"", "hidden_size must be a whole number"},
    {"CF07 true for int", "\"hidden_size\":true", "hidden_size must be a whole number"},
    {"CF07 int for float", "\"rope_theta\":500000", NULL},
    {"CF08 missing", "\"architectures\":\"DROP\"", "architectures is missing"},
    {"CF08 empty", "\"architectures\":[]", "architectures must be a list of one name"},
    {"CF08 two", "\"architectures\":[\"LlamaForCausalLM\",\"X\"]", "a list of one name"},
    {"CF08 unknown", "\"architectures\":[\"MambaForCausalLM\"]", "Qwen3ForCausalLM"},
    {"CF08 number", "\"architectures\":7", "a list of one name"},
    {"CF09", "\"model_type\":\"qwen2\"", "contradicts architecture LlamaForCausalLM"},
    {"CF10 zero", "\"hidden_size\":0", "hidden_size must be"},
    {"CF10 negative", "\"hidden_size\":-1", "hidden_size must be"},
    {"CF10 2^31", "\"hidden_size\":2147483648", "hidden_size must be"},
    {"CF10 1e18", "\"hidden_size\":1000000000000000000", "hidden_size must be"},
    {"CF10 missing", "\"hidden_size\":\"DROP\"", "hidden_size is missing"},
    {"CF10 null", "\"hidden_size\":null", "hidden_size is missing"},
    {"CF12", "\"hidden_size\":66", "not a multiple of num_attention_heads"},
    {"CF13 odd", "\"head_dim\":15", "head_dim 15 is odd"},
    {"CF13 zero", "\"head_dim\":0", "head_dim must be"},
    {"CF14 zero", "\"num_attention_heads\":0", "num_attention_heads must be"},
    {"CF14 missing", "\"num_attention_heads\":\"DROP\"", "num_attention_heads is missing"},
    {"CF15 zero", "\"num_key_value_heads\":0", "num_key_value_heads must be"},
    {"CF15 more", "\"num_key_value_heads\":8", "does not divide"},
    {"CF15 not dividing", "\"num_key_value_heads\":3", "does not divide"},
    {"CF15 absent", "\"num_key_value_heads\":\"DROP\"", NULL},
    {"CF16 zero", "\"num_hidden_layers\":0", "num_hidden_layers must be"},
    {"CF17 list", "\"intermediate_size\":[96,96]", "intermediate_size must be"},
    {"CF20 zero", "\"max_position_embeddings\":0", "max_position_embeddings must be"},
    {"CF20 10^12", "\"max_position_embeddings\":1000000000000", "max_position_embeddings must be"},
    {"CF21 zero", "\"rms_norm_eps\":0", "rms_norm_eps must be"},
    {"CF21 negative", "\"rms_norm_eps\":-1e-5", "rms_norm_eps must be"},
    {"CF21 string", "\"rms_norm_eps\":\"1e-05\"", "rms_norm_eps must be"},
    {"CF22 zero", "\"rope_theta\":0", "rope_theta must be"},
    {"CF22 string", "\"rope_theta\":\"10000\"", "rope_theta must be"},
    {"CF23 null", "\"rope_scaling\":null", NULL},
    {"CF23 empty", "\"rope_scaling\":{}", "rope_type is missing"},
    {"CF23 string", "\"rope_scaling\":\"linear\"", "rope_scaling must be an object"},
    {"CF23 list", "\"rope_scaling\":[1]", "rope_scaling must be an object"},
    {"CF24 unknown", "\"rope_scaling\":{\"type\":\"ntk-9\",\"factor\":2.0}", "\"ntk-9\""},
    {"CF24 yarn", "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2.0}", "\"yarn\" is not"},
    {"CF24 both", "\"rope_scaling\":{\"type\":\"linear\",\"rope_type\":\"llama3\",\"factor\":2.0}",
     "contradicts rope_type"},
    {"CF25 zero", "\"rope_scaling\":{\"type\":\"linear\",\"factor\":0}", "factor must be"},
    {"CF25 negative", "\"rope_scaling\":{\"type\":\"linear\",\"factor\":-1}", "factor must be"},
    {"CF25 1e30", "\"rope_scaling\":{\"type\":\"linear\",\"factor\":1e30}", "factor must be"},
    {"CF25 missing", "\"rope_scaling\":{\"type\":\"linear\"}", "factor is missing"},
    {"CF26 order",
     LLAMA3(",\"low_freq_factor\":4.0,\"high_freq_factor\":4.0,"
            "\"original_max_position_embeddings\":256"),
     "low_freq_factor must be below"},
    {"CF26 original", LLAMA3(",\"low_freq_factor\":1.0,\"high_freq_factor\":4.0"),
     "original_max_position_embeddings is missing"},
    {"CF26 extra", LLAMA3(LLAMA3_ALL ",\"beta_fast\":32"), "beta_fast is not supported"},
    {"CF29", "\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"default\"}}",
     "for each layer type"},
    {"CF29 both",
     "\"rope_parameters\":{\"rope_type\":\"default\"},"
     "\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.0}",
     "differ"},
    {"CF29 theta twice", "\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":5.0}",
     "contradicts the one outside"},
    {"CF30", "\"partial_rotary_factor\":0.5", "partial_rotary_factor is 0.5"},
    {"CF30 inside", "\"rope_parameters\":{\"rope_type\":\"default\",\"partial_rotary_factor\":0.5}",
     "partial_rotary_factor is not supported"},
    {"CF30 one", "\"partial_rotary_factor\":1.0", NULL},
    {"CF31", "\"hidden_act\":\"gelu_pytorch_tanh\"", "\"gelu_pytorch_tanh\" is not supported"},
    {"CF31 unknown", "\"hidden_act\":\"sulu\"", "hidden_act \"sulu\""},
    {"CF35 negative", "\"eos_token_id\":-1", "eos_token_id must be"},
    {"CF35 string", "\"eos_token_id\":[2,\"3\"]", "eos_token_id must be"},
    {"CF35 bos list", "\"bos_token_id\":[1]", "bos_token_id must be"},
    {"CF35 null", "\"bos_token_id\":null,\"eos_token_id\":null", NULL},
    {"CF35 many", "\"eos_token_id\":[1,2,3,4,5,6,7,8,9]", "more than 8 ids"},
    {"CF37 zero", MISTRAL ",\"sliding_window\":0", "sliding_window must be"},
    {"CF37 negative", MISTRAL ",\"sliding_window\":-1", "sliding_window must be"},
    {"CF37 flag", QWEN2 ",\"use_sliding_window\":true,\"sliding_window\":128",
     "use_sliding_window is true"},
    {"CF37 no flag", QWEN2 ",\"use_sliding_window\":false,\"sliding_window\":128", NULL},
    {"CF38 length", "\"layer_types\":[\"full_attention\"]", "one entry for each layer"},
    {"CF38 unknown", "\"layer_types\":[\"full_attention\",\"x\"]", "full_attention everywhere"},
    {"CF38 good", "\"layer_types\":[\"full_attention\",\"full_attention\"]", NULL},
    {"CF39 mistral", MISTRAL ",\"attention_bias\":true", "attention_bias is true"},
    {"CF40", "\"mlp_bias\":true", "mlp_bias is true"},
    {"CF40 false", "\"mlp_bias\":false", NULL},
    {"CF41", "\"num_local_experts\":8", "mixtures of experts"},
    {"CF42", "\"quantization_config\":{\"quant_method\":\"gptq\"}", "original 16- or 32-bit"},
    {"CF44", "\"text_config\":{\"hidden_size\":64}", "several modalities"},
    {"CF53", "\"embedding_multiplier\":12.0", "embedding_multiplier is 12.0"},
    {"CF54", "\"final_logit_softcapping\":30.0", "soft caps"},
};

static void table(void)
{
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        int code = read_changed(CASES[i].keys);
        bool good = CASES[i].message ? code == EXIT_INPUT && strstr(last.text, CASES[i].message) &&
                                           strncmp(last.text, "config.json", 11) == 0
                                     : code == EXIT_OK;
        if (!good) {
            printf("# %s: exit %d, \"%s\"\n", CASES[i].id, code, last.text);
            test_failed_here = 1;
        }
    }
}

/* Text that is not the JSON it should be. */
static void syntax(void)
{
    static const struct {
        const char *id, *text;
        size_t n;
        const char *message;
    } cases[] = {
        {"CF01 empty", "", 0, "empty"},
        {"CF01 {}", "{}", 2, "architectures is missing"},
        {"CF01 array", "[]", 2, "must be a JSON object"},
        {"CF02 BOM", "\xef\xbb\xbf{}", 5, "byte order mark"},
        {"CF02 UTF-16", "\xff\xfe{\0}\0", 6, "UTF-16"},
        {"CF02 UTF-16 no mark", "{\0}\0", 4, "UTF-16"},
        {"CF02 not UTF-8", "{\"a\":\"\xff\"}", 9, "decode byte"},
        {"CF04", "{\"a\":1,\"a\":2}", 13, "duplicate"},
        {"CF05 comment", "{/* */}", 7, ":1:"},
        {"CF05 comma", "{\"a\":1,}", 8, ":1:"},
        {"CF05 NaN", "{\"a\":NaN}", 9, ":1:"},
        {"CF05 quotes", "{'a':1}", 7, ":1:"},
        {"CF07 1e999", "{\"a\":1e999}", 11, "overflow"},
        {"CF07 64 bit", "{\"a\":99999999999999999999}", 26, "too big integer"},
        {"NUL", "{\"a\":\"\\u0000\"}", 14, "\\u0000"},
        {"trailing", "{} x", 4, "end of file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *copy = malloc(cases[i].n + 1); /* of its exact size, for the sanitizers */
        last = (failure){0};
        if (copy) {
            memcpy(copy, cases[i].text, cases[i].n);
            int code = hf_config_read("config.json", copy, cases[i].n, &hf, said, &last);
            if (code != EXIT_INPUT || !strstr(last.text, cases[i].message)) {
                printf("# %s: exit %d, \"%s\"\n", cases[i].id, code, last.text);
                test_failed_here = 1;
            }
        }
        free(copy);
    }
}

static void every_truncation_is_refused(void) /* CF03 */
{
    for (size_t n = 0; n < sizeof BASE - 1; n++) {
        CHECK_U64(hf_config_read("config.json", BASE, n, &hf, said, &last), EXIT_INPUT);
    }
}

static void depth_is_limited(void) /* CF06 */
{
    const size_t d = 1000000;
    char *text = malloc(d + 5);
    if (text) {
        memcpy(text, "{\"a\":", 5);
        memset(text + 5, '[', d);
        CHECK_U64(hf_config_read("config.json", text, d + 5, &hf, said, &last), EXIT_INPUT);
        CHECK(strstr(last.text, "depth") != NULL);
    }
    free(text);
}

static void values(void)
{
    CHECK_U64(read_changed(""), EXIT_OK);
    const slm_config *c = &hf.config;
    CHECK_STRING(hf.family->architecture, "llama");
    CHECK_U64(c->n_vocab, 300);
    CHECK_U64(c->n_context, 512);
    CHECK_U64(c->d_model, 64);
    CHECK_U64(c->n_layers, 2);
    CHECK_U64(c->n_heads, 4);
    CHECK_U64(c->n_kv_heads, 2);
    CHECK_U64(c->head_dim, 16);
    CHECK_U64(c->d_ff, 96);
    CHECK(c->norm_eps > 0.99e-5f && c->norm_eps < 1.01e-5f);
    CHECK(c->bos_id == 1 && c->n_stop_ids == 1 && c->stop_ids[0] == 2);
    CHECK(!c->tied_output && !c->qkv_bias && !c->qk_norm);
    CHECK_U64(said->n, 0);
    CHECK_U64(read_changed(LLAMA3(LLAMA3_ALL)), EXIT_OK);
    CHECK_U64(c->rope_scaling, SLM_ROPE_SCALING_LLAMA3);
    CHECK_U64(c->rope_original_context, 256);
    CHECK(c->rope_factor > 7.9f && c->rope_factor < 8.1f);
    CHECK_U64(read_changed("\"rope_scaling\":{\"type\":\"linear\",\"factor\":2}"), EXIT_OK);
    CHECK_U64(c->rope_scaling, SLM_ROPE_SCALING_LINEAR);
}

/* The newer spelling of the same things. */
static void newer_keys(void)
{
    CHECK_U64(
        read_changed("\"rope_theta\":\"DROP\",\"torch_dtype\":\"DROP\",\"dtype\":\"bfloat16\","
                     "\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":5e5}"),
        EXIT_OK);
    CHECK(hf.config.rope_theta > 499999 && hf.config.rope_theta < 500001);
    CHECK_U64(hf.config.rope_scaling, SLM_ROPE_SCALING_NONE);
    CHECK_STRING(hf.dtype, "bfloat16");
}

static void class_defaults(void)
{
    CHECK_U64(read_changed("\"rope_theta\":\"DROP\",\"rms_norm_eps\":\"DROP\",\"hidden_act\":"
                           "\"DROP\",\"num_key_value_heads\":\"DROP\",\"bos_token_id\":\"DROP\","
                           "\"eos_token_id\":\"DROP\",\"max_position_embeddings\":\"DROP\""),
              EXIT_OK);
    CHECK(hf.config.rope_theta > 9999 && hf.config.rope_theta < 10001);
    CHECK(hf.config.norm_eps > 0.99e-6f && hf.config.norm_eps < 1.01e-6f);
    CHECK_U64(hf.config.n_kv_heads, 4);
    CHECK_U64(hf.config.n_context, 2048);
    CHECK(hf.config.bos_id == -1 && hf.config.n_stop_ids == 0);
    CHECK_U64(read_changed(QWEN3), EXIT_OK);
    CHECK_U64(hf.config.head_dim, 128);
    CHECK(hf.config.qk_norm && !hf.config.qkv_bias);
    CHECK_U64(read_changed(QWEN2), EXIT_OK);
    CHECK(hf.config.qkv_bias && !hf.config.qk_norm);
    CHECK_U64(read_changed("\"attention_bias\":true"), EXIT_OK);
    CHECK(hf.config.qkv_bias);
}

/* A window shorter than the context: the numbers are the same up to its length, and no further. */
static void sliding_window(void)
{
    CHECK_U64(read_changed(MISTRAL ",\"sliding_window\":128"), EXIT_OK);
    CHECK_U64(hf.config.n_context, 128);
    CHECK_U64(said->n, 1);
    CHECK_U64(read_changed(MISTRAL ",\"sliding_window\":4096"), EXIT_OK);
    CHECK_U64(hf.config.n_context, 512);
    CHECK_U64(read_changed(MISTRAL ",\"sliding_window\":null"), EXIT_OK);
    CHECK_U64(hf.config.n_context, 512);
    CHECK_U64(read_changed(MISTRAL ",\"max_position_embeddings\":32768"), EXIT_OK);
    CHECK_U64(hf.config.n_context, 4096); /* absent: the class has 4096 */
}

static void unknown_keys_are_noted(void) /* CF55, CF43 */
{
    CHECK_U64(read_changed("\"frobnication\":3,\"auto_map\":{\"a\":\"b\"}"), EXIT_OK);
    CHECK_U64(said->n, 2);
    CHECK(strstr(said->text[0], "frobnication") != NULL);
    CHECK(strstr(said->text[1], "never run") != NULL);
}

static int generation(const char *text)
{
    last = (failure){0};
    return hf_config_generation("generation_config.json", text, strlen(text), &hf, said, &last);
}

static void generation_config(void) /* CF36, CF56 */
{
    CHECK_U64(read_changed(""), EXIT_OK);
    CHECK_U64(generation("{\"eos_token_id\":[2,7],\"bos_token_id\":1,\"temperature\":0.5,"
                         "\"top_k\":40,\"top_p\":0.25,\"min_p\":0.125,\"do_sample\":true}"),
              EXIT_OK);
    CHECK(hf.config.n_stop_ids == 2 && hf.config.stop_ids[1] == 7);
    CHECK_U64(said->n, 1);
    CHECK(hf.config.temperature > 0.49f && hf.config.temperature < 0.51f);
    CHECK_U64(hf.config.top_k, 40);
    CHECK(hf.config.top_p > 0.24f && hf.config.top_p < 0.26f);
    CHECK_U64(generation("{\"temperature\":-1}"), EXIT_INPUT);
    CHECK_U64(generation("{\"top_k\":-1}"), EXIT_INPUT);
    CHECK(strstr(last.text, "top_k") != NULL);
    CHECK_U64(generation("{\"top_p\":2}"), EXIT_INPUT);
    CHECK_U64(generation("{\"temperature\":NaN}"), EXIT_INPUT);
    CHECK_U64(read_changed(""), EXIT_OK);
    CHECK_U64(generation("{\"do_sample\":false,\"temperature\":0.6}"), EXIT_OK);
    CHECK(hf.config.temperature < 0);
}

static void tensor_names(void)
{
    char name[SLM_MAX_NAME];
    uint32_t n;
    const hf_family *family = &hf_families(&n)[0];
    CHECK(hf_tensor_name(family, "blk.17.attn_output.weight", true, name));
    CHECK_STRING(name, "model.layers.17.self_attn.o_proj.weight");
    CHECK(hf_tensor_name(family, "blk.0.ffn_norm.weight", false, name));
    CHECK_STRING(name, "layers.0.post_attention_layernorm.weight");
    CHECK(hf_tensor_name(family, "output.weight", false, name));
    CHECK_STRING(name, "lm_head.weight");
    CHECK(!hf_tensor_name(family, "blk.0.attn_output.bias", true, name));
    CHECK(hf_tensor_ignorable("model.layers.0.self_attn.rotary_emb.inv_freq"));
    CHECK(!hf_tensor_ignorable("model.norm.weight"));
}

int main(void)
{
    said = calloc(1, sizeof *said);
    if (!said) {
        return 1;
    }
    RUN(table);
    RUN(syntax);
    RUN(every_truncation_is_refused);
    RUN(depth_is_limited);
    RUN(values);
    RUN(newer_keys);
    RUN(class_defaults);
    RUN(sliding_window);
    RUN(unknown_keys_are_noted);
    RUN(generation_config);
    RUN(tensor_names);
    free(said);
    return test_finish();
}
