// ECG paper as SVG, one unit a millimetre: the same sheet that the server prints, drawn from the samples.

/** @typedef {import("./ecg_signal.js").Signal} Signal */
/** @typedef {import("./ecg_signal.js").Beat} Beat */
/**
 * @typedef {{speed: number, gain: number}} Scale  mm/s and mm/mV
 * @typedef {{svg: SVGSVGElement, width: number, height: number, panels: Panel[]}} Sheet  mm
 * @typedef {{lead: string, x: number, y: number, width: number, zero: number, height: number}} Panel  mm; x is where its time zero stands
 */

const NS = "http://www.w3.org/2000/svg";
/** Kinds of beats that the strip names; the others are the patient's usual ones, or not judged. */
const UNUSUAL = ["V", "S"];
let sheets = 0;

/**
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 * @param {Node[] | string} [inside]
 * @returns {SVGElement}
 */
export function element(name, attributes, inside = []) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  if (typeof inside === "string") made.textContent = inside;
  else made.append(...inside);
  return made;
}

/** @param {number} length up to whole large squares */
const five = (length) => 5 * Math.ceil(length / 5 - 1e-9);

/**
 * Keep the samples without which the line would leave the others by more than the tolerance (Reumann and Witkam's cone).
 * @param {Float32Array | number[]} y
 * @param {number} step mm between samples
 * @param {number} tolerance mm
 */
function path(y, step, tolerance) {
  let anchor = 0;
  let low = -Infinity;
  let high = Infinity;
  const kept = [0];
  for (let i = 1; i < y.length; i += 1) {
    const slope = (y[i] - y[anchor]) / ((i - anchor) * step);
    if (slope < low || slope > high) {
      anchor = i - 1;
      kept.push(anchor);
      low = -Infinity;
      high = Infinity;
    }
    const run = (i - anchor) * step;
    low = Math.max(low, (y[i] - tolerance - y[anchor]) / run);
    high = Math.min(high, (y[i] + tolerance - y[anchor]) / run);
  }
  kept.push(y.length - 1);
  return `M${kept.map((i) => `${(i * step).toFixed(2)} ${y[i].toFixed(2)}`).join("L")}`;
}

/**
 * An empty sheet: paper, squares, and a footer.
 * @param {any} plan
 * @param {number} width
 * @param {number} height
 * @param {{title: string, footer: string[], notice: string}} words
 */
function blank(plan, width, height, words) {
  sheets += 1;
  const { colours } = plan;
  const lines = (/** @type {number} */ side, /** @type {string} */ colour, /** @type {number} */ ink) =>
    element("path", { d: `M0 0H${side}M0 0V${side}`, fill: "none", stroke: colour, "stroke-width": ink });
  const pattern = (/** @type {string} */ name, /** @type {number} */ side, /** @type {Node[]} */ inside) =>
    element("pattern", { id: `${name}-${sheets}`, width: side, height: side, patternUnits: "userSpaceOnUse" }, inside);
  const svg = /** @type {SVGSVGElement} */ (
    element("svg", { class: "ecg-sheet", viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": words.title, "data-width": width, "data-height": height })
  );
  svg.append(
    element("defs", {}, [
      pattern("fine", 1, [lines(1, colours.fine, 0.16)]),
      pattern("bold", 5, [element("rect", { width: 5, height: 5, fill: `url(#fine-${sheets})` }), lines(5, colours.bold, 0.32)]),
    ]),
    element("rect", { width, height, fill: colours.paper }),
    element("rect", { width, height, fill: `url(#bold-${sheets})` }),
    ...words.footer.map((line, number) => {
      const y = height - 3 - 4 * (words.footer.length - 1 - number);
      return element("text", { class: "ecg-footer", x: plan.left, y, "font-size": 3 }, line);
    }),
  );
  if (words.notice) svg.append(element("text", { class: "ecg-notice", x: width - plan.right, y: 4, "font-size": 3.4, "text-anchor": "end" }, words.notice));
  return svg;
}

/**
 * 1 mV for 0.2 s: 10 mm by 5 mm at the usual scale.
 * @param {any} plan
 * @param {Scale} scale
 * @param {number} zero
 */
function calibration(plan, scale, zero) {
  const pulse = 0.2 * scale.speed;
  const side = Math.max(0, (plan.mark - pulse) / 2);
  const lead = side ? `h${side}` : "";
  return element("path", { class: "ecg-calibration", d: `M${plan.left} ${zero}${lead}v${-scale.gain}h${pulse}v${scale.gain}${lead}` });
}

/** @param {number} x @param {number} y @param {string} name */
const label = (x, y, name) => element("text", { class: "ecg-label", x, y, "font-size": 3.6 }, name);

/**
 * @param {object} what
 * @param {Signal} what.signal already filtered as asked for
 * @param {any} what.plan of the server's paper
 * @param {string} what.layout
 * @param {Scale} what.scale
 * @param {number} what.start seconds
 * @param {Beat[] | null} what.beats annotations to draw, or null
 * @param {{title: string, footer: string[], notice: string}} what.words
 * @returns {Sheet}
 */
export function drawRhythm({ signal, plan, layout, scale, start, beats, words }) {
  const { rows, row_mm: height, marked_row: marked } = plan.layouts[layout];
  const strip = plan.seconds * scale.speed;
  const width = five(plan.left + plan.mark + strip + plan.right);
  const svg = blank(plan, width, five(plan.top + height * rows.length + plan.foot), words);
  const x0 = plan.left + plan.mark;
  const traces = element("g", { class: "ecg-traces" });
  const labels = element("g", { class: "ecg-labels" });
  /** @type {Panel[]} */
  const panels = [];
  rows.forEach((/** @type {string[]} */ leads, /** @type {number} */ row) => {
    const top = plan.top + height * row;
    const zero = top + height * plan.zero;
    const share = plan.seconds / leads.length;
    traces.append(calibration(plan, scale, zero));
    leads.forEach((lead, column) => {
      const samples = signal.leads.get(lead);
      const x = x0 + share * column * scale.speed;
      labels.append(label(x + 1, top + 4.5, samples ? lead : `${lead} —`));
      panels.push({ lead, x, y: top, width: share * scale.speed, zero, height });
      if (!samples) return;
      const first = Math.round((start + share * column - signal.start) * signal.rate);
      const piece = samples.slice(Math.max(0, first), Math.max(0, Math.round((start + share * (column + 1) - signal.start) * signal.rate) + 1));
      if (piece.length < 2) return;
      const y = piece.map((value) => (-value / 1000) * scale.gain);
      if (column) traces.append(element("path", { d: `M${x} ${zero - 9}v-3`, "stroke-width": 0.35 }));
      traces.append(element("path", { class: "ecg-trace", "data-lead": lead, transform: `translate(${x.toFixed(2)} ${zero})`, d: path(y, scale.speed / signal.rate, plan.tolerance) }));
    });
  });
  svg.append(traces);
  if (beats) svg.append(annotations(beats, plan, scale, rows[marked], start, plan.top + height * (marked + 1) - 2));
  svg.append(labels);
  return { svg, width, height: Number(svg.dataset.height), panels };
}

/**
 * Waves of the pre-read, R marks, RR in ms, and a boxed letter over each ventricular (V) or supraventricular (S) beat.
 * @param {Beat[]} beats
 * @param {any} plan
 * @param {Scale} scale
 * @param {string[]} leads
 * @param {number} start
 * @param {number} y
 */
function annotations(beats, plan, scale, leads, start, y) {
  const group = element("g", { class: "ecg-annotations" });
  const share = plan.seconds / leads.length;
  const first = start + share * leads.indexOf("II");
  const x = (/** @type {number} */ second) => (plan.left + plan.mark + (second - start) * scale.speed).toFixed(2);
  const shown = beats.filter((beat) => beat.r >= first && beat.r <= first + share);
  for (const beat of beats) {
    for (const { on, off, colour } of plan.waves) {
      if (beat[on] != null && beat[off] != null && beat[on] >= first && beat[off] <= first + share) {
        group.append(element("path", { class: "ecg-wave", stroke: colour, "stroke-width": 0.9, d: `M${x(beat[on])} ${y}H${x(beat[off])}` }));
      }
    }
  }
  shown.forEach((beat, number) => {
    group.append(element("path", { class: "ecg-r", "stroke-width": 0.25, d: `M${x(beat.r)} ${y - 1.2}v2.4` }));
    if (UNUSUAL.includes(beat.kind ?? "")) {
      const at = Number(x(beat.r));
      group.append(element("rect", { class: "ecg-kind-box", x: at - 1.9, y: y - 5.6, width: 3.8, height: 3.9, rx: 0.6 }));
      group.append(element("text", { class: "ecg-kind", x: at, y: y - 2.5 }, String(beat.kind)));
    }
    const next = shown[number + 1];
    if (next) group.append(element("text", { class: "ecg-rr", x: x((beat.r + next.r) / 2), y: y + 3.4 }, String(Math.round((next.r - beat.r) * 1000))));
  });
  return group;
}

/**
 * The twelve averaged beats, four by three; another recording's may lie over them.
 * @param {object} what
 * @param {any} what.plan
 * @param {Scale} what.scale
 * @param {{before: number, after: number}} what.span seconds from R
 * @param {string[][]} what.rows leads
 * @param {(lead: string) => Float32Array} what.beat microvolts of the averaged beat
 * @param {((lead: string) => Float32Array) | null} what.earlier
 * @param {number} what.rate Hz
 * @param {number} what.earlierRate Hz
 * @param {{title: string, footer: string[], notice: string}} what.words
 * @returns {Sheet}
 */
export function drawAveraged({ plan, scale, span, rows, beat, earlier, rate, earlierRate, words }) {
  const across = five((span.before + span.after) * scale.speed);
  const down = 40;
  const x0 = plan.left + plan.mark;
  const width = five(x0 + rows[0].length * (across + 5) + plan.right - 5);
  const svg = blank(plan, width, five(plan.top + down * rows.length + plan.foot), words);
  const traces = element("g", { class: "ecg-traces" });
  const labels = element("g", { class: "ecg-labels" });
  /** @type {Panel[]} */
  const panels = [];
  rows.forEach((leads, row) => {
    const y = plan.top + down * row;
    const zero = y + down * plan.zero;
    traces.append(calibration(plan, scale, zero));
    leads.forEach((lead, column) => {
      const left = x0 + column * (across + 5);
      const present = beat(lead);
      labels.append(label(left + 1, y + 4.5, present.length ? lead : `${lead} —`));
      if (present.length) panels.push({ lead, x: left + span.before * scale.speed, y, width: across, zero, height: down });
      const trace = (/** @type {Float32Array} */ values, /** @type {number} */ hz, /** @type {string} */ kind) => {
        if (values.length < 2) return;
        const points = values.map((value) => (-value / 1000) * scale.gain);
        traces.append(element("path", { class: kind, "data-lead": lead, transform: `translate(${left} ${zero})`, d: path(points, scale.speed / hz, plan.tolerance) }));
      };
      if (earlier) trace(earlier(lead), earlierRate, "ecg-trace-earlier");
      trace(present, rate, "ecg-trace");
    });
  });
  svg.append(traces, labels);
  return { svg, width, height: Number(svg.dataset.height), panels };
}
