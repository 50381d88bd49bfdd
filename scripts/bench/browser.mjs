// browser.mjs - slm.wasm and wllama in turns in headless Chromium, on the same shapes and types.
//
//     node browser.mjs WORK BIN SHAPE TYPE [--threads 1] [--rounds 3] [--prompt 512] [--gen 32]
//
// As native.mjs; the results go into WORK/results/browser-SHAPE-TYPE-THREADS.json. dist/ must be
// there. Decoding is measured behind the prompt.
import { spawn } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { makeModels, run } from "./models.mjs";
import { machine, ratios, summary } from "./statistics.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const { values: o, positionals: [work, bin, shape, type] } = parseArgs({
    allowPositionals: true,
    options: { threads: { type: "string", default: "1" }, rounds: { type: "string", default: "3" },
               prompt: { type: "string", default: "512" }, gen: { type: "string", default: "32" },
               browser: { type: "string", default: "chromium" } },
});
const LIMIT_MS = 600000; // of one order
const wllama = path.join(work, "node_modules/@wllama/wllama");
const TYPES = { ".js": "text/javascript", ".mjs": "text/javascript", ".html": "text/html",
                ".wasm": "application/wasm" };

// ---- What the page gets -------------------------------------------------------------------------

// The page asks for orders one after another and posts what came of each.
function serve(files) {
    const places = { "/": path.join(here, "page.html"), "/model.slm": files.slm,
                     "/model.gguf": files.gguf };
    const find = (url) => places[url] ?? (
        url.startsWith("/wllama/") ? path.join(wllama, "esm", url.slice(8))
                                   : path.join(here, "../../dist", url.slice(1)));
    let next, posted;
    const server = http.createServer((request, response) => {
        const url = request.url.split("?")[0].replaceAll("..", "");
        // Threads need a page that is isolated from others.
        response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
        response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
        if (url === "/order") {
            next = response;
            server.emit("idle");
        } else if (request.method === "POST") {
            let body = "";
            request.on("data", (piece) => { body += piece; });
            request.on("end", () => { response.end(); posted(JSON.parse(body)); });
        } else if (fs.existsSync(find(url))) {
            const file = find(url);
            response.writeHead(200, { "Content-Length": fs.statSync(file).size, "Content-Type":
                                      TYPES[path.extname(file)] ?? "application/octet-stream" });
            fs.createReadStream(file).pipe(response);
        } else {
            response.writeHead(404).end();
        }
    });
    const order = async (what) => {
        if (!next) {
            await new Promise((resolve) => { server.once("idle", resolve); });
        }
        let timer;
        const answer = await new Promise((resolve, reject) => {
            posted = resolve;
            next.end(JSON.stringify(what));
            next = null;
            timer = setTimeout(() => reject(new Error(`${what.engine}: no answer in ${LIMIT_MS} ` +
                                                      "ms")), LIMIT_MS);
        }).finally(() => clearTimeout(timer));
        if (answer.error) {
            throw new Error(`${what.engine}: ${answer.error}`);
        }
        return answer;
    };
    return new Promise((resolve) => {
        server.listen(0, "127.0.0.1", () => resolve({ server, order }));
    });
}

function visit(port, profile) {
    return spawn(o.browser, [
        "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--disable-dev-shm-usage", `--user-data-dir=${profile}`, `http://127.0.0.1:${port}/`,
    ], { stdio: "ignore", detached: true });
}

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

async function compare(order, files, threads) {
    const task = { prompt: Number(o.prompt), gen: Number(o.gen), threads };
    const about = { ours: await order({ engine: "slm", action: "load", ...task }),
                    peer: await order({ engine: "wllama", action: "load", ...task }) };
    const rates = Object.fromEntries(["ours", "peer", "avx2"].map(
        (who) => [who, { prefill: [], decode: [] }]));
    const add = (who, answer) => {
        rates[who].prefill.push(answer.prefill);
        rates[who].decode.push(answer.decode);
    };
    for (let i = 0; i < Number(o.rounds); i++) {
        add("ours", await order({ engine: "slm", action: "run", ...task }));
        add("peer", await order({ engine: "wllama", action: "run", ...task }));
        if (process.arch === "x64") {
            add("avx2", native(files.slm, task));
        }
    }
    const result = { part: "browser", shape, type, ...task, machine: machine(), about,
                     browser: run(o.browser, ["--version"]).trim(),
                     peer_release: `wllama ${JSON.parse(fs.readFileSync(
                         path.join(wllama, "package.json"))).version}`,
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
    const { server, order } = await serve(files);
    const profile = fs.mkdtempSync(path.join(work, "profile-"));
    const child = visit(server.address().port, profile);
    try {
        await compare(order, files, threads);
    } catch (error) {
        console.error(`${shape} ${type} ${threads} threads: ${error.message}`);
        process.exitCode = 1;
    } finally {
        process.kill(-child.pid, "SIGKILL"); // the browser and its own processes
        server.closeAllConnections();
        server.close();
        fs.rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    }
}
