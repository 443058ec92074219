/**
 * Looks at the page of a running server in Chromium while 50 streams run:
 *   PLAYWRIGHT_CORE=/path/to/playwright-core/index.mjs npm run check:browser -- URL [SHOTS]
 * Fails when it does not show the cluster, stream a chat or move; on a console error, a request to
 * anyone else, or a page wider than its window. Screenshots go to the folder SHOTS.
 */
import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";

const STREAMS = 50;
const WATCH_MS = 25_000;

const [url, shots] = process.argv.slice(2);
const { PLAYWRIGHT_CORE = "", CHROMIUM = "/usr/bin/chromium" } = process.env;
assert.ok(url && PLAYWRIGHT_CORE, "usage: PLAYWRIGHT_CORE=FILE npm run check:browser -- URL");
const { chromium } = await import(pathToFileURL(PLAYWRIGHT_CORE).href);
const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
const problems = [];

/** The page in a window of its own. */
async function open(width, height, colorScheme) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme });
  const page = await context.newPage();
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("request", (request) => {
    if (!request.url().startsWith(url)) problems.push(`asks ${request.url()}`);
  });
  await page.goto(url);
  await page.waitForSelector(".rank");
  return page;
}

async function ask(page, question) {
  await page.fill("#question", question);
  await page.press("#question", "Enter");
  const said = () => document.querySelector(".log article")?.textContent.length > 60;
  await page.waitForFunction(said, null, { timeout: 60_000 });
}

/** Clients that ask again and again until they are stopped; resolves to their answers' number. */
async function load(signal) {
  const { data } = await (await fetch(new URL("/v1/models", url))).json();
  const story = "Please tell me a long story about it and about the sea. ".repeat(4);
  let answers = 0;
  const client = async (number) => {
    const content = `You are a patient teacher. Question ${number % 7}: what comes next? ${story}`;
    const body = { model: data[0].id, stream: true, max_tokens: 60 };
    while (!signal.aborted) {
      const response = await fetch(new URL("/v1/chat/completions", url), {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ ...body, messages: [{ role: "user", content }] }),
      });
      assert.equal(response.status, 200);
      await response.text();
      answers++;
    }
  };
  await Promise.all(Array.from({ length: STREAMS }, (_, number) => client(number)));
  return answers;
}

const stop = new AbortController();
const loaded = load(stop.signal);
const pages = {
  "1400-light": await open(1400, 1000, "light"),
  "1400-dark": await open(1400, 1000, "dark"),
  "820-dark": await open(820, 1180, "dark"),
  "360-light": await open(360, 780, "light"),
};
const [first] = Object.values(pages);
const counters = () => first.locator(".counters b").allInnerTexts();
const before = await counters();
await ask(first, "What is 2 plus 2?");
await ask(pages["1400-dark"], "Tell me a story about a fox.");
await first.waitForTimeout(WATCH_MS);
const after = await counters();
assert.ok(after.filter((value, index) => value !== before[index]).length >= 4, "numbers move");
assert.match(await first.locator(".connection").innerText(), /live/);

for (const [name, page] of Object.entries(pages)) {
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wider <= 0, `${name}: the page is ${wider} pixels wider than its window`);
  if (shots) await page.screenshot({ path: `${shots}/dashboard-${name}.png`, fullPage: true });
}
stop.abort();
console.log(`${await loaded} answers, ${before.join(" ")} -> ${after.join(" ")}`);
assert.deepEqual(problems, []);
await browser.close();
