export type { EngineDriver } from "./engine-driver.ts";
export { Gateway, type GatewayOptions } from "./gateway.ts";
export type { SamplingDefaults } from "./sampling.ts";
export { serveGateway, type RunningServer } from "./serve.ts";
