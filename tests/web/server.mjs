/* server.mjs - serves the package and models to tests, well or badly, and notes what was asked for.
 *
 *     /dist/...            the package; /no-opfs/... and others of LACKS: the same in workers that
 *                          lack something
 *     /NAME.slm            a model, with ranges and an ETag; what `faults` says of it happens
 *     /page.html           an empty page under a strict Content-Security-Policy
 */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const TYPES = { js: "text/javascript", mjs: "text/javascript", html: "text/html",
                wasm: "application/wasm", json: "application/json" };
const CSP = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'";
const ISOLATION = { "Cross-Origin-Opener-Policy": "same-origin",
                    "Cross-Origin-Embedder-Policy": "require-corp" };
/* What workers do first in /NAME/. */
export const LACKS = {
    "no-opfs": "delete globalThis.StorageManager?.prototype.getDirectory;",
    /* No shared memory at all; only a first, small one; one that does not grow. */
    "no-shared": "WebAssembly.Memory = function () { throw new RangeError('refused'); };",
    "no-second": "{ const { Memory } = WebAssembly; let n = 0;" +
                 "WebAssembly.Memory = function (d) { if (n++) throw new RangeError('refused'); " +
                 "return new Memory(d); }; }",
    "no-growth": "{ const { Memory } = WebAssembly; WebAssembly.Memory = function (d) {" +
                 "return new Memory({ ...d, maximum: d.initial }); }; }",
};
const PAGES = {
    "/page.html": "<!doctype html><title>test</title>",
    "/isolate.html": "<!doctype html><title>test</title><script src=dist/slm-isolate.js></script>",
};

/* One response with a model's bytes. fault: {status, breakAfter, broken(), damage, times, noRange,
 * slow, chunked}. */
function sendModel(request, response, bytes, fault, headers) {
    if (fault?.status) {
        response.writeHead(fault.status, headers).end();
        return;
    }
    const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? "");
    const current = [undefined, headers.ETag].includes(request.headers["if-range"]);
    const from = range && current && !fault?.noRange ? Number(range[1]) : 0;
    const active = fault !== undefined && (fault.times ??= 1) > 0;
    const length = bytes.length - from;
    let body = bytes.subarray(from);
    if (active && fault.damage >= from) {
        body = Uint8Array.from(body);
        body[fault.damage - from] ^= 16;
    }
    if (from > 0) {
        headers["Content-Range"] = `bytes ${from}-${bytes.length - 1}/${bytes.length}`;
    }
    if (!fault?.chunked) {
        headers["Content-Length"] = length;
    }
    response.writeHead(from > 0 ? 206 : 200, headers);
    if (request.method === "HEAD") {
        response.end();
        return;
    }
    if (active) {
        fault.times--;
    }
    if (active && fault.breakAfter !== undefined) {
        response.write(body.subarray(0, fault.breakAfter));
        setTimeout(() => {
            response.destroy();
            fault.broken?.();
        }, 100);
    } else if (active && fault.slow) {
        response.write(body.subarray(0, fault.slow)); /* and no more */
    } else {
        response.end(body);
    }
}

/** models: {name: path}. isolated: whether pages may share memory. */
export function startServer(models, isolated) {
    const served = { log: [], faults: {}, etags: {}, files: {} };
    const server = createServer((request, response) => {
        const [path] = request.url.split("?");
        const headers = { "Cache-Control": "no-store", "Content-Security-Policy": CSP,
                          ...(isolated ? ISOLATION : {}) };
        const name = path.slice(1);
        served.log.push({ method: request.method, path, range: request.headers.range ?? null });
        try {
            if (models[name]) {
                headers.ETag = served.etags[name] ?? '"1"';
                const bytes = typeof models[name] === "string" ? readFileSync(models[name])
                                                               : models[name];
                sendModel(request, response, bytes, served.faults[name], headers);
                return;
            }
            const [, folder] = path.split("/");
            const inner = folder in LACKS ? path.replace(folder, "dist") : path;
            let body = served.files[path] ?? PAGES[path] ?? readFileSync(`.${inner}`);
            if (served.files[path] === null) {
                throw new Error("as if it were not there");
            }
            if (path !== inner && path.endsWith("slm-worker.js")) {
                body = LACKS[folder] + body;
            }
            headers["Content-Type"] = TYPES[path.split(".").at(-1)];
            response.writeHead(200, headers).end(body);
        } catch {
            response.writeHead(404, headers).end();
        }
    });
    served.close = () => {
        server.closeAllConnections();
        server.close();
    };
    /** Requests for a model since the last time. */
    served.taken = (name) => served.log.splice(0).filter(({ path }) => path === `/${name}`);
    return new Promise((resolve) => {
        server.listen(0, "127.0.0.1", () => {
            resolve(Object.assign(served, { origin: `http://127.0.0.1:${server.address().port}` }));
        });
    });
}
