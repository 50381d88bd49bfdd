/* browsers.mjs - the distribution's browsers, headless, with one face for tests: Chromium driven by
 * playwright-core, Firefox by puppeteer-core over WebDriver BiDi. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { folder } from "./native.mjs";

const LIMIT_MS = 90000;

function findProgram(names) {
    for (const folder of (process.env.PATH ?? "").split(delimiter)) {
        for (const name of names) {
            try {
                accessSync(join(folder, name), constants.X_OK);
                return join(folder, name);
            } catch { /* look on */ }
        }
    }
    return null;
}

/* ---- What differs ---------------------------------------------------------------------------- */

const chromium = {
    programs: ["chromium", "chromium-browser", "google-chrome"],
    library: "playwright-core",
    start: (library, executablePath) => library.chromium.launch({
        executablePath, args: ["--disable-gpu", "--disable-quic", "--disable-dev-shm-usage"] }),
    newContext: (browser) => browser.newContext(),
    prepare: (page, script) => page.addInitScript(script),

    async view(page, width, height, colorScheme) {
        await page.setViewportSize({ width, height });
        await page.emulateMedia({ colorScheme });
    },
};

/* Nothing that asks the network of its own accord, beside what puppeteer turns off. */
const PREFERENCES = {
    "captivedetect.canonicalURL": "", "network.captive-portal-service.enabled": false,
    "network.connectivity-service.enabled": false, "services.settings.server": "data:,",
};
const SCHEME = "layout.css.prefers-color-scheme.content-override"; /* 0: dark, 1: light */

const firefox = {
    programs: ["firefox-esr", "firefox"],
    library: "puppeteer-core",
    start: (library, executablePath, { preferences, dark }) => library.launch({
        browser: "firefox", executablePath, protocolTimeout: LIMIT_MS,
        env: { ...process.env, HOME: folder }, /* root's Firefox starts in root's home alone */
        extraPrefsFirefox: { ...PREFERENCES, [SCHEME]: dark ? 0 : 1, ...preferences } }),
    newContext: (browser) => browser.createBrowserContext(),
    prepare: (page, script) => page.evaluateOnNewDocument(script),
    view: (page, width, height) => page.setViewport({ width, height }), /* in its one scheme */
};

/* ---- What does not --------------------------------------------------------------------------- */

class Page {
    #own;

    /** page: the library's; own: whether nobody else is in its context. */
    constructor(kind, page, context, own) {
        Object.assign(this, { kind, page, context });
        this.#own = own;
    }

    /** What a function, or an async one, returns in the page; args and results are JSON. */
    async run(work, ...args) {
        let timer;
        const late = new Promise((_, reject) => {
            timer = setTimeout(() => reject(new Error(`no answer of ${work}`)), LIMIT_MS);
        });
        const done = this.page.evaluate(
            `(async () => JSON.stringify(await (${work})(...${JSON.stringify(args)})))()`);
        const json = await Promise.race([done, late]).finally(() => clearTimeout(timer));
        return json === undefined ? undefined : JSON.parse(json);
    }

    go(url) {
        return this.page.goto(url);
    }

    /** The same for a page that may load itself once more while it loads. */
    goRestless(url) {
        return this.page.goto(url).catch(() => {});
    }

    /** A window of this size; scheme: "light" or "dark", which in Firefox the browser is. */
    view(width, height, scheme) {
        return this.kind.view(this.page, width, height, scheme);
    }

    /** A PNG of all of it. */
    picture() {
        return this.page.screenshot({ fullPage: true });
    }

    close() {
        return this.#own ? this.context.close() : this.page.close();
    }
}

class Browser {
    #kind;

    constructor(kind, browser) {
        this.#kind = kind;
        this.browser = browser;
    }

    /** A page whose storage nobody else sees; of `context`, to share another's. `prepare` is a
     * function that runs in each of its documents before anything else does. */
    async open(url, { context, prepare } = {}) {
        const within = context ?? await this.#kind.newContext(this.browser);
        const page = new Page(this.#kind, await within.newPage(), within, context === undefined);
        if (prepare) {
            await this.#kind.prepare(page.page, `(${prepare})()`);
        }
        await page.go(url);
        return page;
    }

    close() {
        return this.browser.close();
    }
}

/** name: "chromium" or "firefox" -> {browser}, or {absent: why there is none}. preferences, dark:
 * of Firefox. */
export async function launch(name, options = {}) {
    const kind = { chromium, firefox }[name], program = findProgram(kind.programs);
    if (!program) {
        return { absent: `no ${name} is installed` };
    }
    let library;
    try {
        library = await import(kind.library);
    } catch (e) {
        if (e.code !== "ERR_MODULE_NOT_FOUND") {
            throw e;
        }
        return { absent: `${kind.library} is not installed (npm ci --prefix tests/web)` };
    }
    return { browser: new Browser(kind, await kind.start(library.default, program, options)) };
}
