/* sessions.mjs - what happens in a model once it is loaded, under Node: chats, several generations
 * at once, sessions that fork and are saved, aborts. Texts are compared with slm-run's, or with
 * those of a plain generation of the same tokens. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { Slm, SlmError } from "../../dist/slm.js";
import * as native from "./native.mjs";
import { finish, test } from "./tap.mjs";

const greedy = { maxTokens: 12, temperature: 0 };
const story = "once upon a time there was a little cat named";

function rejects(code, action) {
    return assert.rejects(async () => action(), (e) => {
        assert(e instanceof SlmError, `${e.stack}`);
        assert.equal(e.code, code);
        return true;
    });
}

/* An abort after the first report of progress. */
function cutOff(generate) {
    const abort = new AbortController();
    return assert.rejects(generate({ signal: abort.signal, onProgress: () => abort.abort() }),
                          { name: "AbortError" });
}

await test("chat: turns, texts and digests as slm-run --chat gives them", async () => {
    const path = native.chatModel();
    const model = await Slm.load(path);
    const messages = [{ role: "user", content: "hello little <|endoftext|> bird" }];
    const want = (system, ...options) => native.run(path, messages[0].content, "--chat", "-n", "12",
                                                    "--temp", "0", ...system, ...options);
    for (const control of [false, true]) {
        const g = model.chat(messages, { ...greedy, digest: true, control });
        const text = await g.text();
        assert.deepEqual({ text, digest: g.digest }, want([], ...(control ? ["--control"] : [])));
    }
    const g = model.chat([{ role: "system", content: "be kind" }, ...messages],
                         { ...greedy, digest: true });
    const text = await g.text();
    assert.deepEqual({ text, digest: g.digest }, want(["--system", "be kind"]));
    await rejects("SLM_ERR_ARGUMENT", () => model.chat([]).text());
    await model.unload();
});

await test("chat: a second turn computes only what is new", async () => {
    const path = native.chatModel();
    const model = await Slm.load(path);
    const lines = ["hello little bird", "and then?"];
    const out = execFileSync(join(process.env.SLM_BIN ?? "bin", "slm-run"),
                             [path, "--chat", "-n", "12", "--temp", "0", "-q"],
                             { encoding: "utf8", input: `${lines.join("\n")}\n` });
    const messages = [], answers = [];
    for (const [i, line] of lines.entries()) {
        messages.push({ role: "user", content: line });
        const g = model.chat(messages, greedy);
        const content = await g.text();
        messages.push({ role: "assistant", content });
        answers.push(content);
        assert.ok(i === 0 ? g.stats.cachedTokens === 0 : g.stats.cachedTokens > 40);
    }
    assert.equal(`${answers.join("\n")}\n`, out);
    await model.unload();
});

await test("chat.completions.create: the shape, streamed or not", async () => {
    const model = await Slm.load(native.chatModel());
    const messages = [{ role: "developer", content: [{ type: "text", text: "be " },
                                                     { type: "text", text: "kind" }] },
                      { role: "user", content: "hello little bird" }];
    const text = await model.chat([{ role: "system", content: "be kind" }, messages[1]],
                                  greedy).text();
    const request = { messages, max_tokens: 12, temperature: 0, model: "any", stop: null };
    const whole = await model.chat.completions.create(request);
    assert.equal(whole.object, "chat.completion");
    assert.deepEqual(whole.choices, [{ index: 0, message: { role: "assistant", content: text },
                                       finish_reason: "length", logprobs: null }]);
    assert.equal(whole.usage.completion_tokens, 12);
    assert.equal(whole.usage.total_tokens, whole.usage.prompt_tokens + 12);
    const stop = text.slice(8, 12);
    let got = "", last;
    for await (const chunk of await model.chat.completions.create(
        { ...request, stop, stream: true, stream_options: { include_usage: true } })) {
        assert.equal(chunk.object, "chat.completion.chunk");
        got += chunk.choices[0]?.delta.content ?? "";
        last = chunk.choices[0]?.finish_reason ?? last;
        assert.equal(chunk.usage !== null, chunk.choices.length === 0);
    }
    assert.deepEqual([got, last], [text.slice(0, text.indexOf(stop)), "stop"]);
    await rejects("SLM_ERR_ARGUMENT", () => model.chat.completions.create({ ...request, n: 2 }));
    await rejects("SLM_ERR_ARGUMENT",
                  () => model.chat.completions.create({ ...request, tools: [] }));
    await rejects("SLM_ERR_ARGUMENT", () => model.chat.completions.create(
        { messages: [{ role: "user", content: [{ type: "image_url" }] }] }));
    await model.unload();
});

await test("generations at once, in several models: each as if alone, and in turns", async () => {
    const paths = [native.model("Q4_K"), native.model("Q8_0")];
    const prompts = ["once", "the dog", "lily saw a", "one day the sun"];
    const models = await Promise.all(paths.map((path, i) => Slm.load(path, { threads: 1 + i })));
    const order = [];
    const texts = await Promise.all(models.flatMap((model) => prompts.map(async (prompt, i) => {
        let text = "";
        for await (const piece of model.generate(prompt, { maxTokens: 60, temperature: 0.9,
                                                           seed: i })) {
            text += piece;
            order.push(i);
        }
        return text;
    })));
    const want = paths.flatMap((path) => prompts.map((prompt, i) => native.run(
        path, prompt, "-n", "60", "--temp", "0.9", "--seed", `${i}`).text));
    assert.deepEqual(texts, want);
    const changes = order.filter((n, i) => n !== order[i - 1]).length;
    assert.ok(changes > prompts.length * paths.length, `${order}`);
    await Promise.all(models.map((model) => model.unload()));
});

await test("what an earlier prompt began with is not computed again: no change", async () => {
    const path = native.model("Q5_K");
    const model = await Slm.load(path);
    const n = (await model.tokenize(story)).length;
    const want = native.run(path, story, "-n", "12", "--temp", "0").text;
    for (const [options, cached] of [[{}, 0], [{}, n - 1], [{ reuse: false }, 0]]) {
        const g = model.generate(story, { ...greedy, ...options });
        assert.equal(await g.text(), want);
        assert.deepEqual([g.stats.promptTokens, g.stats.cachedTokens], [n, cached]);
    }
    const longer = `${story} tom and`;
    const g = model.generate(longer, greedy);
    assert.equal(await g.text(), native.run(path, longer, "-n", "12", "--temp", "0").text);
    assert.ok(g.stats.cachedTokens >= n - 1);
    await model.unload();
});

await test("progress of a prefill, and figures while it runs and at the end", async () => {
    const model = await Slm.load(native.model("Q4_K"), { chunk: 4 });
    const ids = await model.tokenize(story.repeat(3));
    const seen = [], stats = [];
    const g = model.generate(ids, { maxTokens: 40, onProgress: (p) => seen.push(p),
                                    onStats: (s) => stats.push(s) });
    await g.text();
    assert.deepEqual([seen.at(-1).phase, seen.at(-1).done, seen.at(-1).total],
                     ["prefill", ids.length, ids.length]);
    assert.equal(stats.at(-1).generatedTokens, 40);
    assert.deepEqual(stats.at(-1), g.stats);
    assert.ok(g.stats.firstTokenSeconds > 0 && g.stats.generateRate > 0 && g.stats.promptRate > 0);
    const { last, promptTokens, generatedTokens } = await model.diagnostics();
    assert.deepEqual(last, g.stats);
    assert.deepEqual([promptTokens, generatedTokens], [ids.length, 39]);
    await model.unload();
});

await test("leaving the loop ends a generation; the next one is sound", async () => {
    const model = await Slm.load(native.model("Q4_K"));
    for await (const piece of model.generate(story, { maxTokens: 200 })) {
        assert.notEqual(piece, "");
        break;
    }
    const { generatedTokens } = await model.diagnostics();
    assert.ok(generatedTokens < 199);
    assert.equal(await model.generate("the dog", greedy).text(),
                 native.run(native.model("Q4_K"), "the dog", "-n", "12", "--temp", "0").text);
    const over = model.generate("the dog", greedy);
    await over.text();
    assert.equal(await over.text(), ""); // it can be read once
    await model.unload();
});

await test("an abort in the middle of a prefill leaves nothing half done", async () => {
    const path = native.model("Q4_K");
    const model = await Slm.load(path, { context: 4096, chunk: 16 });
    const ids = Array.from({ length: 4000 }, (_, i) => 5 + i * 7919 % 900);
    const started = performance.now();
    await cutOff((o) => model.generate(ids, { ...o, maxTokens: 1 }).text());
    const aborted = performance.now() - started;
    const { promptTokens } = await model.diagnostics();
    assert.ok(promptTokens < 3000, `${promptTokens} tokens in ${aborted} ms`);
    await cutOff((o) => model.logits(ids, { ...o, signal: AbortSignal.abort() }));
    const g = model.generate(story, { ...greedy, digest: true });
    await g.text();
    assert.equal(g.digest, native.run(path, story, "-n", "12", "--temp", "0").digest);
    await model.unload();
});

/* ---- Sessions -------------------------------------------------------------------------------- */

await test("a session goes on where it was, forks, forgets", async () => {
    const model = await Slm.load(native.model("Q6_K"), { sequences: 4 });
    const ids = [...await model.tokenize(story)];
    const plain = (more) => model.generate([...ids, ...more], greedy);
    const s = await model.session();
    assert.equal(s.length, 0);
    await s.append(story.slice(0, 16));
    await s.append(story.slice(16));
    assert.deepEqual([...await s.ids()], ids);
    assert.deepEqual(await s.logits(), await model.logits(ids));
    const first = s.generate("", greedy);
    assert.equal(await first.text(), await plain([]).text());
    assert.equal(s.length, ids.length + 12);
    const fork = await s.fork();
    const more = [...await model.tokenize(" and then", { special: false })];
    const want = await plain([...first.ids, ...more]).text();
    assert.equal(await s.generate(" and then", greedy).text(), want);
    assert.equal(await fork.generate(more, greedy).text(), want);
    await s.truncate(ids.length);
    assert.deepEqual([...await s.ids()], ids);
    assert.equal(await s.generate([], greedy).text(), await plain([]).text());
    assert.ok((await model.diagnostics()).copiesOnWrite > 0);
    await rejects("SLM_WEB_UNLOADED", async () => {
        await fork.close();
        await fork.ids();
    });
    await rejects("SLM_ERR_ARGUMENT", () => s.generate("a", { digest: true }).text());
    await rejects("SLM_ERR_ARGUMENT", async () => (await model.session()).logits());
    await model.unload();
});

await test("a session that is broken off goes on as if it had not been", async () => {
    const model = await Slm.load(native.model("Q4_K"), { context: 2048, chunk: 16 });
    const ids = Array.from({ length: 1500 }, (_, i) => 5 + i * 7919 % 900);
    const want = await model.generate(ids, greedy).text();
    const s = await model.session();
    await cutOff((o) => s.append(ids, o));
    assert.equal(s.length, 0); // as far as it knows
    const n = (await s.ids()).length;
    assert.equal(n, 1500);
    assert.equal(await s.generate("", greedy).text(), want);
    await model.unload();
});

await test("sessions and calls in them wait for each other; too many are an error", async () => {
    const model = await Slm.load(native.model("Q4_K"), { sequences: 2 });
    const [s, away] = await Promise.all([model.session(), model.session()]);
    await away.close();
    await Promise.all(["the ", "dog ", "was "].map((text) => s.append(text)));
    const ids = await Promise.all(["the ", "dog ", "was "].map(
        (text, i) => model.tokenize(text, { special: i === 0 })));
    assert.deepEqual([...await s.ids()], ids.flatMap((a) => [...a]));
    const other = await model.session();
    await rejects("SLM_WEB_SEQUENCES", () => model.session());
    await rejects("SLM_WEB_SEQUENCES", () => model.generate("a").text());
    await rejects("SLM_WEB_SEQUENCES", () => other.fork());
    await other.close();
    assert.notEqual(await model.generate("the dog", greedy).text(), "");
    await model.unload();
});

await test("a saved session goes on in another engine", async () => {
    const path = native.model("Q4_K_M");
    const model = await Slm.load(path, { threads: 2 });
    const s = await model.session();
    await s.append(story.repeat(4));
    const want = [await s.generate("", greedy).text(), await s.generate(" and", greedy).text()];
    await s.truncate((await model.tokenize(story.repeat(4))).length);
    assert.equal(await s.generate("", greedy).text(), want[0]);
    const state = await s.save();
    await model.unload();
    const other = await Slm.load(path, { threads: 1, sequences: 3, context: 200 });
    const restored = await other.restore(state);
    assert.equal(restored.length, s.length);
    assert.deepEqual([...await restored.save()], [...state]);
    assert.equal(await restored.generate(" and", greedy).text(), want[1]);
    const damaged = Uint8Array.from(state);
    damaged[state.length - 9] ^= 1;
    await rejects("SLM_WEB_STATE", () => other.restore(damaged));
    await rejects("SLM_WEB_STATE", () => other.restore(state.subarray(0, 100)));
    await rejects("SLM_ERR_ARGUMENT", () => other.restore("state"));
    await (await other.restore(state)).close(); // failures have not kept sequences
    await other.unload();
    const small = await Slm.load(path, { context: 32 });
    await rejects("SLM_WEB_STATE", () => small.restore(state));
    await small.unload();
    const wrong = await Slm.load(native.model("Q8_0"));
    await rejects("SLM_WEB_STATE", () => wrong.restore(state));
    await wrong.unload();
});

await test("an idle model takes no processor time", async () => {
    const model = await Slm.load(native.model("Q4_K"), { threads: 3 });
    await model.generate(story, greedy).text();
    await new Promise((resolve) => setTimeout(resolve, 300)); // what was begun ends
    const before = process.cpuUsage();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const { user, system } = process.cpuUsage(before);
    assert.ok(user + system < 150000, `${user + system} us of a second`);
    await model.unload();
});

finish();
