/* chat_template.c - conversations through a template, and the turns that write the same. */
#include "lib/chat_template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct rendering {
    char *text;
    size_t n_text;
    uint32_t *items;
    size_t n;
} rendering;

struct chat_template {
    const tokenizer_build *b;
    jinja_template *parsed;
    json_t *globals;
    rendering all[CHAT_MAX_RENDERINGS];
    uint32_t n_all;
    jinja_notes notes;
    bool refused;      /* the last rendering ended in what is not supported */
    uint64_t first[4]; /* bytes that control tokens begin with */
};

/* Roles of a conversation are written as letters: s, u, a. */
static const char *const ORDERS[] = {"u", "uau", "uauau", "su", "suau", "suauau"};
enum { N_ORDERS = 6, N_PLAIN_ORDERS = 3 };

/* How the words of messages are wrapped: not, white space, thoughts, other text. */
enum { PLAIN, PADDED, THOUGHT, OTHER, N_WRAPS };
#define PAD_LEFT "\n\n \t"
#define PAD_RIGHT "\t \n\n"

/* ---- Conversations --------------------------------------------------------------------------- */

static slm_role role_of(char letter)
{
    return letter == 's' ? SLM_ROLE_SYSTEM : letter == 'u' ? SLM_ROLE_USER : SLM_ROLE_ASSISTANT;
}

/* The word that marks the i-th message. */
static void word_of(char letter, size_t i, char *out)
{
    const char word[] = {'q', letter, (char)('0' + i), 'q', 0};
    memcpy(out, word, sizeof word);
}

static void message_text(char letter, size_t i, int wrap, char *out)
{
    char word[8];
    word_of(letter, i, word);
    if (wrap == PADDED) {
        sprintf(out, PAD_LEFT "%s" PAD_RIGHT, word);
    } else if (wrap == THOUGHT && letter == 'a') {
        sprintf(out, "<think>\nhm\n</think>\n\n%s", word);
    } else if (wrap == OTHER) {
        sprintf(out, "Two  words.\n\n- %s\xc3\xa9 \xe4\xb8\xad\xe6\x96\x87: it's 12", word);
    } else {
        strcpy(out, word);
    }
}

static json_t *messages_json(const char *order, int wrap)
{
    json_t *list = json_array();
    char text[96];
    for (size_t i = 0; list && order[i]; i++) {
        message_text(order[i], i, wrap, text);
        json_t *message = json_pack("{s:s,s:s}", "role",
                                    order[i] == 's'   ? "system"
                                    : order[i] == 'u' ? "user"
                                                      : "assistant",
                                    "content", text);
        if (!message || json_array_append_new(list, message) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* ---- Marks ----------------------------------------------------------------------------------- */

/* The longest control token at p. */
static const build_added *control_at(const chat_template *t, const char *p, size_t n)
{
    const build_added *found = NULL;
    size_t longest = 0;
    uint8_t byte = (uint8_t)*p;
    if (!(t->first[byte >> 6] >> (byte & 63) & 1)) {
        return NULL;
    }
    for (uint32_t i = 0; i < t->b->n_added; i++) {
        const build_added *a = &t->b->added[i];
        size_t k = a->flags & ADDED_CONTROL ? strlen(a->content) : 0;
        if (k > longest && k <= n && memcmp(a->content, p, k) == 0) {
            found = a;
            longest = k;
        }
    }
    return found;
}

static bool make_marks(const chat_template *t, rendering *r)
{
    r->items = (uint32_t *)malloc((r->n_text + 1) * sizeof *r->items);
    for (size_t i = 0; r->items && i < r->n_text;) {
        const build_added *a = control_at(t, r->text + i, r->n_text - i);
        r->items[r->n++] = a ? 256 + a->id : (uint8_t)r->text[i];
        i += a ? strlen(a->content) : 1;
    }
    return r->items != NULL;
}

/* EXIT_CHECK: the template does not want to, why says so. *r: owned by t. */
static int render(chat_template *t, const char *order, int wrap, bool answer, const rendering **r,
                  char *why, failure *f)
{
    char reason[JINJA_WHY] = "";
    json_t *messages = messages_json(order, wrap);
    rendering made = {0};
    if (!messages || json_object_set_new(t->globals, "messages", messages) != 0 ||
        json_object_set_new(t->globals, "add_generation_prompt", json_boolean(answer)) != 0) {
        return fail(f, EXIT_RESOURCE, "no memory for the chat template");
    }
    if (t->n_all == CHAT_MAX_RENDERINGS) {
        return fail(f, EXIT_INTERNAL, "too many conversations are tried");
    }
    jinja_status status =
        jinja_render(t->parsed, t->globals, &made.text, &made.n_text, &t->notes, reason);
    t->refused = status == JINJA_REFUSED;
    if (status == JINJA_NO_MEMORY) {
        return fail(f, EXIT_RESOURCE, "no memory for the chat template");
    }
    if (status != JINJA_OK) {
        snprintf(why, CHAT_WHY, "%s", reason);
        return EXIT_CHECK;
    }
    rendering *kept = &t->all[t->n_all++];
    *kept = made;
    if (!make_marks(t, kept)) {
        return fail(f, EXIT_RESOURCE, "no memory for the chat template");
    }
    *r = kept;
    return EXIT_OK;
}

int chat_template_open(chat_template **out, const tokenizer_build *b, const char *text, size_t n,
                       json_t *globals, char *why, failure *f)
{
    char reason[JINJA_WHY] = "";
    chat_template *t = (chat_template *)calloc(1, sizeof *t);
    *out = NULL;
    if (!t) {
        return fail(f, EXIT_RESOURCE, "no memory for the chat template");
    }
    jinja_status status = jinja_parse(&t->parsed, text, n, reason);
    if (status != JINJA_OK) {
        free(t);
        snprintf(why, CHAT_WHY, "%s", reason);
        return status == JINJA_NO_MEMORY ? fail(f, EXIT_RESOURCE, "no memory for the chat template")
                                         : EXIT_OK;
    }
    t->b = b;
    t->globals = json_incref(globals);
    for (uint32_t i = 0; i < b->n_added; i++) {
        uint8_t byte = (uint8_t)b->added[i].content[0];
        if (b->added[i].flags & ADDED_CONTROL) {
            t->first[byte >> 6] |= (uint64_t)1 << (byte & 63);
        }
    }
    *out = t;
    return EXIT_OK;
}

void chat_template_close(chat_template **t)
{
    if (*t) {
        for (uint32_t i = 0; i < (*t)->n_all; i++) {
            free((*t)->all[i].text);
            free((*t)->all[i].items);
        }
        jinja_destroy(&(*t)->parsed);
        json_decref((*t)->globals);
        free(*t);
        *t = NULL;
    }
}

/* ---- What stands between messages ------------------------------------------------------------ */

static chat_marks part(const uint32_t *begin, const uint32_t *end)
{
    return (chat_marks){begin, (size_t)(end - begin)};
}

static const uint32_t *find_word(const rendering *r, const uint32_t *from, const char *word)
{
    size_t n = strlen(word);
    for (const uint32_t *p = from; p + n <= r->items + r->n; p++) {
        size_t k = 0;
        while (k < n && p[k] == (uint8_t)word[k]) {
            k++;
        }
        if (k == n) {
            return p;
        }
    }
    return NULL;
}

/* The text before, between and behind the messages of a rendering, which must stand there once and
 * in order. gaps: one more than messages. */
static bool find_gaps(const rendering *r, const char *order, chat_marks *gaps)
{
    const uint32_t *at = r->items;
    for (size_t i = 0; order[i]; i++) {
        char word[8];
        word_of(order[i], i, word);
        const uint32_t *found = find_word(r, at, word);
        if (!found || find_word(r, r->items, word) != found || find_word(r, found + 1, word)) {
            return false;
        }
        gaps[i] = part(at, found);
        at = found + strlen(word);
    }
    gaps[strlen(order)] = part(at, r->items + r->n);
    return true;
}

static int gaps_of(chat_template *t, const char *order, bool answer, chat_marks *gaps, char *why,
                   failure *f)
{
    const rendering *r = NULL;
    int code = render(t, order, PLAIN, answer, &r, why, f);
    if (code == EXIT_OK && !find_gaps(r, order, gaps)) {
        snprintf(why, CHAT_WHY, "it does not write each message once and in order");
        return EXIT_CHECK;
    }
    return code;
}

static bool begins_with(chat_marks s, chat_marks with)
{
    return with.n <= s.n && memcmp(s.items, with.items, with.n * sizeof *s.items) == 0;
}

static bool ends_with(chat_marks s, chat_marks with)
{
    return with.n <= s.n &&
           memcmp(s.items + s.n - with.n, with.items, with.n * sizeof *s.items) == 0;
}

static chat_marks common_begin(chat_marks a, chat_marks b)
{
    size_t n = 0;
    while (n < a.n && n < b.n && a.items[n] == b.items[n]) {
        n++;
    }
    return (chat_marks){a.items, n};
}

static chat_marks common_end(chat_marks a, chat_marks b)
{
    size_t n = 0;
    while (n < a.n && n < b.n && a.items[a.n - n - 1] == b.items[b.n - n - 1]) {
        n++;
    }
    return (chat_marks){a.items + a.n - n, n};
}

static chat_marks without_begin(chat_marks s, size_t n)
{
    return (chat_marks){s.items + n, s.n - n};
}

static chat_marks without_end(chat_marks s, size_t n)
{
    return (chat_marks){s.items, s.n - n};
}

/* ---- Turns ----------------------------------------------------------------------------------- */

/* What the plain conversations show. */
typedef struct observed {
    chat_marks before_user, user_answer, user_assistant, assistant_user;
    chat_marks user_end, assistant_end; /* without the beginning of an answer */
    bool has_ends;
    chat_marks before_system, system_user;
    bool has_system;
} observed;

static int observe(chat_template *t, observed *o, char *why, failure *f)
{
    chat_marks gaps[8] = {{0}};
    char ignored[CHAT_WHY];
    int code = gaps_of(t, "u", true, gaps, why, f);
    if (code != EXIT_OK) {
        return code;
    }
    o->before_user = gaps[0];
    o->user_answer = gaps[1];
    code = gaps_of(t, "uau", true, gaps, why, f);
    if (code != EXIT_OK) {
        return code;
    }
    o->user_assistant = gaps[1];
    o->assistant_user = gaps[2];
    code = gaps_of(t, "u", false, gaps, ignored, f);
    o->user_end = gaps[1];
    if (code == EXIT_OK) {
        code = gaps_of(t, "ua", false, gaps, ignored, f);
        o->assistant_end = gaps[2];
    }
    o->has_ends = code == EXIT_OK;
    if (code == EXIT_OK || code == EXIT_CHECK) {
        code = gaps_of(t, "su", true, gaps, why, f);
    }
    o->has_system = code == EXIT_OK;
    o->before_system = gaps[0];
    o->system_user = gaps[1];
    /* what raises an exception, or leaves the message out, has no place for it */
    return code == EXIT_CHECK && !t->refused ? EXIT_OK : code;
}

/* Turns of users and assistants. */
static void plain_turns(const observed *o, bool by_ends, chat_turns *turns)
{
    chat_marks *s = turns->sequences, shared = common_begin(o->user_answer, o->user_assistant);
    bool ended = by_ends && o->has_ends && begins_with(shared, o->user_end);
    s[CHAT_SUFFIX + SLM_ROLE_USER] = ended ? o->user_end : shared;
    size_t n = s[CHAT_SUFFIX + SLM_ROLE_USER].n;
    s[CHAT_GENERATE] = without_begin(o->user_answer, n);
    s[CHAT_PREFIX + SLM_ROLE_ASSISTANT] = without_begin(o->user_assistant, n);
    chat_marks prefix = common_end(o->before_user, o->assistant_user);
    if (by_ends && o->has_ends && begins_with(o->assistant_user, o->assistant_end) &&
        o->assistant_user.n - o->assistant_end.n <= prefix.n) {
        size_t rest = o->assistant_user.n - o->assistant_end.n;
        prefix = without_begin(prefix, prefix.n - rest);
    }
    s[CHAT_PREFIX + SLM_ROLE_USER] = prefix;
    s[CHAT_SUFFIX + SLM_ROLE_ASSISTANT] = without_end(o->assistant_user, prefix.n);
    s[CHAT_BEGIN] = without_end(o->before_user, prefix.n);
}

/* A system's turn of its own: the user's turn follows it as it follows others. */
static bool own_system(const observed *o, int32_t bos_id, bool shorter, chat_turns *turns)
{
    chat_marks *s = turns->sequences, prefix = s[CHAT_PREFIX + SLM_ROLE_USER];
    if (shorter) { /* what a user's turn begins with belongs to what comes before, in part */
        chat_marks less = common_end(prefix, o->system_user);
        s[CHAT_PREFIX + SLM_ROLE_USER] = less;
        s[CHAT_SUFFIX + SLM_ROLE_ASSISTANT] = without_end(o->assistant_user, less.n);
        prefix = less;
    }
    if (!ends_with(o->system_user, prefix)) {
        return false;
    }
    chat_marks before = without_end(o->before_user, prefix.n);
    size_t shared = begins_with(o->before_system, before) ? before.n : 0;
    if (shared == 0 && bos_id >= 0 && before.n != 0 && o->before_system.n != 0 &&
        before.items[0] == 256 + (uint32_t)bos_id && o->before_system.items[0] == before.items[0]) {
        shared = 1;
    }
    s[CHAT_BEGIN] = (chat_marks){before.items, shared};
    s[CHAT_NO_SYSTEM] = without_begin(before, shared);
    s[CHAT_PREFIX + SLM_ROLE_SYSTEM] = without_begin(o->before_system, shared);
    s[CHAT_SUFFIX + SLM_ROLE_SYSTEM] = without_end(o->system_user, prefix.n);
    return true;
}

static bool system_in_user(const observed *o, bool last, chat_turns *turns)
{
    chat_marks *s = turns->sequences;
    if (!begins_with(o->before_system, o->before_user)) {
        return false;
    }
    s[CHAT_PREFIX + SLM_ROLE_SYSTEM] = without_begin(o->before_system, o->before_user.n);
    s[CHAT_SUFFIX + SLM_ROLE_SYSTEM] = o->system_user;
    turns->flags |= CHAT_SYSTEM_IN_USER | (last ? CHAT_SYSTEM_LAST : 0u);
    return true;
}

/* The ways in which turns may be put together, the likeliest first. */
enum { OWN, IN_FIRST_USER, IN_LAST_USER, OWN_SHORTER, N_WAYS };

static bool put_together(const chat_template *t, const observed *o, int way, bool by_ends,
                         chat_turns *turns)
{
    memset(turns, 0, sizeof *turns);
    plain_turns(o, by_ends, turns);
    if (!o->has_system) {
        turns->flags = CHAT_NO_SYSTEM_TURN;
        return way == OWN;
    }
    if (way == IN_FIRST_USER || way == IN_LAST_USER) {
        return system_in_user(o, way == IN_LAST_USER, turns);
    }
    return own_system(o, t->b->bos_id, way == OWN_SHORTER, turns);
}

/* ---- White space and thoughts ---------------------------------------------------------------- */

static bool is_text(const uint32_t *begin, const uint32_t *end, const char *text)
{
    size_t n = strlen(text);
    if ((size_t)(end - begin) < n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (begin[i] != (uint8_t)text[i]) {
            return false;
        }
    }
    return true;
}

static bool is_text_before(const uint32_t *begin, const uint32_t *end, const char *text)
{
    size_t n = strlen(text);
    return (size_t)(end - begin) >= n && is_text(end - n, end, text);
}

/* What became of the white space around the i-th message. */
static uint32_t trim_around(const rendering *r, char letter, size_t i)
{
    char word[8];
    word_of(letter, i, word);
    const uint32_t *at = find_word(r, r->items, word), *end = r->items + r->n;
    if (!at) {
        return 0;
    }
    const uint32_t *behind = at + strlen(word);
    uint32_t left = is_text_before(r->items, at, PAD_LEFT) ? CHAT_TRIM_NONE
                    : is_text_before(r->items, at, " \t")  ? CHAT_TRIM_NEWLINES
                                                           : CHAT_TRIM_SPACE;
    uint32_t right = is_text(behind, end, PAD_RIGHT) ? CHAT_TRIM_NONE
                     : is_text(behind, end, "\t ")   ? CHAT_TRIM_NEWLINES
                                                     : CHAT_TRIM_SPACE;
    return left | right << 2;
}

static void note_trim(chat_turns *turns, uint32_t kind, uint32_t trim)
{
    turns->flags |= trim << (CHAT_TRIM_SHIFT + 4 * kind);
}

static int find_trims(chat_template *t, const observed *o, chat_turns *turns, char *why, failure *f)
{
    const rendering *r = NULL;
    int code = render(t, "uau", PADDED, true, &r, why, f);
    if (code == EXIT_OK) {
        note_trim(turns, SLM_ROLE_USER, trim_around(r, 'u', 0));
        note_trim(turns, SLM_ROLE_ASSISTANT, trim_around(r, 'a', 1));
        code = o->has_system ? render(t, "su", PADDED, true, &r, why, f) : code;
    }
    if (code == EXIT_OK && o->has_system) {
        bool inside = turns->flags & CHAT_SYSTEM_IN_USER;
        note_trim(turns, SLM_ROLE_SYSTEM, trim_around(r, 's', 0));
        note_trim(turns, CHAT_TRIM_IN_USER, inside ? trim_around(r, 'u', 1) : 0);
    }
    if (code != EXIT_OK) {
        return code;
    }
    code = render(t, "uau", THOUGHT, true, &r, why, f);
    const uint32_t *at = code == EXIT_OK ? find_word(r, r->items, "qa1q") : NULL;
    if (at && !find_word(r, r->items, "hm")) {
        bool kept =
            is_text_before(r->items, at, "\n\n") &&
            !ends_with(turns->sequences[CHAT_PREFIX + SLM_ROLE_ASSISTANT], (chat_marks){at - 2, 2});
        turns->flags |= CHAT_DROP_THOUGHT | (kept ? 0u : (uint32_t)CHAT_DROP_NEWLINES);
    }
    return code;
}

/* ---- The turns' own writing ------------------------------------------------------------------ */

typedef struct marks_out {
    uint32_t *items;
    size_t n, capacity;
} marks_out;

static void put_marks(marks_out *o, const uint32_t *items, size_t n)
{
    for (size_t i = 0; i < n; i++, o->n++) {
        if (o->n < o->capacity) {
            o->items[o->n] = items[i];
        }
    }
}

static bool goes(uint32_t how, char c)
{
    return how == CHAT_TRIM_SPACE ? c == ' ' || c == '\t' || c == '\n'
                                  : how == CHAT_TRIM_NEWLINES && c == '\n';
}

static void put_message(marks_out *o, const chat_turns *turns, char letter, size_t i, int wrap,
                        uint32_t kind)
{
    char text[96], *p = text;
    message_text(letter, i, wrap, text);
    char *end = p + strlen(p), *thought = strstr(p, "</think>");
    uint32_t trim = turns->flags >> (CHAT_TRIM_SHIFT + 4 * kind) & 15;
    if (thought && (turns->flags & CHAT_DROP_THOUGHT)) {
        p = thought + strlen("</think>");
        while (*p == '\n' && (turns->flags & CHAT_DROP_NEWLINES)) {
            p++;
        }
    }
    while (p < end && goes(trim & 3, *p)) {
        p++;
    }
    while (p < end && goes(trim >> 2, end[-1])) {
        end--;
    }
    for (; p < end; p++) {
        uint32_t mark = (uint8_t)*p;
        put_marks(o, &mark, 1);
    }
}

static void put_sequence(marks_out *o, const chat_turns *turns, uint32_t which)
{
    put_marks(o, turns->sequences[which].items, turns->sequences[which].n);
}

static void put_all(marks_out *o, const chat_turns *turns, const char *order, int wrap, bool answer)
{
    bool inside = turns->flags & CHAT_SYSTEM_IN_USER, waits = false;
    const char *last = strrchr(order, 'u');
    put_sequence(o, turns, CHAT_BEGIN);
    if (order[0] != 's') {
        put_sequence(o, turns, CHAT_NO_SYSTEM);
    }
    for (size_t i = 0; order[i]; i++) {
        uint32_t role = (uint32_t)role_of(order[i]);
        bool takes =
            order[i] == 'u' && waits && (!(turns->flags & CHAT_SYSTEM_LAST) || order + i == last);
        if (inside && order[i] == 's') {
            waits = true;
            continue;
        }
        put_sequence(o, turns, CHAT_PREFIX + role);
        if (takes) {
            put_sequence(o, turns, CHAT_PREFIX + SLM_ROLE_SYSTEM);
            put_message(o, turns, 's', 0, wrap, SLM_ROLE_SYSTEM);
            put_sequence(o, turns, CHAT_SUFFIX + SLM_ROLE_SYSTEM);
            waits = false;
        }
        put_message(o, turns, order[i], i, wrap, takes ? CHAT_TRIM_IN_USER : role);
        put_sequence(o, turns, CHAT_SUFFIX + role);
    }
    if (answer) {
        put_sequence(o, turns, CHAT_GENERATE);
    }
}

static bool reproduces(const chat_turns *turns, const rendering *r, const char *order, int wrap,
                       bool answer)
{
    marks_out o = {(uint32_t *)malloc((r->n + 1) * sizeof *o.items), 0, r->n};
    bool same = false;
    if (o.items) {
        put_all(&o, turns, order, wrap, answer);
        same = o.n == r->n && memcmp(o.items, r->items, r->n * sizeof *o.items) == 0;
    }
    free(o.items);
    return same;
}

/* ---- Proof ----------------------------------------------------------------------------------- */

static const char *wrap_name(int wrap)
{
    static const char *const names[N_WRAPS] = {"plain messages", "white space around messages",
                                               "answers with thoughts", "messages of other text"};
    return names[wrap];
}

static int check_all(chat_template *t, const observed *o, const chat_turns *turns, char *why,
                     failure *f)
{
    int n_orders = o->has_system ? N_ORDERS : N_PLAIN_ORDERS;
    for (int wrap = 0; wrap < N_WRAPS; wrap++) {
        for (int i = 0; i < n_orders; i++) {
            const rendering *r = NULL;
            int code = render(t, ORDERS[i], wrap, true, &r, why, f);
            if (code != EXIT_OK) {
                return code;
            }
            if (!reproduces(turns, r, ORDERS[i], wrap, true)) {
                snprintf(why, CHAT_WHY, "turns cannot write %s as it does, in a conversation of %s",
                         wrap_name(wrap),
                         ORDERS[i][0] != 's' ? "users and assistants" : "system and users");
                return EXIT_CHECK;
            }
        }
    }
    return EXIT_OK;
}

/* Conversations that end with an answer: no one is asked to continue them, so they may differ. */
static int check_ends(chat_template *t, const observed *o, chat_turns *turns, failure *f)
{
    static const char *const orders[] = {"ua", "uaua", "sua"};
    char ignored[CHAT_WHY];
    for (int i = 0; i < (o->has_system ? 3 : 2); i++) {
        const rendering *r = NULL;
        int code = render(t, orders[i], PLAIN, false, &r, ignored, f);
        if (code != EXIT_OK && code != EXIT_CHECK) {
            return code;
        }
        turns->answers_differ |=
            code == EXIT_CHECK || !reproduces(turns, r, orders[i], PLAIN, false);
    }
    return EXIT_OK;
}

static void drop_renderings(chat_template *t, uint32_t from)
{
    while (t->n_all > from) {
        rendering *r = &t->all[--t->n_all];
        free(r->text);
        free(r->items);
    }
}

int chat_template_turns(chat_template *t, chat_turns *turns, char *why, failure *f)
{
    observed o = {0};
    int code = observe(t, &o, why, f);
    uint32_t kept = t->n_all;
    if (code != EXIT_OK) {
        return code;
    }
    why[0] = 0;
    for (int way = 0; way < 2 * N_WAYS; way++) {
        char here[CHAT_WHY] = "";
        if (!put_together(t, &o, way % N_WAYS, way < N_WAYS, turns)) {
            continue;
        }
        code = find_trims(t, &o, turns, here, f);
        code = code ? code : check_all(t, &o, turns, here, f);
        drop_renderings(t, kept);
        if (code != EXIT_CHECK) {
            code = code ? code : check_ends(t, &o, turns, f);
            turns->writes_date = t->notes.used_date;
            memcpy(turns->missing, t->notes.missing, sizeof turns->missing);
            return code;
        }
        if (way == 0 || why[0] == 0) {
            memcpy(why, here, CHAT_WHY);
        }
    }
    if (why[0] == 0) {
        snprintf(why, CHAT_WHY, "it writes turns in a way that has no description here");
    }
    return EXIT_CHECK;
}

/* ---- Samples --------------------------------------------------------------------------------- */

uint32_t chat_template_n_samples(const chat_template *t)
{
    (void)t;
    return N_ORDERS * N_WRAPS;
}

int chat_template_sample(chat_template *t, uint32_t i, bool has_system, chat_sample *sample,
                         char *why, failure *f)
{
    const char *order = ORDERS[i % N_ORDERS];
    int wrap = (int)(i / N_ORDERS);
    const rendering *r = NULL;
    sample->n_messages = 0;
    if (order[0] == 's' && !has_system) {
        return EXIT_OK;
    }
    int code = render(t, order, wrap, true, &r, why, f);
    if (code != EXIT_OK) {
        return code;
    }
    for (size_t k = 0; order[k]; k++) {
        message_text(order[k], k, wrap, sample->texts[k]);
        slm_message m = {role_of(order[k]), sample->texts[k], strlen(sample->texts[k])};
        sample->messages[sample->n_messages++] = m;
    }
    sample->text = r->text;
    sample->n_text = r->n_text;
    return EXIT_OK;
}
