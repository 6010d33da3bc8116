/* The profile as a tree in arrays. A node is a number; nodes stand in the order of a walk from the root, each before
   its children, the heaviest child first: node's children lie between node + 1 and end[node]. No DOM here. */

const ROOT = 0;

/** Read what `encode` of page.py wrote. Of two profiles (`totals` says how many samples each has) a node's `total` and
   `self` are the sums of its shares in both, so that what has gone is as wide as what has come; `now` and `base` count. */
function decode({ frames, stacks, totals }) {
  const children = [new Map()], self = [0], total = [0], name = [-1], now = [0], base = [0];
  const path = [ROOT];
  for (let at = 0; at < stacks.length;) {
    const shared = stacks[at++];
    const fresh = stacks[at++];
    path.length = shared + 1;
    for (let k = 0; k < fresh; k++) {
      const frame = stacks[at++];
      const node = name.length;
      children[path[path.length - 1]].set(frame, node);
      children.push(new Map());
      self.push(0);
      total.push(0);
      now.push(0);
      base.push(0);
      name.push(frame);
      path.push(node);
    }
    const count = stacks[at++], before = totals ? stacks[at++] : 0;
    const weight = totals ? count / (totals[0] || 1) + before / (totals[1] || 1) : count;
    self[path[path.length - 1]] += weight;
    for (const node of path) {
      total[node] += weight;
      now[node] += count;
      base[node] += before;
    }
  }
  const tree = order(frames, children, self, total, name, now, base);
  tree.totals = totals;
  return tree;
}

function order(frames, children, self, total, name, now, base) {
  const size = name.length;
  const tree = {
    frames, size, height: 0,
    name: new Int32Array(size), depth: new Int32Array(size), parent: new Int32Array(size), end: new Int32Array(size),
    self: new Float64Array(size), total: new Float64Array(size), left: new Float64Array(size),
    now: new Float64Array(size), base: new Float64Array(size),
  };
  let next = 0;
  const todo = [[ROOT, -1, 0]];
  while (todo.length) {
    const [old, parent, left] = todo.pop();
    const node = next++;
    tree.name[node] = name[old];
    tree.self[node] = self[old];
    tree.total[node] = total[old];
    tree.now[node] = now[old];
    tree.base[node] = base[old];
    tree.parent[node] = parent;
    tree.left[node] = left;
    tree.depth[node] = parent < 0 ? 0 : tree.depth[parent] + 1;
    tree.height = Math.max(tree.height, tree.depth[node] + 1);
    const below = [...children[old].values()];
    below.sort((a, b) => total[b] - total[a] || (frames[name[a]] < frames[name[b]] ? -1 : 1));
    let end = left;
    const placed = below.map((child) => {
      const place = [child, node, end];
      end += total[child];
      return place;
    });
    for (let k = placed.length - 1; k >= 0; k--) todo.push(placed[k]);
  }
  for (let node = size - 1; node >= 0; node--) {
    tree.end[node] = Math.max(tree.end[node], node + 1);
    const parent = tree.parent[node];
    if (parent >= 0) tree.end[parent] = Math.max(tree.end[parent], tree.end[node]);
  }
  return tree;
}

function labelOf(tree, node) {
  return node === ROOT ? "all" : tree.frames[tree.name[node]];
}

/** Which frames hold the text (no difference between upper and lower case), and how many samples lie in such frames. */
function find(tree, text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return null;
  const hits = tree.frames.map((frame) => frame.toLowerCase().includes(wanted));
  let samples = 0, functions = 0;
  for (let node = 1; node < tree.size;) {
    if (hits[tree.name[node]]) {
      samples += tree.total[node];
      node = tree.end[node]; // a function below itself counts once
    } else node++;
  }
  for (const hit of hits) functions += hit;
  return { hits, samples, functions };
}

/** What kind of code a frame is, which gives its colour. */
function kindOf(frame) {
  if (frame.endsWith("_[k]")) return "kernel";
  if (frame.startsWith("[")) return "unknown";
  if (/\.py:\d+\)$|\(<[^()]*>(:\d+)?\)$/.test(frame)) return "python";
  return "native";
}

function share(part, whole) {
  const percent = whole ? (100 * part) / whole : 0;
  return `${percent.toFixed(percent >= 10 || percent === 0 ? 1 : 2)} %`;
}

/** Of two profiles: a node's share in each, by how much it has grown, and that as a part of the larger share (-1 to 1). */
function growth(tree, node) {
  const now = tree.now[node] / (tree.totals[0] || 1), base = tree.base[node] / (tree.totals[1] || 1);
  return { now, base, change: now - base, relative: (now - base) / (Math.max(now, base) || 1) };
}
