export { askServer, firstModel, modelNames, type Server, serverEvents } from "./api-client.ts";
export { DashboardFiles } from "./dashboard-files.ts";
export { isLoopback } from "./edge.ts";
export { Gateway, type GatewayOptions } from "./gateway.ts";
export { type RunningServer, serveGateway } from "./serve.ts";
