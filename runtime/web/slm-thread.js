/* slm-thread.js - a Worker that is one more thread of the engine. slm.js starts it and sends it the
 * module and the memory that all threads share; it works until it is terminated.
 */
const node = typeof process === "object" && process.versions?.node !== undefined;
const port = node ? (await import("node:worker_threads")).parentPort : globalThis;

function serve({ module, memory }) {
    const { exports } = new WebAssembly.Instance(module, { env: { memory } });
    const stack = exports.web_thread_stack();
    port.postMessage(stack);
    if (stack !== 0) {
        exports.__stack_pointer.value = stack;
        exports.web_thread_serve(stack);
    }
}

if (node) {
    port.once("message", serve);
} else {
    port.onmessage = ({ data }) => serve(data);
}
