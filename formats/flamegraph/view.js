/* The canvas: draws only the rows in sight, and no frame that is narrower than half a pixel. */

const ROW = 20, GAP = 1, MIN_TEXT = 30, FONT = "12px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace";
const HUES = { python: [205, 26], native: [44, 22], kernel: [12, 16], unknown: [220, 0] }; // the hue, and its spread
const byId = (id) => document.getElementById(id);
const canvas = byId("canvas"), scroller = byId("scroll"), spacer = byId("spacer"), tip = byId("tip");
const paper = canvas.getContext("2d", { alpha: false });
const tree = decode(JSON.parse(byId("profile").textContent));
const colours = new Map();
let zoomed = ROOT, focused = -1, hovered = -1, flipped = false, search = null, letter = 7, asked = 0;
let depthInSight = tree.height;

const isDark = () => getComputedStyle(document.documentElement).colorScheme.includes("dark");

function colourOf(frame, dark) {
  const key = dark ? `d${frame}` : frame;
  if (!colours.has(key)) {
    const kind = kindOf(frame);
    let hash = 7;
    for (const letterOf of frame.replace(/:\d+\)$/, ")")) hash = (hash * 31 + letterOf.codePointAt(0)) >>> 0;
    const [hue, spread] = HUES[kind];
    const saturation = kind === "unknown" ? 6 : dark ? 38 : 72;
    const light = (dark ? 30 : 78) + ((hash >>> 8) % 7) - 3;
    colours.set(key, `hsl(${hue + (hash % (2 * spread + 1)) - spread} ${saturation}% ${light}%)`);
  }
  return colours.get(key);
}

/* Of two profiles: what has grown is red, what has shrunk is blue, the more the stronger; what stayed is grey. */
function colourOfGrowth(node, dark) {
  const { relative } = growth(tree, node), strength = Math.round(Math.abs(relative) * 20) / 20;
  const light = dark ? 30 + 8 * strength : 84 - 16 * strength;
  return `hsl(${relative > 0 ? 8 : 212} ${Math.round((dark ? 55 : 85) * strength)}% ${light}%)`;
}

/* Where a node lies: x and width in pixels. What stands above the zoomed node is as wide as the page. */
function place(node, width) {
  if (isAbove(node)) return [0, width];
  const scale = width / (tree.total[zoomed] || 1);
  return [(tree.left[node] - tree.left[zoomed]) * scale, tree.total[node] * scale];
}

const isAbove = (node) => node <= zoomed && zoomed < tree.end[node];
const isInside = (node) => zoomed <= node && node < tree.end[zoomed];
const heightOfAll = () => depthInSight * ROW;
const rowTop = (depth) => (flipped ? Math.max(heightOfAll(), scroller.clientHeight) - (depth + 1) * ROW : depth * ROW);
const depthAt = (y) => Math.floor((flipped ? Math.max(heightOfAll(), scroller.clientHeight) - y : y) / ROW);

function redraw() {
  if (!asked) asked = requestAnimationFrame(() => { asked = 0; draw(); });
}

function draw() {
  const width = scroller.clientWidth, height = scroller.clientHeight, ratio = devicePixelRatio || 1;
  spacer.style.height = `${Math.max(heightOfAll() - height, 0)}px`;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const dark = isDark(), styles = getComputedStyle(document.documentElement);
  const ink = dark ? "#f1f3f4" : "#16191d", focus = styles.getPropertyValue("--focus");
  paper.setTransform(ratio, 0, 0, ratio, 0, 0);
  paper.fillStyle = styles.getPropertyValue("--page");
  paper.fillRect(0, 0, width, height);
  paper.font = FONT;
  paper.textBaseline = "middle";
  letter = paper.measureText("MMMMMMMMMM").width / 10;
  const top = scroller.scrollTop;
  const first = Math.min(depthAt(top), depthAt(top + height)), last = Math.max(depthAt(top), depthAt(top + height));
  const inked = new Float64Array(tree.height).fill(-1);
  for (let node = 0; node < tree.size;) {
    if (!isAbove(node) && !isInside(node)) { node = tree.end[node]; continue; }
    const depth = tree.depth[node];
    const [x, wide] = place(node, width);
    if (wide < 0.5 && Math.floor(x) === inked[depth]) { node = tree.end[node]; continue; }
    if (depth > last) { node = tree.end[node]; continue; }
    if (depth >= first) {
      inked[depth] = Math.floor(x + wide - 1e-6);
      drawFrame(node, x, wide, rowTop(depth) - top, width, dark, ink, focus);
    }
    node = wide < 0.5 ? tree.end[node] : node + 1;
  }
}

function drawFrame(node, x, wide, y, width, dark, ink, focus) {
  const label = labelOf(tree, node);
  const hit = search && node !== ROOT && search.hits[tree.name[node]];
  paper.globalAlpha = (search && !hit) || (isAbove(node) && node !== zoomed) ? 0.45 : 1;
  const colour = tree.totals ? colourOfGrowth(node, dark) : colourOf(node === ROOT ? "[all]" : label, dark);
  paper.fillStyle = hit ? (dark ? "#a8329e" : "#ef8be4") : colour;
  paper.fillRect(x, y, Math.max(wide - (wide > 3 ? GAP : 0), 1), ROW - GAP);
  if (node === hovered || node === focused) {
    paper.globalAlpha = 1;
    paper.strokeStyle = node === focused ? focus : ink;
    paper.lineWidth = node === focused ? 2 : 1;
    paper.strokeRect(x + 1, y + 1, Math.max(wide - GAP - 2, 1), ROW - GAP - 2);
  }
  if (wide < MIN_TEXT) { paper.globalAlpha = 1; return; }
  paper.globalAlpha = search && !hit ? 0.6 : 1;
  const room = Math.floor((Math.min(wide, width - x) - 8) / letter);
  paper.fillStyle = ink;
  paper.fillText(label.length <= room ? label : `${label.slice(0, Math.max(room - 1, 1))}…`, x + 4, y + ROW / 2);
  paper.globalAlpha = 1;
}

function nodeAt(x, y) {
  const width = scroller.clientWidth, depth = depthAt(y + scroller.scrollTop);
  for (let node = 0; node < tree.size;) {
    if (!isAbove(node) && !isInside(node)) { node = tree.end[node]; continue; }
    const [from, wide] = place(node, width);
    if (x < from || x >= from + wide) { node = tree.end[node]; continue; }
    if (tree.depth[node] === depth) return node;
    node++;
  }
  return -1;
}

function sayGrowth(node) {
  const { now, base, change } = growth(tree, node), points = (100 * change).toFixed(2);
  const of = (part, count) => `${share(part, 1)} (${count.toLocaleString("en")})`;
  return `now ${of(now, tree.now[node])} · base ${of(base, tree.base[node])} · ${change > 0 ? "+" : ""}${points} points`;
}

function say(node) {
  if (tree.totals) return sayGrowth(node);
  const count = tree.total[node].toLocaleString("en"), own = tree.self[node];
  const parts = [`${count} samples`, share(tree.total[node], tree.total[ROOT])];
  if (zoomed !== ROOT && isInside(node)) parts.push(`${share(tree.total[node], tree.total[zoomed])} of the zoom`);
  if (own) parts.push(`itself ${share(own, tree.total[ROOT])}`);
  return parts.join(" · ");
}

function tell(node) {
  byId("frame").textContent = node < 0 ? "" : `${labelOf(tree, node)} — ${say(node)}`;
}

function point(event) {
  const node = event ? nodeAt(event.offsetX, event.offsetY) : -1;
  if (node !== hovered) {
    hovered = node;
    redraw();
  }
  canvas.style.cursor = node < 0 ? "default" : "pointer";
  tip.hidden = node < 0;
  if (node < 0) return;
  const name = document.createElement("b"), numbers = document.createElement("span");
  name.textContent = labelOf(tree, node);
  numbers.textContent = say(node);
  tip.replaceChildren(name, numbers);
  const box = tip.getBoundingClientRect();
  const above = event.clientY + 18 + box.height > innerHeight;
  tip.style.left = `${Math.max(Math.min(event.clientX + 12, innerWidth - box.width - 8), 4)}px`;
  tip.style.top = `${above ? event.clientY - box.height - 10 : event.clientY + 18}px`;
}

function zoom(node) {
  zoomOnly(node);
  reveal(node);
  redraw();
}

function zoomOnly(node) {
  zoomed = node;
  depthInSight = 0;
  for (let below = node; below < tree.end[node]; below++) depthInSight = Math.max(depthInSight, tree.depth[below] + 1);
  spacer.style.height = `${Math.max(heightOfAll() - scroller.clientHeight, 0)}px`;
}

function reveal(node) {
  const y = rowTop(tree.depth[node]), top = scroller.scrollTop, height = scroller.clientHeight;
  if (y < top || y + ROW > top + height) scroller.scrollTop = y - (flipped ? height - 3 * ROW : 2 * ROW);
}

function focusOn(node) {
  if (node < 0 || node >= tree.size) return;
  focused = node;
  if (!isAbove(node) && !isInside(node)) zoomOnly(tree.parent[node]);
  reveal(node);
  tell(node);
  redraw();
}

function walk(key) {
  const down = flipped ? "ArrowUp" : "ArrowDown", up = flipped ? "ArrowDown" : "ArrowUp";
  if (focused < 0) return focusOn(zoomed);
  const parent = tree.parent[focused];
  if (key === down && tree.end[focused] > focused + 1) return focusOn(focused + 1);
  if (key === up) return focusOn(parent);
  if (parent < 0) return undefined;
  if (key === "ArrowRight" && tree.end[focused] < tree.end[parent]) return focusOn(tree.end[focused]);
  if (key === "ArrowLeft" && focused > parent + 1) {
    let before = parent + 1;
    while (tree.end[before] < focused) before = tree.end[before];
    return focusOn(before);
  }
  return undefined;
}

function lookFor(text) {
  search = find(tree, text);
  byId("matched").textContent = search ? `${share(search.samples, tree.total[ROOT])} matched` : "";
  history.replaceState(null, "", text ? `#q=${encodeURIComponent(text)}` : location.pathname + location.search);
  redraw();
}

function reset() {
  byId("search").value = "";
  focused = -1;
  tell(-1);
  lookFor("");
  zoom(ROOT);
}

function flip() {
  flipped = !flipped;
  byId("flip").setAttribute("aria-pressed", String(flipped));
  canvas.setAttribute("aria-label", canvas.getAttribute("aria-label").replace(/root \S+ \S+/, flipped ? "root at bottom" : "root on top"));
  spacer.style.height = `${Math.max(heightOfAll() - scroller.clientHeight, 0)}px`;
  scroller.scrollTop = flipped ? scroller.scrollHeight : 0;
  redraw();
}

function changeTheme() {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  redraw();
}

canvas.addEventListener("mousemove", point);
canvas.addEventListener("mouseleave", () => point(null));
canvas.addEventListener("click", (event) => {
  const node = nodeAt(event.offsetX, event.offsetY);
  if (node < 0) return;
  focused = node;
  tell(node);
  zoom(node);
});
scroller.addEventListener("scroll", () => { point(null); redraw(); });
byId("search").addEventListener("input", (event) => lookFor(event.target.value));
byId("reset").addEventListener("click", reset);
byId("flip").addEventListener("click", flip);
byId("theme").addEventListener("click", changeTheme);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
new ResizeObserver(redraw).observe(scroller);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target === byId("search"), onButton = event.target instanceof HTMLButtonElement;
  if (event.key === "Escape") {
    reset();
    if (typing) canvas.focus();
  } else if (typing) return;
  else if (event.key === "/") byId("search").focus();
  else if (event.key.startsWith("Arrow") && tree.size > 1) walk(event.key);
  else if (event.key === "Enter" && !onButton && focused >= 0) zoom(focused);
  else if (event.key === "f") flip();
  else if (event.key === "t") changeTheme();
  else return;
  event.preventDefault();
});

const wished = /^#q=(.*)$/.exec(location.hash);
if (wished) {
  byId("search").value = decodeURIComponent(wished[1]);
  lookFor(byId("search").value);
}
byId("empty").hidden = tree.size > 1;
draw();
document.documentElement.dataset.drawn = `${Math.round(performance.now())}`;
