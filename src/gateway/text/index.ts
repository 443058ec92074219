export { TextWorker } from "./text-worker.ts";
