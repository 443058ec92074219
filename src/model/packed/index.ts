export { PackedFile, type PackedFor, type PackedState, stripPlaces } from "./packed-file.ts";
