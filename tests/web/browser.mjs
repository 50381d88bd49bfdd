/* browser.mjs - the package in headless Chromium, under a strict Content-Security-Policy: texts and
 * digests as slm-run gives them with every module, isolated or not; loads that are broken off,
 * damaged, cached, or short of storage. Skipped where there is no Chromium. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Browser, findBrowser } from "./chromium.mjs";
import * as native from "./native.mjs";
import { startServer } from "./server.mjs";
import { finish, test } from "./tap.mjs";

const modules = ["slm", "slm-relaxed16", "slm-relaxed32"].flatMap((m) => [m, `${m}-threads`]);
const prompt = "one day a little bird";
const options = { maxTokens: 32, temperature: 0.8, seed: 11, digest: true };

const only = process.argv[2]; // a part of the names of the tests to run
const chromium = findBrowser();
let browser, open, closed, path, want, size;
if (chromium) {
    path = native.model("Q4_K_M");
    native.gate(path);
    want = native.run(path, prompt, "-n", "32", "--temp", "0.8", "--seed", "11");
    const models = { "model.slm": path, "other.slm": native.model("Q4_K") };
    size = native.bytes(path).length;
    open = await startServer(models, true);
    closed = await startServer(models, false);
    const manifest = native.bytes(`${path}.quality.json`);
    open.files["/model.slm.quality.json"] = open.files["/other.slm.quality.json"] = manifest;
    browser = new Browser(chromium, join(native.folder, "profile"));
}

function inBrowser(name, body) {
    return only === undefined || name.includes(only)
        ? test(name, () => chromium ? body() : "no Chromium is installed") : undefined;
}

/* In the page: loads, generates, and says how it went. */
async function visit(url, load, prompt, options) {
    const { Slm } = await import(load.package ?? "/dist/slm.js");
    const phases = [];
    try {
        const model = await Slm.load(url, { ...load, onProgress: ({ phase }) => {
            if (phases.at(-1) !== phase) {
                phases.push(phase);
            }
        } });
        const g = model.generate(prompt, options);
        const text = await g.text();
        const d = await model.diagnostics();
        await model.unload();
        return { text, digest: g.digest, phases, ...d, quality: model.quality?.result };
    } catch (e) {
        return { error: e.message, code: e.code, name: e.name, offset: e.offset };
    }
}

const visited = (page, url, load = {}) => page.run(visit, url, load, prompt, options);

function good(got) {
    assert.equal(got.error, undefined);
    assert.equal(got.text, want.text);
    assert.equal(got.digest, want.digest);
    return got;
}

await inBrowser("every module, with one thread and with two, in an isolated page", async () => {
    const page = await browser.open(`${open.origin}/page.html`);
    for (const name of modules) {
        for (const threads of name.endsWith("threads") ? [1, 2] : [1]) {
            const got = good(await visited(page, "/model.slm",
                                           { wasm: `/dist/${name}.wasm`, threads }));
            assert.equal(got.threads, threads, name);
            assert.equal(got.isolated, true);
        }
    }
    const chosen = good(await visited(page, "/model.slm"));
    assert.match(chosen.kernels, /relaxed/);
    await page.close();
});

await inBrowser("a page that is not isolated: one thread, and advice", async () => {
    const page = await browser.open(`${closed.origin}/page.html`);
    const got = good(await visited(page, "/model.slm", { threads: 2 }));
    assert.equal(got.threads, 1);
    assert.equal(got.isolated, false);
    assert.match(got.advice, /Cross-Origin-Opener-Policy/);
    for (const name of modules.filter((m) => !m.endsWith("threads"))) {
        good(await visited(page, "/model.slm", { wasm: `/dist/${name}.wasm` }));
    }
    await page.close();
});

await inBrowser("slm-isolate.js makes it isolated", async () => {
    const page = await browser.open(`${closed.origin}/isolate.html`);
    closed.files["/isolate.html"] = '<!doctype html><script src="slm-isolate.js"></script>';
    closed.files["/slm-isolate.js"] = native.bytes("dist/slm-isolate.js");
    await page.go(`${closed.origin}/isolate.html?again`);
    for (let tries = 0; tries < 100; tries++) {
        if (await page.run(() => crossOriginIsolated).catch(() => false)) {
            break;
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const got = good(await visited(page, "/model.slm", { threads: 2 }));
    assert.equal(got.threads, 2);
    assert.equal(got.advice, null);
    await page.close();
});

await inBrowser("a File and an ArrayBuffer", async () => {
    const page = await browser.open(`${open.origin}/page.html`);
    const texts = await page.run(async (prompt, options) => {
        const { Slm } = await import("/dist/slm.js");
        const bytes = await (await fetch("/model.slm")).arrayBuffer();
        const texts = [];
        for (const source of [new File([bytes], "picked.slm"), bytes]) {
            const model = await Slm.load(source);
            texts.push(await model.generate(prompt, options).text());
        }
        return [...texts, bytes.byteLength];
    }, prompt, options);
    assert.deepEqual(texts, [want.text, want.text, size]);
    await page.close();
});

await inBrowser("kept in OPFS: a second load asks for no weights, nor another page's", async () => {
    const page = await browser.open(`${open.origin}/page.html`);
    open.taken("model.slm");
    const first = good(await visited(page, "/model.slm"));
    assert.equal(open.taken("model.slm").length, 1);
    assert.deepEqual([first.cache, first.downloadedBytes, first.cachedBytes], ["opfs", size, 0]);
    assert.deepEqual(first.phases, ["download", "load"]);
    const second = good(await visited(page, "/model.slm"));
    assert.deepEqual([second.cache, second.downloadedBytes, second.cachedBytes], ["opfs", 0, size]);
    assert.deepEqual(second.phases, ["verify", "load"]);
    const other = await browser.open(`${open.origin}/page.html`, page.context);
    good(await visited(other, "/model.slm"));
    assert.deepEqual(open.taken("model.slm"), []);
    good(await visited(page, "/model.slm", { cache: "revalidate" }));
    assert.deepEqual(open.taken("model.slm").map((r) => r.method), ["HEAD"]);
    open.etags["model.slm"] = '"2"';
    good(await visited(page, "/model.slm", { cache: "revalidate" }));
    delete open.etags["model.slm"];
    assert.deepEqual(open.taken("model.slm").map((r) => r.method), ["HEAD", "GET"]);
    const none = good(await visited(page, "/model.slm", { cache: "none" }));
    assert.deepEqual([none.cache, none.downloadedBytes], [null, size]);
    good(await visited(page, "/model.slm", { cache: "reload" }));
    assert.deepEqual(open.taken("model.slm").map((r) => r.method), ["GET", "GET"]);
    await other.close();
    await page.close();
});

await inBrowser("several models at once, and the same one from two places", async () => {
    const page = await browser.open(`${open.origin}/page.html`);
    for (const cached of [0, size]) {
        const got = await page.run(async (visit, prompt, options) => {
            const run = (0, eval)(`(${visit})`);
            return Promise.all(["/model.slm", "/model.slm", "/other.slm"].map(
                (url) => run(url, {}, prompt, options)));
        }, visit.toString(), prompt, options).catch((e) => [{ error: e.message }]);
        got.slice(0, 2).forEach(good);
        assert.equal(got[2].error, undefined);
        const kept = got.slice(0, 2).map((r) => r.cache);
        assert.ok(kept.includes("opfs"), `${kept}`);
        assert.ok(cached === 0 || got.every((r) => r.downloadedBytes === 0));
    }
    await page.close();
});

await inBrowser("what is kept can be listed, found and deleted", async () => {
    const page = await browser.open(`${open.origin}/page.html`);
    good(await visited(page, "/model.slm"));
    good(await visited(page, "/other.slm").then((r) => ({ ...r, ...want })));
    const seen = await page.run(async () => {
        const { Slm } = await import("/dist/slm.js");
        const list = await Slm.cache.list();
        const found = await Slm.cache.find("/model.slm");
        const gone = [await Slm.cache.delete("/model.slm"), await Slm.cache.delete("/model.slm")];
        const left = (await Slm.cache.list()).map((e) => new URL(e.url).pathname);
        await Slm.cache.clear();
        const { quota } = await Slm.cache.estimate();
        return { paths: list.map((e) => new URL(e.url).pathname).sort(), found, gone, left, quota,
                 none: await Slm.cache.list(), absent: await Slm.cache.find("/model.slm") };
    });
    assert.deepEqual(seen.paths, ["/model.slm", "/other.slm"]);
    assert.deepEqual([seen.found.bytes, seen.found.total], [size, size]);
    assert.ok(Date.now() - seen.found.used < 60000);
    assert.deepEqual([seen.gone, seen.left, seen.none, seen.absent],
                     [[true, false], ["/other.slm"], [], null]);
    assert.ok(seen.quota > 0);
    await page.close();
});

await inBrowser("without OPFS the Cache API keeps it", async () => {
    const page = await browser.open(`${open.origin}/page.html`);
    open.taken("model.slm");
    const load = { package: "/no-opfs/slm.js" };
    assert.equal(good(await visited(page, "/model.slm", load)).cache, "cache-api");
    assert.equal(good(await visited(page, "/model.slm", load)).cachedBytes, size);
    assert.equal(open.taken("model.slm").length, 1);
    await page.run(async () => { // damaged where it is kept
        const cache = await caches.open("slm");
        const [request] = await cache.keys();
        const response = await cache.match(request);
        const bytes = new Uint8Array(await response.arrayBuffer());
        bytes[bytes.length - 5000] ^= 1;
        await cache.put(request, new Response(bytes, { headers: response.headers }));
    });
    good(await visited(page, "/model.slm", load));
    assert.equal(open.taken("model.slm").length, 1);
    await page.close();
});

/* Changes a byte of the one model that OPFS keeps, or cuts it there. */
async function spoil(at, cut) {
    const dir = await (await navigator.storage.getDirectory()).getDirectoryHandle("slm");
    for await (const [name, handle] of dir) {
        if (name.endsWith(".slm")) {
            const bytes = new Uint8Array(await (await handle.getFile()).arrayBuffer());
            bytes[at] ^= 1;
            const out = await handle.createWritable();
            await out.write(cut ? bytes.subarray(0, at) : bytes);
            await out.close();
        }
    }
}

await inBrowser("damage in the cache is found and fetched again, from there on", async () => {
    const page = await browser.open(`${open.origin}/page.html`);
    good(await visited(page, "/model.slm"));
    open.taken("model.slm");
    for (const [at, cut] of [[size - 5000, false], [3, false], [200, false], [9000, false],
                             [size - 70000, true], [77, true]]) {
        await page.run(spoil, at, cut);
        const got = good(await visited(page, "/model.slm"));
        const [{ range }, ...more] = open.taken("model.slm");
        assert.equal(more.length, 0);
        const from = range === null ? 0 : Number(/=(\d+)-/.exec(range)[1]);
        assert.ok(from <= at && (at < 20000 || cut || from > size / 2), `${from} for ${at}`);
        assert.equal(got.downloadedBytes, size - from);
        const next = good(await visited(page, "/model.slm"));
        assert.equal(next.downloadedBytes, 0, `${at} ${cut} ${got.cacheNote}`);
        open.taken("model.slm");
    }
    open.faults["model.slm"] = { status: 404 };
    good(await visited(page, "/model.slm"));
    await page.run(spoil, size - 5000, false);
    assert.equal((await visited(page, "/model.slm")).code, "SLM_WEB_FETCH");
    delete open.faults["model.slm"];
    good(await visited(page, "/model.slm"));
    await page.close();
});

await inBrowser("a broken connection goes on where it broke", async () => {
    const page = await browser.open(`${open.origin}/page.html`);
    for (const noRange of [false, true]) {
        open.taken("model.slm");
        open.faults["model.slm"] = { breakAfter: 500000, times: 2, noRange };
        const got = good(await visited(page, "/model.slm", { cache: "none" }));
        assert.equal(got.downloadedBytes, size);
        const ranges = open.taken("model.slm").map(({ range }) => range);
        assert.equal(ranges[0], null);
        assert.match(ranges[1], /^bytes=[1-9]\d*-$/);
        assert.ok(noRange || ranges.length === 3);
    }
    open.faults["model.slm"] = { breakAfter: 500000, times: 1e9, noRange: true };
    const got = await visited(page, "/model.slm", { cache: "none" });
    assert.equal(got.code, "SLM_WEB_FETCH");
    delete open.faults["model.slm"];
    await page.close();
});

await inBrowser("a load that was broken off goes on in the next visit", async () => {
    const page = await browser.open(`${open.origin}/page.html`);
    open.faults["model.slm"] = { slow: 600000 };
    const name = await page.run(async () => {
        const { Slm } = await import("/dist/slm.js");
        const abort = new AbortController();
        const onProgress = ({ done }) => done > 300000 && abort.abort();
        return Slm.load("/model.slm", { signal: abort.signal, onProgress })
            .then(() => "loaded", (e) => e.name);
    });
    assert.equal(name, "AbortError");
    delete open.faults["model.slm"];
    open.taken("model.slm");
    const got = good(await visited(page, "/model.slm"));
    assert.ok(got.cachedBytes > 0 && got.cachedBytes + got.downloadedBytes === size);
    assert.deepEqual(open.taken("model.slm").map(({ range }) => range),
                     [`bytes=${got.cachedBytes}-`]);
    await page.close();
});

await inBrowser("a model that changes meanwhile is loaded anew", async () => {
    const page = await browser.open(`${open.origin}/page.html`);
    open.faults["model.slm"] = { breakAfter: 500000, times: 1 };
    open.etags["model.slm"] = '"a"';
    setTimeout(() => { open.etags["model.slm"] = '"b"'; }, 60);
    const got = good(await visited(page, "/model.slm", { cache: "none" }));
    assert.equal(got.downloadedBytes, size);
    delete open.etags["model.slm"];
    delete open.faults["model.slm"];
    await page.close();
});

await inBrowser("a byte damaged in transit is fetched again; always, it is an error", async () => {
    const page = await browser.open(`${open.origin}/page.html`);
    for (const damage of [size - 5000, 700, 130, 40]) {
        open.taken("model.slm");
        open.faults["model.slm"] = { damage, times: 1 };
        good(await visited(page, "/model.slm", { cache: "none" }));
        const [, { range }] = open.taken("model.slm");
        const from = range === null ? 0 : Number(/=(\d+)-/.exec(range)[1]);
        assert.ok(from <= damage && (damage < 1000 || from > size / 2));
    }
    open.faults["model.slm"] = { damage: size - 5000, times: 1e9 };
    const got = await visited(page, "/model.slm");
    assert.equal(got.code, "SLM_ERR_CHECKSUM");
    assert.ok(got.offset > size / 2 && got.offset <= size - 5000);
    delete open.faults["model.slm"];
    open.taken("model.slm");
    good(await visited(page, "/model.slm")); // and nothing of it was kept
    assert.deepEqual(open.taken("model.slm").map(({ range }) => range), [null]);
    await page.close();
});

await inBrowser("no room to keep it: it runs, and says so; older models make room", async () => {
    const page = await browser.open(`${open.origin}/page.html`);
    const quota = (quotaSize) => browser.send("Storage.overrideQuotaForOrigin",
                                              { origin: open.origin, quotaSize }, page.session);
    good(await visited(page, "/other.slm").then((r) => ({ ...r, ...want })));
    await quota(size / 2);
    const got = good(await visited(page, "/model.slm"));
    assert.deepEqual([got.cache, got.downloadedBytes], [null, size]);
    assert.match(got.cacheNote, /storage/);
    await quota(Math.round(size * 1.75));
    const third = good(await visited(page, "/model.slm"));
    assert.deepEqual([third.cache, third.cacheNote], ["opfs", null]);
    const left = await page.run(async () => (await (await import("/dist/slm.js")).Slm.cache.list())
        .map((e) => new URL(e.url).pathname));
    assert.deepEqual(left, ["/model.slm"]);
    await page.close();
});

await inBrowser("requireQuality: a manifest that holds, one of another model, none", async () => {
    const page = await browser.open(`${open.origin}/page.html`);
    const required = { requireQuality: true };
    assert.equal(good(await visited(page, "/model.slm", required)).quality, "passed");
    for (const [url, more] of [["/other.slm", {}], ["/model.slm", { manifest: "/absent.json" }]]) {
        assert.equal((await visited(page, url, { ...required, ...more })).code, "SLM_WEB_QUALITY");
    }
    await page.close();
});

await inBrowser("errors have codes", async () => {
    const page = await browser.open(`${open.origin}/page.html`);
    assert.equal((await visited(page, "/absent.slm")).code, "SLM_WEB_FETCH");
    const left = await page.run(async () => { // no empty file
        const dir = await (await navigator.storage.getDirectory()).getDirectoryHandle("slm");
        return (await Array.fromAsync(dir.keys())).length;
    });
    assert.equal(left, 0);
    assert.equal((await visited(page, "/page.html")).code, "SLM_ERR_MAGIC");
    assert.equal((await visited(page, "/model.slm", { wasm: "/page.html" })).code, "SLM_WEB_WASM");
    assert.equal((await visited(page, "/model.slm", { context: 1 << 24 })).code,
                 "SLM_ERR_TOO_LARGE");
    open.files["/broken/slm.js"] = native.bytes("dist/slm.js"); // without its worker
    assert.equal((await visited(page, "/model.slm", { package: "/broken/slm.js" })).code,
                 "SLM_WEB_WORKER");
    await page.close();
});

await inBrowser("an abort in a long prefill, and the page stays awake", async () => {
    for (const { origin } of [open, closed]) {
        const page = await browser.open(`${origin}/page.html`);
        const got = await page.run(async () => {
            const { Slm } = await import("/dist/slm.js");
            const model = await Slm.load("/model.slm", { context: 16384, threads: 2 });
            const ids = Array.from({ length: 16000 }, (_, i) => 5 + i * 7919 % 900);
            const abort = new AbortController();
            let longest = 0, last = performance.now(), at = 0;
            const timer = setInterval(() => {
                longest = Math.max(longest, performance.now() - last);
                last = performance.now();
            }, 5);
            setTimeout(() => {
                at = performance.now();
                abort.abort();
            }, 300);
            const name = await model.generate(ids, { maxTokens: 1, signal: abort.signal }).text()
                .then(() => "done", (e) => e.name);
            const after = performance.now() - at;
            clearInterval(timer);
            const text = await model.generate("one day", { maxTokens: 5, temperature: 0 }).text();
            return { name, after, longest, text };
        });
        assert.equal(got.name, "AbortError");
        assert.ok(got.after < 1000, `${got.after} ms`);
        assert.ok(got.longest < 1000, `${got.longest} ms`);
        assert.equal(got.text, native.run(path, "one day", "-n", "5", "--temp", "0").text);
        await page.close();
    }
});

await browser?.close();
open?.close();
closed?.close();
finish();
