import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  build: {
    outDir: "../dist/dashboard",
    emptyOutDir: true,
    // Every file is one of the server's own: its content-security-policy knows no data: URLs.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  // `npx vite dashboard` beside a running `daysix serve`.
  server: { proxy: { "/status": "http://127.0.0.1:8000", "/v1": "http://127.0.0.1:8000" } },
});
