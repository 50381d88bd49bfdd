// visit.mjs - what a visitor waits for and pays, with slm and with wllama in headless Chromium: ms
// from asking for the page to the first token, at the first visit and at the next one; bytes of
// code; memory of the page's process at its peak, beyond that of a page that does nothing.
//
//     node visit.mjs WORK BIN SHAPE TYPE [--threads 1] [--rounds 3] [--short 16] [--prompt 512]
//
// As browser.mjs; the results go into WORK/results/visit-SHAPE-TYPE-THREADS.json. The server is on
// the same machine, so that a first visit's time is that of the work, not of the line. First visits
// have a short prompt, later ones a short and a long one.
import fs from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { makeModels, run } from "./models.mjs";
import { openBrowser, servePages, wllamaFolder } from "./pages.mjs";
import { machine, ratios, summary } from "./statistics.mjs";

const { values: o, positionals: [work, bin, shape, type] } = parseArgs({
    allowPositionals: true,
    options: { threads: { type: "string", default: "1" }, rounds: { type: "string", default: "3" },
               short: { type: "string", default: "16" }, prompt: { type: "string", default: "512" },
               browser: { type: "string", default: "chromium" } },
});
const LIMIT_MS = 600000; // of one visit
const short = Number(o.short), long = Number(o.prompt);

// ---- Memory -------------------------------------------------------------------------------------

const read = (file) => {
    try {
        return fs.readFileSync(file, "utf8");
    } catch {
        return ""; // the process is gone
    }
};

// The most that any of a browser's pages had in memory, in bytes: the high-water mark of resident
// memory of its renderer processes, which have the profile's browser as an ancestor.
function peakMemory(profile) {
    const pids = fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name));
    const parent = new Map(pids.map((pid) => [pid, /^PPid:\s+(\d+)/m.exec(
        read(`/proc/${pid}/status`))?.[1]]));
    const command = (pid) => read(`/proc/${pid}/cmdline`);
    const isBrowser = (pid) => command(pid).includes(`--user-data-dir=${profile}`) &&
                               !command(pid).includes("--type=");
    const isOurs = (pid) => parent.has(pid) && (isBrowser(pid) || isOurs(parent.get(pid)));
    const peak = (pid) => /^VmHWM:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0;
    const pages = pids.filter((pid) => command(pid).includes("--type=renderer") && isOurs(pid));
    return 1024 * Math.max(0, ...pages.map((pid) => Number(peak(pid))));
}

// ---- Visits -------------------------------------------------------------------------------------

async function visit(server, profile, task) {
    const browser = await openBrowser(work, o.browser, profile);
    try {
        const page = await browser.newPage();
        await page.goto(`${server.address}?visit=${encodeURIComponent(JSON.stringify(task))}`);
        const handle = await page.waitForFunction(() => globalThis.visited, null,
                                                  { timeout: LIMIT_MS, polling: 20 });
        const visited = await handle.jsonValue();
        if (visited.error) {
            throw new Error(`${task.engine}: ${visited.error}`);
        }
        return { ...visited, memory: peakMemory(profile) };
    } finally {
        await browser.close();
    }
}

async function visits(files, engine, threads) {
    const server = await servePages(work, files);
    const profile = fs.mkdtempSync(path.join(path.resolve(work), "profile-"));
    const task = { engine, threads, context: long + 16, cache: true };
    try {
        const cold = await visit(server, profile, { ...task, prompt: short });
        const code = Object.fromEntries(server.fetched);
        const cached = await visit(server, profile, { ...task, prompt: short });
        const prompted = await visit(server, profile, { ...task, prompt: long });
        return { code, first: { cold: cold.first, cached: cached.first, prompted: prompted.first },
                 memory: { cold: cold.memory, prompted: prompted.memory } };
    } finally {
        server.close();
        fs.rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    }
}

async function emptyPage(files) {
    const server = await servePages(work, files);
    const profile = fs.mkdtempSync(path.join(path.resolve(work), "profile-"));
    try {
        return (await visit(server, profile, { engine: "nothing" })).memory;
    } finally {
        server.close();
        fs.rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    }
}

async function compare(files, threads) {
    const turns = { ours: [], peer: [] }, empty = [];
    for (let i = 0; i < Number(o.rounds); i++) {
        turns.ours.push(await visits(files, "slm", threads));
        turns.peer.push(await visits(files, "wllama", threads));
        empty.push(await emptyPage(files));
    }
    const result = { part: "visit", shape, type, threads, short, prompt: long, machine: machine(),
                     browser: run(o.browser, ["--version"]).trim(), empty: summary(empty),
                     peer_release: `wllama ${JSON.parse(fs.readFileSync(
                         path.join(wllamaFolder(work), "package.json"))).version}`,
                     code: { ours: turns.ours[0].code, peer: turns.peer[0].code },
                     weights: { ours: fs.statSync(files.slm).size,
                                peer: fs.statSync(files.gguf).size } };
    const compared = (what, of) => {
        const [ours, peer] = [turns.ours, turns.peer].map((list) => list.map(of));
        result[what] = { ours: summary(ours), peer: summary(peer), ratio: ratios(peer, ours) };
        const show = (s) => s.median.toFixed(0);
        console.log(`visit ${shape} ${type} ${threads} threads ${what}: ours ` +
                    `${show(result[what].ours)}, wllama ${show(result[what].peer)}, ` +
                    `${result[what].ratio.median.toFixed(1)} times as much`);
    };
    compared("cold", (turn) => turn.first.cold);
    compared("cached", (turn) => turn.first.cached);
    compared("prompted", (turn) => turn.first.prompted);
    compared("memory", (turn) => Math.max(turn.memory.cold, turn.memory.prompted) -
                                 result.empty.median);
    fs.mkdirSync(path.join(work, "results"), { recursive: true });
    fs.writeFileSync(path.join(work, "results", `visit-${shape}-${type}-${threads}.json`),
                     JSON.stringify(result, null, 1));
}

const files = makeModels(work, bin, shape, type);
for (const threads of o.threads.split(",").map(Number)) {
    try {
        await compare(files, threads);
    } catch (error) {
        console.error(`${shape} ${type} ${threads} threads: ${error.message}`);
        process.exitCode = 1;
    }
}
