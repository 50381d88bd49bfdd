/* chromium.mjs - drives the distribution's Chromium over its DevTools protocol, through a pipe:
 * pages in contexts of their own, functions run in them. */
import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

const LIMIT_MS = 90000;

export function findBrowser() {
    for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
        for (const folder of (process.env.PATH ?? "").split(delimiter)) {
            try {
                accessSync(join(folder, name), constants.X_OK);
                return join(folder, name);
            } catch { /* look on */ }
        }
    }
    return null;
}

export class Browser {
    #child;
    #calls = new Map();
    #last = 0;
    #text = "";
    #noise = "";

    constructor(path, profile) {
        this.#child = spawn(path, [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-dev-shm-usage", `--user-data-dir=${profile}`, "--remote-debugging-pipe",
        ], { stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"] });
        this.#child.stderr.on("data", (text) => {
            this.#noise = (this.#noise + text).slice(-2000);
        });
        this.#child.stdio[4].setEncoding("utf8").on("data", (text) => this.#read(text));
        this.#child.on("exit", (code) => {
            for (const { reject } of this.#calls.values()) {
                reject(new Error(`the browser ended, code ${code}: ${this.#noise}`));
            }
        });
    }

    #read(text) {
        const messages = (this.#text + text).split("\0");
        this.#text = messages.pop();
        for (const message of messages) {
            const { id, result, error } = JSON.parse(message);
            const call = this.#calls.get(id);
            this.#calls.delete(id);
            if (error) {
                call?.reject(new Error(error.message));
            } else {
                call?.resolve(result);
            }
        }
    }

    send(method, params = {}, sessionId = undefined) {
        const id = ++this.#last;
        return new Promise((resolve, reject) => {
            const timer = setTimeout(() => reject(new Error(`${method}: no answer`)), LIMIT_MS);
            this.#calls.set(id, {
                resolve: (value) => { clearTimeout(timer); resolve(value); },
                reject: (e) => { clearTimeout(timer); reject(e); },
            });
            this.#child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
        });
    }

    /** A page whose storage nobody else sees; of `context`, to share another's. */
    async open(url, context) {
        const browserContextId = context ??
            (await this.send("Target.createBrowserContext")).browserContextId;
        const { targetId } = await this.send("Target.createTarget", { url, browserContextId });
        const { sessionId } = await this.send("Target.attachToTarget",
                                              { targetId, flatten: true });
        const page = new Page(this, targetId, sessionId, browserContextId);
        await page.ready(url);
        return page;
    }

    async close() {
        const gone = new Promise((resolve) => this.#child.on("exit", resolve));
        this.#child.kill("SIGKILL");
        await gone;
    }
}

class Page {
    constructor(browser, target, session, context) {
        Object.assign(this, { browser, target, session, context });
    }

    async ready(url) {
        for (let tries = 0; tries < 200; tries++) {
            const at = await this.run(() => [document.readyState, location.href])
                .catch(() => []); /* between two documents */
            if (at[0] === "complete" && at[1] === url) {
                return;
            }
            await new Promise((resolve) => setTimeout(resolve, 25));
        }
        throw new Error(`${url} does not open`);
    }

    /** What an async function returns in the page; args and results are plain data. */
    async run(work, ...args) {
        const expression = `(${work})(...${JSON.stringify(args)})`;
        const { result, exceptionDetails } = await this.browser.send(
            "Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true },
            this.session);
        if (exceptionDetails) {
            throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
        }
        return result.value;
    }

    async go(url) {
        await this.browser.send("Page.navigate", { url }, this.session);
        await this.ready(url);
    }

    close() {
        return this.browser.send("Target.closeTarget", { targetId: this.target });
    }
}
