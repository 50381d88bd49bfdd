/* models.js - the left side of the demo page: which model, how big it is before anything of it is
 * fetched, one progress bar while it comes, its quality manifest, what is kept on the device. */
import { Slm } from "../slm.js";
import { $, complain, exactSize, make, say, seconds, show, size, whole } from "./show.js";

const MAGIC = [0x89, 0x53, 0x4c, 0x4d, 0x0d, 0x0a, 0x1a, 0x0a];
const HEADER_BYTES = 128;

let offered = null; /* what could be loaded: {source, name, header, cached, manifest} */
let loading = null; /* AbortController */
let model = null;
let changed = () => {};

/* ---- Looking before anything is fetched ------------------------------------------------------ */

/* What the first bytes of a .slm file say of it. */
function readHeader(bytes, name) {
    if (bytes.length < HEADER_BYTES || MAGIC.some((b, i) => bytes[i] !== b)) {
        throw new Error(`${name} is not a .slm file. slm-convert makes one from a Hugging Face ` +
                        "folder or a GGUF.");
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const architecture = new TextDecoder().decode(bytes.subarray(72, 104)).replace(/\0.*$/s, "");
    return { bytes: Number(view.getBigUint64(16, true)), architecture,
             parameters: Number(view.getBigUint64(40, true)) };
}

/* Its first bytes and no more, also of a server that knows no ranges. */
async function firstBytes(url) {
    const stop = new AbortController();
    const response = await fetch(url, { signal: stop.signal,
                                        headers: { Range: `bytes=0-${HEADER_BYTES - 1}` } });
    if (!response.ok) {
        throw new Error(`${url}: the server answers ${response.status} ${response.statusText}`);
    }
    const bytes = new Uint8Array(HEADER_BYTES), reader = response.body.getReader();
    let n = 0;
    while (n < HEADER_BYTES) {
        const { value, done } = await reader.read();
        if (done) {
            break;
        }
        bytes.set(value.subarray(0, HEADER_BYTES - n), n);
        n += Math.min(value.length, HEADER_BYTES - n);
    }
    stop.abort();
    return bytes.subarray(0, n);
}

async function lookAtUrl(text) {
    const url = new URL(text, location.href).href, name = url.split("/").at(-1);
    const cached = await Slm.cache.find(url);
    const complete = cached !== null && cached.bytes === cached.total;
    const [header, manifest] = await Promise.all([
        complete ? null : firstBytes(url).then((bytes) => readHeader(bytes, name), (e) => {
            throw e.name === "TypeError"
                ? new Error(`${url} cannot be reached from this page: wrong address, no ` +
                            "connection, or its server does not allow other sites (CORS)") : e;
        }),
        fetch(`${url}.quality.json`, { method: "HEAD" }).then((r) => r.ok, () => false),
    ]);
    const bytes = header?.bytes ?? cached.total;
    return { source: url, name, header, bytes, cached, complete,
             manifest: manifest ? `${url}.quality.json` : null };
}

async function lookAtFiles(files) {
    const file = files.find((f) => !f.name.endsWith(".json"));
    const manifest = files.find((f) => f.name.endsWith(".json"));
    if (!file) {
        throw new Error("Pick the .slm file, too.");
    }
    const header = readHeader(new Uint8Array(await file.slice(0, HEADER_BYTES).arrayBuffer()),
                              file.name);
    return { source: file, name: file.name, header, bytes: header.bytes, cached: null,
             complete: true, manifest: manifest ? await manifest.arrayBuffer() : null };
}

function describeOffer({ name, header, bytes, cached, complete, source }) {
    const what = header ? ` ${header.architecture}, ${whole(header.parameters)} parameters.` : "";
    if (typeof source !== "string") {
        return `${name}:${what} ${exactSize(bytes)}, on this device; nothing is downloaded.`;
    }
    if (complete) {
        return `${name}:${what} ${exactSize(bytes)}, kept on this device; nothing is downloaded.`;
    }
    if (cached?.bytes > 0) {
        return `${name}:${what} ${exactSize(bytes)}, of which ${size(cached.bytes)} are here ` +
               `already: ${exactSize(bytes - cached.bytes)} are to be downloaded.`;
    }
    return `${name}:${what} ${exactSize(bytes)} are to be downloaded from ` +
           `${new URL(source).host} and kept on this device.`;
}

async function look(finding) {
    complain(null);
    show("offer", false);
    try {
        offered = await finding;
    } catch (e) {
        offered = null;
        complain(e);
        return;
    }
    $("offer-text").textContent = describeOffer(offered);
    $("require").checked = offered.manifest !== null;
    $("load").textContent = offered.complete ? "Load" : "Download and load";
    show("offer", true);
    $("load").focus();
}

/* ---- Loading --------------------------------------------------------------------------------- */

const VERBS = { download: "Downloading", verify: "Verifying", load: "Setting up" };

function showProgress({ phase, done, total, rate }) {
    const bar = $("load-bar");
    for (const item of $("phases").children) {
        if (item.dataset.phase === phase) {
            item.setAttribute("aria-current", "step");
            item.classList.remove("done");
        } else if (item.hasAttribute("aria-current")) {
            item.removeAttribute("aria-current");
            item.classList.add("done");
        }
    }
    if (total > 0) {
        bar.value = done / total;
    } else {
        bar.removeAttribute("value");
    }
    const left = rate > 0 && total > done ? `, ${seconds((total - done) / rate)} left` : "";
    const speed = rate > 0 ? `, ${size(rate)}/s${left}` : "";
    $("load-text").textContent = `${VERBS[phase] ?? phase}: ${size(done)}` +
        `${total > 0 ? ` of ${size(total)}` : ""}${speed}`;
}

function numberIn(id) {
    const { value } = $(id);
    return value === "" ? undefined : Number(value);
}

async function load() {
    const { source, manifest, name } = offered;
    await unload();
    complain(null);
    show("offer", false);
    show("loading", true);
    for (const item of $("phases").children) {
        item.removeAttribute("aria-current");
        item.classList.remove("done");
    }
    $("load-bar").value = 0;
    $("load-text").textContent = "Starting";
    say(`Loading ${name}`);
    loading = new AbortController();
    $("cancel-load").focus();
    try {
        model = await Slm.load(source, {
            onProgress: showProgress, signal: loading.signal, threads: numberIn("threads"),
            context: numberIn("context"), requireQuality: $("require").checked,
            ...($("require").checked && manifest ? { manifest } : {}),
        });
        const facts = await model.diagnostics();
        await showQuality(manifest);
        showLoaded(name, facts);
        changed(model, facts, name);
        say(`${name} is loaded.`);
    } catch (e) {
        complain(e);
        show("offer", true);
        $("load").focus();
    } finally {
        loading = null;
        show("loading", false);
    }
    showStorage();
}

async function unload() {
    const old = model;
    model = null;
    show("loaded", false);
    show("quality", false);
    if (old) {
        changed(null, null, "");
        await old.unload();
    }
    showBadges(null);
}

function showLoaded(name, d) {
    const took = d.loadSeconds > 0 ? ` in ${seconds(d.loadSeconds)}` : "";
    const fetched = d.downloadedBytes > 0 ? size(d.downloadedBytes) : "nothing";
    $("loaded-text").textContent = `${name}: ${d.architecture}, ${whole(d.parameters)} ` +
        `parameters, context ${whole(d.context)}; ${fetched} downloaded, ready${took}; ` +
        `${size(d.memoryBytes)} of memory.`;
    $("advice").textContent = [d.advice, d.cacheNote].filter(Boolean).join(" ");
    show("advice", $("advice").textContent !== "");
    show("loaded", true);
    showBadges(d);
}

/* d: diagnostics of the model, or null. */
function showBadges(d) {
    const isolated = globalThis.crossOriginIsolated === true;
    const badges = [[isolated ? "isolated" : "not isolated: one thread", isolated]];
    if (d) {
        const relaxed = d.kernels.startsWith("relaxed");
        badges.unshift([`${d.threads} thread${d.threads === 1 ? "" : "s"}`, d.threads > 1],
                       [relaxed ? "relaxed SIMD" : "SIMD", relaxed]);
        if (d.downloadedBytes === 0 && d.cachedBytes > 0) {
            badges.push(["from cache", true]);
        }
        if (model?.quality) {
            badges.push(["quality holds", true]);
        }
    }
    $("badges").replaceChildren(...badges.map(([text, on]) => make("li", { text,
                                                                         name: on ? "on" : "" })));
}

/* ---- Quality --------------------------------------------------------------------------------- */

const figure = (x) => typeof x !== "number" ? x ?? ""
    : Number.isInteger(x) ? whole(x) : String(Number(x.toPrecision(4)));

async function readManifest(manifest) {
    if (typeof manifest !== "string") {
        return JSON.parse(new TextDecoder().decode(manifest));
    }
    return (await fetch(manifest, { signal: AbortSignal.timeout(10000) })).json();
}

/* The manifest that was found to hold, or else what one states. */
async function showQuality(manifest) {
    const held = model.quality;
    const m = held ?? (manifest ? await readManifest(manifest).catch(() => null) : null);
    show("quality", true);
    show("gate-table", Array.isArray(m?.gates));
    if (!m || !Array.isArray(m.gates)) {
        $("quality-summary").textContent = "Quality: no manifest";
        $("quality-text").textContent = "Nothing is known of how good this model is. slm-eval " +
            "gate measures one and writes its manifest.";
        return;
    }
    const against = m.baseline ? `, against ${m.baseline.name}` : "";
    $("quality-summary").textContent = held ? `Quality: ${m.result}, and it holds here`
                                            : `Quality: ${m.result}, as stated`;
    $("quality-text").textContent = `Policy ${m.policy?.name}${against}. ` + (held
        ? `Unedited, of these bytes, and this device computes the logits of its ` +
          `${m.logits_digest.prompts.length} prompts bit for bit.`
        : "Not checked: load it with the box above ticked.");
    $("gates").replaceChildren(...m.gates.map((g) => make("tr", {},
        make("th", { text: g.id, scope: "row" }),
        make("td", { text: figure(g.observed) }),
        make("td", { text: `${g.operator ?? ""} ${figure(g.threshold)}` }),
        make("td", { text: figure(g.n) }),
        make("td", { text: g.verdict, name: g.verdict === "passed" ? "" : "failed" }))));
}

/* ---- What is kept ---------------------------------------------------------------------------- */

async function showStorage() {
    const [list, { usage, quota }] = await Promise.all([Slm.cache.list(), Slm.cache.estimate()]);
    const bytes = list.reduce((sum, entry) => sum + entry.bytes, 0);
    $("storage-summary").textContent = list.length === 0 ? "nothing"
        : `${list.length} model${list.length === 1 ? "" : "s"}, ${size(bytes)}`;
    $("cached").replaceChildren(...list.map((entry) => {
        const name = decodeURIComponent(entry.url.split("/").at(-1));
        const part = entry.bytes < entry.total ? ` of ${size(entry.total)}` : "";
        const remove = make("button", { type: "button", text: "Delete",
                                        "aria-label": `Delete ${name}` });
        remove.onclick = async () => {
            await Slm.cache.delete(entry.url);
            await showStorage();
            say(`${name} is deleted.`);
            $("storage").querySelector("summary").focus();
        };
        return make("li", {}, make("span", { text: `${name}: ${size(entry.bytes)}${part}`,
                                             title: entry.url }), remove);
    }));
    $("quota").textContent = quota > 0
        ? `This site uses ${size(usage)} of the ${size(quota)} that the browser grants it.` : "";
    show("clear", list.length > 0);
}

/** onChange(model, diagnostics, name): a model is there, or null. */
export function setUpModels(onChange) {
    changed = onChange;
    $("choose").addEventListener("submit", (event) => {
        event.preventDefault();
        if ($("url").value.trim() !== "") {
            look(lookAtUrl($("url").value.trim()));
        }
    });
    $("file").addEventListener("change", ({ target }) => {
        if (target.files.length > 0) {
            look(lookAtFiles([...target.files]));
        }
    });
    $("load").addEventListener("click", load);
    $("decline").addEventListener("click", () => {
        show("offer", false);
        $("url").focus();
    });
    $("cancel-load").addEventListener("click", () => loading?.abort());
    $("unload").addEventListener("click", async () => {
        await unload();
        $("url").focus();
    });
    $("clear").addEventListener("click", async () => {
        await Slm.cache.clear();
        await showStorage();
        say("All models are deleted.");
    });
    showBadges(null);
    showStorage().catch(() => {});
    const wanted = new URLSearchParams(location.search).get("model");
    if (wanted) {
        $("url").value = wanted;
        look(lookAtUrl(wanted));
    }
}
