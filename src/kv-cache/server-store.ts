/** What stores that are servers share. */
import { inTime, systemClock } from "../cluster/index.ts";
import { keyOfText, newKeyText } from "./key-text.ts";

const OPEN_MS = 10_000;

/** Without what is secret in it. */
export function shownUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}

/** @throws Error that names the store, for any trouble and after ten seconds */
export async function openServer<Store>(url: URL, opened: () => Promise<Store>): Promise<Store> {
  const name = `cache ${shownUrl(url)}`;
  const late = () => new Error(`${name} has not answered in ${OPEN_MS / 1000} s`);
  try {
    return await inTime(opened(), systemClock, OPEN_MS, late);
  } catch (error) {
    const { message } = error as Error;
    throw message.startsWith(name) ? error : new Error(`${name}: ${message}`, { cause: error });
  }
}

/** A package that only its users install. */
export async function optionalPackage<Module>(
  name: string,
  load: () => Promise<Module>,
): Promise<Module> {
  try {
    return await load();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw new Error(`needs a package that is not installed: npm install ${name}`, { cause: error });
  }
}

/**
 * The key that authenticates a store's blocks, made by the first server that comes: whoever may read
 * the store's own content is trusted.
 * @param create keeps a text if there is none, and returns what there is then
 */
export async function sharedKey(create: (text: string) => Promise<string>): Promise<Buffer> {
  const key = keyOfText(await create(newKeyText()));
  if (!key) throw new Error("its block key holds something else");
  return key;
}
