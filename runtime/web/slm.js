/* slm.js - loads a .slm file into the WebAssembly engine and generates text from it, in a browser
 * or in Node 18 and later. No dependency. The calling thread does the work, others help it where
 * memory can be shared (slm-thread.js): in Node, and in a Worker of a cross-origin isolated page.
 * Use a Worker, too, where a page must stay responsive.
 *
 *     import { Slm } from "./slm.js";
 *     const model = await Slm.load("model.slm");
 *     for await (const piece of model.generate("once upon a time", { maxTokens: 60, seed: 7 })) {
 *         document.body.append(piece);
 *     }
 */

const node = typeof process === "object" && process.versions?.node !== undefined;

/* The order of web_number in exports.c. */
const NUMBERS = [
    "parameters", "vocabulary", "trainedContext", "layers", "width", "bosId", "eosId",
    "temperature", "topK", "topP", "minP", "context", "length", "promptTokens", "generatedTokens",
    "fileBytes", "modelBytes", "sessionBytes", "kvBlocksTotal", "kvBlocksUsed", "hasTokenizer",
    "threads",
];
const KV_TYPES = { f16: 0, f32: 1, q8_0: 2 };
const CHECK_DATA = 1, CHECK_VALUES = 2;
const ENCODE_SPECIAL = 1, ENCODE_CONTROL = 2, DECODE_CONTROL = 1;
const BREATH_MS = 12; /* work this long, then let the event loop run */
const READ_BYTES = 1 << 26;
const PAGE_BYTES = 65536, MOST_PAGES = 65536;
const FIRST_PAGES = 16; /* --initial-memory in the makefile */
const SPARE_PAGES = 2048; /* beside the file, at first: model and session of a small model */
const MOST_THREADS = 8; /* unless more are asked for */

/** What went wrong. `code` is the name of a status of slm.h, such as "SLM_ERR_CHECKSUM", or one of
 * "SLM_WEB_FETCH", "SLM_WEB_WASM", "SLM_WEB_THREADS", "SLM_WEB_BUSY", "SLM_WEB_UNLOADED",
 * "SLM_WEB_QUALITY"; `offset` is the position in the file that it speaks of, 0 if none. */
export class SlmError extends Error {
    constructor(code, message, offset = 0, cause = undefined) {
        super(message, cause === undefined ? undefined : { cause });
        this.name = "SlmError";
        this.code = code;
        this.offset = offset;
    }
}

function argument(condition, message) {
    if (!condition) {
        throw new SlmError("SLM_ERR_ARGUMENT", message);
    }
}

function u32(value, name, fallback) {
    if (value === undefined) {
        return fallback;
    }
    argument(Number.isInteger(value) && value >= 0 && value <= 0xffffffff,
             `${name} is ${value}; a whole number from 0 is wanted`);
    return value;
}

function number(value, name, fallback) {
    if (value === undefined) {
        return fallback;
    }
    argument(typeof value === "number", `${name} is ${value}; a number is wanted`);
    return value;
}

function hex(value) {
    return BigInt.asUintN(64, value).toString(16).padStart(16, "0");
}

/* Lets timers, rendering and input run; a plain await would not. */
function breathe() {
    return new Promise((resolve) => {
        if (typeof setImmediate === "function") {
            setImmediate(resolve);
        } else {
            const channel = new MessageChannel(); /* setTimeout would cost 4 ms */
            channel.port1.onmessage = () => {
                channel.port1.close();
                resolve();
            };
            channel.port2.postMessage(0);
        }
    });
}

/* ---- Bytes from somewhere -------------------------------------------------------------------- */

/* A source is {size, fill(target, progress), close()}; one of the last two is called. */

async function openPath(path) {
    const { open } = await import("node:fs/promises");
    let file;
    try {
        file = await open(path, "r");
    } catch (e) {
        throw new SlmError("SLM_WEB_FETCH", `${path}: ${e.message}`, 0, e);
    }
    const { size } = await file.stat();
    const fill = async (target) => {
        try {
            for (let at = 0; at < size;) {
                const want = Math.min(READ_BYTES, size - at);
                const { bytesRead } = await file.read(target, at, want, at);
                if (bytesRead === 0) {
                    throw new SlmError("SLM_WEB_FETCH", `${path}: became shorter while read`);
                }
                at += bytesRead;
            }
        } finally {
            await file.close();
        }
    };
    return { size, fill, close: () => file.close() };
}

/* Waits for the network; what it throws, but for an abort, becomes an SlmError. */
async function received(promise, url, signal) {
    try {
        return await promise;
    } catch (e) {
        signal?.throwIfAborted();
        throw new SlmError("SLM_WEB_FETCH", `${url}: ${e.message}`, 0, e);
    }
}

async function openUrl(url, signal) {
    const response = await received(fetch(url, { signal }), url, signal);
    if (!response.ok) {
        throw new SlmError("SLM_WEB_FETCH", `${url}: HTTP status ${response.status}`);
    }
    const length = response.headers.get("content-length");
    if (length === null || response.headers.get("content-encoding") !== null || !response.body) {
        /* the size is not known beforehand */
        return openBytes(new Uint8Array(await received(response.arrayBuffer(), url, signal)));
    }
    const size = Number(length);
    const fill = async (target, progress) => {
        const reader = response.body.getReader();
        let at = 0;
        for (;;) {
            const { done, value } = await received(reader.read(), url, signal);
            if (done) {
                break;
            }
            if (value.length > size - at) {
                await reader.cancel();
                throw new SlmError("SLM_WEB_FETCH",
                                   `${url}: longer than the ${size} bytes announced`);
            }
            target.set(value, at);
            at += value.length;
            progress(at);
        }
        if (at !== size) {
            throw new SlmError("SLM_WEB_FETCH", `${url}: ended after ${at} of ${size} bytes`);
        }
    };
    return { size, fill, close: () => response.body.cancel() };
}

function openBytes(bytes) {
    return { size: bytes.length, fill: async (target) => target.set(bytes), close: async () => {} };
}

function openSource(source, signal) {
    if (source instanceof ArrayBuffer) {
        return openBytes(new Uint8Array(source));
    }
    if (ArrayBuffer.isView(source)) {
        return openBytes(new Uint8Array(source.buffer, source.byteOffset, source.byteLength));
    }
    argument(typeof source === "string" || source instanceof URL,
             "a model comes from a URL, a path or bytes");
    if (node && (source instanceof URL ? source.protocol === "file:" : !/^https?:/.test(source))) {
        return openPath(source);
    }
    return openUrl(source, signal);
}

async function readText(source, signal) {
    const from = await openSource(source, signal);
    const bytes = new Uint8Array(from.size);
    await from.fill(bytes, () => {});
    return new TextDecoder().decode(bytes);
}

/* The engine's module, compiled once and shared by all models. */
const compiled = new Map();

async function compile(source) {
    const from = await openSource(source);
    const bytes = new Uint8Array(from.size);
    await from.fill(bytes, () => {});
    try {
        return await WebAssembly.compile(bytes);
    } catch (e) {
        throw new SlmError("SLM_WEB_WASM", `${source}: ${e.message}`, 0, e);
    }
}

function engineModule(source) {
    if (source instanceof WebAssembly.Module) {
        return source;
    }
    const key = String(source);
    if (typeof source !== "string" && !(source instanceof URL)) {
        return compile(source);
    }
    if (!compiled.has(key)) {
        const module = compile(source);
        compiled.set(key, module);
        module.catch(() => compiled.delete(key));
    }
    return compiled.get(key);
}

/* ---- Which module, and how many threads ------------------------------------------------------ */

/* A module of one function: the relaxed dot product of four times 127 and 255. */
const PROBE = Uint8Array.of(
    0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 127, 3, 2, 1, 0, 7, 5, 1, 1, 112, 0, 0, 10, 23,
    1, 21, 0, 65, 255, 0, 253, 15, 65, 127, 253, 15, 65, 0, 253, 17, 253, 147, 2, 253, 27, 0, 11);

/* The kernels that are fastest here. 129540 and -508 are what processors give that have an
 * instruction for the whole product, x86 and ARM; sums in 16 bits end at 65534; else the engine is
 * an old one that is wrong. */
function kernels() {
    try {
        const product = new WebAssembly.Instance(new WebAssembly.Module(PROBE)).exports.p();
        return product === 129540 || product === -508 ? "-relaxed32" : "-relaxed16";
    } catch {
        return ""; /* SIMD128 */
    }
}

/* Threads wait for each other, which a page's own thread may not do. */
function canShare() {
    return typeof SharedArrayBuffer === "function" &&
           (node || (globalThis.crossOriginIsolated && typeof WorkerGlobalScope === "function"));
}

async function threadCount(wanted) {
    if (wanted !== undefined) {
        argument(Number.isInteger(wanted) && wanted >= 1 && wanted <= 256,
                 `threads is ${wanted}; 1 to 256 are possible`);
        if (wanted > 1 && !canShare()) {
            throw new SlmError("SLM_WEB_THREADS",
                               "threads need a Worker of a cross-origin isolated page");
        }
        return wanted;
    }
    const cores = node ? (await import("node:os")).cpus().length : navigator.hardwareConcurrency;
    return canShare() ? Math.min(cores || 1, MOST_THREADS) : 1;
}

function moduleUrl(threads) {
    const name = `./slm${kernels()}${threads > 1 ? "-threads" : ""}.wasm`;
    return new URL(name, import.meta.url);
}

/* The other threads: Workers that run slm-thread.js. */
class Helpers {
    #workers;

    constructor(workers) {
        this.#workers = workers;
    }

    static async start(n) {
        const url = new URL("./slm-thread.js", import.meta.url);
        const W = node && n > 0 ? (await import("node:worker_threads")).Worker : globalThis.Worker;
        return new Helpers(Array.from({ length: n }, () => new W(url, { type: "module" })));
    }

    /* Lets them work on this memory. */
    join(module, memory) {
        return Promise.all(this.#workers.map((worker) => new Promise((resolve, reject) => {
            const failed = (e) => {
                e.preventDefault?.();
                reject(new SlmError("SLM_WEB_THREADS", `slm-thread.js: ${e.message}`, 0, e));
            };
            if (node) {
                worker.once("message", resolve).once("error", failed);
            } else {
                worker.onmessage = resolve;
                worker.onerror = failed;
            }
            worker.postMessage({ module, memory });
        }).then(() => worker.unref?.())));
    }

    end() {
        this.#workers.forEach((worker) => worker.terminate());
        this.#workers = [];
    }
}

/* Threads of a model that was forgotten without unload(). */
const forgotten = new FinalizationRegistry((helpers) => helpers.end());

/* ---- Stop strings ---------------------------------------------------------------------------- */

/* Passes on what no stop string can claim any more. */
class StopFilter {
    #stops;
    #held = "";
    found = false;

    constructor(stops) {
        this.#stops = stops;
    }

    push(text) {
        const pending = this.#held + text;
        const hits = this.#stops.map((s) => pending.indexOf(s)).filter((at) => at >= 0);
        if (hits.length !== 0) {
            this.found = true;
            this.#held = "";
            return pending.slice(0, Math.min(...hits));
        }
        let held = 0;
        for (const stop of this.#stops) {
            let n = Math.min(stop.length - 1, pending.length);
            while (n > held && !pending.endsWith(stop.slice(0, n))) {
                n--;
            }
            held = Math.max(held, n);
        }
        this.#held = held ? pending.slice(-held) : "";
        return held ? pending.slice(0, -held) : pending;
    }

    flush() {
        const held = this.#held;
        this.#held = "";
        return held;
    }
}

/* ---- Generation ------------------------------------------------------------------------------ */

/** A text in the making: iterate over it for the pieces. `ids`, `end` and `digest` are complete
 * once the iteration is. */
export class Generation {
    ids = [];
    /** "end_token", "stop_string", "max_tokens" or "context_full"; null while it runs. */
    end = null;
    /** With the option digest: the same as slm-run --logits-digest prints. */
    digest = null;
    #pieces;

    constructor(start) {
        this.#pieces = start(this);
    }

    [Symbol.asyncIterator]() {
        return this.#pieces;
    }

    /** All of the text at once. */
    async text() {
        let text = "";
        for await (const piece of this) {
            text += piece;
        }
        return text;
    }
}

/** A model in memory, ready to run. Made by Slm.load. */
export class Slm {
    #wasm;
    #memory;
    #helpers;
    #file = 0; /* where it lies */
    #busy = false;
    #chunk = 64;
    #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
    #seconds = { load: 0, prompt: 0, generate: 0, firstToken: 0 };
    #strings = {};
    #manifest = null;

    /** Loads a model. source: a URL, a path (Node), or its bytes. */
    static async load(source, options = {}) {
        const start = performance.now();
        const slm = new Slm();
        const kv = options.kv ?? "f16";
        argument(kv in KV_TYPES, `kv is ${kv}; it can be f16, f32 or q8_0`);
        const context = u32(options.context, "context", 0);
        const chunk = u32(options.chunk, "chunk", 0);
        const threads = await threadCount(options.threads);
        const module = await engineModule(options.wasm ?? moduleUrl(threads));
        const shared = WebAssembly.Module.imports(module).length !== 0;
        slm.#helpers = await Helpers.start(shared ? threads - 1 : 0);
        try {
            const size = await slm.#fetchFile(module, shared, source, options);
            const checks = options.check === false ? 0 : CHECK_DATA | CHECK_VALUES;
            await slm.#open(module, shared, size, (wasm, file) => {
                slm.#call(wasm.web_load(file, size, checks));
                slm.#call(wasm.web_open(context, chunk, KV_TYPES[kv], threads));
            });
            await slm.#helpers.join(module, slm.#memory);
            slm.#chunk = chunk || slm.#chunk;
            slm.#strings = {
                architecture: slm.#cString(slm.#wasm.web_text(0)),
                kernels: slm.#cString(slm.#wasm.web_text(1)),
                version: slm.#cString(slm.#wasm.web_text(2)),
            };
            if (options.requireQuality) {
                await slm.#requireQuality(source, kv, options);
            }
        } catch (e) {
            slm.unload();
            throw e;
        }
        forgotten.register(slm, slm.#helpers);
        slm.#seconds.load = (performance.now() - start) / 1000;
        return slm;
    }

    /* The manifest lies beside the model, or where options.manifest says (a URL, path or bytes). */
    async #requireQuality(source, kv, options) {
        const fail = (reason, cause) => new SlmError("SLM_WEB_QUALITY", reason, 0, cause);
        const beside = typeof source === "string" || source instanceof URL;
        const place = options.manifest ?? (beside ? `${source}.quality.json` : undefined);
        if (place === undefined || kv !== "f16") {
            throw fail(place === undefined ? "requireQuality: options.manifest says where it is"
                                           : `a cache of ${kv} was not measured, one of f16 was`);
        }
        const header = new DataView(this.#memory.buffer, this.#file, 128);
        const headerChecksum = hex(header.getBigUint64(120, true));
        let text;
        try {
            text = await readText(place, options.signal);
        } catch (e) {
            throw fail(`the model has no quality manifest: ${e.message}`, e);
        }
        const { proveQuality } = await import("./quality.js");
        this.#manifest = await proveQuality(
            text, { headerChecksum, digest: (ids) => this.digest(Int32Array.from(ids)) }, fail);
    }

    /** The quality manifest that was required and holds, or null. */
    get quality() {
        return this.#manifest;
    }

    /* An instance, and room for the file in it: its address. Shared memory is given a maximum,
     * which costs address space at once: the pages of the file and `spare` more. */
    async #instantiate(module, shared, size, spare) {
        const pages = Math.min(Math.ceil(size / PAGE_BYTES) + spare, MOST_PAGES);
        const noMemory = (e) =>
            new SlmError("SLM_ERR_MEMORY", `no memory for a model of ${size} bytes`, 0, e);
        const env = {};
        if (shared) {
            try {
                const limits = { initial: FIRST_PAGES, maximum: pages, shared: true };
                env.memory = new WebAssembly.Memory(limits);
            } catch (e) {
                throw noMemory(e);
            }
        }
        const { exports } = await WebAssembly.instantiate(module, { env });
        this.#wasm = exports;
        this.#memory = env.memory ?? exports.memory;
        const file = size < 2 ** 32 ? exports.web_reserve(size) >>> 0 : 0;
        if (file === 0) {
            throw noMemory();
        }
        return file;
    }

    #bytes(at, n) {
        return new Uint8Array(this.#memory.buffer, at, n);
    }

    async #fetchFile(module, shared, source, options) {
        const signal = options.signal;
        signal?.throwIfAborted();
        const from = await openSource(source, signal);
        const progress = (done) => {
            signal?.throwIfAborted();
            options.progress?.(done, from.size);
        };
        try {
            this.#file = await this.#instantiate(module, shared, from.size, SPARE_PAGES);
        } catch (e) {
            await from.close();
            throw e;
        }
        await from.fill(this.#bytes(this.#file, from.size), progress);
        progress(from.size);
        return from.size;
    }

    /* Sets model and session up beside the file; where shared memory turns out to have too small a
     * maximum, in one that may grow further. */
    async #open(module, shared, size, setUp) {
        for (let spare = 4 * SPARE_PAGES;; spare *= 4) {
            try {
                return setUp(this.#wasm, this.#file);
            } catch (e) {
                const pages = Math.ceil(size / PAGE_BYTES) + spare / 4;
                if (!shared || e.code !== "SLM_ERR_MEMORY" || pages >= MOST_PAGES) {
                    throw e;
                }
                const bytes = this.#bytes(this.#file, size);
                this.#file = await this.#instantiate(module, shared, size, spare);
                this.#bytes(this.#file, size).set(bytes);
            }
        }
    }

    /** Text to token ids. special: add what the model wants before a text; control: recognise
     * control tokens written out in it. */
    tokenize(text, { special = true, control = false } = {}) {
        const wasm = this.#exports();
        argument(typeof text === "string", "the text to tokenize is not a string");
        const bytes = new TextEncoder().encode(text);
        const at = this.#input(bytes.length);
        this.#bytes(at, bytes.length).set(bytes);
        this.#call(wasm.web_encode(at, bytes.length, (special ? ENCODE_SPECIAL : 0) |
                                                     (control ? ENCODE_CONTROL : 0)));
        const n = wasm.web_ids_count();
        return Int32Array.from(new Int32Array(this.#memory.buffer, wasm.web_ids(), n));
    }

    /** Token ids to text. control: write control tokens out by name. */
    detokenize(ids, { control = false } = {}) {
        const wasm = this.#exports();
        this.#idle();
        wasm.web_decoder_reset(control ? DECODE_CONTROL : 0);
        let text = "";
        for (const id of ids) {
            text += this.#decode(id);
        }
        wasm.web_decoder_flush();
        return text + this.#out();
    }

    /** The logits of the last of these ids, evaluated from an empty context. */
    async logits(ids) {
        await this.#alone(() => this.#evaluate(ids, false));
        return Float32Array.from(new Float32Array(this.#memory.buffer, this.#wasm.web_logits(),
                                                  this.#number("vocabulary")));
    }

    /** The digest of the logits of every one of these ids: 16 hexadecimal digits that every build
     * of the engine gives. */
    async digest(ids) {
        await this.#alone(() => {
            this.#wasm.web_digest_reset();
            return this.#evaluate(ids, true);
        });
        return hex(this.#wasm.web_digest());
    }

    /** Continues a prompt (a text, or token ids). Iterate over what it returns. */
    generate(prompt, options = {}) {
        this.#exports();
        const settings = this.#settings(options);
        const ids = typeof prompt === "string" ? this.tokenize(prompt, options)
                                               : Int32Array.from(prompt);
        argument(ids.length !== 0, "the prompt is empty");
        return new Generation((generation) => this.#pieces(generation, ids, settings));
    }

    /** Figures of this model and session. */
    diagnostics() {
        const wasm = this.#exports();
        const d = { ...this.#strings };
        for (const name of NUMBERS) {
            d[name] = this.#number(name);
        }
        d.hasTokenizer = d.hasTokenizer !== 0;
        d.contentChecksum = hex(wasm.web_checksum(0));
        d.layoutChecksum = hex(wasm.web_checksum(1));
        d.tokenizerChecksum = hex(wasm.web_checksum(2));
        d.memoryBytes = this.#memory.buffer.byteLength;
        d.loadSeconds = this.#seconds.load;
        d.promptSeconds = this.#seconds.prompt;
        d.generateSeconds = this.#seconds.generate;
        d.firstTokenSeconds = this.#seconds.firstToken;
        return d;
    }

    /** Lets go of the memory. Every later call fails with SLM_WEB_UNLOADED; calling it again does
     * nothing. */
    unload() {
        this.#helpers?.end();
        this.#wasm = null;
        this.#memory = null;
    }

    /* ---- Inside ------------------------------------------------------------------------------ */

    #exports() {
        if (!this.#wasm) {
            throw new SlmError("SLM_WEB_UNLOADED", "the model has been unloaded");
        }
        return this.#wasm;
    }

    #idle() {
        if (this.#busy) {
            throw new SlmError("SLM_WEB_BUSY", "another generation is still running");
        }
    }

    async #alone(work) {
        this.#exports();
        this.#idle();
        this.#busy = true;
        try {
            await work();
        } finally {
            this.#busy = false;
        }
    }

    #call(status) {
        if (status !== 0) {
            throw new SlmError(this.#cString(this.#wasm.web_status_name(status)),
                               this.#cString(this.#wasm.web_error_text()),
                               this.#wasm.web_error_offset());
        }
    }

    #cString(at) {
        const bytes = new Uint8Array(this.#memory.buffer);
        return this.#utf8.decode(bytes.slice(at, bytes.indexOf(0, at)));
    }

    #number(name) {
        return this.#wasm.web_number(NUMBERS.indexOf(name));
    }

    #input(nBytes) {
        const at = nBytes < 2 ** 32 ? this.#wasm.web_input(nBytes) >>> 0 : 0;
        if (at === 0) {
            throw new SlmError("SLM_ERR_MEMORY", `no memory for an input of ${nBytes} bytes`);
        }
        return at;
    }

    #out() {
        const at = this.#wasm.web_out(), n = this.#wasm.web_out_bytes();
        return this.#utf8.decode(this.#bytes(at, n).slice()); /* it takes no shared memory */
    }

    #decode(id) {
        this.#call(this.#wasm.web_decode(id));
        return this.#out();
    }

    /* Sampling as the model's file recommends, where the caller says nothing. */
    #settings(options) {
        const own = Object.fromEntries(["temperature", "topK", "topP", "minP"]
            .map((name) => [name, this.#number(name)]));
        const stops = typeof options.stop === "string" ? [options.stop] : options.stop ?? [];
        argument(Array.isArray(stops) && stops.every((s) => typeof s === "string" && s !== ""),
                 "stop is a text or a list of texts, none of them empty");
        let seed;
        try {
            seed = BigInt(options.seed ?? 1);
        } catch (e) {
            throw new SlmError("SLM_ERR_ARGUMENT", `seed is ${options.seed}`, 0, e);
        }
        argument(seed >= 0n && seed < 2n ** 64n, `seed is ${seed}; 0 to 2^64 - 1 is wanted`);
        return {
            maxTokens: u32(options.maxTokens, "maxTokens", 256),
            temperature: number(options.temperature, "temperature", Math.max(own.temperature, 0)),
            topK: u32(options.topK, "topK", Math.min(own.topK, 1024)),
            topP: number(options.topP, "topP", own.topP > 0 ? own.topP : 1),
            minP: number(options.minP, "minP", own.minP),
            seed,
            stops,
            digest: options.digest === true,
            control: options.control === true,
            signal: options.signal,
        };
    }

    /* Appends ids to an emptied session, a piece at a time so that the event loop can run. */
    async #evaluate(ids, digest, signal) {
        const wasm = this.#exports();
        wasm.web_truncate(0);
        const room = this.#number("context");
        if (ids.length > room) {
            throw new SlmError("SLM_ERR_CONTEXT_FULL",
                               `${ids.length} tokens do not fit a context of ${room}`);
        }
        let rested = performance.now();
        for (let at = 0; at < ids.length; at += this.#chunk) {
            this.#append(ids.slice(at, at + this.#chunk), digest);
            if (performance.now() - rested > BREATH_MS) {
                await breathe();
                signal?.throwIfAborted();
                this.#exports();
                rested = performance.now();
            }
        }
    }

    #append(ids, digest) {
        const at = this.#input(4 * ids.length);
        new Int32Array(this.#memory.buffer, at, ids.length).set(ids);
        this.#wasm.web_time(performance.now() / 1000);
        this.#call(this.#wasm.web_eval(at, ids.length, digest ? 1 : 0));
        this.#wasm.web_time(performance.now() / 1000);
    }

    async *#pieces(generation, prompt, s) {
        this.#exports();
        this.#idle();
        this.#busy = true;
        try {
            yield* this.#run(generation, prompt, s);
        } finally {
            this.#busy = false;
        }
    }

    async *#run(generation, prompt, s) {
        const wasm = this.#exports();
        const start = performance.now();
        this.#call(wasm.web_sampler(s.temperature, s.topK, s.topP, s.minP, s.seed));
        wasm.web_digest_reset();
        wasm.web_decoder_reset(s.control ? DECODE_CONTROL : 0);
        if (this.#number("hasTokenizer")) { /* so that a first word keeps the space before it */
            prompt.forEach((id) => this.#decode(id));
        }
        s.signal?.throwIfAborted();
        await this.#evaluate(prompt, s.digest, s.signal);
        const ready = performance.now();
        this.#seconds.prompt = (ready - start) / 1000;
        const filter = new StopFilter(s.stops);
        let rested = ready;
        while (generation.end === null) {
            const piece = this.#step(generation, filter, s);
            if (generation.ids.length === 1) {
                this.#seconds.firstToken = (performance.now() - start) / 1000;
            }
            if (piece !== "") {
                yield piece;
            }
            if (performance.now() - rested > BREATH_MS) {
                await breathe();
                rested = performance.now();
            }
            s.signal?.throwIfAborted();
            this.#exports();
        }
        this.#seconds.generate = (performance.now() - ready) / 1000;
        generation.digest = s.digest ? hex(wasm.web_digest()) : null;
        const rest = this.#rest(generation, filter);
        if (rest !== "") {
            yield rest;
        }
    }

    /* One token: drawn, decoded, and fed back unless it is the last. Returns its text. */
    #step(generation, filter, s) {
        const wasm = this.#wasm;
        if (generation.ids.length === s.maxTokens) { /* only if maxTokens is 0 */
            generation.end = "max_tokens";
            return "";
        }
        const id = wasm.web_sample();
        generation.ids.push(id);
        if (wasm.web_is_end(id)) {
            generation.end = "end_token";
            return "";
        }
        const piece = this.#number("hasTokenizer") ? filter.push(this.#decode(id)) : "";
        if (filter.found) {
            generation.end = "stop_string";
        } else if (generation.ids.length === s.maxTokens) {
            generation.end = "max_tokens";
        } else if (this.#number("length") === this.#number("context")) {
            generation.end = "context_full";
        } else {
            this.#append([id], s.digest);
        }
        return piece;
    }

    /* What was held back for a stop string, and an unfinished character. */
    #rest(generation, filter) {
        if (generation.end === "stop_string" || generation.ids.length === 0) {
            return "";
        }
        this.#wasm.web_decoder_flush();
        return filter.flush() + this.#out();
    }
}
