/* cycles.mjs - load, generate, unload, again and again in one page of Chromium: memory returns to
 * where it was. SLM_CYCLES (40) says how often; the engines and threads of two pages' worth of
 * memory are gone each time, or this grows by megabytes a cycle. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { launch } from "./browsers.mjs";
import * as native from "./native.mjs";
import { startServer } from "./server.mjs";
import { finish, test } from "./tap.mjs";

const cycles = Number(process.env.SLM_CYCLES ?? 40), ROUNDS = 10;
const GROWTH_MB = 40; /* of all rounds after the first two, together */

/* Memory of the renderers that is theirs alone, in MB. */
async function resident(devtools) {
    const { processInfo } = await devtools.send("SystemInfo.getProcessInfo");
    const sizes = processInfo.filter(({ type }) => type === "renderer").map(({ id }) => {
        const [, kib] = /^RssAnon:\s+(\d+)/m.exec(readFileSync(`/proc/${id}/status`, "utf8"));
        return Number(kib) / 1024;
    });
    return sizes.reduce((a, b) => a + b, 0);
}

async function round(n, want) {
    const { Slm } = await import("/dist/slm.js");
    for (let i = 0; i < n; i++) {
        const model = await Slm.load("/model.slm", { threads: 1 + i % 2 });
        const text = await model.generate("one day", { maxTokens: 8, temperature: 0 }).text();
        await model.unload();
        if (text !== want) {
            throw new Error(`cycle ${i}: ${text}`);
        }
    }
}

await test(`${cycles} times loaded and unloaded: memory returns to where it was`, async () => {
    const { browser, absent } = await launch("chromium");
    if (absent) {
        return absent;
    }
    const path = native.model("Q4_K_M");
    const want = native.run(path, "one day", "-n", "8", "--temp", "0").text;
    const server = await startServer({ "model.slm": path }, true);
    const devtools = await browser.browser.newBrowserCDPSession();
    try {
        const page = await browser.open(`${server.origin}/page.html`);
        const sizes = [];
        for (let i = 0; i < ROUNDS; i++) {
            await page.run(round, cycles / ROUNDS, want);
            await page.page.requestGC();
            await new Promise((resolve) => setTimeout(resolve, 500));
            sizes.push(Math.round(await resident(devtools)));
        }
        console.log(`# MB after each tenth: ${sizes.join(" ")}`);
        assert.ok(sizes.at(-1) - Math.max(...sizes.slice(0, 2)) < GROWTH_MB, `${sizes}`);
        return undefined;
    } finally {
        await browser.close();
        server.close();
    }
});
finish();
