/** A model of the hub, as people write it: `org/name`, perhaps with `@revision`. */
export interface HubModel {
  readonly organisation: string;
  readonly name: string;
  /** A branch, a tag or a commit. */
  readonly revision: string;
}

const PART = "[\\w][\\w.-]*";
const HUB_MODEL = new RegExp(`^(${PART})/(${PART})(?:@([\\w][\\w./-]*))?$`);

/** Undefined where the text cannot be a model's name. */
export function parseHubModel(text: string): HubModel | undefined {
  const [, organisation, name, revision = "main"] = HUB_MODEL.exec(text) ?? [];
  if (organisation === undefined || revision.split("/").includes("..")) return undefined;
  return { organisation, name, revision };
}
