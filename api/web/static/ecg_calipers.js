// Calipers on ECG paper: interval and voltage between two lines each, by mouse, finger and keyboard; march-out.

import { element } from "./ecg_paper.js";

/** @typedef {import("./ecg_paper.js").Sheet} Sheet */
/** @typedef {import("./ecg_paper.js").Scale} Scale */
/** @typedef {{x1: number, x2: number, y1: number, y2: number}} Box  mm on the sheet */

/** A press that moved less than this, in mm, draws no caliper. */
const SMALLEST = 1;
/** Voltage that one press of an arrow key moves, in mV. */
const MILLIVOLT_STEP = 0.01;

/**
 * Where on the sheet a pointer is, in mm.
 * @param {SVGSVGElement} svg
 * @param {PointerEvent} event
 */
export function place(svg, event) {
  const box = svg.getBoundingClientRect();
  const view = svg.viewBox.baseVal;
  return { x: ((event.clientX - box.left) / box.width) * view.width, y: ((event.clientY - box.top) / box.height) * view.height };
}

let following = false;

/** @returns {boolean} whether a mouse or a finger holds something of the paper */
export const isFollowing = () => following;

/**
 * Follow a pointer from its press to its release.
 * @param {Element} grip
 * @param {PointerEvent} press
 * @param {(move: PointerEvent) => void} moved
 */
export function follow(grip, press, moved) {
  press.preventDefault();
  press.stopPropagation();
  grip.setPointerCapture(press.pointerId);
  following = true;
  const stop = () => {
    following = false;
    grip.removeEventListener("pointermove", onMove);
    grip.removeEventListener("pointerup", stop);
    grip.removeEventListener("pointercancel", stop);
  };
  const onMove = (/** @type {Event} */ event) => moved(/** @type {PointerEvent} */ (event));
  grip.addEventListener("pointermove", onMove);
  grip.addEventListener("pointerup", stop);
  grip.addEventListener("pointercancel", stop);
}

export class Calipers {
  /**
   * @param {Record<string, string>} words
   * @param {(text: string) => void} show tells the reading, or nothing
   */
  constructor(words, show) {
    this.words = words;
    this.show = show;
    /** @type {Box | null} */
    this.box = null;
    this.drawing = false;
    this.marching = false;
    /** @type {Sheet | null} */
    this.sheet = null;
    /** @type {Scale} */
    this.scale = { speed: 25, gain: 10 };
    this.sampleSeconds = 0.002;
    /** @type {Record<string, SVGElement>} */
    this.parts = {};
  }

  /**
   * Lie on a new sheet; a caliper of an earlier sheet of the same scale stays where it was.
   * @param {Sheet} sheet
   * @param {Scale} scale
   * @param {number} rate Hz
   * @param {boolean} keep
   */
  attach(sheet, scale, rate, keep) {
    this.sheet = sheet;
    this.scale = scale;
    this.sampleSeconds = 1 / rate;
    this.parts = {};
    if (!keep) this.box = null;
    sheet.svg.classList.toggle("is-measuring", this.drawing);
    sheet.svg.addEventListener("pointerdown", (event) => this.begin(event));
    if (this.box) this.build();
    this.tell();
  }

  /** @param {boolean} on */
  draw(on) {
    this.drawing = on;
    this.sheet?.svg.classList.toggle("is-measuring", on);
  }

  /** @param {boolean} on */
  march(on) {
    this.marching = on;
    this.update();
  }

  /** @returns {boolean} whether there was a caliper */
  remove() {
    const had = this.box !== null;
    this.parts.group?.remove();
    this.parts = {};
    this.box = null;
    this.tell();
    return had;
  }

  /**
   * Stand around a point of the sheet, 1 s wide and 1 mV high, for the keyboard to move.
   * @param {number} x
   * @param {number} y
   */
  standAt(x, y) {
    if (!this.sheet) return;
    const half = this.scale.speed / 2;
    const left = Math.max(0, Math.min(this.sheet.width - 2 * half, x - half));
    this.remove();
    this.box = { x1: left, x2: left + 2 * half, y1: y + this.scale.gain / 2, y2: y - this.scale.gain / 2 };
    this.build();
    this.parts.x2.focus();
    this.tell();
  }

  /** @returns {{ms: number, mv: number} | null} */
  reading() {
    if (!this.box) return null;
    return { ms: (Math.abs(this.box.x2 - this.box.x1) / this.scale.speed) * 1000, mv: (this.box.y1 - this.box.y2) / this.scale.gain };
  }

  tell() {
    const read = this.reading();
    if (!read) return this.show("");
    const rate = read.ms >= 100 ? `\u2003${Math.round(60000 / read.ms)}${this.words.per_minute}` : "";
    return this.show(`${Math.round(read.ms)} ms${rate}\u2003${read.mv.toFixed(2)} mV`);
  }

  /** @param {PointerEvent} press */
  begin(press) {
    const sheet = this.sheet;
    if (!this.drawing || !sheet || press.button !== 0) return;
    const from = place(sheet.svg, press);
    this.remove();
    follow(
      sheet.svg,
      press,
      (move) => {
        const to = place(sheet.svg, move);
        if (!this.box && Math.hypot(to.x - from.x, to.y - from.y) < SMALLEST) return;
        const fresh = !this.box;
        this.box = { x1: from.x, x2: to.x, y1: from.y, y2: to.y };
        if (fresh) this.build();
        this.update();
      },
    );
  }

  build() {
    const group = element("g", { class: "ecg-caliper" });
    const part = (/** @type {string} */ name, /** @type {string} */ tag, /** @type {Record<string, string | number>} */ attributes) => {
      this.parts[name] = element(tag, attributes);
      group.append(this.parts[name]);
    };
    part("marches", "path", { class: "ecg-march" });
    part("body", "rect", { class: "ecg-caliper-body", tabindex: 0, role: "img", "aria-label": this.words.caliper_body });
    const names = /** @type {const} */ ({ x1: "time_first", x2: "time_second", y1: "voltage_first", y2: "voltage_second" });
    for (const [name, word] of Object.entries(names)) {
      part(`${name}-line`, "line", { class: "ecg-caliper-line" });
      part(name, "line", { class: "ecg-grip", "data-grip": name, "data-axis": name[0], tabindex: 0, role: "slider", "aria-label": this.words[word], "aria-orientation": name[0] === "x" ? "horizontal" : "vertical" });
      this.parts[name].addEventListener("pointerdown", (event) => this.drag(/** @type {PointerEvent} */ (event), [/** @type {keyof Box} */ (name)]));
      this.parts[name].addEventListener("keydown", (event) => this.key(/** @type {KeyboardEvent} */ (event), [/** @type {keyof Box} */ (name)]));
    }
    this.parts.body.addEventListener("pointerdown", (event) => this.drag(/** @type {PointerEvent} */ (event), ["x1", "x2", "y1", "y2"]));
    this.parts.body.addEventListener("keydown", (event) => this.key(/** @type {KeyboardEvent} */ (event), ["x1", "x2", "y1", "y2"]));
    this.parts.group = group;
    this.sheet?.svg.append(group);
    this.update();
  }

  /**
   * @param {PointerEvent} press
   * @param {(keyof Box)[]} names
   */
  drag(press, names) {
    const svg = this.sheet?.svg;
    const box = this.box;
    if (!svg || !box) return;
    const grip = /** @type {SVGElement} */ (press.currentTarget);
    grip.focus({ preventScroll: true });
    const from = place(svg, press);
    const before = { ...box };
    follow(grip, press, (move) => {
      const to = place(svg, move);
      for (const name of names) box[name] = before[name] + (name[0] === "x" ? to.x - from.x : to.y - from.y);
      this.update();
    });
  }

  /**
   * @param {KeyboardEvent} event
   * @param {(keyof Box)[]} names
   */
  key(event, names) {
    const ways = /** @type {Record<string, [string, number]>} */ ({ ArrowLeft: ["x", -1], ArrowRight: ["x", 1], ArrowUp: ["y", -1], ArrowDown: ["y", 1] });
    const way = ways[event.key];
    if (!way || !this.box || event.ctrlKey || event.metaKey || event.altKey) return;
    const [axis, sign] = way;
    const moving = names.filter((name) => name[0] === axis);
    if (!moving.length) return;
    event.preventDefault();
    event.stopPropagation();
    const step = axis === "x" ? this.sampleSeconds * this.scale.speed : MILLIVOLT_STEP * this.scale.gain;
    for (const name of moving) this.box[name] += sign * step * (event.shiftKey ? 10 : 1);
    this.update();
  }

  update() {
    const { box, sheet, parts } = this;
    if (!box || !sheet || !parts.group) return;
    const left = Math.min(box.x1, box.x2);
    const top = Math.min(box.y1, box.y2);
    const set = (/** @type {SVGElement} */ part, /** @type {Record<string, number>} */ values) => {
      for (const [key, value] of Object.entries(values)) part.setAttribute(key, value.toFixed(3));
    };
    set(parts.body, { x: left, y: top, width: Math.abs(box.x2 - box.x1), height: Math.abs(box.y2 - box.y1) });
    // Time lines reach beyond the box, so that a flat one can be seen and held.
    const reach = 8;
    for (const name of /** @type {const} */ (["x1", "x2"])) {
      const line = { x1: box[name], x2: box[name], y1: top - reach, y2: Math.max(box.y1, box.y2) + reach };
      set(parts[name], line);
      set(parts[`${name}-line`], line);
    }
    for (const name of /** @type {const} */ (["y1", "y2"])) {
      const line = { y1: box[name], y2: box[name], x1: left - reach / 2, x2: Math.max(box.x1, box.x2) + reach / 2 };
      set(parts[name], line);
      set(parts[`${name}-line`], line);
    }
    const read = /** @type {{ms: number, mv: number}} */ (this.reading());
    for (const name of ["x1", "x2"]) this.value(parts[name], `${Math.round(read.ms)} ms`, read.ms);
    for (const name of ["y1", "y2"]) this.value(parts[name], `${read.mv.toFixed(2)} mV`, read.mv);
    const step = Math.abs(box.x2 - box.x1);
    let marches = "";
    if (this.marching && step >= 2) {
      for (let x = box.x1 - step * Math.floor(box.x1 / step); x < sheet.width; x += step) marches += `M${x.toFixed(2)} 0V${sheet.height}`;
    }
    parts.marches.setAttribute("d", marches);
    this.tell();
  }

  /**
   * @param {SVGElement} grip
   * @param {string} text
   * @param {number} value
   */
  value(grip, text, value) {
    grip.setAttribute("aria-valuenow", value.toFixed(2));
    grip.setAttribute("aria-valuetext", text);
  }
}
