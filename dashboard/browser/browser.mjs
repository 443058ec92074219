import { chromium } from "playwright-core";

const { CHROMIUM = "/usr/bin/chromium" } = process.env;

/** A browser that talks to nobody but the pages it opens, and what went wrong on them. */
export async function startBrowser() {
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: [
      ...["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
      ...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
    ],
  });
  return new Browser(browser);
}

class Browser {
  #browser;
  /** Errors of pages, and requests to anyone but their server. */
  problems = [];

  constructor(browser) {
    this.#browser = browser;
  }

  /** Drops problems that were to come. */
  forget(expected) {
    this.problems = this.problems.filter((problem) => !expected.test(problem));
  }

  /** The page in a window of its own, with the cluster, or `locked`. */
  async open(url, { width, height, colorScheme = "light", locked = false, ...options }) {
    const viewport = { width, height };
    const context = await this.#browser.newContext({ viewport, colorScheme, ...options });
    const page = await context.newPage();
    page.on(
      "console",
      (message) => message.type() === "error" && this.problems.push(message.text()),
    );
    page.on("pageerror", (error) => this.problems.push(String(error)));
    page.on("request", (request) => {
      if (!request.url().startsWith(url)) this.problems.push(`asks ${request.url()}`);
    });
    await page.goto(url);
    await page.waitForSelector(locked ? "#key" : ".rank", { state: "attached" });
    return page;
  }

  close() {
    return this.#browser.close();
  }
}
