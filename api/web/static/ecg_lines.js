// The lines of the measurement on the averaged beat: where P, QRS and T begin and end, moved by mouse, finger and keyboard.

import { follow, place } from "./ecg_calipers.js";
import { element } from "./ecg_paper.js";

/** @typedef {import("./ecg_paper.js").Sheet} Sheet */
/** @typedef {Record<string, number | null>} Lines  ms from R */

export const LINES = ["p_on", "p_off", "qrs_on", "qrs_off", "t_on", "t_off"];
/** The leads whose lines the keyboard reaches, best first: one set of six is enough. */
const KEYBOARD_LEADS = ["II", "I", "V5", "V1"];
/** Where a wave's lines stand first that nobody has placed yet: ms from the QRS before or after it. */
const ASKED_FOR = /** @type {Record<string, (lines: Lines) => Lines>} */ ({
  p: ({ qrs_on: on }) => ({ p_on: Number(on) - 160, p_off: Number(on) - 60 }),
  t: ({ qrs_off: off }) => ({ t_on: Number(off) + 80, t_off: Number(off) + 280 }),
});

/**
 * The lines with a wave added that the pre-read did not see, or without one that is not there.
 * @param {Lines} lines
 * @param {"p" | "t"} wave
 * @returns {Lines}
 */
export function withOrWithout(lines, wave) {
  const without = { ...lines, [`${wave}_on`]: null, [`${wave}_off`]: null };
  return lines[`${wave}_on`] == null && lines[`${wave}_off`] == null ? { ...without, ...ASKED_FOR[wave](lines) } : without;
}

/**
 * The intervals that six lines say; the server computes them again when they are saved.
 * @param {Lines} lines
 * @param {number | null} rr ms
 * @returns {Record<string, number>}
 */
export function intervals(lines, rr) {
  const { p_on: p, qrs_on: on, qrs_off: off, t_off: end } = lines;
  /** @type {Record<string, number>} */
  const values = {};
  if (on == null || off == null) return values;
  values.ecg_qrs = off - on;
  if (p != null) values.ecg_pr = on - p;
  if (end != null) {
    values.ecg_qt = end - on;
    if (rr) {
      values.ecg_qtc_bazett = values.ecg_qt / (rr / 1000) ** (1 / 2);
      values.ecg_qtc_fridericia = values.ecg_qt / (rr / 1000) ** (1 / 3);
    }
  }
  return values;
}

export class MeasuredLines {
  /**
   * @param {Record<string, string>} words
   * @param {any} plan of the server's paper
   * @param {(lines: Lines) => void} changed
   */
  constructor(words, plan, changed) {
    this.words = words;
    this.changed = changed;
    this.colours = Object.fromEntries(plan.waves.flatMap((/** @type {any} */ wave) => [[wave.on, wave.colour], [wave.off, wave.colour]]));
    /** @type {Lines} */
    this.lines = {};
    /** @type {{name: string, panel: any, parts: SVGElement[]}[]} */
    this.drawn = [];
    this.speed = 50;
    this.stepMs = 2;
  }

  /**
   * Draw the lines into every panel of a sheet of averaged beats.
   * @param {Sheet} sheet
   * @param {number} speed mm/s
   * @param {number} rate Hz
   * @param {Lines} lines
   * @param {boolean} movable
   */
  attach(sheet, speed, rate, lines, movable) {
    this.lines = { ...lines };
    this.speed = speed;
    this.stepMs = 1000 / rate;
    this.drawn = [];
    const group = element("g", { class: "ecg-lines" });
    const reached = KEYBOARD_LEADS.find((lead) => sheet.panels.some((panel) => panel.lead === lead)) ?? sheet.panels[0]?.lead;
    for (const panel of sheet.panels) {
      for (const name of LINES) {
        if (this.lines[name] == null) continue;
        const parts = [element("line", { class: `ecg-line ecg-line-${name.endsWith("on") ? "on" : "off"}`, stroke: this.colours[name] })];
        if (movable) {
          const grip = element("line", { class: "ecg-grip", "data-line": name, "data-axis": "x" });
          grip.append(element("title", {}, this.words[name]));
          if (panel.lead === reached) {
            for (const [key, value] of Object.entries({ tabindex: "0", role: "slider", "aria-label": this.words[name] })) grip.setAttribute(key, value);
            grip.addEventListener("keydown", (event) => this.key(/** @type {KeyboardEvent} */ (event), name));
          }
          grip.addEventListener("pointerdown", (event) => this.drag(/** @type {PointerEvent} */ (event), sheet.svg, name));
          parts.push(grip);
        }
        group.append(...parts);
        this.drawn.push({ name, panel, parts });
      }
    }
    sheet.svg.append(group);
    this.update();
  }

  /**
   * A line stays between its neighbours.
   * @param {string} name
   * @param {number} at ms from R
   */
  move(name, at) {
    const place = LINES.indexOf(name);
    const before = LINES.slice(0, place).map((one) => this.lines[one]).filter((one) => one != null);
    const after = LINES.slice(place + 1).map((one) => this.lines[one]).filter((one) => one != null);
    this.lines[name] = Math.min(Math.max(at, ...before.map(Number)), ...after.map(Number));
    this.update();
    this.changed({ ...this.lines });
  }

  /**
   * @param {PointerEvent} press
   * @param {SVGSVGElement} svg
   * @param {string} name
   */
  drag(press, svg, name) {
    const grip = /** @type {SVGElement} */ (press.currentTarget);
    if (press.button !== 0) return;
    grip.focus?.({ preventScroll: true });
    const from = place(svg, press).x;
    const before = Number(this.lines[name]);
    follow(grip, press, (move) => this.move(name, before + ((place(svg, move).x - from) / this.speed) * 1000));
  }

  /**
   * @param {KeyboardEvent} event
   * @param {string} name
   */
  key(event, name) {
    const sign = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!sign || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    this.move(name, Number(this.lines[name]) + sign * this.stepMs * (event.shiftKey ? 10 : 1));
  }

  update() {
    for (const { name, panel, parts } of this.drawn) {
      const at = Number(this.lines[name]);
      const x = (panel.x + (at / 1000) * this.speed).toFixed(3);
      for (const part of parts) {
        for (const [key, value] of Object.entries({ x1: x, x2: x, y1: panel.y + 6, y2: panel.y + panel.height - 2 })) part.setAttribute(key, String(value));
      }
      parts[1]?.setAttribute("aria-valuenow", at.toFixed(1));
      parts[1]?.setAttribute("aria-valuetext", `${Math.round(at)} ms`);
    }
  }
}
