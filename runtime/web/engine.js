/* engine.js - one instance of the WebAssembly module as an object: memory, calls that throw, text
 * in and out. slm-worker.js runs it.
 */
const node = typeof process === "object" && process.versions?.node !== undefined;

/** node.js, or null in a page. */
export const host = node ? await import("./node.js") : null;

/* Places in web_number and in web_at of exports.c. */
export const NUMBER = { vocabulary: 1, temperature: 7, topK: 8, topP: 9, minP: 10, context: 11,
                        sequences: 12, hasTokenizer: 13, modelBytes: 18, sessionBytes: 19,
                        teamBytes: 24 };
export const AT = { ids: 0, nIds: 1, out: 2, nOut: 3, logits: 4, chunk: 5, good: 6 };
const PAGE_BYTES = 65536, MOST_PAGES = 65536;
const FIRST_PAGES = 16; /* --initial-memory in the makefile */
const INPUT_BYTES = 1 << 24; /* beside the model: texts on their way to ids */
const MOST_THREADS = 8; /* unless more are asked for */

/** As SlmError of slm.js, which it becomes there. */
export function failure(code, message, offset = 0) {
    return Object.assign(new Error(message), { code, offset });
}

export function argument(condition, message) {
    if (!condition) {
        throw failure("SLM_ERR_ARGUMENT", message);
    }
}

export function hex(value) {
    return BigInt.asUintN(64, value).toString(16).padStart(16, "0");
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

export const isolated = typeof SharedArrayBuffer === "function" &&
                        (node || globalThis.crossOriginIsolated === true);

/** {threads, cores}: as many threads as there can be, at most `wanted`. */
export function threadCount(wanted) {
    argument(wanted === undefined || (Number.isInteger(wanted) && wanted >= 1 && wanted <= 64),
             `threads is ${wanted}; 1 to 64 are possible`);
    const cores = (host ? host.cores() : navigator.hardwareConcurrency) || 1;
    return { cores, threads: isolated ? wanted ?? Math.min(cores, MOST_THREADS) : 1 };
}

async function compile(url) {
    if (host && url.protocol === "file:") {
        return WebAssembly.compile(await host.readFile(url));
    }
    const response = await fetch(url);
    if (!response.ok) {
        throw new Error(`HTTP status ${response.status}`);
    }
    return response.headers.get("content-type")?.startsWith("application/wasm")
        ? WebAssembly.compileStreaming(response)
        : WebAssembly.compile(await response.arrayBuffer());
}

/** {url, module}. known: modules by URL, compiled before. */
export async function engineModule(wanted, threads, known) {
    const name = wanted ?? `./slm${kernels()}${threads > 1 ? "-threads" : ""}.wasm`;
    const url = new URL(name, import.meta.url);
    try {
        return { url: url.href, module: known.get(url.href) ?? await compile(url) };
    } catch (e) {
        throw failure("SLM_WEB_WASM", `${url}: ${e.message}`);
    }
}

/* ---- The instance ---------------------------------------------------------------------------- */

function noMemory(size) {
    return failure("SLM_ERR_MEMORY", `the page is given no memory for a model of ${size} bytes; ` +
                   "close other pages, or take a smaller model or context");
}

export class Engine {
    wasm;
    memory;
    pages = MOST_PAGES; /* that the memory may grow to */
    #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

    /** pages: the maximum of a shared memory, which costs address space at once. */
    static async make(module, pages) {
        const engine = new Engine(), env = {};
        if (WebAssembly.Module.imports(module).length !== 0) {
            engine.pages = pages;
            try {
                env.memory = new WebAssembly.Memory(
                    { initial: FIRST_PAGES, maximum: pages, shared: true });
            } catch {
                throw noMemory(pages * PAGE_BYTES);
            }
        }
        const { exports } = await WebAssembly.instantiate(module, { env });
        engine.wasm = exports;
        engine.memory = env.memory ?? exports.memory;
        return engine;
    }

    /** Room for a file; its address. */
    reserve(size) {
        const at = size < 2 ** 32 ? this.wasm.web_reserve(size) >>> 0 : 0;
        if (at === 0) {
            throw noMemory(size);
        }
        return at;
    }

    /** Pages for a file of `size` bytes with the model and the session that were measured. */
    pagesFor(size) {
        const { modelBytes, teamBytes, sessionBytes, sequences } = NUMBER;
        const n = (which) => this.number(which), session = n(sessionBytes);
        const bytes = size + n(modelBytes) + n(teamBytes) + session + session / n(sequences);
        return Math.min(Math.ceil((bytes + INPUT_BYTES) / PAGE_BYTES) + FIRST_PAGES, MOST_PAGES);
    }

    bytes(at, n) {
        return new Uint8Array(this.memory.buffer, at, n);
    }

    at(which) {
        return this.wasm.web_at(which) >>> 0;
    }

    /** Throws what a status other than 0 means. */
    call(status) {
        if (status !== 0) {
            throw failure(this.cString(this.wasm.web_status_name(status)),
                          this.cString(this.wasm.web_error_text()),
                          this.wasm.web_error_offset());
        }
    }

    cString(at) {
        const bytes = new Uint8Array(this.memory.buffer);
        return this.#utf8.decode(bytes.slice(at, bytes.indexOf(0, at)));
    }

    number(which) {
        return this.wasm.web_number(which);
    }

    /** Address of room for a call's input, gone with the next one's. */
    input(nBytes) {
        const at = nBytes < 2 ** 32 ? this.wasm.web_input(nBytes) >>> 0 : 0;
        if (at === 0) {
            throw failure("SLM_ERR_MEMORY", `no memory for an input of ${nBytes} bytes`);
        }
        return at;
    }

    /** The ids that a call has left. */
    ids() {
        return Int32Array.from(new Int32Array(this.memory.buffer, this.at(AT.ids),
                                              this.at(AT.nIds)));
    }

    encode(text, flags) {
        const bytes = new TextEncoder().encode(text);
        const at = this.input(bytes.length);
        this.bytes(at, bytes.length).set(bytes);
        this.call(this.wasm.web_encode(at, bytes.length, flags));
        return this.ids();
    }

    /** messages: [role, text], roles as slm_role. */
    encodeChat(messages, flags) {
        const texts = messages.map(([, text]) => new TextEncoder().encode(text));
        const RECORD = 12; /* slm_message */
        const table = this.input(texts.reduce((n, t) => n + t.length, RECORD * texts.length));
        const view = new DataView(this.memory.buffer);
        let at = table + RECORD * texts.length;
        texts.forEach((text, i) => {
            [messages[i][0], at, text.length].forEach(
                (word, j) => view.setUint32(table + RECORD * i + 4 * j, word, true));
            this.bytes(at, text.length).set(text);
            at += text.length;
        });
        this.call(this.wasm.web_chat(table, texts.length, flags));
        return this.ids();
    }

    /** The text that web_decode or web_decoder_flush has left. */
    out() {
        const n = this.at(AT.nOut); /* slice: TextDecoder takes no shared memory */
        return n === 0 ? "" : this.#utf8.decode(this.bytes(this.at(AT.out), n).slice());
    }

    logits() {
        return Float32Array.from(new Float32Array(this.memory.buffer, this.at(AT.logits),
                                                  this.number(NUMBER.vocabulary)));
    }
}
