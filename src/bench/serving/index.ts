export { type LoadRequest, traceLoad, uniformLoad } from "./load-requests.ts";
export { type LoadReport, runLoad } from "./load.ts";
