/* load.js - the bytes of a .slm file, from a URL, the cache, a path or a Blob -> an Engine whose
 * memory they were written to as they came, each tensor checked as soon as it was whole. What was
 * damaged or broken off on the way is fetched again from that place on.
 */
import { AT, failure, host } from "./engine.js";

const HEADER_BYTES = 128, ENTRY_BYTES = 40, MOST_SECTIONS = 64;
const READ_BYTES = 1 << 22;
const CHECK_BYTES = 1 << 22; /* look for whole tensors after so many more */
const TRIES = 5, FIRST_PAUSE_MS = 250; /* a broken connection: again after that, then twice that */
const REPORT_MS = 50, RATE_MS = 2000;
const CHECK_DATA = 1, CHECK_VALUES = 2;
const PLAN_BYTES = 1 << 25;

/* ---- Sources: {size (undefined: not known), next(view), cached, close()} ------------------------
 * next writes to the beginning of the view what follows, and returns how many bytes; 0: the end.
 * Sources that can be asked for bytes again have redo(at), after which next goes on at `at`. */

/** The pieces of a ReadableStream. */
export class StreamSource {
    cached = 0;
    #reader;
    #left = new Uint8Array();

    constructor(stream, size) {
        this.#reader = stream.getReader();
        this.size = size;
    }

    async next(view) {
        while (this.#left.length === 0) {
            const { done, value } = await this.#reader.read();
            if (done) {
                return 0;
            }
            this.#left = value;
        }
        const n = Math.min(view.length, this.#left.length);
        view.set(this.#left.subarray(0, n));
        this.last = this.#left.subarray(0, n);
        this.#left = this.#left.subarray(n);
        return n;
    }

    close() {
        return this.#reader.cancel().catch(() => {});
    }
}

const isOurs = ({ code }) => typeof code === "string" && code.startsWith("SLM_");

/* A URL, from the cache as far as that has it, then from the network, through broken connections.
 * What comes from the network is written to the cache. */
class UrlSource {
    cached = 0; /* bytes that came from the cache */
    network = false; /* whether some come from the network */
    size;
    tag = null; /* ETag, or the date of the last change */
    #url;
    #options;
    #signal;
    #cache = null;
    #cached = false; /* whether the cache has what comes next */
    #at = 0;
    #stream = null; /* of the network */

    static async open(url, options, signal) {
        const source = new UrlSource();
        source.#url = url;
        source.#options = options;
        source.#signal = signal;
        if (options.cache !== "none") {
            const { openCache } = await import("./opfs.js");
            source.#cache = await openCache(url, options.cache, () => source.#ask("HEAD"));
            source.size = source.#cache.size;
            source.#cached = source.size !== undefined;
            source.tag = source.#cache.tag;
        }
        source.network = !source.#cache?.whole;
        return source;
    }

    /** Where the model is kept, and why not. */
    get kept() {
        return this.#cache?.kept ?? null;
    }

    get note() {
        return this.#cache?.note ?? "caching was not asked for";
    }

    #fail(message) {
        return failure("SLM_WEB_FETCH", `${this.#url}: ${message}`);
    }

    async #ask(method, headers = {}) {
        const { credentials, headers: own } = this.#options;
        const response = await fetch(this.#url, {
            method, credentials, headers: { ...own, ...headers }, signal: this.#signal });
        if (!response.ok) {
            await response.body?.cancel();
            throw Object.assign(this.#fail(`HTTP status ${response.status}`),
                                { final: response.status < 500 && response.status !== 429 });
        }
        const tag = response.headers.get("etag") ?? response.headers.get("last-modified");
        return { response, tag };
    }

    /* A stream of what follows #at. Servers that know no ranges send all of it once more. */
    async #connect() {
        const headers = {};
        if (this.#at > 0) {
            headers.Range = `bytes=${this.#at}-`;
            const here = new URL(this.#url, globalThis.location?.href);
            if (this.tag && !this.tag.startsWith("W/") &&
                (host || here.origin === globalThis.location?.origin)) {
                headers["If-Range"] = this.tag; /* elsewhere it would need a preflight */
            }
        }
        const { response, tag } = await this.#ask("GET", headers);
        if (this.#at > 0 && tag !== null && this.tag !== null && tag !== this.tag) {
            await response.body?.cancel();
            throw Object.assign(this.#fail("changed while it was loaded"),
                                { final: true, changed: true });
        }
        this.tag ??= tag;
        const length = response.headers.get("content-length");
        if (response.status === 200 && length !== null &&
            response.headers.get("content-encoding") === null) {
            this.size = Number(length);
        }
        this.#stream = new StreamSource(response.body);
        for (let skip = response.status === 206 ? 0 : this.#at; skip > 0;) {
            const n = await this.#stream.next(new Uint8Array(Math.min(skip, READ_BYTES)));
            if (n === 0) {
                throw this.#fail("has become shorter");
            }
            skip -= n;
        }
    }

    async next(view) {
        if (!this.#stream) {
            const n = this.#cached ? await this.#cache.read(view, this.#at).catch(() => 0) : 0;
            this.#cached = n > 0;
            this.#at += n;
            this.cached += n;
            if (n > 0 || this.#at === this.size) {
                return n;
            }
        }
        for (let tries = 1;; tries++) {
            try {
                if (!this.#stream) {
                    await this.#connect();
                }
                const n = await this.#stream.next(view);
                if (n === 0 && this.#at < (this.size ?? 0)) {
                    throw new Error(`ended after ${this.#at} of ${this.size} bytes`);
                }
                if (n > 0) {
                    await this.#cache?.write(this.#stream.last, this.#at, this);
                }
                this.#at += n;
                return n;
            } catch (e) {
                await this.#pause(e, tries);
            }
        }
    }

    /* Before the next try; throws if there shall be none. */
    async #pause(e, tries) {
        this.#signal.throwIfAborted();
        await this.#stream?.close();
        this.#stream = null;
        if (e.final || tries === TRIES || this.#at === 0) { /* a server that never was there */
            throw isOurs(e) ? e : this.#fail(e.message);
        }
        await new Promise((resolve) => setTimeout(resolve, FIRST_PAUSE_MS * 2 ** (tries - 1)));
        this.#signal.throwIfAborted();
    }

    /** Goes on at `at` with bytes from the network, whatever the cache has there. */
    async redo(at) {
        await this.#stream?.close();
        this.#stream = null;
        this.#at = at;
        this.network = true;
        this.#cached = false;
        await this.#cache?.truncate(at);
        this.cached = Math.min(this.cached, at);
        if (at === 0) {
            this.tag = null;
            this.size = undefined;
        }
    }

    /** good: the whole file was found so; else what came is kept for another try, or dropped. */
    async close(good, drop) {
        await this.#stream?.close();
        await this.#cache?.close(good, drop);
    }
}

async function openSource({ url, blob }, options, signal) {
    if (blob) {
        return new StreamSource(blob.stream(), blob.size);
    }
    if (host && !/^https?:/.test(url)) {
        return host.pathSource(url.startsWith("file:") ? new URL(url) : url, failure);
    }
    try {
        return await UrlSource.open(url, options, signal);
    } catch (e) {
        signal.throwIfAborted();
        throw isOurs(e) ? e : failure("SLM_WEB_FETCH", `${url}: ${e.message}`);
    }
}

/* ---- Progress -------------------------------------------------------------------------------- */

/** Reports not too often, with a rate over the last two seconds. */
export class Reporter {
    #send;
    #phase = null;
    #marks = [];
    #sent = 0;
    #late = null; /* a report that waits */

    constructor(send) {
        this.#send = send;
    }

    tell(phase, done, total, cached = 0) {
        const now = performance.now();
        clearTimeout(this.#late);
        if (phase !== this.#phase) {
            this.#phase = phase;
            this.#marks = [{ now, done }];
        } else if (done !== total && now - this.#sent < REPORT_MS) {
            this.#late = setTimeout(() => this.tell(phase, done, total, cached), REPORT_MS);
            return;
        }
        this.#sent = now;
        this.#marks.push({ now, done });
        while (this.#marks.length > 2 && now - this.#marks[0].now > RATE_MS) {
            this.#marks.shift();
        }
        const [first] = this.#marks;
        const rate = now > first.now ? 1000 * (done - first.done) / (now - first.now) : 0;
        this.#send({ phase, done, total, rate, cached });
    }
}

/* ---- Loading --------------------------------------------------------------------------------- */

/* Fills the view; fewer bytes only at the end. */
async function fill(source, view) {
    let at = 0;
    for (let n = 1; n > 0 && at < view.length; at += n) {
        n = await source.next(view.subarray(at));
    }
    return at;
}

/* Header and section table: {bytes, size, head}, head: where the tensor data begins. Throws what
 * the engine says about them if they are no good. */
async function readHeader(source, make) {
    const bytes = new Uint8Array(HEADER_BYTES + MOST_SECTIONS * ENTRY_BYTES);
    let n = await fill(source, bytes.subarray(0, HEADER_BYTES));
    const view = new DataView(bytes.buffer);
    const sections = view.getUint32(24, true), table = HEADER_BYTES + sections * ENTRY_BYTES;
    const size = Number(view.getBigUint64(16, true));
    const isModel = view.getUint32(0, true) === 0x4d4c5389;
    if (n === HEADER_BYTES && isModel && sections > 0 && sections <= MOST_SECTIONS) {
        n += await fill(source, bytes.subarray(n, table));
    }
    const head = n === table ? Number(view.getBigUint64(table - ENTRY_BYTES + 8, true)) : 0;
    if (head > table && head <= size) {
        if (size > 2 ** 32 - 2 ** 24) {
            throw failure("SLM_ERR_TOO_LARGE", `a model of ${size} bytes; WebAssembly ends at ` +
                          "4 GiB: quantize it to a smaller type");
        }
        return { bytes: bytes.subarray(0, n), size, head };
    }
    const engine = await make(PLAN_BYTES / 65536);
    const at = engine.reserve(Math.max(n, 64));
    engine.bytes(at, n).set(bytes.subarray(0, n));
    engine.call(engine.wasm.web_model(at, n));
    throw failure("SLM_ERR_LAYOUT", "no section table");
}

/* An engine set up over all but the tensor data, and where its file lies. A shared memory's maximum
 * is found by setting the model up once in a small memory. Two sequences unless told how many; one
 * if that is too much. */
async function setUp(source, { bytes, size, head }, make, shared, o) {
    const announced = source.size ?? size;
    const plan = await make(Math.ceil((8 * head + PLAN_BYTES) / 65536));
    const from = plan.reserve(shared ? head : size);
    plan.bytes(from, bytes.length).set(bytes);
    await fill(source, plan.bytes(from + bytes.length, head - bytes.length));
    plan.call(plan.wasm.web_model(from, announced));
    const open = async (sequences) => {
        const measure = (engine) => engine.call(
            engine.wasm.web_measure(o.context, o.chunk, o.kv, o.threads, sequences));
        let engine = plan, at = from;
        measure(plan);
        if (shared) {
            engine = await make(plan.pagesFor(size));
            at = engine.reserve(size);
            engine.bytes(at, head).set(plan.bytes(from, head));
            engine.call(engine.wasm.web_model(at, announced));
            measure(engine);
        }
        engine.call(engine.wasm.web_open());
        return { engine, at };
    };
    try {
        return await open(o.sequences ?? 2);
    } catch (e) {
        if (o.sequences !== undefined) {
            throw e;
        }
        return open(1);
    }
}

/* The tensor data. */
async function stream(source, { engine, at: file }, { head, size }, o, tell) {
    const check = o.check ? CHECK_DATA | CHECK_VALUES : 0;
    let at = head, looked = head, again = -1;
    while (looked < size) {
        const n = await source.next(engine.bytes(file + at, size - at));
        if (n === 0) {
            throw failure("SLM_ERR_TRUNCATED", `the file ends after ${at} of ${size} bytes`, at);
        }
        at += n;
        tell(at);
        if (at - looked < CHECK_BYTES && at < size) {
            continue;
        }
        looked = at;
        try {
            engine.call(engine.wasm.web_arrived(at, check));
        } catch (e) {
            const good = engine.at(AT.good);
            if (!source.redo || good === again || !isDamage(e)) {
                throw e;
            }
            await source.redo(good);
            at = looked = again = good;
        }
    }
}

const isDamage = (e) => e.code === "SLM_ERR_CHECKSUM" || e.code === "SLM_ERR_LAYOUT";
/* Errors that say that the bytes are no good, rather than that the page is too small for them. */
const isContent = (e) => /^SLM_ERR_(?!ARGUMENT|MEMORY|TOO_LARGE)/.test(e.code ?? "");

async function loadFrom(source, make, shared, o, reporter) {
    const header = await readHeader(source, make);
    const { size } = header;
    source.size ??= size;
    const tell = (done) => {
        reporter.tell(source.network ? "download" : "verify", done, size, source.cached);
    };
    const made = await setUp(source, header, make, shared, o);
    tell(header.head);
    await stream(source, made, header, o, tell);
    const end = source.redo ? 0 : await source.next(new Uint8Array(1));
    if (end !== 0) {
        throw failure("SLM_ERR_LAYOUT", `bytes follow the end of the file at ${size}`, size);
    }
    return { ...made, size };
}

/** from: {url} or {blob}; make(pages): an Engine; o: context, chunk, kv, threads, sequences, check,
 * and for requests cache, headers, credentials. Gives {engine, file, size, source}. */
export async function load(from, make, shared, o, reporter, signal) {
    const source = await openSource(from, o, signal);
    let good = false, drop = false;
    try {
        let made;
        for (let tries = 1; !made; tries++) {
            try {
                made = await loadFrom(source, make, shared, o, reporter);
            } catch (e) {
                signal.throwIfAborted();
                drop = isContent(e);
                /* Once more, from the network alone. */
                const other = e.changed || (drop && source.cached > 0) || isDamage(e);
                if (!source.redo || tries > 1 || !other) {
                    throw e;
                }
                await source.redo(0);
            }
        }
        good = true;
        drop = false;
        const { engine, at, size } = made;
        return { engine, file: at, size, source };
    } finally {
        await source.close(good, drop);
    }
}
