export { type ModelParts, ServedModel } from "./served-model.ts";
export { ServedModels } from "./served-models.ts";
