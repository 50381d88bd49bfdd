/* slm-isolate.js - for hosts that cannot set headers: makes a page cross-origin isolated, so that
 * models may use threads. The page runs it as a classic script,
 *
 *     <script src="slm-isolate.js"></script>
 *
 * which registers it as a service worker of its folder and loads the page once more. From then on
 * the worker adds the headers to the pages and workers of that folder. Resources of other origins
 * must then allow to be embedded (CORS, or Cross-Origin-Resource-Policy).
 */
"use strict";

const HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
};

async function withHeaders(request) {
    const response = await fetch(request);
    if (response.type === "opaqueredirect" || response.type === "error") {
        return response;
    }
    const headers = new Headers(response.headers);
    Object.entries(HEADERS).forEach(([name, value]) => headers.set(name, value));
    const { body, status, statusText } = response;
    return new Response(body, { status, statusText, headers });
}

if (typeof document === "undefined") {
    self.addEventListener("install", () => self.skipWaiting());
    self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
    self.addEventListener("fetch", (event) => {
        const { mode, destination } = event.request;
        if (mode === "navigate" || destination === "worker") {
            event.respondWith(withHeaders(event.request));
        }
    });
} else if (!globalThis.crossOriginIsolated && navigator.serviceWorker) {
    const TRIED = "slm-isolate"; /* reload once, not for ever, where it does not help */
    const again = () => {
        if (!sessionStorage.getItem(TRIED)) {
            sessionStorage.setItem(TRIED, "1");
            location.reload();
        }
    };
    navigator.serviceWorker.register(document.currentScript.src);
    navigator.serviceWorker.ready.then(() => {
        if (navigator.serviceWorker.controller) {
            again();
        } else {
            navigator.serviceWorker.addEventListener("controllerchange", again);
        }
    });
}
