/* test_input.c - only regular files are read, exactly, and changes under way are noticed. */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/input.h"

static failure f;

static void put(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    fputs(text, file);
    fclose(file);
}

static void refused(const char *path, const char *says)
{
    input in;
    CHECK_U64(input_open(path, &in, &f), EXIT_IO);
    if (!strstr(f.text, says)) {
        printf("# '%s': said '%s', not '%s'\n", path, f.text, says);
    }
    CHECK(strstr(f.text, says) != NULL);
    input_close(&in);
    char *text = NULL;
    size_t n = 0;
    CHECK_U64(input_slurp(path, 100, &text, &n, &f), EXIT_IO);
}

static void only_regular_files(void) /* [FS01, FS05, FS06]; an opened FIFO would hang here */
{
    CHECK(mkdir("folder", 0777) == 0 && mkfifo("fifo", 0666) == 0);
    CHECK(symlink("loop", "loop") == 0 && symlink("none", "dangling") == 0 &&
          symlink("/dev/zero", "to.zero") == 0);
    refused("", "empty");
    refused("missing", "No such file");
    refused("missing/x", "No such file");
    refused("folder", "is a folder");
    refused("fifo", "is a pipe");
    refused("/dev/zero", "is a device");
    refused("to.zero", "is a device");
    refused("dangling", "No such file");
    refused("loop", "symbolic links");
    if (geteuid() != 0) { /* [FS07] */
        put("secret", "x");
        chmod("secret", 0);
        refused("secret", "Permission denied");
    }
}

static void reads(void)
{
    put("file", "0123456789");
    CHECK(symlink("file", "link") == 0);
    input in;
    CHECK_U64(input_open("link", &in, &f), EXIT_OK);
    CHECK_U64(in.n_bytes, 10);
    char got[16] = {0};
    CHECK_U64(input_read_at(&in, 3, got, 4, &f), EXIT_OK);
    CHECK_STRING(got, "3456");
    CHECK_U64(input_read_at(&in, 10, got, 0, &f), EXIT_OK);
    CHECK_U64(input_read_at(&in, 8, got, 3, &f), EXIT_INPUT);
    CHECK(strstr(f.text, "link: ends at byte 10") != NULL);
    CHECK_U64(input_read_at(&in, 11, got, 0, &f), EXIT_INPUT);
    CHECK_U64(input_read_at(&in, UINT64_MAX, got, 2, &f), EXIT_INPUT);
    CHECK_U64(input_read_at(&in, 2, got, UINT64_MAX, &f), EXIT_INPUT);
    CHECK_U64(input_map(&in, &f), EXIT_OK);
    CHECK(memcmp(in.bytes, "0123456789", 10) == 0 && (uintptr_t)in.bytes % 64 == 0);
    CHECK_U64(input_map(&in, &f), EXIT_OK);
    CHECK_U64(input_unchanged(&in, &f), EXIT_OK);
    input_close(&in);
    input_close(&in);
    input zeroed = {0};
    input_close(&zeroed);
    CHECK(fcntl(0, F_GETFD) != -1); /* closing a zeroed one does not close descriptor 0 */
    put("empty", "");
    CHECK_U64(input_open("empty", &in, &f), EXIT_OK);
    CHECK_U64(input_map(&in, &f), EXIT_OK);
    CHECK(in.n_bytes == 0 && in.bytes != NULL);
    input_close(&in);
}

static void plain_names_in_a_folder(void) /* [ST68] */
{
    CHECK(mkdir("model", 0777) == 0);
    put("model/shard", "shard");
    put("outside", "outside");
    CHECK(symlink("../outside", "model/link") == 0 && mkfifo("model/fifo", 0666) == 0);
    input in;
    CHECK_U64(input_open_in("model", "shard", "shown", &in, &f), EXIT_OK);
    CHECK_U64(in.n_bytes, 5);
    input_close(&in);
    static const char *const bad[] = {"", ".", "..", "../outside", "/etc/passwd", "a/b"};
    for (size_t i = 0; i < 6; i++) {
        CHECK_U64(input_open_in("model", bad[i], "shown", &in, &f), EXIT_INPUT);
        CHECK(strstr(f.text, "shown") != NULL);
    }
    CHECK_U64(input_open_in("model", "link", "shown", &in, &f), EXIT_IO);
    CHECK(strstr(f.text, "symbolic link") != NULL);
    CHECK_U64(input_open_in("model", "fifo", "shown", &in, &f), EXIT_IO);
    CHECK_U64(input_open_in("model", "absent", "shown", &in, &f), EXIT_IO);
    CHECK_U64(input_open_in("absent", "shard", "shown", &in, &f), EXIT_IO);
}

static void changes_are_noticed(void) /* [FS10] */
{
    input in;
    put("grows", "1");
    CHECK_U64(input_open("grows", &in, &f), EXIT_OK);
    put("grows", "22");
    CHECK_U64(input_unchanged(&in, &f), EXIT_IO);
    CHECK(strstr(f.text, "changed") != NULL);
    input_close(&in);
    CHECK_U64(input_open("grows", &in, &f), EXIT_OK);
    put("other", "22");
    CHECK(rename("other", "grows") == 0);
    CHECK_U64(input_unchanged(&in, &f), EXIT_IO);
    input_close(&in);
    CHECK_U64(input_open("grows", &in, &f), EXIT_OK);
    CHECK(unlink("grows") == 0);
    CHECK_U64(input_unchanged(&in, &f), EXIT_IO);
    CHECK(strstr(f.text, "removed") != NULL);
    input_close(&in);
    put("shrinks", "1234567890");
    CHECK_U64(input_open("shrinks", &in, &f), EXIT_OK);
    CHECK(truncate("shrinks", 4) == 0);
    char got[16];
    CHECK_U64(input_read_at(&in, 0, got, 10, &f), EXIT_IO);
    CHECK(strstr(f.text, "cut short") != NULL);
    input_close(&in);
}

static void cut_while_mapped(void)
{
    put("mapped", "page");
    fflush(stdout);
    int said[2];
    CHECK(pipe(said) == 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(said[1], STDERR_FILENO);
        input in;
        if (input_open("mapped", &in, &f) != EXIT_OK || input_map(&in, &f) != EXIT_OK ||
            truncate("mapped", 0) != 0) {
            _exit(99);
        }
        volatile uint8_t first = in.bytes[0];
        _exit(100 + (first & 1));
    }
    int status = 0;
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_IO);
    char text[256] = {0};
    CHECK(read(said[0], text, sizeof text - 1) > 0 &&
          strstr(text, "error: mapped: was cut short") != NULL);
    close(said[0]);
    close(said[1]);
}

static void slurps(void)
{
    put("text", "hello");
    char *text = NULL;
    size_t n = 0;
    CHECK_U64(input_slurp("text", 5, &text, &n, &f), EXIT_OK);
    CHECK_U64(n, 5);
    CHECK_STRING(text, "hello");
    free(text);
    CHECK_U64(input_slurp("text", 4, &text, &n, &f), EXIT_INPUT);
    CHECK(strstr(f.text, "longer than 4") != NULL);
    int ends[2], saved = dup(0);
    CHECK(pipe(ends) == 0 && write(ends[1], "piped", 5) == 5);
    close(ends[1]);
    dup2(ends[0], 0);
    CHECK_U64(input_slurp("-", 5, &text, &n, &f), EXIT_OK);
    CHECK_STRING(text, "piped");
    free(text);
    dup2(saved, 0);
    close(saved);
    close(ends[0]);
    FILE *large = fopen("large", "w");
    for (int i = 0; i < 50000; i++) {
        fprintf(large, "%05d\n", i);
    }
    fclose(large);
    CHECK_U64(input_slurp("large", 1 << 20, &text, &n, &f), EXIT_OK);
    CHECK_U64(n, 300000);
    CHECK(memcmp(text + n - 6, "49999\n", 6) == 0 && text[n] == 0);
    free(text);
}

int main(void)
{
    char folder[] = "/tmp/slm-test-input-XXXXXX";
    if (!mkdtemp(folder) || chdir(folder) != 0) {
        printf("Bail out! no temporary folder\n");
        return 1;
    }
    RUN(only_regular_files);
    RUN(reads);
    RUN(plain_names_in_a_folder);
    RUN(changes_are_noticed);
    RUN(cut_while_mapped);
    RUN(slurps);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) != 0 ? 1 : test_finish();
}
