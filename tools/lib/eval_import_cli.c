/* eval_import_cli.c - slm-eval import: options and the report. */
#include <inttypes.h>
#include <string.h>

#include "lib/cli.h"
#include "lib/eval_import.h"
#include "lib/json_out.h"

enum { MOST_CASES = 1000000 };

static struct {
    const char *format;
    import_options o;
    bool json;
} given = {.o = {.delimiter = " "}};

/* clang-format off */
static cli_option table[] = {
    {.name = "format", .argument = "llm-foundry", .kind = CLI_STRING, .value = &given.format,
     .help = "what FILE is (required)"},
    {.name = "out", .letter = 'o', .argument = "FILE", .kind = CLI_STRING, .value = &given.o.out,
     .help = "the suite to write (required)"},
    {.name = "name", .argument = "TEXT", .kind = CLI_STRING, .value = &given.o.name,
     .help = "name of the suite (default: FILE's, without folders and ending)"},
    {.name = "description", .argument = "TEXT", .kind = CLI_STRING, .value = &given.o.description,
     .help = "its description: origin and licence belong there"},
    {.name = "delimiter", .argument = "TEXT", .kind = CLI_STRING, .value = &given.o.delimiter,
     .help = "stands between question and answer, \\n for a new line (default: one space)"},
    {.name = "limit", .argument = "N", .kind = CLI_U32, .value = &given.o.limit, .min = 1,
     .max = MOST_CASES, .help = "take the first N cases only"},
    {.name = "force", .letter = 'f', .kind = CLI_FLAG, .value = &given.o.force,
     .help = "overwrite the suite"},
    {.name = "json", .kind = CLI_FLAG, .value = &given.json, .help = "print one JSON document"},
};
/* clang-format on */

static const char SUMMARY[] =
    "Makes a suite of the JSON Lines that llm-foundry keeps its evaluations in.\n"
    "\n"
    "Lines that make no sensible case (two equal choices, an empty text) are left out and counted.";

static const char EPILOG[] =
    "llm-foundry's own tasks use --delimiter '\\nAnswer: ' for ARC and PIQA, and the default for\n"
    "HellaSwag, WinoGrande and LAMBADA.\n"
    "\n"
    "example:\n"
    "  slm-eval import --format llm-foundry arc_easy.jsonl -o arc.jsonl --delimiter '\\nAnswer: '";

static void report(cli *c, const import_counts *n)
{
    if (!given.json) {
        printf("%s: %" PRIu64 " cases, %" PRIu64 " lines left out\n", given.o.out, n->n_cases,
               n->n_left_out);
        return;
    }
    json_out out;
    json_begin(&out, stdout, false);
    json_object(&out, NULL);
    json_string(&out, "tool", "slm-eval");
    json_string(&out, "command", "import");
    json_string(&out, "version", SLM_VERSION);
    json_string(&out, "file", given.o.path);
    json_string(&out, "suite", given.o.out);
    json_u64(&out, "cases", n->n_cases);
    json_u64(&out, "left_out", n->n_left_out);
    json_object_end(&out);
    json_end(&out);
    c->json_done = true;
}

static int check_options(failure *f)
{
    if (!given.format || strcmp(given.format, "llm-foundry") != 0) {
        return fail(f, EXIT_USAGE, "--format: must be llm-foundry");
    }
    return given.o.out ? EXIT_OK : fail(f, EXIT_USAGE, "--out: say which file the suite goes to");
}

int eval_import_main(int argc, char **argv)
{
    static cli c = {.tool = "slm-eval import",
                    .synopsis = "--format llm-foundry FILE -o SUITE.jsonl [options]",
                    .summary = SUMMARY,
                    .options = table,
                    .n_options = sizeof table / sizeof table[0],
                    .min_operands = 1,
                    .max_operands = 1,
                    .operands = &given.o.path,
                    .epilog = EPILOG};
    static notes warnings;
    failure f = {0};
    import_counts counts;
    int code = cli_parse(&c, argc, argv);
    if (code >= 0) {
        return code;
    }
    code = check_options(&f);
    code = code ? code : import_llm_foundry(&given.o, &counts, &warnings, &f);
    for (uint32_t i = 0; i < warnings.n; i++) {
        fprintf(stderr, "slm-eval import: warning: %s\n", warnings.text[i]);
    }
    if (code == EXIT_OK) {
        report(&c, &counts);
    } else {
        cli_report(&c, &f);
    }
    return cli_finish(&c, code);
}
