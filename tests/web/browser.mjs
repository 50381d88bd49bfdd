/* browser.mjs - the package in a headless browser, under a strict Content-Security-Policy: texts
 * and digests as slm-run gives them with every module, isolated or not; loads that are broken off,
 * damaged, cached, or short of storage. Skipped where the browser or its driver is not.
 *
 *     node tests/web/browser.mjs chromium|firefox [PART_OF_A_NAME]
 */
import assert from "node:assert/strict";
import { launch } from "./browsers.mjs";
import * as native from "./native.mjs";
import { startServer } from "./server.mjs";
import { finish, test } from "./tap.mjs";

const [, , kind = "chromium", only = ""] = process.argv;
const kernels = ["slm", "slm-relaxed16", "slm-relaxed32"];
const prompt = "one day a little bird";
const runs = [{ maxTokens: 64, temperature: 0 }, { maxTokens: 64, temperature: 0.8, seed: 11 }];

const { browser, absent } = await launch(kind);
const want = {}; // by URL: {texts, digests} of the runs
let open, closed, path, size;
if (browser) {
    path = native.model("Q4_K_M");
    native.gate(path);
    const models = { "model.slm": path, "other.slm": native.model("Q4_K") };
    for (const [name, model] of Object.entries(models)) {
        const got = runs.map(({ maxTokens, temperature, seed = 1 }) => native.run(
            model, prompt, "-n", `${maxTokens}`, "--temp", `${temperature}`, "--seed", `${seed}`));
        want[`/${name}`] = { texts: got.map((r) => r.text), digests: got.map((r) => r.digest) };
    }
    size = native.bytes(path).length;
    open = await startServer(models, true);
    closed = await startServer(models, false);
    const manifest = native.bytes(`${path}.quality.json`);
    open.files["/model.slm.quality.json"] = open.files["/other.slm.quality.json"] = manifest;
}

const inBrowser = (name, body) => name.includes(only) && test(name, () => absent ?? body());

/* In the page: loads each, generates, and says how it went. */
async function visit(urls, load, prompt, runs) {
    const { Slm } = await import(load.package ?? "/dist/slm.js");
    return Promise.all(urls.map(async (url) => {
        const phases = [], texts = [], digests = [];
        try {
            const model = await Slm.load(url, { ...load, onProgress: ({ phase }) => {
                if (phases.at(-1) !== phase) {
                    phases.push(phase);
                }
            } });
            for (const options of runs) {
                const g = model.generate(prompt, { ...options, digest: true });
                texts.push(await g.text());
                digests.push(g.digest);
            }
            const d = await model.diagnostics();
            await model.unload();
            return { texts, digests, phases, ...d, quality: model.quality?.result };
        } catch (e) {
            return { error: e.message, code: e.code, name: e.name, offset: e.offset };
        }
    }));
}

const visited = async (page, url, load = {}) =>
    (await page.run(visit, [url], load, prompt, runs))[0];

function good(got, url = "/model.slm") {
    assert.equal(got.error, undefined);
    assert.deepEqual(got.texts, want[url].texts);
    assert.deepEqual(got.digests, want[url].digests);
    return got;
}

/* Whether the browser knows the module's instructions. */
const runsHere = (page, name) => page.run(async (url) =>
    WebAssembly.validate(await (await fetch(url)).arrayBuffer()), `/dist/${name}.wasm`);

for (const name of kernels) {
    await inBrowser(`${name}: 1 and 2 threads; in a page that is not isolated, 1`, async () => {
        const page = await browser.open(`${open.origin}/page.html`);
        if (!await runsHere(page, name)) {
            return `this ${kind} has no relaxed SIMD`;
        }
        for (const [memory, threads] of [["", 1], ["-threads", 1], ["-threads", 2]]) {
            const load = { wasm: `/dist/${name}${memory}.wasm`, threads };
            const got = good(await visited(page, "/model.slm", load));
            assert.deepEqual([got.threads, got.isolated], [threads, true]);
        }
        await page.close();
        const other = await browser.open(`${closed.origin}/page.html`);
        good(await visited(other, "/model.slm", { wasm: `/dist/${name}.wasm` }));
        return other.close();
    });
}

await inBrowser("without being told: relaxed SIMD where there is some", async () => {
    const page = await browser.open(`${open.origin}/page.html`);
    const got = good(await visited(page, "/model.slm"));
    assert.equal(got.kernels.startsWith("relaxed"), await runsHere(page, "slm-relaxed16"));
    await page.close();
});

await inBrowser("a page that is not isolated: one thread, and advice", async () => {
    const page = await browser.open(`${closed.origin}/page.html`);
    const got = good(await visited(page, "/model.slm", { threads: 2 }));
    assert.equal(got.threads, 1);
    assert.equal(got.isolated, false);
    assert.match(got.advice, /Cross-Origin-Opener-Policy/);
    await page.close();
});

await inBrowser("no memory for threads to share: one thread, and advice", async () => {
    const page = await browser.open(`${open.origin}/page.html`);
    for (const lack of ["no-shared", "no-second", "no-growth"]) {
        const load = { package: `/${lack}/slm.js`, threads: 2 };
        const got = good(await visited(page, "/model.slm", load));
        assert.deepEqual([got.threads, got.isolated], [1, true], lack);
        assert.match(got.advice, /grants no memory for several threads to share/);
    }
    await page.close();
});

await inBrowser("slm-isolate.js makes it isolated", async () => {
    closed.files["/isolate.html"] = '<!doctype html><script src="slm-isolate.js"></script>';
    closed.files["/slm-isolate.js"] = native.bytes("dist/slm-isolate.js");
    const page = await browser.open(`${closed.origin}/page.html`);
    await page.goRestless(`${closed.origin}/isolate.html`);
    for (let tries = 0; tries < 600; tries++) {
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
    }, prompt, runs[1]);
    const [, text] = want["/model.slm"].texts;
    assert.deepEqual(texts, [text, text, size]);
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
    const other = await browser.open(`${open.origin}/page.html`, { context: page.context });
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
        const urls = ["/model.slm", "/model.slm", "/other.slm"];
        const got = await page.run(visit, urls, {}, prompt, runs);
        urls.forEach((url, i) => good(got[i], url));
        const kept = got.slice(0, 2).map((r) => r.cache);
        assert.ok(kept.includes("opfs"), `${kept}`);
        const downloaded = got.map((r) => r.downloadedBytes);
        assert.deepEqual(cached === 0 ? [] : downloaded.filter((n) => n !== 0), []);
    }
    await page.close();
});

await inBrowser("loads that overlap as they like leave what is kept alone", async () => {
    const page = await browser.open(`${open.origin}/page.html`);
    good(await visited(page, "/model.slm"));
    open.taken("model.slm");
    const got = await page.run(async () => {
        const { Slm } = await import("/dist/slm.js");
        const place = async () => {
            const seen = [];
            for (let i = 0; i < 6; i++) {
                const model = await Slm.load("/model.slm", { threads: 1 });
                const { cache, cachedBytes } = await model.diagnostics();
                seen.push([cache, cachedBytes]);
                await model.unload();
            }
            return seen;
        };
        return (await Promise.all([place(), place(), place()])).flat();
    });
    assert.deepEqual(got, Array(18).fill(["opfs", size]));
    assert.deepEqual(open.taken("model.slm"), []);
    await page.close();
});

await inBrowser("what is kept can be listed, found and deleted", async () => {
    const page = await browser.open(`${open.origin}/page.html`);
    good(await visited(page, "/model.slm"));
    good(await visited(page, "/other.slm"), "/other.slm");
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
    open.faults["model.slm"] = { breakAfter: 500000, times: 1,
                                 broken: () => { open.etags["model.slm"] = '"b"'; } };
    open.etags["model.slm"] = '"a"';
    open.taken("model.slm");
    const got = good(await visited(page, "/model.slm", { cache: "none" }));
    assert.equal(got.downloadedBytes, size);
    const ranges = open.taken("model.slm").map(({ range }) => range !== null);
    assert.deepEqual(ranges, [false, true, false]);
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

/* A page that may keep so many bytes. */
async function narrow(quota) {
    if (kind === "chromium") {
        const page = await browser.open(`${open.origin}/page.html`);
        const devtools = await page.context.newCDPSession(page.page);
        await devtools.send("Storage.overrideQuotaForOrigin",
                            { origin: open.origin, quotaSize: quota });
        return page;
    }
    const limit = { "dom.quotaManager.temporaryStorage.fixedLimit": Math.round(quota / 1024) };
    const { browser: small } = await launch(kind, { preferences: limit });
    const page = await small.open(`${open.origin}/page.html`);
    page.close = () => small.close();
    return page;
}

await inBrowser("no room to keep it: it runs, and says so", async () => {
    const page = await narrow(size / 2);
    const got = good(await visited(page, "/model.slm"));
    assert.deepEqual([got.cache, got.downloadedBytes], [null, size]);
    assert.match(got.cacheNote, /storage/);
    await page.close();
});

await inBrowser("older models make room", async () => {
    const page = await narrow(Math.round(size * 1.75));
    for (const url of ["/other.slm", "/model.slm"]) {
        const got = good(await visited(page, url), url);
        assert.deepEqual([got.cache, got.cacheNote], ["opfs", null]);
        const left = await page.run(async () =>
            (await (await import("/dist/slm.js")).Slm.cache.list()).map((e) => e.url));
        assert.deepEqual(left, [open.origin + url]);
    }
    await page.close();
});

await inBrowser("requireQuality: a manifest that holds; failed, of other bytes, none", async () => {
    const page = await browser.open(`${open.origin}/page.html`);
    const required = { requireQuality: true };
    assert.equal(good(await visited(page, "/model.slm", required)).quality, "passed");
    assert.throws(() => native.gate(path, 1), (e) => e.status === 1); // larger than one byte
    open.files["/failed.json"] = native.bytes(`${path}.quality.json`);
    for (const [url, manifest, reason] of [
        ["/model.slm", "/failed.json", /verdict on this model is "failed"/],
        ["/other.slm", undefined, /other bytes/], ["/model.slm", "/absent.json", /404/]]) {
        const got = await visited(page, url, { ...required, manifest });
        assert.equal(got.code, "SLM_WEB_QUALITY");
        assert.match(got.error, reason);
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
    open.files["/dist/slm-thread.js"] = null;
    const got = await visited(page, "/model.slm", { threads: 2 });
    assert.equal(got.code, "SLM_WEB_WORKER");
    assert.match(got.error, /slm-thread\.js/);
    delete open.files["/dist/slm-thread.js"];
    good(await visited(page, "/model.slm", { threads: 2 }));
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
