/* serve.mjs - serves folders to a browser with what slm.js likes best: cross-origin isolation, a
 * strict Content-Security-Policy, byte ranges, ETags, and gzip for what is text or code.
 *
 *     node scripts/serve.mjs [--port N] [--host NAME] [--not-isolated] [--open PATH]
 *         [MOUNT=]FOLDER...
 *
 * FOLDER appears at /, or below /MOUNT/. An index.html answers for its folder; / leads to demo/. It
 * listens on this machine alone unless --host says otherwise; it is for trying things, not for the
 * open internet.
 */
import { createReadStream, readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, resolve, sep } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";

const TYPES = {
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8", ".json": "application/json; charset=utf-8",
    ".svg": "image/svg+xml", ".md": "text/plain; charset=utf-8", ".wasm": "application/wasm",
    ".ts": "text/plain; charset=utf-8", ".slm": "application/octet-stream",
};
const GZIPPED = new Set([".html", ".css", ".js", ".json", ".svg", ".wasm"]);

/* A model may come from any place that the visitor names; code and style only from here. */
const CSP = ["default-src 'none'", "script-src 'self' 'wasm-unsafe-eval'", "worker-src 'self'",
             "style-src 'self'", "img-src 'self'", "connect-src 'self' https: http://localhost:*",
             "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"].join("; ");
const HEADERS = {
    "Content-Security-Policy": CSP,
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
    "Accept-Ranges": "bytes",
};
const ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
};

/* The file that a path of a URL means, or null: none, or one outside of the folders. */
function fileOf(mounts, path) {
    for (const { mount, folder } of mounts) {
        if (!path.startsWith(mount)) {
            continue;
        }
        const file = resolve(folder, `.${sep}${path.slice(mount.length)}`);
        if (file !== folder && !file.startsWith(folder + sep)) {
            continue;
        }
        for (const name of path.endsWith("/") ? [join(file, "index.html")] : [file]) {
            const stat = statSync(name, { throwIfNoEntry: false });
            if (stat?.isFile()) {
                return { name, size: stat.size, time: stat.mtimeMs };
            }
        }
    }
    return null;
}

/** What a Range header asks for of `size` bytes: {first, last}; null, the whole; false, nothing
 * that is there. Several ranges are answered with the whole, as RFC 9110 allows. */
export function rangeOf(header, size) {
    const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
    if (!match || (match[1] === "" && match[2] === "")) {
        return null;
    }
    const first = match[1] === "" ? Math.max(0, size - Number(match[2])) : Number(match[1]);
    const last = match[1] === "" || match[2] === "" ? size - 1
                                                    : Math.min(Number(match[2]), size - 1);
    if (match[1] !== "" && match[2] !== "" && Number(match[1]) > Number(match[2])) {
        return null;
    }
    return first <= last ? { first, last } : false;
}

const packed = new Map(); /* gzipped files by ETag */

function pack(name, etag) {
    if (!packed.has(etag)) {
        packed.set(etag, gzipSync(readFileSync(name), { level: 9 }));
    }
    return packed.get(etag);
}

function sendFile(request, response, file, headers) {
    const type = extname(file.name);
    let etag = `"${file.size.toString(36)}-${Math.round(file.time).toString(36)}"`;
    headers["Content-Type"] = TYPES[type] ?? "application/octet-stream";
    headers["Last-Modified"] = new Date(file.time).toUTCString();
    let body = null;
    if (GZIPPED.has(type)) {
        headers.Vary = "Accept-Encoding";
        if (/\bgzip\b/.test(request.headers["accept-encoding"]) && !request.headers.range) {
            etag = etag.replace(/"$/, '-gz"');
            body = pack(file.name, etag);
            headers["Content-Encoding"] = "gzip";
        }
    }
    headers.ETag = etag;
    const known = (request.headers["if-none-match"] ?? "").split(/\s*,\s*/);
    if (known.includes(etag) || known.includes("*")) {
        response.writeHead(304, headers).end();
        return;
    }
    const current = [undefined, etag].includes(request.headers["if-range"]);
    const range = current ? rangeOf(request.headers.range, file.size) : null;
    if (range === false) {
        headers["Content-Range"] = `bytes */${file.size}`;
        response.writeHead(416, headers).end();
        return;
    }
    const { first, last } = range ?? { first: 0, last: file.size - 1 };
    headers["Content-Length"] = body?.length ?? last - first + 1;
    if (range) {
        headers["Content-Range"] = `bytes ${first}-${last}/${file.size}`;
    }
    response.writeHead(range ? 206 : 200, headers);
    if (request.method === "HEAD" || file.size === 0) {
        response.end();
    } else if (body) {
        response.end(body);
    } else {
        createReadStream(file.name, { start: first, end: last })
            .on("error", () => response.destroy()).pipe(response);
    }
}

function answer(request, response, mounts, isolated) {
    const headers = { ...HEADERS, ...(isolated ? ISOLATION : {}) };
    const fail = (status, more = {}) => response
        .writeHead(status, { ...headers, ...more, "Content-Type": "text/plain; charset=utf-8" })
        .end(`${status}\n`);
    if (request.method !== "GET" && request.method !== "HEAD") {
        fail(405, { Allow: "GET, HEAD" });
        return;
    }
    let path;
    try {
        path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    } catch { /* no path at all */ }
    if (path === undefined || path.includes("\0")) {
        fail(400);
        return;
    }
    const file = fileOf(mounts, path);
    if (file) {
        sendFile(request, response, file, headers);
    } else if (path === "/") {
        fail(302, { Location: "demo/" });
    } else if (/[^/.]$/.test(path) && fileOf(mounts, `${path}/`)) {
        fail(302, { Location: `${path.replace(/.*\//, "")}/` });
    } else {
        fail(404);
    }
}

/** folders: ["dist", "models=build/gate"]. Gives {origin, close()}. */
export function serve(folders, { port = 0, host = "127.0.0.1", isolated = true } = {}) {
    const mounts = folders.map((text) => {
        const [, mount = "", folder] = /^(?:([\w-]*)=)?(.*)$/s.exec(text);
        return { mount: mount === "" ? "/" : `/${mount}/`, folder: resolve(folder) };
    }).sort((a, b) => b.mount.length - a.mount.length);
    const server = createServer((request, response) => {
        try {
            answer(request, response, mounts, isolated);
        } catch (e) {
            console.error(`${request.url}: ${e.message}`);
            response.destroy();
        }
    });
    return new Promise((done, failed) => {
        server.on("error", failed).listen(port, host, () => {
            const { port: at } = server.address();
            done({
                origin: `http://${host === "127.0.0.1" ? "localhost" : host}:${at}`,
                close: () => {
                    server.closeAllConnections();
                    server.close();
                },
            });
        });
    });
}

async function main() {
    const { values, positionals } = parseArgs({
        allowPositionals: true,
        options: { port: { type: "string", default: "8080" },
                   host: { type: "string", default: "127.0.0.1" },
                   open: { type: "string", default: "/" },
                   "not-isolated": { type: "boolean", default: false } },
    });
    const port = Number(values.port);
    if (!/^\d+$/.test(values.port) || port > 65535 || positionals.length === 0) {
        throw new Error("usage: serve.mjs [--port N] [--host NAME] [--not-isolated] " +
                        "[--open PATH] [MOUNT=]FOLDER...");
    }
    const { origin } = await serve(positionals, { port, host: values.host,
                                                  isolated: !values["not-isolated"] });
    console.log(`Open ${origin}${values.open} - end with Ctrl-C`);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
    main().catch((e) => {
        const busy = e.code === "EADDRINUSE";
        console.error(`serve.mjs: ${busy ? "the port is taken: say --port N (make serve PORT=N)"
                                         : e.message}`);
        process.exitCode = busy ? 5 : 2;
    });
}
