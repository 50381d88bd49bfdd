/* cache.js - Slm.cache: what opfs.js and cache-api.js keep, for pages that show or delete it, and
 * for opfs.js where room is short.
 */
import { absolute, estimate, folder, FOLDER, nameOf, readMeta, remove } from "./opfs.js";

export { estimate };

async function listFiles(dir) {
    const list = [];
    for await (const name of dir.keys()) {
        const meta = name.endsWith(".json") ? await readMeta(dir, name.slice(0, -5)) : null;
        if (meta) {
            const file = await dir.getFileHandle(`${name.slice(0, -5)}.slm`)
                .then((handle) => handle.getFile(), () => ({ size: 0 }));
            const { url, total, used } = meta;
            list.push({ url, bytes: Math.min(file.size, total), total, used });
        }
    }
    return list.sort((a, b) => b.used - a.used);
}

/** Makes room for so many bytes by dropping models that were not used for longest, but none if all
 * are not enough. */
export async function makeRoom(dir, missing, own) {
    const victims = [];
    for (const entry of (await listFiles(dir)).reverse()) {
        if (missing > 0 && entry.url !== own) {
            victims.push(entry.url);
            missing -= entry.bytes;
        }
    }
    if (missing > 0) {
        throw new DOMException("", "QuotaExceededError");
    }
    for (const url of victims) {
        await remove(dir, await nameOf(url));
    }
}

/* Gives `none` where there is no such storage, or nothing in it. */
const inFiles = (work, none) => folder(false).then(work).catch(() => none);
const inCache = (work, none) => Promise.resolve().then(() => caches.open(FOLDER)).then(work)
    .catch(() => none);

export async function list() {
    const files = await inFiles(listFiles, []);
    const responses = await inCache(async (cache) => Promise.all(
        (await cache.keys()).map(async (request) => {
            const { headers } = await cache.match(request);
            const total = Number(headers.get("content-length"));
            return { url: request.url, bytes: total, total,
                     used: Number(headers.get("x-slm-used")) };
        })), []);
    return [...files, ...responses];
}

export async function find(url) {
    const wanted = absolute(url);
    return (await list()).find((entry) => entry.url === wanted) ?? null;
}

async function drop(url) {
    const wanted = absolute(url);
    const files = await inFiles(async (dir) => remove(dir, await nameOf(wanted)), false);
    return await inCache((cache) => cache.delete(wanted), false) || files;
}

export { drop as delete };

export async function clear() {
    await Promise.all((await list()).map(({ url }) => drop(url)));
}
