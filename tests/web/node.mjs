/* node.mjs - the wasm module under Node against the native commands: same text, same logits, bit
 * for bit, for every type; errors carry their codes. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";
import { Slm, SlmError } from "../../dist/slm.js";
import * as native from "./native.mjs";
import { finish, test } from "./tap.mjs";

const prompt = "once upon a time there was a little cat named";

function rejects(code, action) {
    return assert.rejects(async () => action(), (e) => {
        assert(e instanceof SlmError, `${e.stack}`);
        assert.equal(e.code, code);
        assert.notEqual(e.message, "");
        return true;
    });
}

for (const type of ["f32", "f16", "bf16", "Q8_0", "Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q4_K_M"]) {
    await test(`${type}: text and digest as slm-run gives them`, async () => {
        const path = native.model(type);
        const model = await Slm.load(path);
        const options = { maxTokens: 24, temperature: 0.8, seed: 7, digest: true };
        const g = model.generate(prompt, options);
        const text = await g.text();
        const want = native.run(path, prompt, "-n", "24", "--temp", "0.8", "--seed", "7");
        assert.equal(text, want.text);
        assert.equal(g.digest, want.digest);
        assert.match(g.digest, /^[0-9a-f]{16}$/);
        assert.equal(g.ids.length, 24);
        assert.equal(g.end, "max_tokens");
        model.unload();
    });
}

const long = "one day a girl named lily went to the park with her dog and her red ball. ".repeat(4);
for (const type of ["f32", "f16", "bf16", "Q8_0", "Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q5_K_M"]) {
    await test(`${type}: one digest for prefill in chunks of 1, 7, 64 and whole`, async () => {
        const path = native.model(type);
        const want = native.run(path, long, "-n", "2", "--temp", "0", "--kernels", "ref");
        for (const chunk of [1, 7, 64, 256]) {
            const model = await Slm.load(path, { chunk });
            const g = model.generate(long, { maxTokens: 2, temperature: 0, digest: true });
            await g.text();
            assert.equal(g.digest, want.digest, `chunk ${chunk}`);
            model.unload();
        }
    });
}

for (const kv of ["f32", "q8_0"]) {
    await test(`a cache of ${kv}: digest as slm-run gives it`, async () => {
        const path = native.model("Q4_K_M");
        const model = await Slm.load(path, { kv, chunk: 5, context: 64 });
        const g = model.generate(prompt, { maxTokens: 4, temperature: 0, digest: true });
        await g.text();
        const want = native.run(path, prompt, "-n", "4", "--temp", "0", "--kv", kv);
        assert.equal(g.digest, want.digest);
    });
}

await test("logits() gives the last row that slm-run writes", async () => {
    const path = native.model("Q4_K_M");
    const model = await Slm.load(path);
    const ids = await model.tokenize(prompt);
    const got = await model.logits(ids);
    assert.deepEqual(got, native.logits(path, ids).slice(-got.length));
    assert.equal(await model.digest(ids), native.run(path, prompt, "-n", "0").digest);
});

await test("bytes, a file URL and a path load the same model", async () => {
    const path = native.model("Q4_K_M");
    const bytes = readFileSync(path);
    const sums = [];
    for (const source of [path, pathToFileURL(path), bytes, Uint8Array.from(bytes).buffer,
                          new File([bytes], "model.slm")]) {
        const model = await Slm.load(source);
        sums.push((await model.diagnostics()).contentChecksum);
        model.unload();
    }
    assert.equal(new Set(sums).size, 1);
});

/* Serves one model in good and bad ways: /whole, /chunked (no length), /short, /long, /slow. */
function serve(bytes) {
    const server = createServer((request, response) => {
        const sizes = { "/whole": 0, "/slow": 0, "/short": 64, "/long": -64 };
        if (request.url === "/chunked") {
            response.write(bytes.subarray(0, 1000));
            response.end(bytes.subarray(1000));
        } else if (request.url in sizes) {
            const announced = bytes.length + sizes[request.url];
            response.strictContentLength = false;
            response.writeHead(200, { "Content-Length": announced });
            response.write(bytes.subarray(0, 1000));
            if (request.url === "/short") {
                setTimeout(() => response.destroy(), 20);
            } else if (request.url !== "/slow") {
                response.end(bytes.subarray(1000));
            }
        } else {
            response.writeHead(404).end();
        }
    });
    return new Promise((resolve) => {
        server.listen(0, "127.0.0.1", () => resolve(server));
    });
}

await test("over HTTP: with and without a length, cut short, refused, aborted", async () => {
    const bytes = readFileSync(native.model("Q4_K_M"));
    const server = await serve(bytes);
    const at = `http://127.0.0.1:${server.address().port}`;
    try {
        const sums = [];
        for (const way of ["whole", "chunked"]) {
            let seen = 0;
            const model = await Slm.load(`${at}/${way}`, { onProgress: (p) => { seen = p.done; } });
            const d = await model.diagnostics();
            sums.push(d.contentChecksum);
            assert.equal(d.downloadedBytes, bytes.length);
            assert.equal(seen, bytes.length);
        }
        assert.equal(sums[0], sums[1]);
        await rejects("SLM_WEB_FETCH", () => Slm.load(`${at}/short`));
        await rejects("SLM_ERR_TRUNCATED", () => Slm.load(`${at}/long`));
        await rejects("SLM_WEB_FETCH", () => Slm.load(`${at}/absent`));
        await rejects("SLM_WEB_FETCH", () => Slm.load("http://127.0.0.1:1/model.slm"));
        const abort = new AbortController();
        setTimeout(() => abort.abort(), 50);
        await assert.rejects(Slm.load(`${at}/slow`, { signal: abort.signal }),
                             { name: "AbortError" });
    } finally {
        server.closeAllConnections?.();
        server.close();
    }
});

await test("tokenize and detokenize are inverse, and agree with slm-tokenizer", async () => {
    const path = native.model("Q4_K_M");
    const model = await Slm.load(path);
    for (const text of ["the dog said: hello!", "Zoë paid 12 €, ok? 👍🏽\n\n  end", " \t"]) {
        const ids = await model.tokenize(text, { special: false });
        assert.deepEqual([...ids], native.tokenize(path, text));
        assert.equal(await model.detokenize(ids), text);
    }
    assert.equal((await model.tokenize("", { special: false })).length, 0);
});

await test("stop strings end the text before they show", async () => {
    const model = await Slm.load(native.model("Q4_K_M"));
    const options = { maxTokens: 40, temperature: 0 };
    const whole = await model.generate(prompt, options).text();
    const stop = whole.slice(12, 17);
    const g = model.generate(prompt, { ...options, stop: ["no such text", stop] });
    const pieces = [];
    for await (const piece of g) {
        pieces.push(piece);
    }
    assert.equal(pieces.join(""), whole.slice(0, whole.indexOf(stop)));
    assert.equal(g.end, "stop_string");
});

await test("the end of the context ends the text", async () => {
    const model = await Slm.load(native.model("Q4_K_M"), { context: 16 });
    const g = model.generate(prompt, { maxTokens: 100, temperature: 0 });
    await g.text();
    assert.equal(g.end, "context_full");
    const { kvBlocksUsed, generatedTokens, promptTokens } = await model.diagnostics();
    assert.equal(promptTokens + generatedTokens, 16);
    assert.equal(kvBlocksUsed, 1);
});

await test("addresses beyond 2 GiB, in memory that nothing is written to", async () => {
    const path = native.model("Q4_K_M");
    const model = await Slm.load(path, { context: 700000, kv: "f32", sequences: 1 });
    assert.ok((await model.diagnostics()).memoryBytes > 2.5 * 2 ** 30);
    const g = model.generate(prompt, { maxTokens: 4, temperature: 0, digest: true });
    await g.text();
    const want = native.run(path, prompt, "-n", "4", "--temp", "0", "--kv", "f32");
    assert.equal(g.digest, want.digest);
    assert.equal(await model.detokenize(await model.tokenize("Zoë")), "Zoë");
    const s = await model.session();
    await s.append(prompt.repeat(4));
    const state = await s.save();
    await s.close();
    assert.equal((await model.restore(state)).length, s.length);
    assert.ok(process.memoryUsage().rss < 2 ** 30);
    await model.unload();
});

await test("errors have codes", async () => {
    const path = native.model("Q4_K_M");
    const bytes = readFileSync(path);
    await rejects("SLM_ERR_MAGIC", () => Slm.load(new Uint8Array(4096)));
    await rejects("SLM_ERR_TRUNCATED", () => Slm.load(bytes.subarray(0, bytes.length - 64)));
    const changed = Uint8Array.from(bytes);
    changed[bytes.length - 4096] ^= 1;
    await rejects("SLM_ERR_CHECKSUM", () => Slm.load(changed));
    await rejects("SLM_WEB_FETCH", () => Slm.load("no/such/file.slm"));
    await rejects("SLM_WEB_WASM", () => Slm.load(bytes, { wasm: pathToFileURL("README.md") }));
    await rejects("SLM_ERR_ARGUMENT", () => Slm.load(bytes, { kv: "f64" }));
    await rejects("SLM_ERR_ARGUMENT", () => Slm.load(bytes, { chunk: 5000 }));
    await rejects("SLM_ERR_TOO_LARGE", () => Slm.load(bytes, { context: 1 << 24 }));
    /* Keys and values of a position take 2048 bytes, twice that in f32: just below 4 GiB. */
    await rejects("SLM_ERR_MEMORY", () => Slm.load(bytes, { context: 1048000, kv: "f32",
                                                            sequences: 1, threads: 1 }));
    const huge = Uint8Array.from(bytes);
    new DataView(huge.buffer).setBigUint64(16, 5n << 30n, true);
    await rejects("SLM_ERR_TOO_LARGE", () => Slm.load(huge));
    await rejects("SLM_ERR_ARGUMENT", () => Slm.load(bytes, { sequences: 17 }));
    await rejects("SLM_ERR_ARGUMENT", () => Slm.load(bytes, { sequences: 0 }));
    await rejects("SLM_ERR_ARGUMENT", () => Slm.load(bytes, { cache: "always" }));
    await rejects("SLM_ERR_ARGUMENT", () => Slm.load(42));
    const model = await Slm.load(bytes, { context: 16 });
    await rejects("SLM_ERR_TOKEN_ID", () => model.logits([1 << 20]));
    await rejects("SLM_ERR_CONTEXT_FULL", () => model.logits(new Int32Array(17)));
    await rejects("SLM_ERR_ARGUMENT", () => model.generate("a", { temperature: -1 }).text());
    await rejects("SLM_ERR_ARGUMENT", () => model.generate("a", { temperature: NaN }).text());
    await rejects("SLM_ERR_ARGUMENT", () => model.generate("a", { seed: -1 }).text());
    await rejects("SLM_ERR_ARGUMENT", () => model.generate("a", { stop: "" }).text());
    await rejects("SLM_ERR_ARGUMENT", () => model.generate([]).text());
    await rejects("SLM_ERR_CHAT", () => model.chat([{ role: "user", content: "hi" }]).text());
    await rejects("SLM_ERR_ARGUMENT", () => model.chat([]).text());
    await rejects("SLM_ERR_ARGUMENT", () => model.chat([{ role: "user" }]).text());
    await rejects("SLM_ERR_ARGUMENT", () => model.chat([{ role: "tool", content: "" }]).text());
    const abort = new AbortController();
    abort.abort();
    await assert.rejects(model.generate("a", { signal: abort.signal }).text(),
                         { name: "AbortError" });
    model.unload();
    model.unload();
    await rejects("SLM_WEB_UNLOADED", () => model.generate("once").text());
    await rejects("SLM_WEB_UNLOADED", () => model.diagnostics());
    const other = await Slm.load(bytes);
    const cut = other.generate("once", { maxTokens: 200 }).text();
    setTimeout(() => other.unload(), 5);
    await rejects("SLM_WEB_UNLOADED", () => cut);
});

await test("requireQuality: a manifest that holds, and how one may not", async () => {
    const path = native.model("Q4_K_M");
    native.gate(path);
    const model = await Slm.load(path, { requireQuality: true });
    assert.equal(model.quality.result, "passed");
    const g = model.generate(prompt, { maxTokens: 4, temperature: 0, digest: true });
    await g.text();
    assert.equal(g.digest, native.run(path, prompt, "-n", "4", "--temp", "0").digest);
    model.unload();

    const good = JSON.parse(readFileSync(`${path}.quality.json`, "utf8"));
    const refuses = async (reason, manifest, source = path) => {
        const bytes = new TextEncoder().encode(manifest);
        await assert.rejects(Slm.load(source, { requireQuality: true, manifest: bytes }), (e) => {
            assert.equal(e.code, "SLM_WEB_QUALITY");
            assert.match(e.message, reason);
            return true;
        });
    };
    const sort = (v) => Array.isArray(v) ? v.map(sort) : v === null || typeof v !== "object" ? v
        : Object.fromEntries(Object.keys(v).sort().map((k) => [k, sort(v[k])]));
    const sealed = (change) => { // a manifest changed, and its hash with it
        const { manifest_sha256: _, volatile: times, ...m } = structuredClone(good);
        change(m);
        const hash = createHash("sha256").update(JSON.stringify(sort(m))).digest("hex");
        return JSON.stringify({ ...m, volatile: times, manifest_sha256: hash });
    };
    await Slm.load(path, { requireQuality: true,
                           manifest: new TextEncoder().encode(sealed(() => {})) });
    await refuses(/no JSON/, "{");
    await refuses(/schema is undefined/, "{}");
    await refuses(/was changed/, JSON.stringify({ ...good, result: "failed" }));
    await refuses(/other bytes/, JSON.stringify(good), native.model("Q4_K"));
    await refuses(/verdict on this model is "inconclusive"/,
                  sealed((m) => { m.result = "inconclusive"; }));
    await refuses(/does not compute/,
                  sealed((m) => { m.logits_digest.prompts[1].digest = "0".repeat(16); }));
    await refuses(/has no logits digest/, sealed((m) => { m.logits_digest.prompts = []; }));
    const required = { requireQuality: true };
    await rejects("SLM_WEB_QUALITY", () => Slm.load(native.model("Q4_K"), required));
    await rejects("SLM_WEB_QUALITY", () => Slm.load(path, { requireQuality: true, kv: "q8_0" }));
    await rejects("SLM_WEB_QUALITY", () => Slm.load(readFileSync(path), { requireQuality: true }));

    assert.throws(() => native.gate(path, 1), (e) => e.status === 1);
    const failed = readFileSync(`${path}.quality.json`, "utf8");
    await refuses(/verdict on this model is "failed"/, failed);
});

finish();
