/* firefox.mjs - drives the distribution's Firefox over WebDriver BiDi, with the calls of
 * chromium.mjs. Node 20 needs --experimental-websocket for it. */
import { spawn } from "node:child_process";
import { accessSync, constants, mkdirSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";

const LIMIT_MS = 90000;

/* Nothing that asks the network of its own accord. */
const PREFERENCES = {
    "app.normandy.enabled": false, "app.update.enabled": false,
    "browser.shell.checkDefaultBrowser": false, "browser.startup.homepage": "about:blank",
    "browser.safebrowsing.malware.enabled": false, "browser.safebrowsing.phishing.enabled": false,
    "captivedetect.canonicalURL": "", "datareporting.policy.dataSubmissionEnabled": false,
    "extensions.update.enabled": false,
    "network.captive-portal-service.enabled": false, "network.connectivity-service.enabled": false,
    "services.settings.server": "data:,", "toolkit.telemetry.enabled": false,
};

export function findBrowser() {
    for (const name of ["firefox-esr", "firefox"]) {
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
    #socket;
    #calls = new Map();
    #last = 0;
    #noise = "";

    constructor(path, profile) {
        mkdirSync(profile, { recursive: true });
        writeFileSync(join(profile, "user.js"), Object.entries(PREFERENCES)
            .map(([name, value]) => `user_pref("${name}", ${JSON.stringify(value)});\n`).join(""));
        this.#child = spawn(path, ["--headless", "--no-remote", "--profile", profile,
                                   "--remote-debugging-port", "0"],
                            { stdio: ["ignore", "ignore", "pipe"],
                              env: { ...process.env, HOME: profile } });
        this.#socket = new Promise((resolve, reject) => {
            const timer = setTimeout(() => reject(new Error(`no start: ${this.#noise}`)), LIMIT_MS);
            let address = null;
            this.#child.stderr.setEncoding("utf8").on("data", (text) => {
                this.#noise = (this.#noise + text).slice(-4000);
                if (address === null) {
                    address = /BiDi listening on (ws:\S+)\n/.exec(this.#noise);
                    if (address === null) {
                        return;
                    }
                    clearTimeout(timer);
                    resolve(this.#connect(`${address[1]}/session`));
                }
            });
            this.#child.on("exit", (code) => {
                clearTimeout(timer);
                const e = new Error(`the browser ended, code ${code}: ${this.#noise}`);
                reject(e);
                this.#calls.forEach((call) => call.reject(e));
            });
        }).then(async (socket) => {
            await this.#ask(socket, "session.new", { capabilities: {} });
            return socket;
        });
        this.#socket.catch(() => {});
    }

    async #connect(address) {
        const socket = new WebSocket(address);
        await new Promise((resolve, reject) => {
            socket.onopen = resolve;
            socket.onerror = () => reject(new Error(`${address}: no connection`));
        });
        socket.onmessage = ({ data }) => {
            const { id, result, error, message } = JSON.parse(data);
            const call = this.#calls.get(id);
            this.#calls.delete(id);
            if (error) {
                call?.reject(new Error(`${error}: ${message}`));
            } else {
                call?.resolve(result);
            }
        };
        return socket;
    }

    #ask(socket, method, params) {
        const id = ++this.#last;
        return new Promise((resolve, reject) => {
            const timer = setTimeout(() => reject(new Error(`${method}: no answer`)), LIMIT_MS);
            this.#calls.set(id, {
                resolve: (value) => { clearTimeout(timer); resolve(value); },
                reject: (e) => { clearTimeout(timer); reject(e); },
            });
            socket.send(JSON.stringify({ id, method, params }));
        });
    }

    async send(method, params = {}) {
        return this.#ask(await this.#socket, method, params);
    }

    /** A page whose storage nobody else sees; of `context`, to share another's. */
    async open(url, context) {
        const userContext = context ?? (await this.send("browser.createUserContext")).userContext;
        const tab = await this.send("browsingContext.create", { type: "tab", userContext });
        const page = new Page(this, tab.context, userContext);
        await page.go(url);
        return page;
    }

    async close() {
        const gone = new Promise((resolve) => this.#child.on("exit", resolve));
        await this.send("browser.close").catch(() => this.#child.kill("SIGKILL"));
        await gone;
    }
}

class Page {
    constructor(browser, tab, context) {
        Object.assign(this, { browser, tab, context });
    }

    /** What an async function returns in the page; args and results are plain data. */
    async run(work, ...args) {
        const functionDeclaration =
            `async () => JSON.stringify(await (${work})(...${JSON.stringify(args)}))`;
        const answer = await this.browser.send("script.callFunction", {
            functionDeclaration, awaitPromise: true, target: { context: this.tab } });
        if (answer.type === "exception") {
            throw new Error(answer.exceptionDetails.text);
        }
        return answer.result.value === undefined ? undefined : JSON.parse(answer.result.value);
    }

    go(url) {
        return this.browser.send("browsingContext.navigate",
                                 { context: this.tab, url, wait: "complete" });
    }

    close() {
        return this.browser.send("browsingContext.close", { context: this.tab });
    }
}
