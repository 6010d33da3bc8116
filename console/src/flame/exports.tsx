// A selection as files: by the API, and what is drawn just now as a picture.
import { type Drawn, inWords } from "./chart";
import { picture } from "./picture";
import type { Frame } from "./rules";
import { isSaid, query, type Selection } from "./selection";

const FORMATS = [
  [".col", "collapsed"],
  [".pb.gz", "pprof"],
  [".speedscope.json", "speedscope"],
  [".html", "HTML"],
] as const;
/** The formats that can hold two profiles. */
const OF_TWO = [
  [".col", "collapsed"],
  [".html", "HTML"],
  [".json", "JSON"],
] as const;

interface Props {
  of: Selection;
  base: Selection;
  root: Frame | undefined;
  drawn: React.RefObject<Drawn | undefined>;
  isDrawn: boolean;
}

export function Exports({ of, base, root, drawn, isDrawn }: Props) {
  const isOfTwo = isSaid(base);
  const path = isOfTwo ? "/api/v1/flamegraph/diff" : "/api/v1/flamegraph";
  return (
    <p className="dim exports">
      Export:{" "}
      {(isOfTwo ? OF_TWO : FORMATS).map(([ending, name]) => (
        <a key={ending} href={`${path}${ending}?${query(of, base)}`} download={`flamegraph${ending}`}>
          {name}
        </a>
      ))}
      {isDrawn && root !== undefined && (
        <button type="button" className="link" onClick={() => save(drawn.current, root, of)}>
          SVG of what is drawn
        </button>
      )}
    </p>
  );
}

function save(drawn: Drawn | undefined, root: Frame, of: Selection): void {
  if (drawn === undefined) return;
  const boxes = drawn.boxes();
  const title = root.shares ? `${of.service}: compared` : `${of.service}: ${inWords(root, root.value)}`;
  const file = new Blob([picture(boxes, title)], { type: "image/svg+xml" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = "flamegraph.svg";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
