/** Makes the pictures of the page in docs/: `npm run docs:screenshots`. */
import { statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { startBrowser } from "./browser.mjs";
import { startServer } from "./server.mjs";

const docs = fileURLToPath(new URL("../../docs", import.meta.url));
/** Of the recording. */
const RECORDED_MS = 9000;
const FRAME_MS = 110;
const WIDTH = 1100;

const pictures = [
  { name: "dashboard-1400-light", width: 1400, height: 1000, colorScheme: "light" },
  { name: "dashboard-1400-dark", width: 1400, height: 1000, colorScheme: "dark" },
  { name: "dashboard-360-light", width: 360, height: 780, colorScheme: "light" },
];

/** A page under load for a while, with a conversation beside it. */
async function picture(browser, url, { name, width, height, colorScheme }) {
  const page = await browser.open(url, { width, height, colorScheme });
  const view = (label) => page.getByRole("button", { name: label, exact: true });
  const narrow = await view("Chat").isVisible();
  if (narrow) await view("Chat").click();
  for (const question of ["What is 47 + 38?", "Who are you?"]) {
    await page.fill("#question", question);
    await page.press("#question", "Enter");
    await page.locator(".log article.live").waitFor();
    await page.locator(".log article.live").waitFor({ state: "detached" });
  }
  if (narrow) {
    await page.screenshot({ path: `${docs}/${name}-chat.png` });
    await view("Cluster").click();
  }
  await page.getByRole("button", { name: "Load it" }).click();
  await page.waitForTimeout(20_000);
  await untilHandedOver(page);
  await page.screenshot({ path: `${docs}/${name}.png`, fullPage: true });
  await page.context().close();
}

/** Requests are on the wire, and those that were are drawn. */
async function untilHandedOver(page) {
  await page.locator(".wire.right.busy").waitFor();
  await page.waitForTimeout(1100);
}

/** The diagram as requests begin to move through it. */
async function recording(browser, url) {
  const page = await browser.open(url, { width: 1400, height: 500, colorScheme: "dark" });
  await page.getByRole("button", { name: "Load it" }).click();
  await page.waitForTimeout(2000);
  const frames = await framesOf(page);
  const images = await Promise.all(
    frames.map(({ data }) => sharp(data).resize({ width: WIDTH }).png().toBuffer()),
  );
  const delay = frames.map(({ time }, index) =>
    index + 1 < frames.length ? frames[index + 1].time - time : FRAME_MS,
  );
  const file = `${docs}/dashboard.webp`;
  await sharp(images, { join: { animated: true } })
    .webp({ quality: 75, effort: 6, minSize: true, mixed: true, loop: 0, delay })
    .toFile(file);
  console.log(`${file}: ${frames.length} frames, ${(statSync(file).size / 1e6).toFixed(2)} MB`);
  await page.context().close();
}

/** What the browser draws, with its time in milliseconds; of frames that are too close, one. */
async function framesOf(page) {
  const session = await page.context().newCDPSession(page);
  const frames = [];
  session.on("Page.screencastFrame", ({ data, metadata, sessionId }) => {
    const time = Math.round(1000 * metadata.timestamp);
    const last = frames.at(-1);
    if (!last || time - last.time >= FRAME_MS)
      frames.push({ time, data: Buffer.from(data, "base64") });
    session.send("Page.screencastFrameAck", { sessionId }).catch(() => undefined);
  });
  await session.send("Page.startScreencast", { format: "png" });
  await page.waitForTimeout(RECORDED_MS);
  await session.send("Page.stopScreencast");
  return frames;
}

const server = await startServer("--topology", "prefill=1x2,decode=1x2");
const browser = await startBrowser();
await recording(browser, server.url);
for (const each of pictures) await picture(browser, server.url, each);
await browser.close();
await server.stop();
