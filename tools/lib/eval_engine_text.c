/* eval_engine_text.c - cases in which the model or its tokenizer writes: generate and tokenize. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/eval_engine_parts.h"
#include "lib/eval_score.h"
#include "lib/generate.h"
#include "lib/run_chat.h"

/* ---- generate -------------------------------------------------------------------------------- */

static slm_role role_of(const char *name)
{
    return strcmp(name, "system") == 0 ? SLM_ROLE_SYSTEM
           : strcmp(name, "user") == 0 ? SLM_ROLE_USER
                                       : SLM_ROLE_ASSISTANT;
}

static int encode_messages(const eval_engine *e, json_t *messages, id_list *list, failure *f)
{
    conversation talk = {0};
    json_t *message;
    size_t i;
    int code = EXIT_OK;
    json_array_foreach(messages, i, message)
    {
        const json_t *content = json_object_get(message, "content");
        const char *role = json_string_value(json_object_get(message, "role"));
        if (code == EXIT_OK) {
            code = conversation_add(&talk, role_of(role), json_string_value(content),
                                    json_string_length(content), f);
        }
    }
    code = code ? code : conversation_encode(&talk, e->model, &list->ids, &list->n, f);
    conversation_free(&talk);
    return code;
}

/* The same ids that slm-run would make of the prompt. */
static int encode_prompt(const eval_engine *e, const eval_case *c, id_list *list, failure *f)
{
    json_t *messages = json_object_get(c->definition, "messages");
    if (messages) {
        return encode_messages(e, messages, list, f);
    }
    const json_t *prompt = json_object_get(c->definition, "prompt");
    return encode_text(e->model, json_string_value(prompt), json_string_length(prompt),
                       SLM_ENCODE_SPECIAL, &list->ids, &list->n, f);
}

static double number(const eval_case *c, const char *key, double otherwise)
{
    const json_t *value = json_object_get(c->definition, key);
    return value ? json_number_value(value) : otherwise;
}

static int make_sampler(const eval_case *c, slm_sampler *sampler, failure *f)
{
    slm_error error = {0};
    uint64_t seed = (uint64_t)json_integer_value(json_object_get(c->definition, "seed"));
    slm_status status = slm_sampler_init(
        sampler, (float)number(c, "temperature", 0), (uint32_t)number(c, "top_k", 0),
        (float)number(c, "top_p", 1), (float)number(c, "min_p", 0), seed, &error);
    return status == SLM_OK ? EXIT_OK : fail_status(f, c->id, &error);
}

/* Every check is compiled for its case: a pattern of hundreds of bytes takes microseconds. */
static int check_output(const eval_case *c, const generation *g, json_t *verdicts,
                        case_result *result, failure *f)
{
    json_t *list = json_object_get(c->definition, "checks"), *item;
    size_t n = json_array_size(list), n_passed = 0, i;
    json_array_foreach(list, i, item)
    {
        eval_check *check = NULL;
        int code = check_compile(c->id, item, &check, f);
        if (code != EXIT_OK) {
            return code;
        }
        bool passed = check_passes(check, g->text, g->n_text, g->ids, g->n_ids);
        n_passed += passed;
        json_array_append_new(verdicts, json_boolean(passed));
        check_free(&check);
    }
    result->r.passed = n_passed == n;
    result->r.score = (double)n_passed / (double)n;
    return EXIT_OK;
}

static int keep_generation(const eval_case *c, generation *g, case_result *result, failure *f)
{
    char digest[17];
    json_t *verdicts = json_array();
    snprintf(digest, sizeof digest, "%016" PRIx64, ids_digest(g->ids, g->n_ids));
    int code = check_output(c, g, verdicts, result, f);
    json_t *detail =
        json_pack("{s:s, s:I, s:s, s:o}", "ids", digest, "n_generated", (json_int_t)g->n_ids, "end",
                  generate_end_name(g->end), "checks", verdicts);
    if (!detail) {
        json_decref(verdicts);
    }
    result->output = g->text; /* taken over */
    result->r.output = g->text;
    result->r.n_output = g->n_text;
    g->text = NULL;
    return code ? code : case_detail(result, detail, f);
}

static int generate_from(eval_engine *e, const eval_case *c, const id_list *prompt,
                         case_result *result, failure *f)
{
    const char *stops[SUITE_MAX_STOPS];
    json_t *list = json_object_get(c->definition, "stop"), *stop;
    size_t i, shared = 0;
    json_array_foreach(list, i, stop)
    {
        stops[i] = json_string_value(stop);
    }
    while (shared < e->n_held && shared + 1 < prompt->n && e->held[shared] == prompt->ids[shared]) {
        shared++;
    }
    generate_options o = {.stops = stops,
                          .n_stops = (uint32_t)json_array_size(list),
                          .max_tokens = (uint32_t)number(c, "max_tokens", 0),
                          .n_reuse = (uint32_t)shared};
    slm_sampler sampler;
    generation g = {0};
    int code = make_sampler(c, &sampler, f);
    code = code ? code : generate(e->model, &sampler, prompt->ids, prompt->n, &o, &g, f);
    if (code == EXIT_OK) {
        e->n_tokens += prompt->n - shared + g.n_evaluated;
        memcpy(e->held, prompt->ids, prompt->n * sizeof *prompt->ids);
        e->n_held = prompt->n;
        code = keep_generation(c, &g, result, f);
    } else {
        engine_forget(e);
    }
    generation_free(&g);
    return code;
}

int run_generate(eval_engine *e, const eval_case *c, case_result *result, failure *f)
{
    id_list prompt = {0};
    uint32_t wanted = (uint32_t)number(c, "max_tokens", 0);
    if (json_object_get(c->definition, "messages") && !slm_model_has_chat(e->model->model)) {
        return case_error(result, "the model has no chat turns, which messages need");
    }
    int code = encode_prompt(e, c, &prompt, f);
    if (code == EXIT_OK && prompt.n == 0) {
        code = case_error(result, "the prompt gives no token");
    } else if (code == EXIT_OK && prompt.n + wanted > engine_context(e)) {
        code = case_error(result, "%zu tokens of prompt and max_tokens %u exceed the context of %u",
                          prompt.n, wanted, engine_context(e));
    } else if (code == EXIT_OK) {
        code = generate_from(e, c, &prompt, result, f);
    }
    free(prompt.ids);
    return code;
}

/* ---- tokenize -------------------------------------------------------------------------------- */

/* ids back to text: malloc'd. */
static int decode(const eval_engine *e, const int32_t *ids, size_t n_ids, char **text,
                  size_t *n_text, failure *f)
{
    slm_decoder decoder;
    slm_error error = {0};
    size_t room = 256, used = 0, n;
    char *out = (char *)malloc(room);
    slm_decoder_init(&decoder, 0);
    for (size_t i = 0; i < n_ids && out;) {
        slm_status status = slm_decoder_push(&decoder, e->model->tokenizer, ids[i], out + used,
                                             room - used - 8, &n, &error);
        if (status == SLM_ERR_BUFFER) {
            room = 2 * (room + n);
            char *grown = (char *)realloc(out, room);
            if (!grown) {
                free(out);
            }
            out = grown;
            continue;
        }
        if (status != SLM_OK) {
            free(out);
            return fail_status(f, e->model->path, &error);
        }
        used += n;
        i++;
    }
    if (!out) {
        return fail(f, EXIT_RESOURCE, "no memory to decode %zu tokens", n_ids);
    }
    used += slm_decoder_flush(&decoder, out + used); /* 8 bytes were kept for it */
    *text = out;
    *n_text = used;
    return EXIT_OK;
}

static bool same_ids(const json_t *want, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n && json_array_size(want) == n; i++) {
        if (json_integer_value(json_array_get(want, i)) != ids[i]) {
            return false;
        }
    }
    return json_array_size(want) == n;
}

enum { SHOWN_IDS = 4096 }; /* more would bloat the database */

int run_tokenize(eval_engine *e, const eval_case *c, case_result *result, failure *f)
{
    int32_t *ids = NULL;
    size_t n = 0;
    const json_t *want = json_object_get(c->definition, "ids");
    int code = encode_text(e->model, c->text, c->n_text, 0, &ids, &n, f);
    code = code ? code : decode(e, ids, n, &result->output, &result->r.n_output, f);
    if (code == EXIT_OK) {
        result->r.output = result->output;
        bool back =
            result->r.n_output == c->n_text && memcmp(result->output, c->text, c->n_text) == 0;
        bool as_given = !want || same_ids(want, ids, n);
        result->r.passed = back && as_given;
        result->r.score = result->r.passed;
        json_t *list = json_array();
        for (size_t i = 0; i < n && n <= SHOWN_IDS; i++) {
            json_array_append_new(list, json_integer(ids[i]));
        }
        code = case_detail(result,
                           json_pack("{s:I, s:o, s:b, s:b}", "n_ids", (json_int_t)n, "ids", list,
                                     "text_returns", back, "ids_as_given", as_given),
                           f);
    }
    free(ids);
    return code;
}
