export { parseWire, Wire, type WireRate } from "./wire.ts";
export { Wires } from "./wires.ts";
