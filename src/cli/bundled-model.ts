import { fileURLToPath } from "node:url";

/** The checkpoint that comes with the package: calf. */
export const bundledModel = fileURLToPath(new URL("../../models/calf", import.meta.url));
