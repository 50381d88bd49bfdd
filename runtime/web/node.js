/* node.js - what a worker needs in Node that pages have by themselves, and files. */
import { open, readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { parentPort } from "node:worker_threads";

const READ_BYTES = 1 << 22;

export { availableParallelism as cores, parentPort as port, readFile };

/** A file as a source of load.js. failure: of engine.js. */
export async function pathSource(path, failure) {
    let file, size, at = 0;
    try {
        file = await open(path, "r");
        ({ size } = await file.stat());
    } catch (e) {
        await file?.close();
        throw failure("SLM_WEB_FETCH", `${path}: ${e.message}`);
    }
    return {
        size,
        cached: 0,
        async next(view) {
            const { bytesRead } = await file.read(view, 0, Math.min(view.length, READ_BYTES), at);
            at += bytesRead;
            return bytesRead;
        },
        close: () => file.close(),
    };
}
