// A table of very many rows: only those that are seen are drawn, and all are counted for who hears them.
import { useVirtualizer } from "@tanstack/react-virtual";
import { useRef } from "react";
import { useNow } from "../parts";

const ROW_PX = 34;

export interface Column<Row> {
  name: string;
  /** How wide, as a track of a grid. */
  width: string;
  cell: (row: Row, now: number) => React.ReactNode;
  /** What is said by a hint where the cell is too narrow. */
  hint?: (row: Row) => string;
  /** Its head is for who hears it alone. */
  isMute?: boolean;
}

export interface Choice<Row> {
  chosen: ReadonlySet<string>;
  toggle: (row: Row) => void;
  /** What a row is called; undefined: it cannot be chosen. */
  name: (row: Row) => string | undefined;
}

export function LongTable<Row extends { key: string }>(the: {
  label: string;
  rows: readonly Row[];
  columns: readonly Column<Row>[];
  choice?: Choice<Row> | undefined;
}) {
  const { rows, columns, choice } = the;
  const now = useNow(5_000);
  const scroll = useRef<HTMLDivElement>(null);
  const seen = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroll.current,
    estimateSize: () => ROW_PX,
    overscan: 12,
  });
  const gridTemplateColumns = [...(choice ? ["2.2rem"] : []), ...columns.map((column) => column.width)].join(" ");
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard
    <div className="scroll" ref={scroll} tabIndex={0} role="region" aria-label={`${the.label} that fit`}>
      <div role="table" className="long" aria-label={the.label} aria-rowcount={rows.length + 1}>
        <div role="rowgroup" className="head">
          <div role="row" className="row" aria-rowindex={1} style={{ gridTemplateColumns }}>
            {choice && (
              <span role="columnheader">
                <span className="hidden">Chosen</span>
              </span>
            )}
            {columns.map((column) => (
              <span role="columnheader" key={column.name}>
                {column.isMute ? <span className="hidden">{column.name}</span> : column.name}
              </span>
            ))}
          </div>
        </div>
        <div role="rowgroup" style={{ height: seen.getTotalSize(), position: "relative" }}>
          {seen.getVirtualItems().map((item) => {
            const row = rows[item.index];
            if (row === undefined) return null;
            const name = choice?.name(row);
            return (
              <div
                role="row"
                className="row"
                key={row.key}
                aria-rowindex={item.index + 2}
                style={{
                  gridTemplateColumns,
                  position: "absolute",
                  top: item.start,
                  height: ROW_PX,
                  left: 0,
                  right: 0,
                }}
              >
                {choice && (
                  <span role="cell">
                    {name !== undefined && (
                      <input
                        type="checkbox"
                        aria-label={`Choose ${name}`}
                        checked={choice.chosen.has(row.key)}
                        onChange={() => choice.toggle(row)}
                      />
                    )}
                  </span>
                )}
                {columns.map((column) => (
                  <span role="cell" key={column.name} title={column.hint?.(row)}>
                    {column.cell(row, now)}
                  </span>
                ))}
              </div>
            );
          })}
        </div>
      </div>
    </div>
  );
}
