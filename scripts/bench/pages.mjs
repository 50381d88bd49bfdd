// pages.mjs - the pages of browser.mjs and visit.mjs: a server that has them, the engines and the
// models, and Chromium, driven by playwright-core from WORK/node_modules.
import fs from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const here = path.dirname(fileURLToPath(import.meta.url));
const TYPES = { ".js": "text/javascript", ".mjs": "text/javascript", ".html": "text/html",
                ".wasm": "application/wasm" };

export const wllamaFolder = (work) => path.join(work, "node_modules/@wllama/wllama");

// Code is compressed as web servers do it; what of it was asked for is noted in `fetched`, by name:
// bytes, and bytes compressed.
export async function servePages(work, files) {
    const folders = { "/bench/": here, "/wllama/": path.join(wllamaFolder(work), "esm"),
                      "/": path.join(here, "../../dist") };
    const places = { "/": path.join(here, "page.html"), "/model.slm": files.slm,
                     "/model.gguf": files.gguf };
    const fetched = new Map(), compressed = new Map();
    const find = (url) => {
        const folder = Object.keys(folders).find((name) => url.startsWith(name));
        return places[url] ?? path.join(folders[folder], url.slice(folder.length));
    };
    const server = http.createServer((request, response) => {
        const url = request.url.split("?")[0].replaceAll("..", ""), file = find(url);
        if (!fs.existsSync(file) || !fs.statSync(file).isFile()) {
            response.writeHead(404).end();
            return;
        }
        const { size, mtimeMs } = fs.statSync(file);
        const headers = { // threads need a page that is isolated from others
            "Cross-Origin-Opener-Policy": "same-origin", "ETag": `"${size}-${mtimeMs}"`,
            "Cross-Origin-Embedder-Policy": "require-corp",
            "Content-Type": TYPES[path.extname(file)] ?? "application/octet-stream" };
        if (url.startsWith("/model.")) {
            response.writeHead(200, { ...headers, "Content-Length": size });
            fs.createReadStream(file).pipe(response);
            return;
        }
        if (!compressed.has(file)) {
            compressed.set(file, gzipSync(fs.readFileSync(file), { level: 9 }));
        }
        const body = compressed.get(file);
        if (url !== "/" && !url.startsWith("/bench/")) {
            fetched.set(url.slice(1), { bytes: size, gzipped: body.length });
        }
        response.writeHead(200, { ...headers, "Content-Encoding": "gzip",
                                  "Content-Length": body.length });
        response.end(body);
    });
    await new Promise((resolve) => { server.listen(0, "127.0.0.1", resolve); });
    return { fetched, address: `http://127.0.0.1:${server.address().port}/`,
             close: () => { server.closeAllConnections(); server.close(); } };
}

// A browser with a profile of its own, which what it caches stays in.
export function openBrowser(work, executablePath, profile) {
    const { chromium } = createRequire(path.resolve(work, "package.json"))("playwright-core");
    return chromium.launchPersistentContext(profile, {
        executablePath, args: ["--disable-gpu", "--disable-dev-shm-usage", "--disable-quic"] });
}
