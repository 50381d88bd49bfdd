/* serving.mjs - the server of `make serve`: headers, ranges, ETags, gzip, and nothing outside its
 * folders. Expectations are RFC 9110's. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { serve } from "../../scripts/serve.mjs";
import { finish, test } from "./tap.mjs";

const folder = mkdtempSync(join(tmpdir(), "slm-serve-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
mkdirSync(join(folder, "site/demo"), { recursive: true });
mkdirSync(join(folder, "site-secret"));
mkdirSync(join(folder, "models"));
writeFileSync(join(folder, "secret"), "secret");
writeFileSync(join(folder, "site-secret/x"), "secret");
writeFileSync(join(folder, "site/demo/index.html"), "<!doctype html>");
writeFileSync(join(folder, "site/a.js"), "export {};\n".repeat(100));
writeFileSync(join(folder, "site/empty.slm"), "");
writeFileSync(join(folder, "models/m.slm"), "0123456789");
const site = await serve([join(folder, "site"), `models=${join(folder, "models")}`]);

/* fetch would tidy up the path. */
function get(path, headers = {}, method = "GET") {
    return new Promise((resolve, reject) => {
        request(site.origin, { path, headers, method }, (response) => {
            const parts = [];
            response.on("data", (part) => parts.push(part));
            response.on("end", () => resolve({ status: response.statusCode, ...response.headers,
                                               body: Buffer.concat(parts).toString("latin1"),
                                               raw: Buffer.concat(parts) }));
        }).on("error", reject).end();
    });
}

await test("isolation, a strict policy, types", async () => {
    const got = await get("/demo/");
    assert.equal(got.status, 200);
    assert.equal(got["cross-origin-opener-policy"], "same-origin");
    assert.equal(got["cross-origin-embedder-policy"], "require-corp");
    assert.match(got["content-security-policy"], /default-src 'none'/);
    assert.doesNotMatch(got["content-security-policy"], /unsafe-inline|'unsafe-eval|blob:|data:/);
    assert.match(got["content-type"], /^text\/html/);
    assert.equal((await get("/")).location, "demo/");
    assert.equal((await get("/demo")).location, "demo/");
});

await test("ranges", async () => {
    const cases = [["bytes=0-3", 206, "0123", "bytes 0-3/10"],
                   ["bytes=7-", 206, "789", "bytes 7-9/10"],
                   ["bytes=-2", 206, "89", "bytes 8-9/10"],
                   ["bytes=5-99", 206, "56789", "bytes 5-9/10"],
                   ["bytes=-99", 206, "0123456789", "bytes 0-9/10"],
                   ["bytes=10-", 416, "", "bytes */10"], ["bytes=-0", 416, "", "bytes */10"],
                   ["bytes=4-2", 200, "0123456789", undefined],
                   ["bytes=0-1,3-4", 200, "0123456789", undefined],
                   ["lines=0-1", 200, "0123456789", undefined]];
    for (const [range, status, body, place] of cases) {
        const got = await get("/models/m.slm", { range });
        assert.deepEqual([got.status, got.body, got["content-range"]], [status, body, place],
                         range);
        assert.equal(got["content-length"] ?? "0", String(body.length), range);
    }
});

await test("ETag: unchanged, changed, and a range of what has changed", async () => {
    const { etag } = await get("/models/m.slm");
    assert.match(etag, /^"[^"]+"$/);
    const known = await get("/models/m.slm", { "if-none-match": `"x", ${etag}` });
    assert.deepEqual([known.status, known.body], [304, ""]);
    assert.equal((await get("/models/m.slm", { "if-none-match": '"x"' })).status, 200);
    const part = { range: "bytes=8-", "if-range": etag };
    assert.equal((await get("/models/m.slm", part)).body, "89");
    writeFileSync(join(folder, "models/m.slm"), "abcdefghijk");
    assert.equal((await get("/models/m.slm", part)).body, "abcdefghijk");
});

await test("HEAD, gzip, an empty file, other methods", async () => {
    const head = await get("/a.js", {}, "HEAD");
    assert.deepEqual([head.status, head.body, head["content-length"]], [200, "", "1100"]);
    const packed = await get("/a.js", { "accept-encoding": "gzip" });
    assert.equal(packed["content-encoding"], "gzip");
    assert.equal(gunzipSync(packed.raw).length, 1100);
    assert.notEqual(packed.etag, head.etag);
    assert.equal((await get("/a.js")).body.length, 1100);
    assert.equal((await get("/empty.slm")).status, 200);
    assert.equal((await get("/a.js", {}, "POST")).status, 405);
});

await test("nothing outside of the folders", async () => {
    for (const path of ["/../secret", "/%2e%2e/secret", "/models/../../secret",
                        "/models/%2e%2e%2fsecret", "/demo/..%2f..%2fsecret", "/../site-secret/x",
                        "//etc/passwd"]) {
        const got = await get(path);
        assert.ok(got.status === 404 || got.status === 302, `${path}: ${got.status}`);
        assert.doesNotMatch(got.body, /secret/);
    }
    for (const path of ["/%zz", "/%00", "/demo%00/"]) {
        assert.equal((await get(path)).status, 400, path);
    }
});

site.close();
finish();
