import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { defaultPrices } from "./deepseek-prices.ts";
import { PriceBook, PriceBookError, type Price } from "./price-book.ts";

const january = Date.parse("2026-01-01T00:00:00Z");
const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

const entry = { name: "any", from: "2026-01-01T00:00:00Z", hit: "1", miss: "2", output: "3" };
const cheap = { hit: "0.1", miss: "0.2", output: "0.3" };

const clock = (minute: number) =>
  new Date(january + minute * MINUTE).toISOString().slice("2026-01-01T".length).slice(0, 5);

const tell = ({ window, rates }: Price) => [window, rates.hit, rates.miss, rates.output];

test("DeepSeek's R1 price falls at night, from the first night to the last", () => {
  const day = [null, 140_000n, 550_000n, 2_190_000n];
  const night = ["off-peak", 35_000n, 135_000n, 550_000n];
  const at = (time: string, model = "calf") => tell(defaultPrices.priceAt(model, Date.parse(time)));
  assert.deepEqual(at("2025-02-26T16:29:59.999Z"), day);
  assert.deepEqual(at("2025-02-26T16:30:00Z"), night);
  assert.deepEqual(at("2025-02-27T00:29:59.999Z"), night);
  assert.deepEqual(at("2025-02-27T00:30:00Z"), day);
  assert.deepEqual(at("2025-09-04T17:00:00Z"), night);
  assert.deepEqual(at("2025-09-05T17:00:00Z"), day);
  assert.deepEqual(at("2025-03-01T12:00:00Z", "deepseek-chat"), [
    null,
    70_000n,
    270_000n,
    1_100_000n,
  ]);
  assert.deepEqual(at("2025-03-01T20:00:00Z", "deepseek-chat"), night);
  assert.deepEqual(
    tell(defaultPrices.standardPriceAt("calf", Date.parse("2025-02-27T20:00:00Z"))),
    day,
  );
});

test("a window holds each minute from its start to the minute before its end, over midnight too", () => {
  const minutes = fc.integer({ min: 0, max: 24 * 60 - 1 });
  fc.assert(
    fc.property(minutes, minutes, minutes, fc.nat({ max: 400 }), (from, to, minute, day) => {
      fc.pre(from !== to);
      const window = { name: "night", from: clock(from), to: clock(to), ...cheap };
      const book = PriceBook.parse({ prices: [{ ...entry, windows: [window] }] });
      const length = (to - from + 24 * 60) % (24 * 60);
      const inside = (minute - from + 24 * 60) % (24 * 60) < length;
      for (const within of [0, MINUTE - 1]) {
        const time = january + day * DAY + minute * MINUTE + within;
        assert.equal(book.priceAt("calf", time).window, inside ? "night" : null);
      }
    }),
  );
});

test("a window over midnight belongs to the day on which it begins", () => {
  const window = { name: "weekend", from: "22:00", to: "06:00", days: ["fri", "sat"], ...cheap };
  const book = PriceBook.parse({ prices: [{ ...entry, windows: [window] }] });
  const open = (time: string) => book.priceAt("calf", Date.parse(time)).window !== null;
  assert.equal(open("2026-01-02T05:00:00Z"), false, "Friday morning follows Thursday");
  assert.equal(open("2026-01-02T23:00:00Z"), true, "Friday night");
  assert.equal(open("2026-01-04T05:59:00Z"), true, "Sunday morning follows Saturday");
  assert.equal(open("2026-01-04T23:00:00Z"), false, "Sunday night");
  const sunday = PriceBook.parse({
    prices: [{ ...entry, windows: [{ ...window, days: ["sat"] }] }],
  });
  assert.equal(sunday.priceAt("calf", Date.parse("2026-01-04T01:00:00Z")).window, "weekend");
});

test("daytime windows on weekdays are open on weekdays, and the first that is open counts", () => {
  const peak = { name: "peak", from: "01:00", to: "04:00", days: ["mon", "tue"], ...cheap };
  const all = { name: "morning", from: "00:00", to: "12:00", ...cheap };
  const book = PriceBook.parse({ prices: [{ ...entry, windows: [peak, all] }] });
  const name = (time: string) => book.priceAt("calf", Date.parse(time)).window;
  assert.equal(name("2026-01-05T01:00:00Z"), "peak");
  assert.equal(name("2026-01-05T04:00:00Z"), "morning");
  assert.equal(name("2026-01-07T01:00:00Z"), "morning");
  assert.equal(name("2026-01-07T12:00:00Z"), null);
});

test("the newest valid entry counts, a model's own before everybody's", () => {
  const book = PriceBook.parse({
    prices: [
      { ...entry, name: "new", from: "2026-06-01T00:00:00Z" },
      { ...entry, name: "old" },
      { ...entry, name: "own", from: "2026-03-01T00:00:00+08:00", models: ["calf", "cow"] },
    ],
  });
  const name = (model: string, time: string) => book.priceAt(model, Date.parse(time)).name;
  assert.equal(name("calf", "2026-02-28T15:59:59Z"), "old");
  assert.equal(name("calf", "2026-02-28T16:00:00Z"), "own");
  assert.equal(name("calf", "2026-07-01T00:00:00Z"), "own");
  assert.equal(name("bull", "2026-05-31T23:59:59.999Z"), "old");
  assert.equal(name("bull", "2026-06-01T00:00:00Z"), "new");
  assert.throws(() => book.priceAt("calf", january - 1), {
    name: "PriceBookError",
    message: "no price for calf at 2025-12-31T23:59:59.999Z",
  });
});

test("tenants and models may be unbilled", () => {
  const book = PriceBook.parse({
    prices: [entry],
    unbilled: { tenants: ["staff"], models: ["demo"] },
  });
  assert.equal(book.unbilledReason("staff", "calf"), "tenant");
  assert.equal(book.unbilledReason("default", "demo"), "model");
  assert.equal(book.unbilledReason("default", "calf"), undefined);
});

test("a file that is wrong is refused with the file's name and the field's", async () => {
  const directory = await mkdtemp(join(tmpdir(), "daysix-prices-"));
  const path = join(directory, "prices.json");
  const refusal = async (json: unknown) => {
    await writeFile(path, typeof json === "string" ? json : JSON.stringify(json));
    const error = await PriceBook.load(path).catch((reason: unknown) => reason);
    assert.ok(error instanceof PriceBookError);
    assert.ok(error.message.startsWith(`${path}: `), error.message);
    return error.message.slice(path.length + 2);
  };
  const window = { name: "night", from: "22:00", to: "06:00", ...cheap };
  try {
    assert.match(await refusal("{"), /JSON/);
    assert.match(await refusal({ prices: [] }), /^prices: /);
    assert.match(
      await refusal({ prices: [{ ...entry, miss: "0.1234567" }] }),
      /^prices\[0\]\.miss: expected dollars per million tokens, at most 6 decimals$/,
    );
    assert.match(
      await refusal({ prices: [{ ...entry, from: "2026-01-01" }] }),
      /^prices\[0\]\.from: exp/,
    );
    assert.match(await refusal({ prices: [{ ...entry, mis: "1" }] }), /^prices\[0\]: .*"mis"/);
    for (const wrong of [
      { from: "24:00" },
      { to: "7:00" },
      { days: ["friday"] },
      { to: "22:00" },
    ]) {
      const prices = [{ ...entry, windows: [{ ...window, ...wrong }] }];
      assert.match(await refusal({ prices }), /^prices\[0\]\.windows\[0\]/, JSON.stringify(wrong));
    }
  } finally {
    await rm(directory, { recursive: true });
  }
});

test("the price book of the documentation is one, and its night is from Monday to Friday", async () => {
  const page = await readFile(new URL("../../../docs/prices.md", import.meta.url), "utf8");
  const book = PriceBook.parse(JSON.parse(/```json\n(.*?)```/s.exec(page)?.[1] ?? ""));
  const at = (time: string, model = "calf") => book.priceAt(model, Date.parse(time));
  assert.equal(at("2026-01-05T17:00:00Z").window, "night");
  assert.equal(at("2026-01-10T00:29:00Z").window, "night", "Friday's");
  assert.equal(at("2026-01-10T17:00:00Z").window, null, "a Saturday");
  assert.equal(at("2026-01-05T17:00:00Z", "deepseek-v3").name, "big");
});
