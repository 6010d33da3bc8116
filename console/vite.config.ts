import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";
import { speedscope } from "./speedscope";

export default defineConfig({
  plugins: [react(), speedscope()],
  build: {
    assetsInlineLimit: 0, // the page's policy allows no data: addresses
    modulePreload: { polyfill: false }, // an inline script, which the policy forbids
    reportCompressedSize: false,
    chunkSizeWarningLimit: 1000,
  },
  worker: { format: "es" },
});
