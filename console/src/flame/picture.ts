// What is drawn as an SVG file of its own, for documents and tickets: no style sheet, no script. Pure.

export interface Box {
  x: number;
  y: number;
  width: number;
  fill: string;
  label: string;
  /** What its title says. */
  words: string;
}

const ROW = 20;
const CHAR = 6.6;
const ESCAPED: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
/** Whether it may stand in XML: no control character, and no half of a surrogate pair. */
const isText = (code: number): boolean =>
  code >= 0x20 ? !(code >= 0xd800 && code <= 0xdfff) && code !== 0xfffe && code !== 0xffff : [9, 10, 13].includes(code);

const text = (said: string): string =>
  [...said].map((char) => (isText(char.codePointAt(0) ?? 0) ? (ESCAPED[char] ?? char) : "\ufffd")).join("");

/** As much of a label as fits into a width. */
export function fitted(label: string, width: number): string {
  const chars = Math.floor((width - 6) / CHAR);
  if (chars < 3) return "";
  return label.length <= chars ? label : `${label.slice(0, chars - 1)}…`;
}

export function picture(boxes: readonly Box[], title: string): string {
  const top = Math.min(...boxes.map((box) => box.y));
  const width = Math.ceil(Math.max(...boxes.map((box) => box.x + box.width)));
  const height = Math.max(...boxes.map((box) => box.y)) - top + ROW;
  const frames = boxes.map(({ x, y: at, width: wide, fill, label, words }) => {
    const y = at - top;
    const shown = fitted(label, wide);
    const written = shown === "" ? "" : `<text x="${round(x + 3)}" y="${round(y + 14)}">${text(shown)}</text>`;
    const rect = `<rect x="${round(x)}" y="${round(y)}" width="${round(wide)}" height="${ROW - 1}" fill="${text(fill)}"/>`;
    return `<g><title>${text(words)}</title>${rect}${written}</g>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height + 30}" viewBox="0 -30 ${width} ${height + 30}" font-family="sans-serif" font-size="12">`,
    `<rect y="-30" width="100%" height="100%" fill="#ffffff"/><text y="-10" x="3" font-size="15">${text(title)}</text>`,
    ...frames,
    "</svg>\n",
  ].join("\n");
}

const round = (pixels: number): string => pixels.toFixed(1).replace(/\.0$/, "");
