/**
 * A source's values, read as fast as it speaks, whatever time who takes them needs. `overflow` is
 * told when more than `limit` wait; then the source is read no further. Leaving early does not wait
 * for the source: whoever leaves ends it.
 */
export async function* readAhead<T>(
  source: AsyncIterable<T>,
  limit: number,
  overflow: () => void,
): AsyncGenerator<T> {
  let arrived: T[] = [];
  let isOver = false;
  let wake = () => {};
  const read = async () => {
    for await (const value of source) {
      arrived.push(value);
      wake();
      if (arrived.length > limit) return overflow();
    }
  };
  const over = () => {
    isOver = true;
    wake();
  };
  const reading = read();
  reading.then(over, over);
  for (;;) {
    const values = arrived;
    arrived = [];
    yield* values;
    if (arrived.length > 0) continue;
    if (isOver) break;
    await new Promise<void>((resolve) => (wake = resolve));
  }
  await reading;
}
