/* A Hugging Face folder whose files change between the check and the reading of the weights. */
#include "lib/check.h"
#include "lib/hf_model.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEMO "evals/models/tinystories-2.6m/"

static char folder[] = "/tmp/slm-test-XXXXXX";

static bool copy(const char *name)
{
    char from[256], to[256];
    snprintf(from, sizeof from, DEMO "%s", name);
    snprintf(to, sizeof to, "%s/%s", folder, name);
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    bool good = in && out;
    for (int c = good ? fgetc(in) : EOF; c != EOF; c = fgetc(in)) {
        good = good && fputc(c, out) != EOF;
    }
    good = (!in || fclose(in) == 0) && (!out || fclose(out) == 0) && good;
    return good;
}

typedef enum damage { NOTHING, TOUCHED, CUT, REPLACED } damage;

static void inflict(damage d)
{
    char path[256];
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    const struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    switch (d) {
    case NOTHING: break;
    case TOUCHED: CHECK(utimensat(AT_FDCWD, path, times, 0) == 0); break;
    case CUT: CHECK(truncate(path, 1000) == 0); break;
    case REPLACED: CHECK(unlink(path) == 0 && copy("model.safetensors")); break;
    }
}

/* The exit code of opening the weights (or of finishing after they were read) when the damage comes
 * in between. */
static int after(damage d, bool reading)
{
    hf_model m;
    failure f = {0};
    notes *w = calloc(1, sizeof *w);
    const input *in;
    if (!w || !copy("config.json") || !copy("model.safetensors") ||
        hf_model_open(folder, false, &m, w, &f) != EXIT_OK) {
        printf("# %s\n", f.text);
        free(w);
        return -1;
    }
    int code = reading ? hf_model_shard(&m, 0, &in, &f) : EXIT_OK;
    inflict(d);
    code = code ? code : reading ? hf_model_finish(&m, &f) : hf_model_shard(&m, 0, &in, &f);
    hf_model_free(&m);
    free(w);
    return code;
}

static void changes_are_noticed(void) /* ST70, ST71 */
{
    for (int reading = 0; reading < 2; reading++) {
        CHECK_U64(after(NOTHING, reading), EXIT_OK);
        CHECK_U64(after(TOUCHED, reading), EXIT_IO);
        CHECK_U64(after(CUT, reading), EXIT_IO);
        CHECK_U64(after(REPLACED, reading), EXIT_IO);
    }
}

static void contents(void)
{
    hf_model m;
    failure f = {0};
    notes *w = calloc(1, sizeof *w);
    if (w && hf_model_open(DEMO, false, &m, w, &f) == EXIT_OK) {
        CHECK_U64(m.n_tensors, 38); /* 1 + 4 * 9 + 1: tied */
        /* 1024*256 + 4 * (256*256*2 + 256*128*2 + 3*256*512 + 2*256) + 256 */
        CHECK_U64(m.n_parameters, 2623744);
        CHECK_STRING(m.tensors[0].source->name, "model.embed_tokens.weight");
        CHECK_U64(w->n, 0);
        hf_model_free(&m);
    } else {
        printf("# %s\n", f.text);
        test_failed_here = 1;
    }
    free(w);
}

int main(void)
{
    if (!mkdtemp(folder)) {
        return 1;
    }
    RUN(contents);
    RUN(changes_are_noticed);
    char path[256];
    snprintf(path, sizeof path, "%s/config.json", folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    unlink(path);
    rmdir(folder);
    return test_finish();
}
