/* test_output.c - files that appear whole or not at all: what stands on disk before, while and
 * after, with links, devices, signals and kills in the way. Numbers in brackets are malformed-input
 * items.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/output.h"

static failure f;

static void put(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    fputs(text, file);
    fclose(file);
}

static bool holds(const char *path, const char *text)
{
    char got[256] = {0};
    FILE *file = fopen(path, "r");
    if (!file) {
        return false;
    }
    size_t n = fread(got, 1, sizeof got - 1, file);
    fclose(file);
    return n == strlen(text) && strcmp(got, text) == 0;
}

/* Entries of the folder that are temporary files. */
static int temporaries(void)
{
    int n = 0;
    DIR *list = opendir(".");
    for (struct dirent *e = readdir(list); e; e = readdir(list)) {
        n += strstr(e->d_name, ".tmp-") != NULL;
    }
    closedir(list);
    return n;
}

static output *create(const char *path, bool force)
{
    output *out = NULL;
    CHECK_U64(output_create(path, force, NULL, 0, &out, &f), EXIT_OK);
    return out;
}

static void refused(const char *path, bool force, int code, const char *says)
{
    output *out = NULL;
    CHECK_U64(output_create(path, force, NULL, 0, &out, &f), code);
    if (!strstr(f.text, says)) {
        printf("# %s: said '%s', not '%s'\n", path, f.text, says);
    }
    CHECK(strstr(f.text, says) != NULL);
    CHECK(out == NULL);
    output_destroy(&out);
}

static void appears_at_commit(void)
{
    output *out = create("new", false);
    CHECK_U64(output_write(out, "abcdef", 6, &f), EXIT_OK);
    CHECK_U64(output_write_at(out, 1, "XY", 2, &f), EXIT_OK);
    CHECK_U64(output_write(out, "g", 1, &f), EXIT_OK); /* appending is not moved by it */
    CHECK_U64(output_write_at(out, 9, "z", 1, &f), EXIT_OK);
    CHECK(access("new", F_OK) != 0);
    CHECK_U64(temporaries(), 1);
    CHECK_U64(output_commit(out, &f), EXIT_OK);
    CHECK_U64(output_commit(out, &f), EXIT_INTERNAL);
    output_destroy(&out);
    CHECK(out == NULL);
    output_destroy(&out);
    FILE *file = fopen("new", "r");
    char got[16];
    CHECK(file && fread(got, 1, 16, file) == 10 && memcmp(got, "aXYdefg\0\0z", 10) == 0);
    fclose(file);
    CHECK_U64(temporaries(), 0);
}

static void old_file_stays_until_rename(void) /* [FS15] */
{
    put("old", "old");
    refused("old", false, EXIT_USAGE, "--force");
    output *out = create("old", true);
    output_write(out, "new", 3, &f);
    CHECK(holds("old", "old"));
    output_destroy(&out);
    CHECK(holds("old", "old"));
    out = create("old", true);
    output_write(out, "new", 3, &f);
    CHECK_U64(output_commit(out, &f), EXIT_OK);
    output_destroy(&out);
    CHECK(holds("old", "new"));
    CHECK_U64(temporaries(), 0);
}

static void is_an_input(void) /* [FS13, FS14] */
{
    put("in", "in");
    CHECK(symlink("in", "in.link") == 0 && link("in", "in.hard") == 0);
    CHECK(mkdir("sub", 0777) == 0);
    static const char *const names[] = {"in", "./in", "sub/../in", "in.link", "in.hard"};
    const char *inputs[] = {NULL, "not there", "in"};
    for (size_t i = 0; i < 5; i++) {
        output *out = NULL;
        CHECK_U64(output_create(names[i], true, inputs, 3, &out, &f), EXIT_USAGE);
        CHECK(strstr(f.text, "is the input in") != NULL);
    }
    CHECK(holds("in", "in"));
}

static void impossible_targets(void) /* [FS16, FS18-FS22] */
{
    CHECK(mkdir("folder", 0777) == 0 && mkfifo("fifo", 0666) == 0);
    CHECK(symlink("nowhere", "dangling") == 0 && symlink("folder", "to.folder") == 0 &&
          symlink("/dev/full", "to.full") == 0 && symlink("loop", "loop") == 0);
    refused("", true, EXIT_USAGE, "empty");
    refused("folder", true, EXIT_USAGE, "is a folder");
    refused("folder/", true, EXIT_USAGE, "is a folder");
    refused("to.folder", true, EXIT_USAGE, "is a folder");
    refused("absent/", true, EXIT_USAGE, "missing after the folder");
    refused("absent/x", true, EXIT_IO, "folder does not exist");
    refused("dangling", true, EXIT_USAGE, "link to nothing");
    refused("loop", true, EXIT_USAGE, "link to nothing");
    refused("fifo", true, EXIT_USAGE, "not a regular file");
    refused("/dev/full", true, EXIT_USAGE, "not a regular file");
    refused("/dev/null", true, EXIT_USAGE, "not a regular file");
    refused("to.full", true, EXIT_USAGE, "not a regular file");
    refused("new/x", true, EXIT_IO, "Not a directory");
    refused("/proc/x", true, EXIT_IO, "cannot be created");
    CHECK(access("nowhere", F_OK) != 0);
    struct stat s;
    CHECK(stat("/dev/null", &s) == 0 && S_ISCHR(s.st_mode));
}

static void unwritable_folder(void) /* [FS22] */
{
    if (geteuid() == 0) {
        test_skip("root may write everywhere");
        return;
    }
    CHECK(mkdir("locked", 0555) == 0);
    refused("locked/x", false, EXIT_IO, "Permission denied");
}

static void link_is_followed(void) /* [FS17] */
{
    CHECK(mkdir("far", 0777) == 0);
    put("far/target", "old");
    CHECK(symlink("far/target", "near") == 0);
    output *out = create("near", true);
    output_write(out, "new", 3, &f);
    CHECK_U64(output_commit(out, &f), EXIT_OK);
    output_destroy(&out);
    struct stat s;
    CHECK(lstat("near", &s) == 0 && S_ISLNK(s.st_mode));
    CHECK(holds("far/target", "new"));
}

static void planted_temporary(void) /* [FS28] */
{
    char name[64];
    snprintf(name, sizeof name, ".planted.tmp-%ld", (long)getpid());
    put("victim", "safe");
    CHECK(symlink("victim", name) == 0);
    output *out = create("planted", false);
    output_write(out, "data", 4, &f);
    CHECK_U64(output_commit(out, &f), EXIT_OK);
    output_destroy(&out);
    CHECK(holds("planted", "data") && holds("victim", "safe"));
    CHECK(unlink(name) == 0);
}

static void appeared_meanwhile(void)
{
    output *out = create("race", false);
    output_write(out, "mine", 4, &f);
    put("race", "theirs");
    CHECK_U64(output_commit(out, &f), EXIT_USAGE);
    CHECK(strstr(f.text, "appeared") != NULL);
    output_destroy(&out);
    CHECK(holds("race", "theirs"));
    CHECK_U64(temporaries(), 0);
}

static const int DEADLY[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};

/* A child writes half an output, tells so, and dies of `number` (from outside if it is a kill). */
static void die_while_writing(int number)
{
    int ready[2];
    CHECK(pipe(ready) == 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        output *out = create("dying", true);
        output_write(out, "half", 4, &f);
        if (write(ready[1], "x", 1) == 1) {
            pause();
        }
        _exit(99);
    }
    char c;
    CHECK(read(ready[0], &c, 1) == 1);
    CHECK_U64(temporaries(), 1);
    kill(child, number);
    int status = 0;
    waitpid(child, &status, 0);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == number);
    close(ready[0]);
    close(ready[1]);
}

static void signals_clean_up(void) /* [FS30] */
{
    put("dying", "old");
    for (int i = 0; i < 4; i++) {
        die_while_writing(DEADLY[i]);
        CHECK_U64(temporaries(), 0);
        CHECK(holds("dying", "old"));
    }
}

static void next_run_cleans_up(void) /* [FS29, FS44] */
{
    put("dying", "old");
    die_while_writing(SIGKILL);
    CHECK_U64(temporaries(), 1);
    CHECK(holds("dying", "old"));
    output *first = create("dying", true);
    CHECK_U64(temporaries(), 1); /* the leftover is gone */
    output *second = create("dying", true);
    CHECK_U64(temporaries(), 2); /* a living writer's file is left alone */
    output_write(first, "first", 5, &f);
    output_write(second, "second", 6, &f);
    CHECK_U64(output_commit(second, &f), EXIT_OK);
    CHECK_U64(output_commit(first, &f), EXIT_OK);
    output_destroy(&first);
    output_destroy(&second);
    CHECK(holds("dying", "first"));
    CHECK_U64(temporaries(), 0);
}

static void file_size_limit(void) /* [FS24, FS25]: a short write, then an error, no death */
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {50, 50};
        setrlimit(RLIMIT_FSIZE, &limit);
        char data[100] = {0};
        output *out = NULL;
        int ok = output_create("large", false, NULL, 0, &out, &f) == EXIT_OK &&
                 output_write(out, data, 100, &f) == EXIT_IO &&
                 strstr(f.text, "File too large") != NULL;
        output_destroy(&out);
        _exit(ok ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(access("large", F_OK) != 0);
    CHECK_U64(temporaries(), 0);
}

static void long_names(void) /* [FS04] */
{
    char name[300];
    memset(name, 'n', 255);
    name[255] = 0;
    output *out = create(name, false);
    output_write(out, "x", 1, &f);
    CHECK_U64(output_commit(out, &f), EXIT_OK);
    output_destroy(&out);
    CHECK(holds(name, "x"));
    name[255] = 'n';
    name[256] = 0;
    refused(name, false, EXIT_IO, "name too long");
}

static void odd_names(void) /* [FS02, FS03] */
{
    static const char *const names[] = {"a b",      "q'\"$(x)*\\", "tab\there", "line\nbreak",
                                        "\xff\xfe", "-dash",       ".hidden",   "a.tmp-1"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        output *out = create(names[i], false);
        output_write(out, "x", 1, &f);
        CHECK_U64(output_commit(out, &f), EXIT_OK);
        output_destroy(&out);
        CHECK(holds(names[i], "x"));
        CHECK(unlink(names[i]) == 0);
    }
}

static void too_many(void)
{
    output *outs[17] = {NULL};
    char name[32];
    for (int i = 0; i < 16; i++) {
        snprintf(name, sizeof name, "many-%d", i);
        outs[i] = create(name, false);
    }
    refused("many-16", false, EXIT_RESOURCE, "too many");
    for (int i = 0; i < 17; i++) {
        output_destroy(&outs[i]);
    }
    CHECK_U64(temporaries(), 0);
    outs[0] = create("many-16", false);
    output_destroy(&outs[0]);
}

static void mode_follows_umask(void) /* [FS42] */
{
    mode_t old = umask(077);
    output *out = create("private", false);
    CHECK_U64(output_commit(out, &f), EXIT_OK);
    output_destroy(&out);
    umask(old);
    struct stat s;
    CHECK(stat("private", &s) == 0 && (s.st_mode & 0777) == 0600);
}

static void standard_output(void)
{
    int ends[2], saved = dup(STDOUT_FILENO);
    fflush(stdout);
    CHECK(pipe(ends) == 0 && saved >= 0);
    dup2(ends[1], STDOUT_FILENO);
    output *out = NULL;
    int created = output_create("-", false, NULL, 0, &out, &f);
    int wrote = created ? created : output_write(out, "bytes", 5, &f);
    int placed = created ? created : output_write_at(out, 0, "x", 1, &f);
    int done = created ? created : output_commit(out, &f);
    output_destroy(&out);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    close(ends[1]);
    char got[16] = {0};
    CHECK(read(ends[0], got, sizeof got) == 5);
    close(ends[0]);
    CHECK_STRING(got, "bytes");
    CHECK(created == EXIT_OK && wrote == EXIT_OK && placed == EXIT_USAGE && done == EXIT_OK);
}

int main(void)
{
    char folder[] = "/tmp/slm-test-output-XXXXXX";
    if (!mkdtemp(folder) || chdir(folder) != 0) {
        printf("Bail out! no temporary folder\n");
        return 1;
    }
    for (int i = 0; i < 4; i++) {
        signal(DEADLY[i], SIG_DFL); /* a shell has its background children ignore SIGINT */
    }
    RUN(appears_at_commit);
    RUN(old_file_stays_until_rename);
    RUN(is_an_input);
    RUN(impossible_targets);
    RUN(unwritable_folder);
    RUN(link_is_followed);
    RUN(planted_temporary);
    RUN(appeared_meanwhile);
    RUN(signals_clean_up);
    RUN(next_run_cleans_up);
    RUN(file_size_limit);
    RUN(long_names);
    RUN(odd_names);
    RUN(too_many);
    RUN(mode_follows_umask);
    RUN(standard_output);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) != 0 ? 1 : test_finish();
}
