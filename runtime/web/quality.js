/* quality.js - holds a quality manifest (MODEL.slm.quality.json) against a loaded model: it was not
 * edited, speaks of these bytes, passed its gate, and this machine computes the logits it promises.
 * Loaded by slm-worker.js only where requireQuality is set. It shows that a manifest belongs to a
 * model, not who made it: serve both from a place that you trust.
 */

const SCHEMA = "slm-quality/1";

/* RFC 8785: JSON.stringify writes numbers and strings as it asks; keys are sorted here. */
function canonical(value) {
    if (Array.isArray(value)) {
        return `[${value.map(canonical).join(",")}]`;
    }
    if (value !== null && typeof value === "object") {
        const member = (key) => `${JSON.stringify(key)}:${canonical(value[key])}`;
        return `{${Object.keys(value).sort().map(member).join(",")}}`;
    }
    return JSON.stringify(value);
}

async function sha256(text) {
    const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
    return Array.from(new Uint8Array(bytes), (b) => b.toString(16).padStart(2, "0")).join("");
}

/* Throws what `fail(reason)` returns unless all of it holds. text: the manifest's; model:
 * {headerChecksum, digest(ids)}. Returns the manifest. */
async function proveQuality(text, model, fail) {
    let manifest;
    try {
        manifest = JSON.parse(text);
    } catch (e) {
        throw fail(`the quality manifest is no JSON: ${e.message}`);
    }
    if (manifest?.schema !== SCHEMA) {
        throw fail(`the quality manifest's schema is ${manifest?.schema}, not ${SCHEMA}`);
    }
    if (!globalThis.crypto?.subtle) {
        throw fail("a quality manifest can only be checked on a page served over HTTPS");
    }
    const { manifest_sha256: stated, volatile: _, ...hashed } = manifest;
    if (await sha256(canonical(hashed)) !== stated) {
        throw fail("the quality manifest was changed after it was written");
    }
    if (manifest.subject?.header_checksum !== model.headerChecksum) {
        throw fail("the quality manifest is for other bytes than this model's");
    }
    if (manifest.result !== "passed") {
        throw fail(`the quality gate's verdict on this model is "${manifest.result}"`);
    }
    const prompts = manifest.logits_digest?.prompts ?? [];
    for (const { ids, digest } of prompts) {
        if (await model.digest(ids) !== digest) {
            throw fail("this machine does not compute the logits that the manifest promises");
        }
    }
    if (prompts.length === 0) {
        throw fail("the quality manifest has no logits digest");
    }
    return manifest;
}

/* from: {url} or {blob}. host: node.js, or null. */
async function read({ url, blob }, { headers, credentials }, signal, host) {
    if (blob) {
        return blob.text();
    }
    if (host && !/^https?:/.test(url)) {
        return host.readFile(url.startsWith("file:") ? new URL(url) : url, "utf8");
    }
    const response = await fetch(url, { headers, credentials, signal });
    if (!response.ok) {
        throw new Error(`${url}: HTTP status ${response.status}`);
    }
    return response.text();
}

/** The manifest of a model that has `header`, from `place` or beside the model; digest gives that
 * of the logits of ids, failure an error. */
export async function requireQuality(
    { beside, place, kv, header, options, signal, host, digest, failure }) {
    const fail = (reason) => failure("SLM_WEB_QUALITY", reason);
    if (place === undefined && beside === undefined) {
        throw fail("requireQuality: options.manifest says where it is");
    }
    if (kv !== "f16") {
        throw fail(`a cache of ${kv} was not measured, one of f16 was`);
    }
    let text;
    try {
        text = await read(place ?? { url: `${beside}.quality.json` }, options, signal, host);
    } catch (e) {
        throw fail(`the model has no quality manifest: ${e.message}`);
    }
    const checksum = new DataView(header.buffer).getBigUint64(120, true);
    const headerChecksum = checksum.toString(16).padStart(16, "0");
    return proveQuality(text, { headerChecksum, digest }, fail);
}
