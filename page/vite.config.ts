import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

// The service sends a strict content security policy: nothing inline, nothing from elsewhere. So nothing is made a data: address,
// and there is no preload script in the page. The index is served at `/`, all else below `/page/`.
export default defineConfig({
  base: "/page/",
  plugins: [svelte()],
  build: { assetsInlineLimit: 0, modulePreload: { polyfill: false }, target: "es2022", reportCompressedSize: false },
  server: { proxy: { "/api": process.env.ONEX_SERVICE ?? "http://127.0.0.1:8642" } },
});
