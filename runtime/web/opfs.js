/* opfs.js - models kept for the next visit in the origin's private file system or, where that
 * cannot be written, in the Cache API (cache-api.js).
 *
 *     slm/NAME.slm     the bytes so far; shorter than they should be after a broken download
 *     slm/NAME.json    {url, tag, total, used}           NAME: SHA-256 of the URL
 */
export const FOLDER = "slm";
const READ_BYTES = 1 << 22, COPY_BYTES = 1 << 20;
const SPARE = 1.02; /* of the bytes wanted: what storage must have left */

const utf8 = new TextEncoder();

export async function nameOf(url) {
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", utf8.encode(url)));
    return Array.from(hash, (b) => b.toString(16).padStart(2, "0")).join("");
}

export const absolute = (url) => {
    const whole = new URL(url, globalThis.location?.href);
    whole.hash = "";
    return whole.href;
};

export async function folder(create) {
    const root = await navigator.storage.getDirectory();
    return root.getDirectoryHandle(FOLDER, { create });
}

export async function readMeta(dir, name) {
    try {
        const file = await (await dir.getFileHandle(`${name}.json`)).getFile();
        const meta = JSON.parse(await file.text());
        return typeof meta.url === "string" && meta.total > 0 ? meta : null;
    } catch {
        return null;
    }
}

/* Both files, as far as they are there. */
export async function remove(dir, name) {
    const gone = await Promise.all(["slm", "json"].map(
        (end) => dir.removeEntry(`${name}.${end}`).then(() => true, () => false)));
    return gone[0];
}

/** Of the whole site, as the browser tells. */
export async function estimate() {
    const { usage = 0, quota = 0 } = await navigator.storage?.estimate?.() ?? {};
    return { usage, quota };
}

/* Drops models for so many bytes, if need be. */
async function makeRoom(dir, missing, own) {
    if (missing > 0) {
        await (await import("./cache.js")).makeRoom(dir, missing, own);
    }
}

/* ---- Entries: {kept, note, size, tag, read, write, truncate, close} -----------------------------
 * size and tag are those of what is there already; size undefined: nothing is. A failure to keep
 * something ends keeping, not loading: kept becomes null and note says why. */

class FileEntry {
    kept = "opfs";
    note = null;
    #dir;
    #name;
    #url;
    #access = null; /* a sync access handle, or null where another page holds it */
    #file = null; /* then: the file as it is now */
    #length = 0;
    #meta = null;
    #copy = null; /* for engines that do not read into shared memory */

    static async open(url, mode, ask) {
        const entry = new FileEntry();
        entry.#url = url;
        entry.#dir = await folder(true);
        entry.#name = await nameOf(url);
        const handle = await entry.#dir.getFileHandle(`${entry.#name}.slm`, { create: true });
        try {
            entry.#access = await handle.createSyncAccessHandle();
        } catch (e) {
            if (e.name !== "NoModificationAllowedError") {
                throw e;
            }
            entry.#file = await handle.getFile();
        }
        let meta = mode === "reload" ? null : await readMeta(entry.#dir, entry.#name);
        if (meta && mode === "revalidate") {
            const now = await ask().catch((e) => e.final ? {} : { tag: meta.tag }); /* offline */
            meta = now.tag === meta.tag ? meta : null;
        }
        if (!meta) {
            entry.#access?.truncate(0);
        }
        entry.#length = entry.#access?.getSize() ?? entry.#file.size;
        if (entry.#file && (!meta || entry.#length < meta.total)) {
            entry.#off("another page is loading it");
        }
        entry.#meta = meta;
        entry.size = entry.#length > 0 ? meta?.total : undefined;
        entry.tag = meta?.tag ?? null;
        return entry;
    }

    get whole() {
        return this.size !== undefined && this.#length >= this.size;
    }

    #off(why) {
        this.kept = null;
        this.note = why;
        this.#access?.close();
        this.#access = null;
    }

    async read(view, at) {
        const n = Math.min(view.length, READ_BYTES, this.#length - at);
        if (n <= 0) {
            return 0;
        }
        if (!this.#access) {
            const part = await this.#file.slice(at, at + n).arrayBuffer();
            view.set(new Uint8Array(part));
            return part.byteLength;
        }
        if (!this.#copy) {
            try {
                return this.#access.read(view.subarray(0, n), { at });
            } catch {
                this.#copy = new Uint8Array(COPY_BYTES);
            }
        }
        const m = this.#access.read(this.#copy.subarray(0, Math.min(n, COPY_BYTES)), { at });
        view.set(this.#copy.subarray(0, m));
        return m;
    }

    /* While #access keeps others out; who has none reads meta at any time, so it is never empty. */
    async #writeMeta(meta) {
        this.#meta = meta;
        const handle = await this.#dir.getFileHandle(`${this.#name}.json`, { create: true });
        const access = await handle.createSyncAccessHandle();
        access.truncate(access.write(utf8.encode(JSON.stringify(meta)), { at: 0 }));
        access.close();
    }

    /* Bytes of the chunk that there was room for. Without, Chromium writes some and gives -8 as a
     * 32-bit number, others throw. */
    #wrote(chunk, at) {
        try {
            this.#access.write(chunk, { at });
        } catch (e) {
            if (e.name !== "QuotaExceededError") {
                throw e;
            }
        }
        return Math.min(Math.max(this.#access.getSize() - at, 0), chunk.length);
    }

    async write(chunk, at, { size, tag }) {
        if (!this.#access) {
            return;
        }
        try {
            if (!this.#meta && size !== undefined) {
                const { quota, usage } = await estimate();
                await makeRoom(this.#dir, size * SPARE - (quota - usage), this.#url);
                await this.#writeMeta({ url: this.#url, tag, total: size, used: Date.now() });
            }
            const end = at + chunk.length;
            let to = at + this.#wrote(chunk, at);
            if (to < end) { /* there was less room than the browser had said */
                await makeRoom(this.#dir, Math.max(size ?? 0, end) - to, this.#url);
                to += this.#wrote(chunk.subarray(to - at), to);
            }
            if (to < end) {
                throw new DOMException("", "QuotaExceededError");
            }
            this.#length = end;
        } catch (e) {
            this.#off(e.name === "QuotaExceededError" ? "the browser grants no more storage"
                                                      : `storage failed: ${e.message}`);
            await remove(this.#dir, this.#name);
        }
    }

    truncate(at) {
        this.#access?.truncate(at);
        this.#length = Math.min(this.#length, at);
        if (at === 0) {
            this.#meta = null;
        }
    }

    async close(good, drop) {
        const access = this.#access;
        this.#access = null;
        if (access && good) {
            const { url, tag } = this.#meta ?? { url: this.#url, tag: null };
            await this.#writeMeta({ url, tag, total: this.#length, used: Date.now() })
                .catch(() => {});
        }
        access?.close();
        if (access && (drop || this.#length === 0 || !(good || this.#meta))) {
            await remove(this.#dir, this.#name);
        }
    }
}

const NOTHING = { kept: null, note: "this page has no storage", tag: null, whole: false,
                  read: () => 0, write() {}, truncate() {}, close() {} };

/** ask: a HEAD request, for mode "revalidate". */
export async function openCache(url, mode, ask) {
    try {
        return await FileEntry.open(absolute(url), mode, ask);
    } catch { /* no such storage here, or a closed one */ }
    try {
        const { CacheEntry } = await import("./cache-api.js");
        return await CacheEntry.open(absolute(url), mode, ask);
    } catch {
        return NOTHING;
    }
}
