/** Pixels. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

export interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** A way by a wire's middle, or straight where there is none. */
export interface Route {
  readonly start: Point;
  readonly middle: Point;
  readonly end: Point;
}

/** From one seat's middle to the next. */
const SEAT = 10;

export function routeOf(start: Point, wire: Point | undefined, end: Point): Route {
  const straight = { x: (start.x + end.x) / 2, y: (start.y + end.y) / 2 };
  return { start, middle: wire ?? straight, end };
}

/** Where a share of the way has led: a parabola through the middle at one half. */
export function pointOn({ start, middle, end }: Route, share: number): Point {
  const rest = 1 - share;
  const along = (from: number, by: number, to: number) => {
    const control = 2 * by - (from + to) / 2;
    return rest * rest * from + 2 * rest * share * control + share * share * to;
  };
  return { x: along(start.x, middle.x, end.x), y: along(start.y, middle.y, end.y) };
}

/** The middle of a numbered seat, in rows from the left; those who find none stand on the last. */
export function seatIn({ left, top, width, height }: Box, seat: number): Point {
  const columns = Math.max(1, Math.floor(width / SEAT));
  const rows = Math.max(1, Math.floor(height / SEAT));
  const taken = Math.min(seat, columns * rows - 1);
  return {
    x: left + SEAT * ((taken % columns) + 0.5),
    y: top + SEAT * (Math.floor(taken / columns) + 0.5),
  };
}
