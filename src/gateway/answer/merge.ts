/**
 * The values of several sources as they come, in each source's own order. A source is asked for
 * its next value only when its last one has been taken, so a slow reader holds one value of each.
 */
export async function* merge<T>(sources: readonly AsyncGenerator<T>[]): AsyncGenerator<T> {
  const arrived: { source: AsyncGenerator<T>; result: Promise<IteratorResult<T>> }[] = [];
  let wake = () => {};
  const advance = (source: AsyncGenerator<T>) => {
    const result = source.next();
    const arrive = () => {
      arrived.push({ source, result });
      wake();
    };
    result.then(arrive, arrive);
  };
  try {
    for (const source of sources) advance(source);
    for (let live = sources.length; live > 0;) {
      while (arrived.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      for (const { source, result } of arrived.splice(0)) {
        const { done, value } = await result;
        if (done) {
          live--;
        } else {
          yield value;
          advance(source);
        }
      }
    }
  } finally {
    for (const source of sources) void source.return(undefined).catch(() => {});
  }
}
