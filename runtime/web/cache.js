/* cache.js - Slm.cache: what opfs.js and cache-api.js keep, for pages that show or delete it. */
import { absolute, estimate, folder, FOLDER, listFiles, nameOf, remove } from "./opfs.js";

export { estimate };

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
