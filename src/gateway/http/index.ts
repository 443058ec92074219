export {
  askServer,
  type ChatChunk,
  firstModel,
  modelNames,
  type Server,
  chatChunks,
  serverEvents,
  ServerRefusal,
} from "./api-client.ts";
export { DashboardFiles } from "./dashboard-files.ts";
export { isLoopback } from "./edge.ts";
export { Gateway } from "./gateway.ts";
export type { GatewayOptions } from "./gateway-options.ts";
export { type RunningServer, serveGateway } from "./serve.ts";
