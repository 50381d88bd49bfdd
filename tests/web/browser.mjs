/* browser.mjs - one page in headless Chromium: it loads a model over HTTP, generates, on its own
 * thread and in a Worker with each module, and posts back what it got, which must be what slm-run
 * gives. Skipped where there is no Chromium. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { accessSync, constants, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { delimiter, join } from "node:path";
import * as native from "./native.mjs";
import { finish, test } from "./tap.mjs";

const LIMIT_MS = 90000;
const modules = ["slm", "slm-relaxed16", "slm-relaxed32"].flatMap((m) => [m, `${m}-threads`]);
const order = {
    modules,
    prompt: "one day a little bird",
    options: { maxTokens: 32, temperature: 0.8, seed: 11, digest: true },
};

function findBrowser() {
    for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
        for (const folder of (process.env.PATH ?? "").split(delimiter)) {
            try {
                accessSync(join(folder, name), constants.X_OK);
                return join(folder, name);
            } catch { /* look on */ }
        }
    }
    return null;
}

/* Serves the page, the package and the model; resolves `posted` with the page's result. */
function serve(path) {
    const files = {
        "/": ["tests/web/page.html", "text/html"],
        "/worker.mjs": ["tests/web/worker.mjs", "text/javascript"],
        "/slm.js": ["dist/slm.js", "text/javascript"],
        "/quality.js": ["dist/quality.js", "text/javascript"],
        "/slm-thread.js": ["dist/slm-thread.js", "text/javascript"],
        "/model.slm": [path, "application/octet-stream"],
        "/model.slm.quality.json": [`${path}.quality.json`, "application/json"],
        "/other.slm": [native.model("Q4_K"), "application/octet-stream"],
        "/other.slm.quality.json": [`${path}.quality.json`, "application/json"],
    };
    for (const name of modules) {
        files[`/${name}.wasm`] = [`dist/${name}.wasm`, "application/wasm"];
    }
    let post;
    const posted = new Promise((resolve) => { post = resolve; });
    const server = createServer((request, response) => {
        /* Memory can be shared in pages only that are isolated from others. */
        response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
        response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
        if (request.method === "POST") {
            let body = "";
            request.on("data", (piece) => { body += piece; });
            request.on("end", () => {
                response.end();
                post(JSON.parse(body));
            });
        } else if (request.url === "/order") {
            response.end(JSON.stringify(order));
        } else if (files[request.url]) {
            const bytes = readFileSync(files[request.url][0]);
            response.writeHead(200, { "Content-Type": files[request.url][1],
                                      "Content-Length": bytes.length });
            response.end(bytes);
        } else {
            response.writeHead(404).end();
        }
    });
    return new Promise((resolve) => {
        server.listen(0, "127.0.0.1", () => {
            resolve({ server, posted, port: server.address().port });
        });
    });
}

async function visit(browser, port, posted) {
    const child = spawn(browser, [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--disable-dev-shm-usage", `--user-data-dir=${join(native.folder, "profile")}`,
        "--remote-debugging-port=0", `http://127.0.0.1:${port}/`,
    ], { stdio: ["ignore", "ignore", "pipe"] });
    let noise = "", timer;
    child.stderr.on("data", (text) => { noise = (noise + text).slice(-2000); });
    const ended = new Promise((_, reject) => {
        child.on("exit", (code) => reject(new Error(`the browser ended, code ${code}: ${noise}`)));
        child.on("error", reject);
        timer = setTimeout(() => {
            reject(new Error(`no result in ${LIMIT_MS} ms: ${noise}`));
        }, LIMIT_MS);
    });
    ended.catch(() => {}); /* it also ends when killed below */
    try {
        return await Promise.race([posted, ended]);
    } finally {
        clearTimeout(timer);
        const gone = new Promise((resolve) => child.on("exit", resolve));
        child.kill("SIGKILL");
        if (child.exitCode === null && child.signalCode === null) {
            await gone;
        }
    }
}

await test("a page in Chromium gives the text and the digest of slm-run", async () => {
    const browser = findBrowser();
    if (!browser) {
        return "no Chromium is installed";
    }
    const path = native.model("Q4_K_M");
    native.gate(path);
    const { server, posted, port } = await serve(path);
    try {
        const result = await visit(browser, port, posted);
        assert.equal(result.error, undefined);
        const o = order.options;
        const want = native.run(path, order.prompt, "-n", `${o.maxTokens}`, "--temp",
                                `${o.temperature}`, "--seed", `${o.seed}`);
        assert.equal(result.text, want.text);
        assert.equal(result.digest, want.digest);
        assert.equal(result.seen, readFileSync(path).length);
        assert.ok(result.pieces > 1);
        assert.deepEqual(result.codes, ["SLM_WEB_FETCH", "SLM_WEB_THREADS"]);
        assert.equal(result.isError, true);
        assert.deepEqual(result.quality, ["passed", "SLM_WEB_QUALITY", "SLM_WEB_QUALITY"]);
        assert.equal(result.isolated, true);
        const runs = Object.entries(result.runs);
        assert.equal(runs.length, 10);
        for (const [name, got] of runs) {
            assert.equal(got.error, undefined, name);
            assert.equal(got.digest, want.digest, name);
            assert.equal(got.threads, Number(name.split(" ")[1] ?? got.threads));
        }
    } finally {
        server.closeAllConnections?.();
        server.close();
    }
});
finish();
