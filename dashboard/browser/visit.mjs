/**
 * Visits the page as a person would, in Chromium: `npm run check:browser`. Starts servers of its own, and
 * fails at the first thing that is not as it should be.
 */
import assert from "node:assert/strict";
import { faultsOf } from "./accessibility.mjs";
import { startBrowser } from "./browser.mjs";
import { startServer } from "./server.mjs";

const desktop = { width: 1400, height: 1000 };
const phone = { width: 360, height: 780 };
const windows = [desktop, { width: 820, height: 1180 }, phone];
/** What processor time is compared over. */
const IDLE_MS = 40_000;
/** After the start, and after the page was loaded. */
const SETTLED_MS = 10_000;
/** Of a core. */
const MOST_LOAD = 0.01;

const browser = await startBrowser();
const numberOf = (text) => Number(text.replaceAll(",", ""));
const says = (locator, pattern, timeout = 20_000) =>
  locator.filter({ hasText: pattern }).first().waitFor({ timeout });
const done = (what) => console.log(`✓ ${what}`);

/** Share of a core that a server takes while nobody asks for anything. */
async function idleShare(server) {
  const before = server.processorSeconds();
  await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
  return ((server.processorSeconds() - before) * 1000) / IDLE_MS;
}

async function ask(page, question) {
  await page.fill("#question", question);
  await page.press("#question", "Enter");
}

/** The answer's note, once it has one. */
async function answered(page) {
  const note = page.locator(".log article").last().locator(".turn-row .note");
  await note.waitFor({ timeout: 60_000 });
  return note.innerText();
}

/** Columns of the first chart's pixels through which its line of output tokens goes. */
const chartColumns = (page) =>
  page
    .locator(".plot canvas")
    .first()
    .evaluate((canvas) => {
      const { width, height } = canvas;
      const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
      const color = getComputedStyle(canvas).getPropertyValue("--decode");
      const [red, green, blue] = [1, 3, 5].map((at) =>
        parseInt(color.trim().slice(at, at + 2), 16),
      );
      const columns = new Set();
      for (let i = 0; i < data.length; i += 4) {
        const isLine = data[i] === red && data[i + 1] === green && data[i + 2] === blue;
        if (isLine) columns.add((i / 4) % width);
      }
      return columns.size;
    });

async function load(server) {
  const page = await browser.open(server.url, desktop);
  await page.waitForTimeout(SETTLED_MS);
  const watched = await idleShare(server);
  await page.context().close();
  const alone = await idleShare(server);
  const percent = (share) => `${(100 * share).toFixed(2)} %`;
  const told = `${percent(alone)} of a core idle, ${percent(watched)} with a viewer`;
  assert.ok(watched - alone < MOST_LOAD, told);
  done(`the page costs the server little: ${told}`);
}

async function readNumbers(server) {
  const page = await browser.open(server.url, desktop);
  await says(page.locator(".connection.well"), /^live$/);
  assert.equal(await page.locator(".rank").count(), 4);
  await ask(page, "What is 47 + 38?");
  const note = await answered(page);
  const [, input, cached, output] = /^(\d+) tokens in, (\d+) cached · (\d+) out$/.exec(note) ?? [];
  assert.ok(output, note);
  assert.match(await page.locator(".log .markdown").last().innerText(), /85/);
  const counter = async (name) =>
    numberOf(await page.locator(".counters div", { hasText: name }).locator("b").innerText());
  await says(page.locator(".counters"), new RegExp(`Output tokens\\s*${output}`));
  const read = await Promise.all(
    ["Input tokens", "Cache hits", "Cache misses", "Output tokens"].map(counter),
  );
  assert.deepEqual(
    read,
    [input, cached, input - cached, output].map(Number),
    "usage is what it says",
  );
  assert.deepEqual(
    [read[0], read[1], read[3]],
    await Promise.all([
      server.metric("\\w+[:_]prompt_tokens_total"),
      server.metric("\\w+[:_](?:prompt_cache_hit_tokens|prefix_cache_hits)_total"),
      server.metric("\\w+[:_](?:completion|generation)_tokens_total"),
    ]),
    "/metrics says the same",
  );
  done(`usage, page and /metrics agree: ${read.join(", ")}`);
  await page.context().close();
}

async function watchLoad(server) {
  const page = await browser.open(server.url, desktop);
  await page.getByRole("button", { name: "Load it" }).click();
  await says(page.locator(".wire.right.busy"), /\d tokens\/s/);
  assert.match(await page.locator(".wire.right").innerText(), /B\/s\s+[\d.]+ requests\/s/);
  await page.waitForFunction(() => {
    const canvas = document.querySelector(".flow");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.some((value) => value > 0);
  });
  await page.waitForTimeout(3000);
  assert.match(
    await page.locator(".plot", { hasText: "Time to first token" }).innerText(),
    /p95\s+[\d.]+ m?s/,
  );
  assert.match(
    await page.locator(".plot", { hasText: "Time per token" }).innerText(),
    /p50\s+[\d.]+ m?s/,
  );
  assert.match(await page.locator(".unit.unit, .unit").last().innerText(), /overlap\s+[\d.]+%/);
  await page.waitForTimeout(5000);
  const before = await chartColumns(page);
  await page.reload();
  await page.waitForSelector(".rank");
  await page.waitForTimeout(2500);
  const after = await chartColumns(page);
  const told = `charts survive a reload: ${before} columns, then ${after}`;
  assert.ok(before > 10 && after >= before, told);
  await says(page.locator(".api"), /0 waiting 0 in prefill 0 in decode/);
  done(
    "a demo load is seen on the wire, in flight and in charts, which survive a reload; leaving ends it",
  );
  await page.getByRole("button", { name: "Load it" }).click();
  await page.getByRole("button", { name: /Stop the load/ }).click();
  await page.getByRole("button", { name: "Load it" }).waitFor();
  await says(page.locator(".api"), /0 waiting 0 in prefill 0 in decode/);
  done("the load stops when it is told to");
  await page.context().close();
}

/** In the page: presses Stop at the first word, before the answer can be over. */
const pressStop = () =>
  new Promise((resolve) => {
    const observer = new MutationObserver(() => {
      const stop = [...document.querySelectorAll(".chat button")].find(
        ({ textContent }) => textContent === "Stop",
      );
      if (!stop || !document.querySelector(".log article.live :is(.thinking, .markdown)")) return;
      observer.disconnect();
      stop.click();
      resolve();
    });
    observer.observe(document.body, { subtree: true, childList: true });
  });

async function chat(server) {
  const permissions = ["clipboard-read", "clipboard-write"];
  const page = await browser.open(server.url, { ...desktop, permissions });
  const stopped = page.evaluate(pressStop);
  await ask(page, "Tell me a long story about a fox.");
  await stopped;
  assert.equal(await answered(page), "stopped");
  await ask(page, "What is 2 + 2?");
  await answered(page);
  await page.getByRole("button", { name: "Copy" }).last().click();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.match(copied, /4/);
  await page.getByRole("button", { name: "Regenerate" }).click();
  await page.locator(".log article.live").waitFor({ state: "detached" });
  await answered(page);
  assert.equal(await page.locator(".log article").count(), 2);
  done("an answer can be stopped, copied and asked for again");

  await page.route("**/v1/chat/completions", (route) => route.abort());
  await ask(page, "Will this fail?");
  await page.getByRole("button", { name: "Try again" }).waitFor();
  await page.unroute("**/v1/chat/completions");
  browser.forget(/ERR_FAILED/);
  const [request] = await Promise.all([
    page.waitForRequest("**/v1/chat/completions"),
    ask(page, "What is 3 + 4?"),
  ]);
  const said = request.postDataJSON().messages.map(({ content }) => content);
  assert.ok(said.includes("What is 2 + 2?") && !said.includes("Will this fail?"), said.join(" | "));
  await answered(page);
  const questions = () => page.locator(".question").allInnerTexts();
  const before = await questions();
  assert.equal(before.length, 4);
  await page.waitForTimeout(1200);
  await page.reload();
  await page.waitForSelector(".question");
  assert.deepEqual(await questions(), before);
  await page.getByRole("button", { name: "New chat" }).click();
  await page.locator(".question").first().waitFor({ state: "detached" });
  await page.waitForTimeout(1200);
  await page.reload();
  await says(page.locator(".log"), /Ask something/);
  await ask(page, "Tell me a long story about a fox.");
  await page.locator(".log article.live :is(.thinking, .markdown)").waitFor();
  await page.getByRole("button", { name: "New chat" }).click();
  await page.waitForTimeout(1200);
  await says(page.locator(".log"), /Ask something/);
  done("failed turns are not sent, the conversation survives a reload, and a new chat ends it");
  await page.context().close();
}

async function fits(server) {
  for (const size of windows) {
    const page = await browser.open(server.url, size);
    const width = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(width <= 0, `${size.width}: ${width} pixels wider than its window`);
    const view = page.getByRole("button", { name: "Chat", exact: true });
    if (await view.isVisible()) await view.click();
    const box = await page.locator("#question").boundingBox();
    assert.ok(box && box.y + box.height <= size.height, `${size.width}: the chat is at hand`);
    await page.context().close();
  }
  done("the page fits its window, and the chat is a click away at most");
}

async function accessible(server) {
  for (const size of windows) {
    for (const colorScheme of ["light", "dark"]) {
      const page = await browser.open(server.url, { ...size, colorScheme, bypassCSP: true });
      const look = async (state) => {
        const faults = await faultsOf(page);
        assert.deepEqual(faults, [], `${size.width} ${colorScheme} ${state}`);
      };
      await look("idle");
      await page.getByRole("button", { name: "Load it" }).click();
      await says(page.locator(".wire.busy"), /tokens/);
      await look("loaded");
      await page.getByRole("button", { name: /Stop the load/ }).click();
      const view = page.getByRole("button", { name: "Chat", exact: true });
      if (await view.isVisible()) await view.click();
      await ask(page, "What is 5 + 6?");
      await answered(page);
      await look("chat");
      await page.context().close();
    }
  }
  done("axe-core finds no serious fault: 360, 820, 1400 px, light, dark, idle, loaded, chat");
}

/** Nothing is shown or asked without the key, and all of it with the key, which no storage keeps. */
async function useKey() {
  const server = await startServer("--topology", "combined=1x1", "--api-key", "s3cret");
  const page = await browser.open(server.url, { ...phone, bypassCSP: true, locked: true });
  assert.deepEqual(await faultsOf(page), []);
  await page.fill("#key", "wrong");
  await page.press("#key", "Enter");
  await says(page.locator("[role=alert]"), /did not accept/);
  browser.forget(/401/);
  await page.fill("#key", "s3cret");
  await page.press("#key", "Enter");
  await says(page.locator(".connection.well"), /^live$/);
  await page.getByRole("button", { name: "Load it" }).click();
  await says(page.locator(".api"), /[1-9]\d* in decode/);
  const kept = await page.evaluate(() => JSON.stringify([localStorage, sessionStorage]));
  assert.ok(!kept.includes("s3cret"));
  await page.reload();
  await page.locator("#key").waitFor();
  browser.forget(/401/);
  done("a server with a key shows nothing without it, and the page forgets it");
  await page.context().close();
  await server.stop();
}

/** What is lost and what drains is in plain sight. */
async function seeLoss() {
  const server = await startServer("--topology", "prefill=2x1,decode=2x1", "--nodes", "1+1+1+1");
  const page = await browser.open(server.url, { ...desktop, bypassCSP: true });
  await says(page.locator(".connection.well"), /^live$/);
  server.killNode();
  const header = page.locator(".connection.ill");
  await says(header, /(?:rank|unit) \d is lost/);
  const told = await header.innerText();
  await says(page.locator(".unit .state.lost"), /lost/);
  assert.deepEqual(await faultsOf(page), []);
  await ask(page, "What is 7 + 8?");
  assert.match(await answered(page), /tokens in/);
  done(`a loss is told of (${told}), and others answer`);
  await says(page.locator(".connection.well"), /^live$/, 60_000);
  assert.equal(await page.locator(".rank").count(), 4);
  done("a unit that starts anew is told of when it serves");
  await server.stop();
  await page.context().close();
}

async function seeDraining() {
  const server = await startServer("--topology", "combined=1x1");
  const page = await browser.open(server.url, desktop);
  await ask(page, "Tell me a long story about the sea.");
  await page.locator(".log article.live").waitFor();
  await page.getByRole("button", { name: "Load it" }).click();
  await says(page.locator(".api"), /[1-9]\d* in decode/);
  await says(page.locator(".expert-rank"), /rank 0\s+[1-9]/);
  server.drain();
  await says(page.locator(".connection.changing"), /draining/);
  await says(page.locator(".connection.lost"), /connection lost/, 60_000);
  browser.forget(/ERR_|503/);
  done("a rank alone shows its experts; draining and a lost connection are told of");
  await server.stop();
  await page.context().close();
}

const server = await startServer("--topology", "prefill=1x2,decode=1x2");
await load(server);
await readNumbers(server);
await watchLoad(server);
await chat(server);
await fits(server);
await accessible(server);
await server.stop();
await useKey();
await seeLoss();
await seeDraining();
assert.deepEqual(browser.problems, []);
done("no error in a console, and no request to anybody else");
await browser.close();
