/* SHA-256 against the examples of FIPS 180-4 and its NIST example vectors. */
#include "lib/check.h"
#include "lib/sha256.h"

static void digest(const char *text, size_t n, size_t piece, char hex[65])
{
    sha256 s;
    sha256_init(&s);
    for (size_t i = 0; i < n; i += piece) {
        sha256_update(&s, text + i, n - i < piece ? n - i : piece);
    }
    sha256_final_hex(&s, hex);
}

static void published_vectors(void)
{
    static const struct {
        const char *text, *hex;
    } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
         "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
         "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char hex[65];
        for (size_t piece = 1; piece <= 130; piece += 43) {
            digest(cases[i].text, strlen(cases[i].text), piece, hex);
            CHECK_STRING(hex, cases[i].hex);
        }
    }
}

static void a_million_letters(void)
{
    char *text = malloc(1000000), hex[65];
    CHECK(text != NULL);
    if (text) {
        memset(text, 'a', 1000000);
        digest(text, 1000000, 997, hex);
        CHECK_STRING(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }
    free(text);
}

int main(void)
{
    RUN(published_vectors);
    RUN(a_million_letters);
    return test_finish();
}
