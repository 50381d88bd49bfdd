// browser.mjs - slm.wasm and wllama in turns in headless Chromium, on the same shapes and types.
//
//     node browser.mjs WORK BIN SHAPE TYPE [--threads 1] [--rounds 3] [--prompt 512] [--gen 32]
//
// As native.mjs; the results go into WORK/results/browser-SHAPE-TYPE-THREADS.json. dist/ must be
// there. Decoding is measured behind the prompt.
import fs from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { makeModels, run } from "./models.mjs";
import { openBrowser, servePages, wllamaFolder } from "./pages.mjs";
import { machine, ratios, summary } from "./statistics.mjs";

const { values: o, positionals: [work, bin, shape, type] } = parseArgs({
    allowPositionals: true,
    options: { threads: { type: "string", default: "1" }, rounds: { type: "string", default: "3" },
               prompt: { type: "string", default: "512" }, gen: { type: "string", default: "32" },
               browser: { type: "string", default: "chromium" } },
});
const LIMIT_MS = 600000; // of one order

// ---- In turns -----------------------------------------------------------------------------------

// What our own native kernels of a comparable machine (256-bit vectors, no VNNI) do.
function native(slm, { prompt, gen, threads }) {
    const document = JSON.parse(run(`${bin}/slm-bench`, [
        slm, "--kernels", "avx2", "--threads", threads, "--prompt", prompt, "--gen", gen,
        "--depth", `0,${prompt}`, "--repeat", 1, "--json"]));
    const of = (kind, depth) => document.results.find(
        (r) => r.kind === kind && r.depth === depth).tokens_per_second;
    return { prefill: of("prefill", 0), decode: of("decode", prompt) };
}

// What an engine in the page does.
function order(page, engine, action, task) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`${engine}: no answer in ${LIMIT_MS} ms`)),
                           LIMIT_MS);
    });
    const done = page.evaluate(([e, a, t]) => globalThis.engines[e][a](t), [engine, action, task]);
    return Promise.race([done, late]).finally(() => clearTimeout(timer));
}

async function compare(page, files, threads) {
    const task = { prompt: Number(o.prompt), gen: Number(o.gen), threads };
    const load = { threads, context: task.prompt + task.gen + 16, cache: false };
    await order(page, "slm", "load", load);
    await order(page, "wllama", "load", load);
    const about = { ours: await order(page, "slm", "about"),
                    peer: await order(page, "wllama", "about") };
    const rates = Object.fromEntries(["ours", "peer", "avx2"].map(
        (who) => [who, { prefill: [], decode: [] }]));
    const add = (who, answer) => {
        rates[who].prefill.push(answer.prefill);
        rates[who].decode.push(answer.decode);
    };
    for (let i = 0; i < Number(o.rounds); i++) {
        add("ours", await order(page, "slm", "run", task));
        add("peer", await order(page, "wllama", "run", task));
        if (process.arch === "x64") {
            add("avx2", native(files.slm, task));
        }
    }
    const result = { part: "browser", shape, type, ...task, machine: machine(), about,
                     browser: run(o.browser, ["--version"]).trim(),
                     peer_release: `wllama ${JSON.parse(fs.readFileSync(
                         path.join(wllamaFolder(work), "package.json"))).version}`,
                     ...JSON.parse(fs.readFileSync(files.facts)) };
    for (const kind of ["prefill", "decode"]) {
        const ratio = ratios(rates.ours[kind], rates.peer[kind]);
        result[kind] = { ours: summary(rates.ours[kind]), peer: summary(rates.peer[kind]), ratio };
        if (rates.avx2[kind].length) {
            result[kind].avx2 = summary(rates.avx2[kind]);
            result[kind].avx2_ratio = ratios(rates.ours[kind], rates.avx2[kind]);
        }
        console.log(`browser ${shape} ${type} ${threads} threads ${kind}: ours ` +
                    `${result[kind].ours.median.toFixed(1)}, wllama ` +
                    `${result[kind].peer.median.toFixed(1)} tokens/s, ratio ` +
                    `${ratio.median.toFixed(1)} (${ratio.low.toFixed(1)} to ` +
                    `${ratio.high.toFixed(1)})`);
    }
    fs.mkdirSync(path.join(work, "results"), { recursive: true });
    fs.writeFileSync(path.join(work, "results", `browser-${shape}-${type}-${threads}.json`),
                     JSON.stringify(result, null, 1));
}

const files = makeModels(work, bin, shape, type);
for (const threads of o.threads.split(",").map(Number)) {
    const server = await servePages(work, files);
    const profile = fs.mkdtempSync(path.join(path.resolve(work), "profile-"));
    const browser = await openBrowser(work, o.browser, profile);
    try {
        const page = await browser.newPage();
        await page.goto(server.address);
        await page.waitForFunction(() => globalThis.engines);
        await compare(page, files, threads);
    } catch (error) {
        console.error(`${shape} ${type} ${threads} threads: ${error.message}`);
        process.exitCode = 1;
    } finally {
        await browser.close();
        server.close();
        fs.rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    }
}
