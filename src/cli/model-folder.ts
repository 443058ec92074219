import { stat } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { CachedModel, hubPlaces, parseHubModel } from "../model/index.ts";

/** The folder of a model given as one, or as `org/name[@revision]` that lies in the hub's cache. */
export async function modelFolderOf(model: string): Promise<string> {
  const id = parseHubModel(model);
  const isFolder = await stat(model).then(
    () => true,
    () => false,
  );
  if (!id || isFolder) return model;
  // Whoever reads the folder says that it is not there, and how to get it.
  return (await new CachedModel(hubPlaces(process.env).cache, id).find()) ?? model;
}

/** What a model is served as: its folder's name, which in the hub's cache is a commit's. */
export function modelNameOf(directory: string): string {
  const path = resolve(directory);
  const cached = /models--[^/]+--([^/]+)[/]snapshots[/][0-9a-f]{40}$/.exec(path)?.[1];
  return cached ?? basename(path);
}
