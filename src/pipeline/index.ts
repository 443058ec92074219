export { compareMethods } from "./comparison.ts";
export { createPipeline, type Method, type Pipeline } from "./pipeline.ts";
export { drawSvg, drawText, scheduleRows } from "./picture.ts";
export { scheduleOf } from "./schedule.ts";
export {
  bubblesOf,
  makespanOf,
  peakActivations,
  pictureDurations,
  timelineOf,
} from "./timeline.ts";
