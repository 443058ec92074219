import { z } from "zod";
import { type Frame, MAXIMUM_RANK, parseFrame } from "../links/index.ts";

const membershipSchema = z.discriminatedUnion("kind", [
  /** From the coordinator to a node that has joined: the nodes that joined before, which it is to dial. */
  z.object({
    kind: z.literal("members"),
    members: z.array(
      z.object({
        node: z.int().min(1),
        address: z.object({ host: z.string().max(256), port: z.int().min(1).max(65_535) }),
      }),
    ),
  }),
  /** To the coordinator: this node has all its links. */
  z.object({ kind: z.literal("meshed") }),
  /** To all: a rank of the sending node has ended, and the node has not. */
  z.object({
    kind: z.literal("rankLost"),
    rank: z.int().min(0).max(MAXIMUM_RANK),
    reason: z.string().max(4096),
  }),
]);

export type MembershipMessage = z.infer<typeof membershipSchema>;

/** @throws FrameError */
export const parseMembership = (frame: Frame): MembershipMessage =>
  parseFrame(frame, "membership", membershipSchema);
