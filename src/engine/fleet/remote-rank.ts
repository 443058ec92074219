import { parseBody, type NodeMesh } from "../../cluster/index.ts";
import {
  statsSchema,
  type EngineLimits,
  type EngineStats,
  type RankCommand,
  type RankQuestion,
} from "../messages.ts";
import type { NodeOrder, NodeQuestion } from "./node-messages.ts";
import type { RankHandle } from "./rank-handle.ts";

/** A rank of another node. */
export class RemoteRank implements RankHandle {
  readonly limits: EngineLimits;
  readonly #mesh: NodeMesh;
  readonly #node: number;
  readonly #rank: number;

  constructor(mesh: NodeMesh, node: number, rank: number, limits: EngineLimits) {
    this.limits = limits;
    this.#mesh = mesh;
    this.#node = node;
    this.#rank = rank;
  }

  tell(command: RankCommand): void {
    if (!this.#mesh.connected.includes(this.#node)) return;
    const order: NodeOrder = { kind: "command", rank: this.#rank, command };
    this.#mesh.tell(this.#node, order);
  }

  async ask(question: RankQuestion): Promise<EngineStats> {
    const asked: NodeQuestion = { kind: "rank", rank: this.#rank, question };
    return parseBody(await this.#mesh.ask(this.#node, asked), statsSchema);
  }
}
