/* cache-api.js - models kept for the next visit as responses in the Cache API, where a page has no
 * file system; an entry is as in opfs.js.
 */
const FOLDER = "slm"; /* as in opfs.js */

/* Whole responses; what was broken off is not kept. */
export class CacheEntry {
    kept = "cache-api";
    note = null;
    tag = null;
    #cache;
    #url;
    #reader = null;
    #left = new Uint8Array();
    #writer = null;
    #put = null;
    #started = false;

    static async open(url, mode, ask) {
        const entry = new CacheEntry();
        entry.#url = url;
        entry.#cache = await caches.open(FOLDER);
        const response = mode === "reload" ? undefined : await entry.#cache.match(url);
        const tag = response?.headers.get("etag") ?? null;
        if (!response || (mode === "revalidate" &&
                          (await ask().catch((e) => e.final ? {} : { tag })).tag !== tag)) {
            return entry;
        }
        entry.tag = tag;
        entry.size = Number(response.headers.get("content-length"));
        entry.#reader = response.body.getReader();
        return entry;
    }

    get whole() {
        return this.size !== undefined;
    }

    async read(view) {
        while (this.#left.length === 0) {
            const { done, value } = await this.#reader.read();
            if (done) {
                return 0;
            }
            this.#left = value;
        }
        const n = Math.min(view.length, this.#left.length);
        view.set(this.#left.subarray(0, n));
        this.#left = this.#left.subarray(n);
        return n;
    }

    async write(chunk, at, { size, tag }) {
        if (at === 0 && size !== undefined) {
            const { readable, writable } = new TransformStream();
            const headers = { "content-length": size, "x-slm-used": Date.now() };
            this.#writer = writable.getWriter();
            this.#put = this.#cache.put(this.#url, new Response(
                readable, { headers: tag ? { ...headers, etag: tag } : headers }));
            this.#put.catch((e) => {
                this.kept = null;
                this.note = e.name === "QuotaExceededError" ? "the browser grants no more storage"
                                                            : `storage failed: ${e.message}`;
                this.#writer = null;
            });
        }
        await this.#writer?.write(chunk).catch(() => { this.#writer = null; });
    }

    async truncate() {
        await this.#reader?.cancel();
        await this.#writer?.abort().catch(() => {});
        this.#writer = null;
        await this.#cache.delete(this.#url);
    }

    async close(good, drop) {
        await this.#reader?.cancel();
        await (good ? this.#writer?.close() : this.#writer?.abort())?.catch(() => {});
        await this.#put?.catch(() => {});
        if (drop) {
            await this.#cache.delete(this.#url);
        }
    }
}
