/* page.mjs - the demo page in a headless browser, as `make serve` serves it: what is asked
 * before a download, progress, text and digest as slm-run gives them, stop, cache, chat, quality;
 * accessibility by axe-core. Skipped where the browser, its driver or axe-core is not.
 *
 *     node tests/web/page.mjs chromium|firefox [PART_OF_A_NAME [FOLDER]]
 *
 * FOLDER gets screenshots.
 */
import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { serve } from "../../scripts/serve.mjs";
import { launch } from "./browsers.mjs";
import * as native from "./native.mjs";
import { finish, test } from "./tap.mjs";

const [, , kind = "chromium", only = "", pictures] = process.argv;
const { browser, absent } = await launch(kind);
const models = join(native.folder, "models");
let site, bare, size, q4;
if (browser) {
    mkdirSync(models);
    q4 = join(models, "tiny.slm");
    copyFileSync(native.model("Q4_K_M"), q4);
    native.gate(q4);
    copyFileSync(native.chatModel(), join(models, "chat.slm"));
    copyFileSync(native.model("Q4_K"), join(models, "wrong.slm"));
    copyFileSync(`${q4}.quality.json`, join(models, "wrong.slm.quality.json"));
    size = native.bytes(q4).length;
    site = await serve(["dist", `models=${models}`]);
    bare = await serve(["dist", `models=${models}`], { isolated: false });
}

const inPage = (name, body) => name.includes(only) && test(name, () => absent ?? body());
const grouped = new Intl.NumberFormat("en");

/* ---- What tests do in the page --------------------------------------------------------------- */

/* Counted from the first line of the page on: what its own policy forbids. */
function countViolations() {
    globalThis.violations = [];
    document.addEventListener("securitypolicyviolation", (e) =>
        violations.push(`${e.violatedDirective} ${e.blockedURI}`));
}

const open = (query = "", from = browser) =>
    from.open(`${site.origin}/demo/${query}`, { prepare: countViolations });

/* Waits until `check`, run in the page, gives something true; gives that. */
async function until(page, check, ...args) {
    let got;
    for (let tries = 0; tries < 1200; tries++) {
        got = await page.run(check, ...args).catch(() => false); // between two documents
        if (got) {
            return got;
        }
        await new Promise((resolve) => setTimeout(resolve, 25));
    }
    const state = () => document.getElementById("error").textContent +
        document.getElementById("model-panel").innerText;
    throw new Error(`never: ${check}\n${await page.run(state)}`);
}

const click = (page, id) => page.run((id) => document.getElementById(id).click(), id);
const text = (page, id) => page.run((id) => document.getElementById(id).textContent, id);
const shown = (page, id) => page.run((id) => document.getElementById(id).checkVisibility(), id);
const set = (page, values) => page.run((values) => {
    for (const [id, value] of Object.entries(values)) {
        document.getElementById(id).value = value;
    }
}, values);

async function load(page) {
    await until(page, () => document.getElementById("offer").checkVisibility());
    await click(page, "load");
    await until(page, () => document.getElementById("loaded").checkVisibility() ||
                            document.getElementById("error").textContent);
}

/* Starts, waits for the end, gives what the last article shows. */
async function write(page, button = "go") {
    await click(page, button);
    await until(page, () => !document.getElementById("stop").disabled ||
                            document.querySelector("#log article:last-child footer"));
    await until(page, () => document.getElementById("stop").disabled);
    return page.run(() => {
        const article = document.querySelector("#log article:last-child");
        return { text: article.children[1].textContent, end: article.lastChild.textContent };
    });
}

/* Shows the page so: nothing may be cut off. */
async function look(page, name, ...view) {
    await page.view(...view);
    const fits = await page.run(() => document.documentElement.scrollWidth <= innerWidth);
    assert.ok(fits, `${name}: wider than the window`);
    if (pictures) {
        writeFileSync(join(pictures, `${kind}-${name}.png`), await page.picture());
    }
}

function findAxe() {
    try {
        return createRequire(import.meta.url).resolve("axe-core/axe.min.js");
    } catch {
        return null;
    }
}

/* ---- Tests ----------------------------------------------------------------------------------- */

const tiny = "?model=/models/tiny.slm", fox = "once upon a time there was a little fox who";
const options = { temperature: "0.8", topK: "40", seed: "11", maxTokens: "64" };
const flags = ["-n", "64", "--temp", "0.8", "--top-k", "40", "--seed", "11"];

await inPage("nothing is fetched before consent to the exact size", async () => {
    const page = await open(tiny);
    await until(page, () => document.getElementById("offer").checkVisibility());
    const offer = await text(page, "offer-text");
    assert.ok(offer.includes(`(${grouped.format(size)} bytes) are to be downloaded`), offer);
    assert.match(offer, /llama, 2,623,744 parameters/);
    const fetched = await page.run(() => performance.getEntriesByType("resource")
        .filter((e) => e.name.includes(".slm")).reduce((n, e) => n + e.encodedBodySize, 0));
    assert.ok(fetched < 1000, `${fetched} bytes`);
    await click(page, "decline");
    assert.equal(await shown(page, "offer"), false);
    assert.deepEqual(await page.run(() => violations), []);
    await page.close();
});

await inPage("text and digest are those of slm-run, twice; badges, speed, quality", async () => {
    const page = await open(tiny);
    await load(page);
    assert.match(await text(page, "badges"), /threads?.*SIMD.*isolated.*quality holds/);
    assert.match(await text(page, "quality-summary"), /passed, and it holds here/);
    const rows = await page.run(() => document.querySelectorAll("#gates tr").length);
    assert.equal(rows, JSON.parse(native.bytes(`${q4}.quality.json`)).gates.length);
    await set(page, { ...options, prompt: fox });
    const want = native.run(q4, fox, ...flags);
    for (const [button, same] of [["go", ""], ["again", "\u2013 equal to the run before"]]) {
        const got = await write(page, button);
        assert.equal(got.text, fox + want.text);
        assert.equal(await text(page, "digest-value"), want.digest);
        assert.equal(await text(page, "digest-same"), same);
        assert.match(got.end, /^64 tokens, \d+ tokens\/s, first after/);
    }
    assert.equal(await text(page, "command"),
                 `slm-run 'tiny.slm' -p '${fox}' --temp 0.8 --top-k 40 --seed 11 -n 64 ` +
                 "--logits-digest");
    assert.match(await text(page, "stats"), /First token\s*\d+ ms\s*Writing\s*\d+ tokens\/s/);
    assert.deepEqual(await page.run(() => violations), []);
    await look(page, "wide", 1280, 900, "light");
    await look(page, "dark", 1280, 900, "dark");
    await look(page, "phone", 375, 812, "light");
    await page.close();
});

await inPage("a second visit takes it from the cache, which can be deleted", async () => {
    const page = await open(tiny);
    await load(page);
    await page.go(`${site.origin}/demo/${tiny}&again`);
    await until(page, () => document.getElementById("offer").checkVisibility());
    assert.match(await text(page, "offer-text"), /kept on this device; nothing is downloaded/);
    await load(page);
    assert.match(await text(page, "badges"), /from cache/);
    assert.match(await text(page, "loaded-text"), /nothing downloaded/);
    assert.match(await text(page, "storage-summary"), /1 model, 1.65 MB/);
    assert.match(await text(page, "quota"), /uses .*B of the .*B/);
    await page.run(() => document.querySelector("#cached button").click());
    await until(page, () => document.getElementById("storage-summary").textContent === "nothing");
    await page.close();
});

await inPage("stop ends a long prefill; then it goes on as if nothing had been", async () => {
    const page = await open(tiny);
    await set(page, { context: "16384" });
    await load(page);
    await set(page, { ...options, prompt: "the dog and the bird ".repeat(3000) });
    await click(page, "go");
    await until(page, () => document.getElementById("prefill").checkVisibility() &&
                            document.getElementById("prefill").value > 0);
    const took = await page.run(async () => {
        const start = performance.now();
        document.getElementById("stop").click();
        while (!document.getElementById("stop").disabled) {
            await new Promise((resolve) => setTimeout(resolve, 5));
        }
        return performance.now() - start;
    });
    assert.ok(took < 1000, `${took} ms`);
    const end = () => document.querySelector("#log article:last-child footer").textContent;
    assert.match(await page.run(end), /stopped/);
    await set(page, { prompt: fox });
    assert.equal((await write(page)).text, fox + native.run(q4, fox, ...flags).text);
    await page.close();
});

await inPage("chat, with a system prompt, and Escape", async () => {
    const page = await open("?model=/models/chat.slm");
    await set(page, { context: "16384" });
    await load(page);
    assert.equal(await page.run(() => document.getElementById("mode-chat").checked), true);
    assert.equal(await text(page, "quality-summary"), "Quality: no manifest");
    assert.equal(await page.run(() => document.getElementById("gate-table").hidden), true);
    await set(page, { ...options, maxTokens: "24", system: "you are a fox",
                      prompt: "who are you?" });
    const got = await write(page);
    const want = native.run(join(models, "chat.slm"), "who are you?", ...flags.slice(2), "-n", "24",
                            "--chat", "--system", "you are a fox");
    assert.equal(got.text.trim(), want.text.trim());
    assert.equal(await text(page, "digest-value"), want.digest);
    assert.match(await text(page, "command"), /--chat --system 'you are a fox' -p 'who are you\?'/);
    await set(page, { prompt: "and then? ".repeat(2000) }); // Escape comes before it is read
    await click(page, "go");
    await until(page, () => document.getElementById("prefill").checkVisibility() &&
                            document.getElementById("prefill").value > 0);
    await page.run(() => document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" })));
    await until(page, () => document.getElementById("stop").disabled);
    assert.match(await text(page, "log"), /stopped/);
    await page.close();
});

await inPage("a manifest of other bytes is refused, and may be overruled", async () => {
    const page = await open("?model=/models/wrong.slm");
    await load(page);
    assert.match(await text(page, "error"), /other bytes than this model's \(SLM_WEB_QUALITY\)/);
    await page.run(() => { document.getElementById("require").checked = false; });
    await load(page);
    assert.equal(await text(page, "error"), "");
    assert.match(await text(page, "quality-summary"), /as stated/);
    await page.close();
});

await inPage("files of the device, manifest and all; what is no model; bad addresses", async () => {
    const page = await open();
    await page.run(async () => {
        const get = async (name) => new File([await (await fetch(name)).blob()],
                                             name.split("/").at(-1));
        const picked = new DataTransfer();
        picked.items.add(await get("/models/tiny.slm"));
        picked.items.add(await get("/models/tiny.slm.quality.json"));
        const file = document.getElementById("file");
        file.files = picked.files;
        file.dispatchEvent(new Event("change"));
    });
    await load(page);
    assert.match(await text(page, "badges"), /quality holds/);
    for (const [url, reason] of [["/slm.js", /not a \.slm file/], ["/none.slm", /answers 404/],
                                 ["http://localhost:1/x.slm", /cannot be reached/]]) {
        await set(page, { url });
        await page.run(() => document.getElementById("choose").requestSubmit());
        await until(page, (source) => new RegExp(source)
            .test(document.getElementById("error").textContent), reason.source);
    }
    await page.close();
});

await inPage("without the headers, slm-isolate.js isolates the page", async () => {
    const page = await browser.open("about:blank");
    await page.goRestless(`${bare.origin}/demo/${tiny}`);
    await until(page, () => crossOriginIsolated === true);
    await load(page);
    assert.match(await text(page, "badges"), /SIMD.*isolated/);
    await page.close();
});

await inPage("keyboard and screen reader: every control has a name, focus goes where it should",
             async () => {
    const page = await open(tiny);
    await until(page, () => document.activeElement.id === "load");
    await click(page, "load");
    await until(page, () => document.activeElement.id === "prompt");
    assert.match(await text(page, "status"), /is loaded/);
    const nameless = await page.run(() => [...document.querySelectorAll("input, textarea, button")]
        .filter((e) => !(e.labels?.length || e.ariaLabel || e.textContent.trim()))
        .map((e) => e.outerHTML));
    assert.deepEqual(nameless, []);
    await page.close();
});

/* What axe-core says, by how much it matters; of every rule that it has. */
async function audit(page, name) {
    const { passed, found } = await page.run(async () => {
        const { passes, violations } = await axe.run();
        return { passed: passes.length, found: violations.map(
            ({ id, impact, nodes }) => `${impact} ${id}: ${nodes[0].html}`) };
    });
    assert.ok(passed >= 20, `only ${passed} rules had anything to say`);
    found.forEach((line) => console.log(`# ${name}: ${line}`));
    return found.filter((line) => /^(serious|critical)/.test(line));
}

for (const scheme of ["light", "dark"]) {
    await inPage(`axe-core finds nothing serious, ${scheme}`, async () => {
        const axe = findAxe();
        if (axe === null) {
            return "axe-core is not installed (npm ci --prefix tests/web)";
        }
        const dark = scheme === "dark" && kind === "firefox" ? await launch(kind, { dark: true })
                                                             : {};
        const page = await open("", dark.browser);
        await page.page.evaluate(readFileSync(axe, "utf8"));
        await look(page, `start-${scheme}`, 1280, 900, scheme);
        assert.deepEqual(await audit(page, "start"), []);
        await page.go(`${site.origin}/demo/${"?model=/models/chat.slm"}`);
        await page.page.evaluate(readFileSync(axe, "utf8"));
        await until(page, () => document.getElementById("offer").checkVisibility());
        assert.deepEqual(await audit(page, "offer"), []);
        await load(page);
        await set(page, { ...options, prompt: "who are you?", system: "you are a fox" });
        await write(page);
        assert.deepEqual(await audit(page, "chat"), []);
        await page.run(() => document.querySelectorAll("details").forEach((d) => {
            d.open = true;
        }));
        await look(page, `open-${scheme}`, 1280, 900, scheme);
        assert.deepEqual(await audit(page, "chat, all open"), []);
        await page.close();
        return dark.browser?.close();
    });
}

await browser?.close();
site?.close();
bare?.close();
finish();
