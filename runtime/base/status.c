/* status.c - error texts without a C library. */
#include "base/status.h"

#include <stdarg.h>

#ifndef SLM_SHORT_ERRORS

typedef struct text_out {
    char *text;
    size_t used, capacity;
} text_out;

static void put(text_out *out, char c)
{
    if (out->used + 1 < out->capacity) {
        out->text[out->used++] = c;
    }
}

static void put_string(text_out *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        put(out, c < 0x20 || c == 0x7f ? '?' : s[i]);
    }
}

static void put_number(text_out *out, uint64_t v, uint32_t base, int min_digits)
{
    char digits[24];
    int n = 0;
    do {
        digits[n++] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v != 0 || n < min_digits);
    while (n > 0) {
        put(out, digits[--n]);
    }
}

static size_t length_of(const char *s)
{
    size_t n = 0;
    while (s[n] != 0) {
        n++;
    }
    return n;
}

static void put_argument(text_out *out, char kind, va_list *args)
{
    switch (kind) {
    case 's': {
        const char *s = va_arg(*args, const char *);
        put_string(out, s, length_of(s));
        break;
    }
    case 'n': {
        const char *s = va_arg(*args, const char *);
        size_t n = va_arg(*args, size_t);
        put_string(out, s, n < 96 ? n : 96);
        break;
    }
    case 'u': put_number(out, va_arg(*args, uint32_t), 10, 1); break;
    case 'i': {
        int32_t v = va_arg(*args, int32_t);
        if (v < 0) {
            put(out, '-');
        }
        put_number(out, v < 0 ? 0 - (uint64_t)(int64_t)v : (uint64_t)v, 10, 1);
        break;
    }
    case 'l': put_number(out, va_arg(*args, uint64_t), 10, 1); break;
    case 'x': put_number(out, va_arg(*args, uint64_t), 16, 16); break;
    default: put(out, kind); break;
    }
}

slm_status slm_fail(slm_error *error, slm_status code, uint64_t offset, const char *format, ...)
{
    if (!error) {
        return code;
    }
    text_out out = {error->text, 0, sizeof error->text};
    va_list args;
    va_start(args, format);
    for (const char *f = format; *f != 0; f++) {
        if (*f != '%') {
            put(&out, *f);
        } else if (*++f == 0) {
            break;
        } else {
            put_argument(&out, *f, &args);
        }
    }
    va_end(args);
    out.text[out.used] = 0;
    error->code = code;
    error->offset = offset;
    return code;
}

#else

static const char *short_text(slm_status code)
{
    switch (code) {
    case SLM_ERR_TRUNCATED: return "the file ends too early";
    case SLM_ERR_MAGIC: return "not a .slm file";
    case SLM_ERR_VERSION: return "a .slm file of another version";
    case SLM_ERR_CHECKSUM: return "the file is damaged: a checksum differs";
    case SLM_ERR_CHAT: return "the model has no chat turns";
    case SLM_ERR_KERNELS:
    case SLM_ERR_BUFFER:
    case SLM_ERR_ARGUMENT: return "an argument is out of range";
    case SLM_ERR_TOKEN_ID: return "a token id is out of range";
    case SLM_ERR_CONTEXT_FULL: return "the context is full";
    case SLM_ERR_NO_TOKENIZER: return "the model has no tokenizer";
    case SLM_ERR_MEMORY:
    case SLM_ERR_TOO_LARGE: return "not enough memory";
    default: return "the file is malformed: slm-validate says where";
    }
}

slm_status slm_fail_short(slm_error *error, slm_status code, uint64_t offset)
{
    if (error) {
        const char *text = short_text(code);
        size_t n = 0;
        do {
            error->text[n] = text[n];
        } while (text[n++] != 0);
        error->code = code;
        error->offset = offset;
    }
    return code;
}

#endif

const char *slm_status_name(slm_status status)
{
    switch (status) {
    case SLM_OK: return "SLM_OK";
    case SLM_ERR_TRUNCATED: return "SLM_ERR_TRUNCATED";
    case SLM_ERR_MAGIC: return "SLM_ERR_MAGIC";
    case SLM_ERR_VERSION: return "SLM_ERR_VERSION";
    case SLM_ERR_CHECKSUM: return "SLM_ERR_CHECKSUM";
    case SLM_ERR_LAYOUT: return "SLM_ERR_LAYOUT";
    case SLM_ERR_SECTION: return "SLM_ERR_SECTION";
    case SLM_ERR_DIRECTORY: return "SLM_ERR_DIRECTORY";
    case SLM_ERR_CONFIG: return "SLM_ERR_CONFIG";
    case SLM_ERR_TOKENIZER: return "SLM_ERR_TOKENIZER";
    case SLM_ERR_CHAT: return "SLM_ERR_CHAT";
    case SLM_ERR_ARCHITECTURE: return "SLM_ERR_ARCHITECTURE";
    case SLM_ERR_TENSOR_MISSING: return "SLM_ERR_TENSOR_MISSING";
    case SLM_ERR_TENSOR_EXTRA: return "SLM_ERR_TENSOR_EXTRA";
    case SLM_ERR_TENSOR_SHAPE: return "SLM_ERR_TENSOR_SHAPE";
    case SLM_ERR_TENSOR_TYPE: return "SLM_ERR_TENSOR_TYPE";
    case SLM_ERR_NOT_FINITE: return "SLM_ERR_NOT_FINITE";
    case SLM_ERR_ARGUMENT: return "SLM_ERR_ARGUMENT";
    case SLM_ERR_TOKEN_ID: return "SLM_ERR_TOKEN_ID";
    case SLM_ERR_CONTEXT_FULL: return "SLM_ERR_CONTEXT_FULL";
    case SLM_ERR_KERNELS: return "SLM_ERR_KERNELS";
    case SLM_ERR_NO_TOKENIZER: return "SLM_ERR_NO_TOKENIZER";
    case SLM_ERR_BUFFER: return "SLM_ERR_BUFFER";
    case SLM_ERR_MEMORY: return "SLM_ERR_MEMORY";
    case SLM_ERR_TOO_LARGE: return "SLM_ERR_TOO_LARGE";
    }
    return "SLM_ERR_UNKNOWN";
}

const char *slm_type_name(slm_type type)
{
    static const char *const names[SLM_TYPE_COUNT] = {"F32",  "F16",  "BF16", "Q8_0",
                                                      "Q4_0", "Q4_K", "Q5_K", "Q6_K"};
    return (unsigned)type < SLM_TYPE_COUNT ? names[type] : "?";
}
