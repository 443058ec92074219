import { Door, defaultFailureTimeoutMs, systemClock } from "../cluster/index.ts";
import type { EngineOptions } from "../engine/index.ts";

interface Model {
  readonly name: string;
  readonly engine: EngineOptions;
}

/** Of several models those that wait for other nodes do so at one port, which is opened here. */
export async function behindOneDoor(
  models: readonly Model[],
): Promise<{ readonly engines: readonly EngineOptions[]; readonly door: Door | undefined }> {
  const engines = models.map(({ engine }) => engine);
  const waiting = models.filter(({ engine }) => engine.nodes?.await);
  const { await: awaited, failureTimeoutMs } = waiting[0]?.engine.nodes ?? {};
  if (models.length === 1 || !awaited || awaited.listen instanceof Door) {
    return { engines, door: undefined };
  }
  const { listen, secret, refused = () => undefined, listening } = awaited;
  const patience = {
    milliseconds: failureTimeoutMs ?? defaultFailureTimeoutMs,
    clock: systemClock,
  };
  const names = waiting.map(({ name }) => name);
  const door = await Door.open({ listen, secret, patience, models: names, refused });
  listening?.(door.address.port);
  return { engines: models.map((model) => throughDoor(model, door)), door };
}

function throughDoor({ name, engine }: Model, door: Door): EngineOptions {
  if (!engine.nodes?.await) return engine;
  const { listening: _once, ...awaited } = engine.nodes.await;
  return {
    ...engine,
    nodes: { ...engine.nodes, await: { ...awaited, listen: door, model: name } },
  };
}
