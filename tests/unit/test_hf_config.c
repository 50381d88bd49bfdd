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
#define GEMMA2 "\"architectures\":[\"Gemma2ForCausalLM\"],\"model_type\":\"gemma2\""
#define GEMMA3 "\"architectures\":[\"Gemma3ForCausalLM\"],\"model_type\":\"gemma3_text\""
#define SMOLLM3 "\"architectures\":[\"SmolLM3ForCausalLM\"],\"model_type\":\"smollm3\""
#define PHI3 "\"architectures\":[\"Phi3ForCausalLM\"],\"model_type\":\"phi3\""
#define STABLELM "\"architectures\":[\"StableLmForCausalLM\"],\"model_type\":\"stablelm\""
#define STARCODER2                                                                                 \
    "\"architectures\":[\"Starcoder2ForCausalLM\"],\"model_type\":\"starcoder2\","                 \
    "\"hidden_act\":\"gelu_pytorch_tanh\""
#define GRANITE "\"architectures\":[\"GraniteForCausalLM\"],\"model_type\":\"granite\""
#define OLMO2 "\"architectures\":[\"Olmo2ForCausalLM\"],\"model_type\":\"olmo2\""
#define GPT2                                                                                       \
    "\"architectures\":[\"GPT2LMHeadModel\"],\"model_type\":\"gpt2\",\"n_embd\":64,\"n_layer\":2," \
    "\"n_head\":4,\"hidden_act\":\"DROP\""
#define LLAMA3(rest) "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0" rest "}"
#define EIGHT "[1,1,1,1.5,2,2.5,3,4]"
#define LONGROPE(type, short, long)                                                                \
    "\"rope_scaling\":{\"type\":\"" type                                                           \
    "\",\"short_factor\":" short ",\"long_factor\":" long "},\"original_max_position_"             \
                                                          "embeddings\":256"
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
    {"CF13 too wide", "\"hidden_size\":6464", "num_attention_heads 4 with heads of 1616"},
    {"CF14 all too wide", "\"num_attention_heads\":4096,\"head_dim\":512", "heads of 512"},
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
    {"CF24 yarn", "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2.0}", NULL},
    {"CF24 dynamic", "\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2.0}", NULL},
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
    {"CF27 order",
     "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2.0,\"beta_fast\":1,\"beta_slow\":32}",
     "beta_fast must be above beta_slow"},
    {"CF27 factor", "\"rope_scaling\":{\"type\":\"yarn\"}", "factor is missing"},
    {"CF27 factor below 1", "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":0.5}",
     "factor must be"},
    {"CF27 attention", "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2,\"attention_factor\":0}",
     "attention_factor must be"},
    {"CF27 theta", "\"rope_theta\":1,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2}",
     "rope_theta above 1"},
    {"CF27 key", "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2,\"low_freq_factor\":1}",
     "low_freq_factor is not supported"},
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
    {"CF30 odd", PHI3 ",\"partial_rotary_factor\":0.4375", "rotates 7 elements of 16"},
    {"CF30 zero", PHI3 ",\"partial_rotary_factor\":0", "partial_rotary_factor must be"},
    {"CF30 above one", PHI3 ",\"partial_rotary_factor\":1.5", "partial_rotary_factor must be"},
    {"CF30 negative", STABLELM ",\"partial_rotary_factor\":-0.5", "partial_rotary_factor must be"},
    {"CF31", "\"hidden_act\":\"gelu_pytorch_tanh\"", NULL},
    {"CF31 gelu", "\"hidden_act\":\"gelu\"", "form with erf"},
    {"CF31 gelu gpt2", GPT2 ",\"activation_function\":\"gelu\"", "activation_function \"gelu\""},
    {"CF31 no gate", STARCODER2 ",\"hidden_act\":\"silu\"", "\"silu\" is not supported"},
    {"CF31 unknown", "\"hidden_act\":\"sulu\"", "hidden_act \"sulu\""},
    {"CF35 negative", "\"eos_token_id\":-1", "eos_token_id must be"},
    {"CF35 string", "\"eos_token_id\":[2,\"3\"]", "eos_token_id must be"},
    {"CF35 bos list", "\"bos_token_id\":[1]", "bos_token_id must be"},
    {"CF35 null", "\"bos_token_id\":null,\"eos_token_id\":null", NULL},
    {"CF35 many", "\"eos_token_id\":[1,2,3,4,5,6,7,8,9]", "more than 8 ids"},
    {"CF37 zero", MISTRAL ",\"sliding_window\":0", "sliding_window must be"},
    {"CF37 negative", MISTRAL ",\"sliding_window\":-1", "sliding_window must be"},
    {"CF37 type", QWEN2 ",\"use_sliding_window\":1", "use_sliding_window must be"},
    {"CF37 layers", QWEN2 ",\"use_sliding_window\":true,\"max_window_layers\":-1",
     "max_window_layers must be"},
    {"CF37 no flag", QWEN2 ",\"use_sliding_window\":false,\"sliding_window\":128", NULL},
    {"CF38 length", "\"layer_types\":[\"full_attention\"]", "one entry for each layer"},
    {"CF38 unknown", "\"layer_types\":[\"full_attention\",\"x\"]",
     "full_attention or sliding_attention"},
    {"CF38 good", "\"layer_types\":[\"full_attention\",\"full_attention\"]", NULL},
    {"CF38 llama", "\"layer_types\":[\"full_attention\",\"sliding_attention\"]",
     "contradicts sliding_window"},
    {"CF38 mistral",
     MISTRAL ",\"sliding_window\":9,\"layer_types\":[\"full_attention\",\"sliding_attention\"]",
     "layer 0 is full_attention, which contradicts"},
    {"CF38 no window", QWEN3 ",\"layer_types\":[\"full_attention\",\"sliding_attention\"]",
     "layer 1 is sliding_attention, which contradicts"},
    {"CF38 pattern", GEMMA3 ",\"sliding_window_pattern\":0", "sliding_window_pattern must be"},
    {"CF39 mistral", MISTRAL ",\"attention_bias\":true", "attention_bias is true"},
    {"CF40", "\"mlp_bias\":true", NULL},
    {"CF40 qwen2", QWEN2 ",\"mlp_bias\":true", "mlp_bias is true"},
    {"CF40 stablelm", STABLELM ",\"use_bias\":true", "use_bias is true"},
    {"CF40 type", STARCODER2 ",\"use_bias\":1", "use_bias must be"},
    {"CF41", "\"num_local_experts\":8", "mixtures of experts"},
    {"CF42", "\"quantization_config\":{\"quant_method\":\"gptq\"}", "original 16- or 32-bit"},
    {"CF44", "\"text_config\":{\"hidden_size\":64}", "several modalities"},
    {"CF53", "\"embedding_multiplier\":12.0", "embedding_multiplier is 12.0"},
    {"CF53 zero", GRANITE ",\"residual_multiplier\":0", "residual_multiplier must be"},
    {"CF53 divisor", GRANITE ",\"logits_scaling\":0", "logits_scaling must be"},
    {"CF53 attention", GRANITE ",\"attention_multiplier\":-1", "attention_multiplier must be"},
    {"CF54", "\"final_logit_softcapping\":30.0", "soft caps"},
    {"CF54 zero", GEMMA2 ",\"final_logit_softcapping\":0", "final_logit_softcapping must be"},
    {"CF54 negative", GEMMA2 ",\"attn_logit_softcapping\":-5", "attn_logit_softcapping must be"},
    {"scalar", GEMMA2 ",\"query_pre_attn_scalar\":0", "query_pre_attn_scalar must be"},
    {"both ways", GEMMA3 ",\"use_bidirectional_attention\":true", "later positions"},
    {"CF29 gemma3", GEMMA3 ",\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"default\"}}",
     NULL},
    {"CF29 other kind",
     GEMMA3 ",\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"default\"},"
            "\"chunked_attention\":{\"rope_type\":\"default\"}}",
     "objects full_attention and sliding_attention"},
    {"CF29 local scaling",
     GEMMA3 ",\"rope_theta\":\"DROP\",\"rope_parameters\":{\"full_attention\":{\"rope_type\":"
            "\"default\"},\"sliding_attention\":{\"rope_type\":\"linear\",\"factor\":2.0}}",
     "sliding_attention: type \"linear\""},
    {"local base", GEMMA3 ",\"rope_local_base_freq\":0", "rope_local_base_freq must be"},
    {"local base llama", "\"rope_local_base_freq\":10000.0", "rope_local_base_freq is 10000.0"},
    {"CF28 longrope", PHI3 "," LONGROPE("longrope", EIGHT, EIGHT), NULL},
    {"CF28 su", PHI3 "," LONGROPE("su", EIGHT, EIGHT), NULL},
    {"CF28 yarn", PHI3 "," LONGROPE("yarn", EIGHT, EIGHT), NULL},
    {"CF28 short", PHI3 "," LONGROPE("longrope", "[1]", EIGHT), "short_factor must be a list of 8"},
    {"CF28 long", PHI3 "," LONGROPE("longrope", EIGHT, "[1]"), "long_factor must be a list of 8"},
    {"CF28 no short", PHI3 "," LONGROPE("longrope", "null", EIGHT), "short_factor is missing"},
    {"CF28 no long", PHI3 "," LONGROPE("longrope", EIGHT, "null"), "long_factor is missing"},
    {"CF28 zero", PHI3 "," LONGROPE("longrope", "[0,1,1,1,1,1,1,1]", EIGHT), "from 0.001 to 1e6"},
    {"CF28 text", PHI3 "," LONGROPE("longrope", "[\"1\",1,1,1,1,1,1,1]", EIGHT), "from 0.001"},
    {"CF28 original",
     PHI3 ",\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":" EIGHT
          ",\"long_factor\":" EIGHT "}",
     "original_max_position_embeddings is missing"},
    {"CF28 originals",
     PHI3 ",\"rope_scaling\":{\"type\":\"longrope\",\"original_max_position_embeddings\":128,"
          "\"short_factor\":" EIGHT ",\"long_factor\":" EIGHT
          "},\"original_max_position_embeddings\":256",
     "contradicts the one outside"},
    {"CF28 factor",
     PHI3 ",\"rope_scaling\":{\"type\":\"longrope\",\"factor\":8,\"short_factor\":" EIGHT
          ",\"long_factor\":" EIGHT "},\"original_max_position_embeddings\":256",
     "factor 8 contradicts"},
    {"CF54 gemma3", GEMMA3 ",\"attn_logit_softcapping\":50.0", "soft caps"},
    {"no rope", "\"no_rope_layers\":[1,0]", "no_rope_layers is [1,0]"},
    {"no rope length", SMOLLM3 ",\"no_rope_layers\":[1]", "0 or 1 for each layer"},
    {"no rope value", SMOLLM3 ",\"no_rope_layers\":[1,2]", "0 or 1 for each layer"},
    {"no rope every", SMOLLM3 ",\"no_rope_layer_interval\":0", "no_rope_layer_interval must be"},
    {"parallel", STABLELM ",\"use_parallel_residual\":true", "use_parallel_residual is true"},
    {"q and k norms", STABLELM ",\"qk_layernorm\":true", "qk_layernorm is true"},
    {"norm type", STARCODER2 ",\"norm_type\":\"rms_norm\"", "norm_type \"rms_norm\""},
    {"scores", GPT2 ",\"scale_attn_weights\":false", "scale_attn_weights is false"},
    {"scores by layer", GPT2 ",\"scale_attn_by_inverse_layer_idx\":true", "scaled by layer"},
    {"gpt2 heads", GPT2 ",\"n_head\":5", "n_embd 64 is not a multiple of n_head 5"},
    {"gpt2 inner", GPT2 ",\"n_embd\":524288", "n_inner is missing, and 4 times n_embd 524288"},
    {"clip", OLMO2 ",\"clip_qkv\":8.0", "clip_qkv is 8.0"},
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

static bool is_near(float a, double b)
{
    return (double)a > b * 0.999999 && (double)a < b * 1.000001;
}

/* head_dim 16, theta 10^4, 64 positions of 512: pair 8 ln(64 / (2 pi t)) / ln(10^4) turns t times,
 * which is -1.0 for 32 and 2.016 for 1: pair 0 keeps its frequency, from pair 3 on it is divided by
 * 8, those between by 1 / (r/8 + 1 - r), r = 1/3 and 2/3. Magnitude 1 + 0.1 ln 8. */
static void yarn(void)
{
    const slm_config *c = &hf.config;
    CHECK_U64(read_changed("\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":8.0,"
                           "\"original_max_position_embeddings\":64}"),
              EXIT_OK);
    CHECK_U64(c->rope_scaling, SLM_ROPE_SCALING_DIVISORS);
    CHECK_U64(c->n_rope_divisors, 8);
    CHECK(is_near(c->rope_divisors[0], 1) && is_near(c->rope_divisors[1], 24.0 / 17.0));
    CHECK(is_near(c->rope_divisors[2], 2.4) && is_near(c->rope_divisors[3], 8));
    CHECK(is_near(c->rope_divisors[7], 8) && is_near(c->rope_magnitude, 1.2079441541679836));
    CHECK_U64(read_changed("\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":8.0,"
                           "\"mscale\":2.0,\"mscale_all_dim\":1.0}"),
              EXIT_OK);
    CHECK(is_near(c->rope_magnitude, 1.4158883083359672 / 1.2079441541679836));
}

/* 256 of 512 positions: sqrt(1 + ln 2 / ln 256) = sqrt(9 / 8), and only the first 256 are kept. */
static void longrope(void)
{
    const slm_config *c = &hf.config;
    CHECK_U64(read_changed(PHI3 "," LONGROPE("longrope", EIGHT, "[9,9,9,9,9,9,9,9]")), EXIT_OK);
    CHECK_U64(c->rope_scaling, SLM_ROPE_SCALING_DIVISORS);
    CHECK_U64(c->n_rope_divisors, 8);
    CHECK(is_near(c->rope_divisors[3], 1.5) && is_near(c->rope_divisors[7], 4));
    CHECK(is_near(c->rope_magnitude, 1.0606601717798212));
    CHECK_U64(c->n_context, 256);
    CHECK_U64(said->n, 1);
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
    CHECK_U64(read_changed(SMOLLM3 ",\"num_attention_heads\":8,\"num_key_value_heads\":\"DROP\""),
              EXIT_OK);
    CHECK_U64(hf.config.n_kv_heads, 4);
    CHECK_U64(read_changed(STARCODER2 ",\"num_key_value_heads\":\"DROP\""), EXIT_OK);
    CHECK_U64(hf.config.n_kv_heads, 2);
    CHECK_U64(read_changed(MISTRAL ",\"num_key_value_heads\":null"), EXIT_OK);
    CHECK_U64(hf.config.n_kv_heads, 4);
    CHECK_U64(read_changed(QWEN3), EXIT_OK);
    CHECK_U64(hf.config.head_dim, 128);
    CHECK(hf.config.qk_norm && !hf.config.qkv_bias);
    CHECK_U64(read_changed(QWEN2), EXIT_OK);
    CHECK(hf.config.qkv_bias && !hf.config.qk_norm);
    CHECK_U64(read_changed("\"attention_bias\":true"), EXIT_OK);
    CHECK(hf.config.qkv_bias);
}

static bool flags_are(uint32_t first, uint32_t second)
{
    return hf.config.n_layer_flags == 2 && hf.config.layer_flags[0] == first &&
           hf.config.layer_flags[1] == second;
}

static void sliding_window(void)
{
    const uint32_t window = SLM_LAYER_WINDOW;
    CHECK_U64(read_changed(MISTRAL ",\"sliding_window\":128"), EXIT_OK);
    CHECK(hf.config.window == 128 && hf.config.n_context == 512 && flags_are(window, window));
    CHECK_U64(said->n, 0);
    CHECK_U64(read_changed(MISTRAL ",\"sliding_window\":null"), EXIT_OK);
    CHECK(hf.config.window == 0 && hf.config.n_layer_flags == 0);
    CHECK_U64(read_changed(MISTRAL), EXIT_OK);
    CHECK_U64(hf.config.window, 4096); /* absent: the class has 4096 */
    CHECK_U64(read_changed(MISTRAL ",\"sliding_window\":2147483647"), EXIT_OK);
    CHECK_U64(hf.config.window, 1 << 24);
    CHECK_U64(read_changed(PHI3), EXIT_OK);
    CHECK_U64(hf.config.n_layer_flags, 0);
    CHECK_U64(read_changed(QWEN2 ",\"sliding_window\":8,\"max_window_layers\":1"), EXIT_OK);
    CHECK(hf.config.window == 0 && hf.config.n_layer_flags == 0);
    CHECK_U64(read_changed(QWEN2 ",\"use_sliding_window\":true,\"sliding_window\":8,"
                                 "\"max_window_layers\":1"),
              EXIT_OK);
    CHECK(hf.config.window == 8 && flags_are(0, window));
    CHECK_U64(read_changed(QWEN3 ",\"use_sliding_window\":true,\"sliding_window\":8,"
                                 "\"layer_types\":[\"sliding_attention\",\"full_attention\"]"),
              EXIT_OK);
    CHECK(hf.config.window == 8 && flags_are(window, 0));
}

/* Layers that differ: which, as the classes choose when only the short keys are there. */
static void layers(void)
{
    const uint32_t window = SLM_LAYER_WINDOW, local = SLM_LAYER_LOCAL_ROPE;
    CHECK_U64(read_changed(GEMMA2), EXIT_OK);
    CHECK(hf.config.window == 4096 && flags_are(window, 0));
    CHECK_U64(read_changed(GEMMA3), EXIT_OK);
    CHECK(flags_are(window | local, window | local)); /* of six, the last is global */
    CHECK_U64(read_changed(GEMMA3 ",\"sliding_window_pattern\":2"), EXIT_OK);
    CHECK(flags_are(window | local, 0));
    CHECK(hf.config.rope_local_theta > 9999 && hf.config.rope_local_theta < 10001);
    CHECK_U64(read_changed(GEMMA3 ",\"sliding_window_pattern\":1"), EXIT_OK);
    CHECK(hf.config.n_layer_flags == 0 && hf.config.rope_local_theta <= 0);
    CHECK_U64(read_changed(SMOLLM3), EXIT_OK);
    CHECK_U64(hf.config.n_layer_flags, 0); /* every fourth */
    CHECK_U64(read_changed(SMOLLM3 ",\"no_rope_layer_interval\":2"), EXIT_OK);
    CHECK(flags_are(0, SLM_LAYER_NO_ROPE));
    CHECK_U64(read_changed(SMOLLM3 ",\"no_rope_layers\":[0,1],\"use_sliding_window\":true,"
                                   "\"sliding_window\":8"),
              EXIT_OK);
    CHECK(flags_are(SLM_LAYER_NO_ROPE | window, 0));
}

/* What the classes assume, and what the keys turn into. */
static void families(void)
{
    const slm_config *c = &hf.config;
    CHECK_U64(read_changed(GEMMA2 ",\"hidden_act\":\"gelu\""), EXIT_OK); /* not read there */
    CHECK(c->pre_norm && c->post_norm && c->tied_output && c->qk_norm == SLM_QK_NORM_NONE);
    CHECK(c->activation == SLM_ACTIVATION_GELU_TANH && c->head_dim == 256);
    CHECK(is_near(c->attention_softcap, 50) && is_near(c->logit_softcap, 30));
    /* 1 / sqrt(256) is the scale that heads of 256 elements have anyway */
    CHECK(c->attention_scale <= 0 && is_near(c->embedding_scale, 8));
    CHECK_U64(read_changed(GEMMA2 ",\"attn_logit_softcapping\":null,"
                                  "\"final_logit_softcapping\":null"),
              EXIT_OK);
    CHECK(c->attention_softcap <= 0 && c->logit_softcap <= 0);
    CHECK_U64(read_changed(GEMMA3 ",\"rope_theta\":\"DROP\",\"query_pre_attn_scalar\":100"),
              EXIT_OK);
    CHECK(c->qk_norm == SLM_QK_NORM_HEAD && is_near(c->rope_theta, 1e6));
    CHECK(is_near(c->attention_scale, 0.1) && c->logit_softcap <= 0);
    CHECK_U64(read_changed(GPT2), EXIT_OK);
    CHECK(c->d_ff == 256 && c->n_context == 1024 && c->norm_kind == SLM_NORM_LAYER);
    CHECK(c->learned_positions && !c->gated && c->qkv_bias && c->output_bias && c->ffn_bias);
    CHECK(c->tied_output && is_near(c->norm_eps, 1e-5));
    CHECK_U64(read_changed(STABLELM), EXIT_OK);
    CHECK(c->rope_dim == 4 && c->norm_kind == SLM_NORM_LAYER && c->gated && !c->qkv_bias);
    CHECK_U64(read_changed(STABLELM ",\"use_qkv_bias\":true,\"rope_parameters\":{\"rope_type\":"
                                    "\"default\",\"partial_rotary_factor\":0.5}"),
              EXIT_OK);
    CHECK(c->rope_dim == 8 && c->qkv_bias && !c->output_bias);
    CHECK_U64(read_changed(STARCODER2), EXIT_OK);
    CHECK(c->qkv_bias && c->output_bias && c->ffn_bias && c->tied_output && !c->gated);
    CHECK_U64(read_changed(STARCODER2 ",\"use_bias\":false"), EXIT_OK);
    CHECK(!c->qkv_bias && !c->output_bias && !c->ffn_bias);
    CHECK_U64(read_changed(OLMO2), EXIT_OK);
    CHECK(!c->pre_norm && c->post_norm && c->qk_norm == SLM_QK_NORM_ROW && !c->tied_output);
    CHECK_U64(read_changed(GRANITE ",\"embedding_multiplier\":12,\"residual_multiplier\":0.25,"
                                   "\"attention_multiplier\":0.5,\"logits_scaling\":8"),
              EXIT_OK);
    CHECK(is_near(c->embedding_scale, 12) && is_near(c->residual_scale, 0.25));
    CHECK(is_near(c->attention_scale, 0.5) && is_near(c->logit_scale, 0.125));
    CHECK_U64(read_changed(GRANITE), EXIT_OK);
    CHECK(is_near(c->attention_scale, 1)); /* and not 1 / sqrt(head_dim) */
    CHECK_U64(read_changed(SMOLLM3 ",\"rope_theta\":\"DROP\""), EXIT_OK);
    CHECK(is_near(c->rope_theta, 2e6) && c->tied_output);
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
    CHECK(!hf_tensor_name(family, "blk.0.attn_post_norm.weight", true, name));
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
    RUN(yarn);
    RUN(longrope);
    RUN(newer_keys);
    RUN(class_defaults);
    RUN(sliding_window);
    RUN(layers);
    RUN(families);
    RUN(unknown_keys_are_noted);
    RUN(generation_config);
    RUN(tensor_names);
    free(said);
    return test_finish();
}
