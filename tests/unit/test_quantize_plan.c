/* Which type each tensor gets. Layers with more bits are those that llama.cpp's mixes of the same
 * names choose, as published lists. */
#include "lib/quantize_plan.h"

#include "lib/check.h"

static slm_tensor tensors[1024];
static char names[1024][64];
static slm_file file;
static slm_config config;
static tensor_plan plan[1024];
static failure f;
static bool with_positions; /* in the next model */

static void model(uint32_t n_layers, bool tied, uint32_t d_model, uint32_t d_ff)
{
    config = slm_config_default();
    config.n_vocab = 64;
    config.d_model = d_model;
    config.d_ff = d_ff;
    config.n_layers = n_layers;
    config.n_heads = config.n_kv_heads = 1;
    config.head_dim = d_model;
    config.tied_output = tied;
    config.n_context = 16;
    config.learned_positions = with_positions;
    file.tensors = tensors;
    file.n_tensors = slm_config_n_tensors(&config);
    for (uint32_t i = 0; i < file.n_tensors; i++) {
        slm_tensor_spec spec;
        slm_config_tensor(&config, i, &spec);
        memcpy(names[i], spec.name, sizeof names[i]);
        tensors[i] = (slm_tensor){.name = names[i],
                                  .name_bytes = (uint32_t)strlen(names[i]),
                                  .type = spec.rank == 1 ? SLM_TYPE_F32 : SLM_TYPE_BF16,
                                  .rank = spec.rank,
                                  .dims = {spec.dims[0], spec.dims[1], 1, 1}};
    }
}

static int make(const char *mix)
{
    return quantize_plan_make("m.slm", &file, &config, quantize_mix_find(mix), plan, &f);
}

static const tensor_plan *planned(const char *name)
{
    for (uint32_t i = 0; i < file.n_tensors; i++) {
        if (strcmp(names[i], name) == 0) {
            return &plan[i];
        }
    }
    CHECK(false);
    return &plan[0];
}

/* "0 1 4 ": the layers whose tensor of that name has the type. */
static const char *layers_with(const char *tensor, slm_type type)
{
    static char list[8192];
    list[0] = 0;
    for (uint32_t i = 0; i < config.n_layers; i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%u.%s", (unsigned)i, tensor);
        if (planned(name)->to == type) {
            snprintf(list + strlen(list), 16, "%u ", (unsigned)i);
        }
    }
    return list;
}

static void medium_mixes(void)
{
    static const struct {
        uint32_t n_layers;
        const char *layers;
    } published[] = {{16, "0 1 4 7 10 13 14 15 "}, {24, "0 1 2 5 8 11 14 17 20 21 22 23 "}};
    for (int i = 0; i < 2; i++) {
        model(published[i].n_layers, true, 64, 96);
        CHECK_U64(make("Q4_K_M"), EXIT_OK);
        CHECK_STRING(layers_with("attn_v.weight", SLM_TYPE_Q6_K), published[i].layers);
        CHECK_STRING(layers_with("ffn_down.weight", SLM_TYPE_Q6_K), published[i].layers);
        CHECK_STRING(layers_with("attn_q.weight", SLM_TYPE_Q6_K), "");
        CHECK_U64(planned("blk.3.attn_v.weight")->to, SLM_TYPE_Q4_K);
        CHECK_U64(planned("token_embd.weight")->to, SLM_TYPE_Q6_K);
        CHECK_U64(make("Q5_K_M"), EXIT_OK);
        CHECK_STRING(layers_with("ffn_down.weight", SLM_TYPE_Q6_K), published[i].layers);
        CHECK_U64(planned("blk.3.ffn_up.weight")->to, SLM_TYPE_Q5_K);
    }
    model(30, false, 64, 96);
    CHECK_U64(make("Q4_K_M"), EXIT_OK);
    uint32_t n = 0;
    for (const char *p = layers_with("attn_v.weight", SLM_TYPE_Q6_K); *p; p++) {
        n += *p == ' ';
    }
    CHECK_U64(n, 14);
    CHECK_U64(planned("output.weight")->to, SLM_TYPE_Q6_K);
    CHECK_U64(planned("token_embd.weight")->to, SLM_TYPE_Q4_K); /* untied: stays */
}

static void small_mixes(void)
{
    model(16, true, 64, 96);
    CHECK_U64(make("Q4_K_S"), EXIT_OK);
    CHECK_STRING(layers_with("attn_v.weight", SLM_TYPE_Q5_K), "0 1 2 3 ");
    CHECK_STRING(layers_with("ffn_down.weight", SLM_TYPE_Q5_K), "0 1 ");
    CHECK_STRING(layers_with("attn_k.weight", SLM_TYPE_Q5_K), "");
    CHECK_U64(planned("token_embd.weight")->to, SLM_TYPE_Q6_K);
    CHECK_U64(make("Q5_K_S"), EXIT_OK);
    CHECK_STRING(layers_with("attn_v.weight", SLM_TYPE_Q5_K),
                 "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 ");
}

static void positions_are_left(void)
{
    with_positions = true;
    model(4, true, 64, 96);
    with_positions = false;
    CHECK_U64(make("Q4_K_M"), EXIT_OK);
    CHECK_U64(planned("position_embd.weight")->to, SLM_TYPE_BF16);
    CHECK(!planned("position_embd.weight")->kept);
}

static void pure_types(void)
{
    static const char *const pure[] = {"Q8_0", "Q4_0", "Q4_K", "Q5_K", "Q6_K"};
    model(4, true, 64, 96);
    for (int i = 0; i < 5; i++) {
        CHECK_U64(make(pure[i]), EXIT_OK);
        for (uint32_t k = 0; k < file.n_tensors; k++) {
            CHECK_STRING(slm_type_name(plan[k].to), tensors[k].rank == 1 ? "F32" : pure[i]);
            CHECK(!plan[k].kept);
        }
    }
    CHECK(!quantize_mix_find("Q4_1"));
    CHECK(!quantize_mix_find("q4_k"));
    CHECK(!quantize_mix_find(""));
}

static void rows_that_blocks_cannot_hold(void)
{
    model(2, true, 64, 172);
    CHECK_U64(make("Q4_K_M"), EXIT_OK);
    const tensor_plan *down = planned("blk.1.ffn_down.weight");
    CHECK(down->kept && down->to == SLM_TYPE_BF16); /* the 16 bits that it has */
    CHECK(!planned("blk.1.ffn_up.weight")->kept);
    for (uint32_t i = 0; i < file.n_tensors; i++) {
        tensors[i].type = SLM_TYPE_F32;
    }
    CHECK_U64(make("Q4_K_M"), EXIT_OK);
    CHECK(down->kept && down->to == SLM_TYPE_F16);
    CHECK_U64(down->to_bytes, 64 * 176 * 2);
}

static void quantized_input_is_refused(void)
{
    model(2, true, 64, 96);
    tensors[4].type = SLM_TYPE_Q8_0;
    CHECK_U64(make("Q4_K"), EXIT_INPUT);
    CHECK(strstr(f.text, names[4]) && strstr(f.text, "Q8_0"));
}

int main(void)
{
    RUN(medium_mixes);
    RUN(small_mixes);
    RUN(pure_types);
    RUN(positions_are_left);
    RUN(rows_that_blocks_cannot_hold);
    RUN(quantized_input_is_refused);
    return test_finish();
}
