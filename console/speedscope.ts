// speedscope as its package brings it, beside what is built: the server gives it a document of its own, with a policy
// of its own. Names change with the content, as those of all other files.
import { readdirSync, readFileSync } from "node:fs";
import type { Plugin } from "vite";

const RELEASE = "node_modules/speedscope/dist/release";
const FRAME = "src/flame/speedscope-frame.js";

/** The one file of the package whose name begins and ends so. */
function only(start: string, end: string): string {
  const found = readdirSync(RELEASE).filter((name) => name.startsWith(start) && name.endsWith(end));
  if (found.length !== 1) throw new Error(`speedscope has another shape: ${found.length} files ${start}*${end}`);
  return `${RELEASE}/${found[0]}`;
}

export function speedscope(): Plugin {
  return {
    name: "speedscope",
    apply: "build",
    generateBundle() {
      const emit = (name: string, source: string) =>
        `/${this.getFileName(this.emitFile({ type: "asset", name, source }))}`;
      const program = emit("speedscope.js", readFileSync(only("speedscope-", ".js"), "utf8"));
      // Its font is left out: a frame without an origin may load none.
      const style = readFileSync(only("speedscope-", ".css"), "utf8").replaceAll(/@font-face\s*{[^}]*}/g, "");
      const dress = emit("speedscope.css", style);
      const frame = emit("speedscope-frame.js", readFileSync(FRAME, "utf8"));
      this.emitFile({
        type: "asset",
        fileName: "speedscope.html",
        source: `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>speedscope</title><link rel="stylesheet" href="${dress}"></head>
<body><script src="${frame}" data-speedscope="${program}"></script></body>
</html>
`,
      });
    },
  };
}
