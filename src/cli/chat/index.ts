export { runChat, withChat } from "./chat.ts";
