/* slm_validate.c - slm-validate: proves .slm files and reports what is in them. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/inspect.h"
#include "lib/quality.h"

#include "lib/json_out.h"

enum { MAX_FILES = 65536 };

typedef struct settings {
    bool json, quick, quiet, progress;
    const char *manifest;
} settings;

/* ---- For people ------------------------------------------------------------------------------ */

static void print_size(uint64_t n_bytes)
{
    static const char *const units[] = {"bytes", "KB", "MB", "GB", "TB"};
    double size = (double)n_bytes;
    int unit = 0;
    for (; size >= 1000 && unit < 4; unit++) {
        size /= 1000;
    }
    printf(unit == 0 ? "%.0f %s" : "%.2f %s", size, units[unit]);
}

static void print_config(const inspection *r)
{
    const slm_config *c = &r->config;
    if (strcmp(r->file.architecture, SLM_ARCHITECTURE_TOKENIZER) == 0) {
        printf("  architecture  none: a tokenizer without a model\n");
        return;
    }
    printf("  architecture  %s", r->file.architecture);
    if (r->has_config) {
        printf(": %" PRIu32 " layers, d_model %" PRIu32 ", %" PRIu32 "/%" PRIu32
               " heads of %" PRIu32 ", d_ff %" PRIu32 ", vocabulary %" PRIu32
               "%s, context %" PRIu32,
               c->n_layers, c->d_model, c->n_heads, c->n_kv_heads, c->head_dim, c->d_ff, c->n_vocab,
               c->tied_output ? " (tied)" : "", c->n_context);
    }
    printf("\n");
}

static void print_types(const inspection *r)
{
    printf("  tensors       %" PRIu32 " with %" PRIu64 " parameters, %.2f bits per weight\n",
           r->file.n_tensors, r->file.n_parameters, inspect_bits_per_weight(r));
    for (int i = 0; i < SLM_TYPE_COUNT; i++) {
        const type_sum *t = &r->types[i];
        if (t->n_tensors != 0) {
            printf("                %-5s %5" PRIu64 " tensors  %12" PRIu64 " parameters  ",
                   slm_type_name((slm_type)i), t->n_tensors, t->n_parameters);
            print_size(t->n_bytes);
            printf("\n");
        }
    }
}

static void print_text(const inspection *r)
{
    if (r->has_tokenizer) {
        printf("  tokenizer     %s, %" PRIu32 " tokens%s\n", r->tokenizer_kind, r->n_tokens,
               r->has_chat ? ", chat turns" : "");
    } else if (r->file.tokenizer_checksum == 0) {
        printf("  tokenizer     none: the model takes token ids only\n");
    }
}

static void print_report(const inspection *r)
{
    printf("%s  (", r->path);
    print_size(r->n_bytes);
    printf(")\n");
    if (r->has_structure) {
        print_config(r);
        print_types(r);
        print_text(r);
        printf("  checksums     content %016" PRIx64 "  layout %016" PRIx64
               "  tokenizer %016" PRIx64 "\n",
               r->file.content_checksum, r->file.layout_checksum, r->file.tokenizer_checksum);
    }
    if (r->exit_code == EXIT_OK) {
        printf("  verdict       valid%s\n",
               r->data_checked ? "" : " as far as checked: tensor data was left out (--quick)");
    } else {
        printf("  verdict       %s, %" PRIu64 " problem%s\n",
               r->exit_code == EXIT_INPUT ? "INVALID" : "NOT CHECKED", r->n_problems,
               r->n_problems == 1 ? "" : "s");
    }
}

static void print_problems(const inspection *r)
{
    for (uint64_t i = 0; i < r->n_problems && i < INSPECT_MAX_PROBLEMS; i++) {
        const problem *p = &r->problems[i];
        failure f;
        if (p->code == SLM_OK) {
            fail(&f, p->exit_code, "%s: %s", r->path, p->text);
        } else if (p->offset == 0) {
            fail(&f, p->exit_code, "%s: %s (%s)", r->path, p->text, slm_status_name(p->code));
        } else {
            fail(&f, p->exit_code, "%s: %s (byte %" PRIu64 ", %s)", r->path, p->text, p->offset,
                 slm_status_name(p->code));
        }
        fprintf(stderr, "slm-validate: %s\n", f.text);
    }
    if (r->quality.exit_code != EXIT_OK) {
        fprintf(stderr, "slm-validate: %s\n", r->quality.text);
    }
    if (r->n_problems > INSPECT_MAX_PROBLEMS) {
        fprintf(stderr, "slm-validate: %s: and %" PRIu64 " more\n", r->path,
                r->n_problems - INSPECT_MAX_PROBLEMS);
    }
}

/* ---- For programs ---------------------------------------------------------------------------- */

static void json_types(json_out *j, const inspection *r)
{
    json_array(j, "types");
    for (int i = 0; i < SLM_TYPE_COUNT; i++) {
        const type_sum *t = &r->types[i];
        if (t->n_tensors != 0) {
            json_object(j, NULL);
            json_string(j, "type", slm_type_name((slm_type)i));
            json_u64(j, "tensors", t->n_tensors);
            json_u64(j, "parameters", t->n_parameters);
            json_u64(j, "bytes", t->n_bytes);
            json_object_end(j);
        }
    }
    json_array_end(j);
}

static void json_config(json_out *j, const slm_config *c)
{
    json_object(j, "config");
    json_u64(j, "n_vocab", c->n_vocab);
    json_u64(j, "n_context", c->n_context);
    json_u64(j, "d_model", c->d_model);
    json_u64(j, "n_layers", c->n_layers);
    json_u64(j, "n_heads", c->n_heads);
    json_u64(j, "n_kv_heads", c->n_kv_heads);
    json_u64(j, "head_dim", c->head_dim);
    json_u64(j, "d_ff", c->d_ff);
    json_bool(j, "tied_output", c->tied_output != 0);
    json_object_end(j);
}

static void json_problems(json_out *j, const inspection *r)
{
    json_array(j, "errors");
    for (uint64_t i = 0; i < r->n_problems && i < INSPECT_MAX_PROBLEMS; i++) {
        const problem *p = &r->problems[i];
        json_object(j, NULL);
        json_string(j, "code", p->code != SLM_OK ? slm_status_name(p->code) : "IO");
        json_u64(j, "offset", p->offset);
        json_string(j, "text", p->text);
        json_object_end(j);
    }
    json_array_end(j);
}

static void json_report(json_out *j, const inspection *r)
{
    json_object(j, NULL);
    json_string(j, "tool", "slm-validate");
    json_string(j, "version", SLM_VERSION);
    json_string(j, "file", r->path);
    json_bool(j, "valid", r->exit_code == EXIT_OK);
    json_u64(j, "exit_code", (uint64_t)r->exit_code);
    json_u64(j, "bytes", r->n_bytes);
    if (r->has_structure) {
        json_bool(j, "data_checked", r->data_checked);
        json_string(j, "architecture", r->file.architecture);
        json_u64(j, "parameters", r->file.n_parameters);
        json_u64(j, "tensors", r->file.n_tensors);
        json_f64(j, "bits_per_weight", inspect_bits_per_weight(r));
        json_types(j, r);
        json_hex64(j, "content_checksum", r->file.content_checksum);
        json_hex64(j, "layout_checksum", r->file.layout_checksum);
        json_hex64(j, "tokenizer_checksum", r->file.tokenizer_checksum);
    }
    if (r->has_config) {
        json_config(j, &r->config);
    }
    if (r->has_tokenizer) {
        json_object(j, "tokenizer");
        json_string(j, "kind", r->tokenizer_kind);
        json_u64(j, "tokens", r->n_tokens);
        json_bool(j, "chat", r->has_chat);
        json_object_end(j);
    }
    if (r->manifest) {
        json_object(j, "quality");
        json_string(j, "manifest", r->manifest);
        json_bool(j, "proved", r->quality.exit_code == EXIT_OK);
        if (r->quality.exit_code != EXIT_OK) {
            json_string(j, "error", r->quality.text);
        }
        json_object_end(j);
    }
    json_u64(j, "n_errors", r->n_problems);
    json_problems(j, r);
    json_object_end(j);
}

/* ---- Main ------------------------------------------------------------------------------------ */

static int validate_all(const cli *c, const settings *s, int progress_mode)
{
    json_out j;
    int worst = EXIT_OK;
    json_begin(&j, stdout, false);
    if (s->json && c->n_operands > 1) {
        json_array(&j, NULL);
    }
    for (uint32_t i = 0; i < c->n_operands; i++) {
        static inspection result; /* 20 KB; one at a time */
        progress p;
        progress_begin(&p, progress_mode);
        inspect_file(c->operands[i], s->quick, &p, &result);
        if (s->manifest && result.exit_code == EXIT_OK) {
            result.manifest = s->manifest;
            result.exit_code = quality_prove(s->manifest, c->operands[i], NULL, 0, &result.quality);
        }
        print_problems(&result);
        if (s->json) {
            json_report(&j, &result);
        } else if (!s->quiet) {
            print_report(&result);
        }
        worst = result.exit_code > worst ? result.exit_code : worst;
    }
    if (s->json && c->n_operands > 1) {
        json_array_end(&j);
    }
    if (s->json) {
        json_end(&j);
    }
    return worst;
}

int main(int argc, char **argv)
{
    static const char *operands[MAX_FILES];
    settings s = {0};
    cli_option options[] = {
        {.name = "json", .help = "print one JSON document", .kind = CLI_FLAG, .value = &s.json},
        {.name = "quick",
         .help = "leave the tensor data out (its checksums and values)",
         .kind = CLI_FLAG,
         .value = &s.quick},
        {.name = "manifest",
         .argument = "FILE",
         .help = "prove the quality manifest too: for these bytes, passed, and its logits "
                 "digest reproduced here; one MODEL.slm only",
         .kind = CLI_STRING,
         .value = &s.manifest},
        {.name = "quiet",
         .letter = 'q',
         .help = "print problems only",
         .kind = CLI_FLAG,
         .value = &s.quiet},
        {.name = "progress",
         .help = "show progress even if stderr is no terminal",
         .kind = CLI_FLAG,
         .value = &s.progress}};
    cli c = {.tool = "slm-validate",
             .synopsis = "MODEL.slm... [options]",
             .summary =
                 "Proves .slm files: structure, checksums, configuration, tokenizer, and that "
                 "every\nweight is a number. Exit code 0: valid, 1: the quality manifest does not "
                 "hold,\n3: invalid, 4: a file cannot be read; of several files, the highest.",
             .options = options,
             .n_options = sizeof options / sizeof options[0],
             .min_operands = 1,
             .max_operands = MAX_FILES,
             .operands = operands};
    int code = cli_parse(&c, argc, argv);
    if (code >= 0) {
        return code;
    }
    if (s.manifest && c.n_operands > 1) {
        failure f = {0};
        fail(&f, EXIT_USAGE, "--manifest: speaks of one model, not of %u", c.n_operands);
        return cli_report(&c, &f);
    }
    int mode = !cli_seen(&c, "progress") ? PROGRESS_AUTO : s.progress ? PROGRESS_ON : PROGRESS_OFF;
    return cli_finish(&c, validate_all(&c, &s, s.quiet ? PROGRESS_OFF : mode));
}
