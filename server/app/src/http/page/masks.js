// Segments drawn over slices, from the frames of a stored SEG.

import { ask, place } from "./api.js";

// Colours of segments that name none: the server's own, in the same order.
const PALETTE = [
  [220, 50, 60],
  [50, 190, 90],
  [60, 120, 230],
  [240, 200, 40],
  [170, 70, 210],
  [240, 130, 40],
  [50, 200, 210],
  [230, 90, 170],
  [160, 210, 60],
  [120, 100, 250],
];
const FILL = 0.4;
// Frames that are kept decoded.
const MOST_KEPT = 200;

/** The masks of a SEG as `GET /api/v1/segmentations/{segmentation}` tells of it. */
export class Masks {
  constructor(stored) {
    this.stored = stored;
    this.segments = stored.segments.map((segment) => ({
      ...segment,
      colour: segment.colour ?? PALETTE[(segment.number - 1 + PALETTE.length) % PALETTE.length],
      isShown: true,
    }));
    this.kept = new Map();
    this.frames = new Map();
    for (const frame of stored.frames) {
      const slice = `${frame.sop_instance}/${frame.sop_frame}`;
      this.frames.set(slice, [...(this.frames.get(slice) ?? []), frame]);
    }
  }

  /** Its layers on a slice: the frame's place, the segment it holds, and a number for each of its pixels. */
  async on(slice) {
    const frames = this.frames.get(`${slice.instance}/${slice.frame}`) ?? [];
    return Promise.all(frames.map(async (frame) => ({ frame, pixels: await this.pixels(frame.frame) })));
  }

  pixels(frame) {
    if (!this.kept.has(frame)) {
      if (this.kept.size >= MOST_KEPT) this.kept.delete(this.kept.keys().next().value);
      const loading = this.load(frame);
      loading.catch(() => this.kept.delete(frame));
      this.kept.set(frame, loading);
    }
    return this.kept.get(frame);
  }

  async load(frame) {
    const { study, series, segmentation, rows, columns } = this.stored;
    const path = `${place(study, series, segmentation)}/frames/${frame}`;
    const answer = await ask(path, {
      headers: { Accept: 'application/octet-stream; transfer-syntax="1.2.840.10008.1.2.1"' },
    });
    return numbers(await answer.arrayBuffer(), rows * columns);
  }
}

/** A frame's pixels: one bit, one byte or two bytes each, as its length tells (PS3.5 8.1.1). */
export function numbers(buffer, pixels) {
  const bytes = new Uint8Array(buffer);
  if (bytes.length >= pixels * 2) return new Uint16Array(buffer, 0, pixels);
  if (bytes.length >= pixels) return bytes.subarray(0, pixels);
  return Uint8Array.from({ length: pixels }, (_, index) => (bytes[index >> 3] >> (index & 7)) & 1);
}

/** Draws the shown segments of a slice, filled and outlined; `scale` pixels of the canvas are one of the slice's. */
export function draw(canvas, masks, layers, slice, scale) {
  const { rows, columns } = slice;
  const [width, height] = [columns * scale, rows * scale];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  for (const segment of masks.segments.filter((one) => one.isShown)) {
    const mask = maskOf(masks.stored, segment.number, layers, rows, columns);
    if (!mask) continue;
    context.fillStyle = `rgb(${segment.colour.join(" ")} / ${FILL})`;
    context.strokeStyle = `rgb(${segment.colour.join(" ")})`;
    context.lineWidth = Math.max(1, scale / 4);
    fill(context, mask, rows, columns, scale);
    outline(context, mask, rows, columns, scale);
  }
}

/** Where a segment is on the slice's grid; nothing where it is not on the slice at all. */
function maskOf({ encoding, maximum, columns: width }, number, layers, rows, columns) {
  const mask = new Uint8Array(rows * columns);
  const isIn = {
    LABELMAP: (value) => value === number,
    BINARY: (value) => value !== 0,
    FRACTIONAL: (value) => value * 2 >= maximum,
  }[encoding];
  let isThere = false;
  for (const { frame, pixels } of layers) {
    if (frame.segment !== null && frame.segment !== number) continue;
    pixels.forEach((value, index) => {
      if (value === 0 || !isIn(value)) return;
      const [r, c] = [Math.floor(index / width), index % width];
      const row = frame.origin[0] + r * frame.row_step[0] + c * frame.column_step[0];
      const column = frame.origin[1] + r * frame.row_step[1] + c * frame.column_step[1];
      if (row < 0 || row >= rows || column < 0 || column >= columns) return;
      mask[row * columns + column] = 1;
      isThere = true;
    });
  }
  return isThere ? mask : null;
}

/** Runs along the rows, each one rectangle. */
function fill(context, mask, rows, columns, scale) {
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      if (!mask[row * columns + column]) continue;
      const start = column;
      while (column < columns && mask[row * columns + column]) column += 1;
      context.fillRect(start * scale, row * scale, (column - start) * scale, scale);
    }
  }
}

/** The edges between what is in and what is not. */
function outline(context, mask, rows, columns, scale) {
  const at = (row, column) => row >= 0 && row < rows && column >= 0 && column < columns && mask[row * columns + column];
  context.beginPath();
  for (let row = 0; row <= rows; row += 1) {
    for (let column = 0; column <= columns; column += 1) {
      const here = Boolean(at(row, column));
      const [x, y] = [column * scale, row * scale];
      if (here !== Boolean(at(row - 1, column))) {
        context.moveTo(x, y);
        context.lineTo(x + scale, y);
      }
      if (here !== Boolean(at(row, column - 1))) {
        context.moveTo(x, y);
        context.lineTo(x, y + scale);
      }
    }
  }
  context.stroke();
}
