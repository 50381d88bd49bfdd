/* test_cli.c - command lines -> values, or misuse that names the argument. */
#include "lib/check.h"
#include "lib/cli.h"

static struct {
    bool flag, quiet;
    const char *text;
    uint32_t number;
    uint64_t wide;
    float real;
    cli_list list;
} v;

static cli_option table[] = {
    {.name = "flag", .letter = 'f', .kind = CLI_FLAG, .value = &v.flag},
    {.name = "no-fuss", .letter = 'q', .kind = CLI_FLAG, .value = &v.quiet},
    {.name = "text", .letter = 't', .argument = "T", .kind = CLI_STRING, .value = &v.text},
    {.name = "number", .letter = 'n', .argument = "N", .kind = CLI_U32, .value = &v.number},
    {.name = "small", .argument = "N", .kind = CLI_U32, .value = &v.number, .min = 2, .max = 9},
    {.name = "wide", .argument = "N", .kind = CLI_U64, .value = &v.wide},
    {.name = "real", .argument = "X", .kind = CLI_F32, .value = &v.real},
    {.name = "part", .argument = "X", .kind = CLI_F32, .value = &v.real, .min = 0, .max = 1},
    {.name = "list", .letter = 'l', .argument = "T", .kind = CLI_LIST, .value = &v.list},
};

static const char *operands[2];
static cli c;

/* Parses the words of a line, with stderr in `said`. */
static char said[2048];
static int parse(const char *line)
{
    static char words[1024];
    char *argv[80] = {(char *)"tool"};
    int argc = 1;
    snprintf(words, sizeof words, "%s", line);
    for (char *w = strtok(words, " "); w && argc < 80; w = strtok(NULL, " ")) {
        argv[argc++] = strcmp(w, "EMPTY") == 0 ? (char *)"" : w;
    }
    memset(&v, 0, sizeof v);
    memset(said, 0, sizeof said);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        table[i].seen = false;
    }
    cli fresh = {.tool = "tool",
                 .synopsis = "A [B]",
                 .summary = "s",
                 .options = table,
                 .n_options = sizeof table / sizeof table[0],
                 .min_operands = 1,
                 .max_operands = 2,
                 .operands = operands};
    c = fresh;
    FILE *saved = stderr;
    stderr = fmemopen(said, sizeof said, "w");
    int code = cli_parse(&c, argc, argv);
    fclose(stderr);
    stderr = saved;
    return code;
}

static void accepts(void)
{
    CHECK_U64((uint64_t)parse("a --flag --text x -n 7 --wide=18446744073709551615 b"),
              (uint64_t)-1);
    CHECK(v.flag && c.n_operands == 2);
    CHECK_STRING(operands[0], "a");
    CHECK_STRING(operands[1], "b");
    CHECK_STRING(v.text, "x");
    CHECK_U64(v.number, 7);
    CHECK_U64(v.wide, UINT64_MAX);
    CHECK(cli_seen(&c, "wide") && !cli_seen(&c, "small") && !cli_seen(&c, "unheard"));
    CHECK(parse("a --flag --no-flag") == -1 && !v.flag && cli_seen(&c, "flag"));
    CHECK(parse("a --no-fuss") == -1 && v.quiet);
    CHECK(parse("a -qfn5") == -1 && v.quiet && v.flag && v.number == 5);
    CHECK(parse("a --text=") == -1 && v.text[0] == 0);
    CHECK(parse("a --text=x=y") == -1 && strcmp(v.text, "x=y") == 0);
    CHECK(parse("a --text --flag") == -1 && strcmp(v.text, "--flag") == 0 && !v.flag);
    CHECK(parse("-- -n --flag") == -1 && strcmp(operands[1], "--flag") == 0);
    CHECK(parse("-") == -1 && strcmp(operands[0], "-") == 0);
    CHECK(parse("EMPTY") == -1 && operands[0][0] == 0);
    CHECK(parse("a --real -1.5e3") == -1 && v.real == -1500.0f);
    CHECK(parse("a --part 1") == -1 && v.real == 1.0f);
    CHECK(parse("a -l x --list y -lz") == -1 && v.list.n == 3 && strcmp(v.list.items[2], "z") == 0);
    CHECK(parse("a --number 4294967295") == -1 && v.number == UINT32_MAX);
}

static void refuses_by_name(void)
{
    static const struct {
        const char *line, *names;
    } cases[] = {
        {"", "missing"},
        {"a b c", "'c'"},
        {"a --unheard", "--unheard"},
        {"a --unheard=3", "--unheard"},
        {"a -z", "-z"},
        {"a -fz", "-z"},
        {"a --text", "--text"},
        {"a -t", "-t"},
        {"a --flag=1", "--flag"},
        {"a --text x --text y", "--text"},
        {"a --number", "--number"},
        {"a --number EMPTY", "--number"},
        {"a --number 4294967296", "--number"},
        {"a --number -1", "--number"},
        {"a --number +1", "--number"},
        {"a --number 0x10", "--number"},
        {"a --number 1k", "--number"},
        {"a --number 1.5", "--number"},
        {"a --small 1", "--small"},
        {"a --small 10", "--small"},
        {"a --wide 18446744073709551616", "--wide"},
        {"a --real nan", "--real"},
        {"a --real inf", "--real"},
        {"a --real 1e39", "--real"},
        {"a --real 1x", "--real"},
        {"a --real 0x1p3", "--real"},
        {"a --part 1.01", "--part"},
        {"a --part -0.1", "--part"},
        {"a --no-text x", "--no-text"},
        {"a --no-", "--no-"},
        {"a --=3", "--"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int code = parse(cases[i].line);
        bool named = strstr(said, cases[i].names) != NULL;
        if (code != EXIT_USAGE || !named) {
            printf("# '%s': code %d, said: %s\n", cases[i].line, code, said);
        }
        CHECK(code == EXIT_USAGE && named);
        CHECK(strncmp(said, "tool: ", 6) == 0);
        CHECK(strchr(said, '\n') == said + strlen(said) - 1); /* one line */
    }
    char many[1024] = "a";
    for (int i = 0; i <= CLI_LIST_MAX; i++) {
        strcat(many, " -lx");
    }
    CHECK(parse(many) == EXIT_USAGE && strstr(said, "-l") != NULL);
}

/* What a file or an argument says must not reach the terminal as a command. */
static void messages_are_printable(void)
{
    failure f = {0};
    CHECK_U64((uint64_t)fail(&f, EXIT_INPUT, "a\x1b[2J\x07\n\x7f z\xc3\xa9 \xff \xc2\x9b"),
              EXIT_INPUT);
    CHECK_STRING(f.text, "a?[2J??? z\xc3\xa9 ? ??");
    char twice[sizeof f.text];
    snprintf(twice, sizeof twice, "%s", f.text);
    fail(&f, EXIT_IO, "x: %s", f.text); /* an argument inside the failure itself */
    CHECK(strncmp(f.text, "x: ", 3) == 0 && strcmp(f.text + 3, twice) == 0);
    char long_text[3000];
    memset(long_text, 'y', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = 0;
    fail(&f, EXIT_IO, "%s", long_text);
    CHECK_U64(strlen(f.text), sizeof f.text - 1);
}

static void status_to_exit_code(void)
{
    static const struct {
        slm_status status;
        int code;
    } cases[] = {
        {SLM_ERR_TRUNCATED, EXIT_INPUT},    {SLM_ERR_CHAT, EXIT_INPUT},
        {SLM_ERR_NOT_FINITE, EXIT_INPUT},   {SLM_ERR_ARGUMENT, EXIT_USAGE},
        {SLM_ERR_KERNELS, EXIT_USAGE},      {SLM_ERR_MEMORY, EXIT_RESOURCE},
        {SLM_ERR_TOO_LARGE, EXIT_RESOURCE}, {SLM_OK, EXIT_INTERNAL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        slm_error error = {.code = cases[i].status, .offset = 17, .text = "field x"};
        failure f = {0};
        CHECK_U64((uint64_t)fail_status(&f, "name", &error), cases[i].code);
        CHECK(strstr(f.text, "name: field x") && strstr(f.text, "byte 17") &&
              strstr(f.text, slm_status_name(cases[i].status)));
    }
}

int main(void)
{
    RUN(accepts);
    RUN(refuses_by_name);
    RUN(messages_are_printable);
    RUN(status_to_exit_code);
    return test_finish();
}
