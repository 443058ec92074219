import { useEffect, useRef } from "preact/hooks";
import type { Journey, StatusSnapshot } from "../src/gateway/status/status-snapshot.ts";
import { HOP_MS, overAt, placeAt, type Place, type Station } from "./journeys.ts";
import { pointOn, routeOf, seatIn, type Box, type Point } from "./routes.ts";

/** What is drawn is so long ago: by then the next snapshot has told what became of it. */
const LAG_MS = 1300;
const RADIUS = 3.5;

/** Between two drawings: smooth enough, and half the work. */
const FRAME_MS = 30;

/** Where stations and wires lie in the diagram, in pixels. */
interface Map2d {
  readonly seats: ReadonlyMap<Station, Box>;
  readonly wires: ReadonlyMap<string, Point>;
}

/** The requests of a diagram, drawn over it as they move; those who cannot see them read the counts. */
export function Flow({ status }: { status: StatusSnapshot }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const drawing = useRef<Drawing>(null);

  useEffect(() => {
    const started = new Drawing(canvas.current as HTMLCanvasElement);
    drawing.current = started;
    return () => started.stop();
  }, []);
  useEffect(() => drawing.current?.hear(status), [status]);

  return <canvas class="flow" ref={canvas} aria-hidden="true" />;
}

/** Draws while something moves, and rests while nothing does. */
class Drawing {
  readonly #canvas: HTMLCanvasElement;
  readonly #diagram: HTMLElement;
  readonly #observer: ResizeObserver;
  readonly #still = matchMedia("(prefers-reduced-motion: reduce)");
  /** By number. */
  readonly #journeys = new Map<number, Journey>();
  /** The seat of each journey at its station. */
  readonly #seated = new Map<number, { readonly station: Station; readonly seat: number }>();
  #map: Map2d = { seats: new Map(), wires: new Map() };
  #colors = { waiting: "", prefill: "", decode: "" };
  /** The server's clock less this page's. */
  #ahead = -Infinity;
  #frame = 0;
  #drawnAt = 0;

  constructor(canvas: HTMLCanvasElement) {
    this.#canvas = canvas;
    this.#diagram = canvas.parentElement as HTMLElement;
    this.#observer = new ResizeObserver(() => this.#measure());
    this.#observer.observe(this.#diagram);
  }

  hear({ time, journeys }: StatusSnapshot): void {
    const ahead = time - performance.now();
    // The snapshot that took least says what time it is; a clock that was set back starts anew.
    this.#ahead = ahead < this.#ahead - 2000 ? ahead : Math.max(this.#ahead, ahead);
    for (const journey of journeys) this.#journeys.set(journey.number, journey);
    this.#measure();
    this.#frame ||= requestAnimationFrame(this.#draw);
  }

  stop(): void {
    cancelAnimationFrame(this.#frame);
    this.#observer.disconnect();
  }

  #measure(): void {
    const { left, top, width, height } = this.#diagram.getBoundingClientRect();
    const scale = devicePixelRatio;
    if (this.#canvas.width !== Math.round(width * scale)) this.#canvas.width = width * scale;
    if (this.#canvas.height !== Math.round(height * scale)) this.#canvas.height = height * scale;
    const boxOf = (element: Element): Box => {
      const box = element.getBoundingClientRect();
      return { left: box.left - left, top: box.top - top, width: box.width, height: box.height };
    };
    const all = (selector: string) => [...this.#diagram.querySelectorAll<HTMLElement>(selector)];
    this.#map = {
      seats: new Map(
        all("[data-station]").map((element): [Station, Box] => {
          const { station = "" } = element.dataset;
          return [station === "api" ? "api" : Number(station), boxOf(element)];
        }),
      ),
      wires: new Map(
        all("[data-wire]").map((element): [string, Point] => {
          const box = boxOf(element);
          const point = { x: box.left + box.width / 2, y: box.top + box.height / 2 };
          return [element.dataset["wire"] ?? "", point];
        }),
      ),
    };
    const style = getComputedStyle(this.#diagram);
    const color = (name: string) => style.getPropertyValue(name).trim();
    this.#colors = {
      waiting: color("--heat"),
      prefill: color("--prefill"),
      decode: color("--decode"),
    };
  }

  readonly #draw = (time: number) => {
    this.#frame = this.#journeys.size > 0 ? requestAnimationFrame(this.#draw) : 0;
    if (time - this.#drawnAt < FRAME_MS && this.#frame > 0) return;
    this.#drawnAt = time;
    this.#paint();
  };

  #paint(): void {
    const context = this.#canvas.getContext("2d") as CanvasRenderingContext2D;
    const now = performance.now() + this.#ahead - LAG_MS;
    const hop = this.#still.matches ? 0 : HOP_MS;
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    for (const journey of this.#journeys.values()) {
      const place = placeAt(journey, now, hop);
      if (place) this.#dot(context, journey, place);
      else if ((overAt(journey, hop) ?? Infinity) <= now) this.#forget(journey.number);
    }
  }

  #dot(context: CanvasRenderingContext2D, journey: Journey, place: Place): void {
    const { from, to, progress } = place;
    const start = progress < 1 ? this.#seat(journey.number, from, true) : undefined;
    const end =
      progress < 1 ? this.#arrival(to, journey.number) : this.#seat(journey.number, to, false);
    if (!end) return;
    const wire = this.#map.wires.get(wireOf(place));
    const { x, y } = start ? pointOn(routeOf(start, wire, end), progress) : end;
    context.fillStyle = this.#colorOf(journey, place);
    context.beginPath();
    context.arc(x, y, RADIUS, 0, 2 * Math.PI);
    context.fill();
  }

  #colorOf({ decodeRank }: Journey, { from, to, progress }: Place): string {
    const { waiting, prefill, decode } = this.#colors;
    const at = progress < 0.5 ? from : to;
    if (at === "api") return from === "api" ? waiting : decode;
    return at === decodeRank ? decode : prefill;
  }

  /** The first that is free; who leaves still stands where it sat. */
  #seat(number: number, station: Station, leaving: boolean): Point | undefined {
    const box = this.#map.seats.get(station);
    if (!box) return undefined;
    const seated = this.#seated.get(number);
    if (leaving) {
      const seat = seated?.station === station ? seated.seat : 0;
      return seatIn(box, seat);
    }
    if (seated?.station === station) return seatIn(box, seated.seat);
    const taken = new Set<number>();
    for (const other of this.#seated.values()) {
      if (other.station === station) taken.add(other.seat);
    }
    let seat = 0;
    while (taken.has(seat)) seat++;
    this.#seated.set(number, { station, seat });
    return seatIn(box, seat);
  }

  /** About the middle: those who come together are seen to be several. */
  #arrival(station: Station, number: number): Point | undefined {
    const box = this.#map.seats.get(station);
    if (!box) return undefined;
    const aside = (((number * 5) % 8) / 7 - 0.5) * Math.min(70, box.width - 10);
    return { x: box.left + box.width / 2 + aside, y: box.top + box.height / 2 };
  }

  #forget(number: number): void {
    this.#journeys.delete(number);
    this.#seated.delete(number);
  }
}

/** The wire that a request goes along. */
function wireOf({ from, to }: Place): string {
  if (from === "api") return "prompts";
  return to === "api" ? "answers" : "handover";
}
