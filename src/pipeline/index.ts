export { compareMethods } from "./comparison.ts";
export { createPipeline, type Method, type Pipeline } from "./pipeline.ts";
export { drawSvg, drawText, pictureRows } from "./picture.ts";
export { executedTimeline, runPipeline, verifyRun } from "./run-pipeline.ts";
export { scheduleOf } from "./schedule.ts";
export {
  bubblesOf,
  makespanOf,
  peakActivations,
  pictureDurations,
  type Timeline,
  timelineOf,
} from "./timeline.ts";
