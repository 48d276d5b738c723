// What the ECG page shows just now, and the drawing of it: paper or averaged beats, numbers, the state of the tools.

import { isCalibrated, pixelsPerMillimetre } from "./ecg_calibration.js";
import { showEvidence } from "./ecg_evidence.js";
import { intervals } from "./ecg_lines.js";
import { fill, numbersTable, valuesLine } from "./ecg_numbers.js";
import { drawAveraged, drawRhythm } from "./ecg_paper.js";
import { averaged, filtered } from "./ecg_signal.js";

/** Smaller than this, in CSS pixels a millimetre, nobody reads an ECG: a narrow window scrolls instead. */
const SMALLEST = 2.6;
const LARGEST_WHEN_NARROW = 4;
/** The averaged beat stands on paper that runs twice as fast. */
const AVERAGED_SPEED = 2;
const AVERAGED_ROWS = [["I", "aVR", "V1", "V4"], ["II", "aVL", "V2", "V5"], ["III", "aVF", "V3", "V6"]];
/** Seconds around R when the lines do not ask for more. */
const BEFORE = 0.3;
const AFTER = 0.5;

export const desk = /** @type {HTMLElement} */ (document.getElementById("ecg"));
export const evidence = /** @type {HTMLDetailsElement} */ (desk.querySelector(".ecg-evidence"));
export const strip = /** @type {HTMLElement} */ (desk.querySelector(".ecg-strip"));
/** @param {string} name @returns {any} */
export const tool = (name) => desk.querySelector(`[data-tool="${name}"]`);
/** @param {string} name @param {string} text */
export const tell = (name, text) => {
  const place = /** @type {HTMLElement} */ (desk.querySelector(`[data-told="${name}"]`));
  place.textContent = text;
  place.hidden = !text;
};
/** @param {string} text */
export const announce = (text) => {
  /** @type {HTMLElement} */ (desk.querySelector("[data-announced]")).textContent = text;
};

/** What the reader chose. */
export const state = {
  layout: "3x4+1",
  speed: 25,
  gain: 10,
  /** @type {number | "fit"} share of true size */
  zoom: /** @type {number | "fit"} */ (isCalibrated() ? 1 : "fit"),
  filters: { notch: false, baseline: false, lowPass: 0 },
  annotated: true,
  start: 0,
};

/** What there is to show, from the moment that the recording has come. */
export const shown = {
  /** What the server told: see `api/ecg.py`. @type {any} */
  told: null,
  /** @type {import("./ecg_signal.js").Signal} */
  raw: /** @type {any} */ (null),
  /** The earlier recording that lies over this one. @type {any} */
  beside: null,
  /** @type {import("./ecg_paper.js").Sheet | null} */
  sheet: null,
  /** @type {import("./ecg_calipers.js").Calipers} */
  calipers: /** @type {any} */ (null),
  /** @type {import("./ecg_lines.js").MeasuredLines} */
  lines: /** @type {any} */ (null),
  /** Lines that are moved and not saved. @type {Record<string, number | null> | null} */
  moved: null,
  /** Layout and scale of the last drawing: a caliper stays on paper of the same kind. */
  drawnAs: "",
};

/** @param {import("./ecg_signal.js").Signal} signal */
function asFiltered(signal) {
  return { ...signal, leads: new Map([...signal.leads].map(([name, samples]) => [name, filtered(samples, signal.rate, state.filters)])) };
}

/** @returns {string} the filters that are on, as the paper says them */
export function filterWords() {
  const { words } = shown.told;
  const { notch, baseline, lowPass } = state.filters;
  const on = [notch && words.notch, baseline && words.baseline, lowPass && fill(words.low_pass, { hz: lowPass })].filter(Boolean);
  return on.length ? `${words.filters_on}: ${on.join("\u2002+\u2002")}` : "";
}

/** @returns {Record<string, number | null> | null} the lines that hold: moved, or a doctor's, or the pre-read's */
export const holding = () => shown.moved ?? shown.told.doctor?.lines ?? shown.told.lines;

export function draw() {
  const { words, paper: plan, signal } = shown.told;
  const isAveraged = state.layout === "averaged";
  const scale = { speed: state.speed * (isAveraged ? AVERAGED_SPEED : 1), gain: state.gain };
  const drawing = asFiltered(shown.raw);
  const footer = [[`${scale.speed} mm/s`, `${scale.gain} mm/mV`, ...signal.words].join("\u2003")];
  const notice = filterWords();
  if (isAveraged) {
    const span = spanOf();
    const means = beatsOf(drawing, shown.told, span);
    const past = shown.beside && { ...shown.beside, signal: asFiltered(shown.beside.raw) };
    const pasts = past && beatsOf(past.signal, past, span);
    footer.push([fill(words.of_beats, { count: means.count }), ...(past ? [fill(words.laid_over, { at: past.at })] : [])].join("\u2003"));
    shown.sheet = drawAveraged({
      plan, scale, span, rows: AVERAGED_ROWS, beat: means.of, earlier: pasts && pasts.of, rate: shown.raw.rate, earlierRate: past ? past.raw.rate : shown.raw.rate,
      words: { title: words.averaged, footer, notice },
    });
  } else {
    shown.sheet = drawRhythm({
      signal: drawing, plan, layout: state.layout, scale, start: state.start, beats: state.annotated ? shown.told.beats : null,
      words: { title: words.sheet, footer, notice },
    });
  }
  const held = document.activeElement instanceof SVGElement ? document.activeElement.dataset : {};
  strip.replaceChildren(shown.sheet.svg);
  numbers();
  resize();
  const standing = holding();
  if (isAveraged && standing) shown.lines.attach(shown.sheet, scale.speed, shown.raw.rate, standing, shown.told.may_measure);
  const drawn = [state.layout, scale.speed, scale.gain].join();
  shown.calipers.attach(shown.sheet, scale, shown.raw.rate, drawn === shown.drawnAs);
  shown.drawnAs = drawn;
  // The line that the keyboard holds is a new one of the same name now.
  const grip = held.grip ? `[data-grip="${held.grip}"]` : held.line ? `[data-line="${held.line}"][tabindex]` : "";
  if (grip) /** @type {SVGElement | null} */ (shown.sheet.svg.querySelector(grip))?.focus({ preventScroll: true });
  reflect();
}

/** The window around R holds all lines and a little more. */
function spanOf() {
  const standing = Object.values(holding() ?? {}).filter((at) => at !== null).map(Number);
  return { before: Math.max(BEFORE, -Math.min(...standing, 0) / 1000 + 0.06), after: Math.max(AFTER, Math.max(...standing, 0) / 1000 + 0.06) };
}

/**
 * @param {import("./ecg_signal.js").Signal} signal
 * @param {any} about
 * @param {{before: number, after: number}} span
 */
function beatsOf(signal, about, span) {
  const onset = (about.doctor?.lines ?? about.lines)?.qrs_on ?? -50;
  let count = 0;
  const of = (/** @type {string} */ lead) => {
    const samples = signal.leads.get(lead);
    if (!samples) return new Float32Array();
    const mean = averaged(samples, signal, about.beats, { ...span, zeroAt: onset / 1000 });
    count = mean.count;
    return mean.values;
  };
  of([...signal.leads.keys()][0]);
  return { of, count };
}

export function numbers() {
  const place = /** @type {HTMLElement} */ (desk.querySelector(".ecg-numbers"));
  const isAveraged = state.layout === "averaged";
  place.hidden = !isAveraged;
  // Beside the averaged beat the same numbers stand in the table of the measurement.
  evidence.hidden = true;
  if (!isAveraged) showEvidence(evidence, shown.told);
  const elsewhere = isAveraged || (evidence.open && !evidence.hidden);
  const measured = shown.told.doctor ? fill(shown.told.words.measured_by, { name: shown.told.doctor.by, at: shown.told.doctor.at }) : "";
  tell("doctor", isAveraged ? "" : measured);
  tell("doctors-values", elsewhere || !shown.told.doctor ? "" : valuesLine(shown.told.doctor.values, shown.told.names));
  if (!isAveraged) return;
  const edited = shown.moved && intervals(shown.moved, shown.told.rr_ms);
  const table = numbersTable({ names: shown.told.names, words: shown.told.words, changedFrom: shown.told.changed_from, now: shown.told, edited, mayMeasure: shown.told.may_measure, earlier: shown.beside });
  place.querySelector("table")?.replaceWith(table);
  if (!place.querySelector("table")) place.prepend(table);
  tell("measured", shown.moved ? shown.told.words.unsaved : measured);
  const standing = holding();
  for (const wave of ["p", "t"]) {
    tool(`wave-${wave}`).setAttribute("aria-pressed", String(standing?.[`${wave}_on`] != null || standing?.[`${wave}_off`] != null));
    tool(`wave-${wave}`).disabled = !standing || !shown.told.may_measure;
  }
  tool("save").disabled = !shown.moved;
  tool("undo").hidden = !shown.moved;
  tool("take-back").hidden = !shown.told.doctor || Boolean(shown.moved);
}

/**
 * A wide window shows the sheet's whole width, of averaged beats the whole sheet; a narrow one scrolls a sheet of its height.
 * @param {import("./ecg_paper.js").Sheet} drawn
 */
function fitting(drawn) {
  const wide = (strip.clientWidth - 2) / drawn.width;
  const high = (strip.clientHeight - 2) / drawn.height;
  if (wide >= SMALLEST) return state.layout === "averaged" ? Math.max(SMALLEST, Math.min(wide, high)) : wide;
  return Math.min(Math.max(SMALLEST, high), LARGEST_WHEN_NARROW);
}

/** Give the sheet its size on this screen, and say how true it is. */
export function resize() {
  if (!shown.sheet) return;
  const millimetre = pixelsPerMillimetre();
  const pixels = state.zoom === "fit" ? fitting(shown.sheet) : state.zoom * millimetre;
  shown.sheet.svg.style.width = `${shown.sheet.width * pixels}px`;
  shown.sheet.svg.style.height = `${shown.sheet.height * pixels}px`;
  shown.sheet.svg.dataset.pixelsPerMm = String(pixels);
  // What is folded open below the paper leaves all of it in sight.
  desk.style.setProperty("--sheet", state.layout === "averaged" ? "0px" : `${Math.ceil(shown.sheet.height * pixels) + 2}px`);
  const { words } = shown.told;
  const share = Math.round((pixels / millimetre) * 100);
  const size = share === 100 ? words.true_size : fill(words.of_true_size, { percent: share });
  tell("size", `${size} · ${isCalibrated() ? words.calibrated : words.not_calibrated}`);
  desk.classList.toggle("is-calibrated", isCalibrated());
}

/** Let the tools show what is so. */
export function reflect() {
  const { filters } = state;
  tool("layout").value = state.layout;
  tool("speed").value = String(state.speed);
  tool("gain").value = String(state.gain);
  tool("low-pass").value = String(filters.lowPass);
  const pressed = { notch: filters.notch, baseline: filters.baseline, caliper: shown.calipers.drawing, march: shown.calipers.marching, annotations: state.annotated, beside: Boolean(shown.beside) && state.layout === "averaged", fit: state.zoom === "fit", "true-size": state.zoom === 1 };
  for (const [name, on] of Object.entries(pressed)) tool(name).setAttribute("aria-pressed", String(Boolean(on)));
  tool("notch").disabled = shown.raw.rate <= 110;
  tool("beside").disabled = !shown.told.earlier.length || !shown.told.beats.length;
  tool("annotations").disabled = !shown.told.beats.length;
  for (const option of tool("layout").options) option.disabled = option.value === "averaged" && !shown.told.beats.length;
  for (const option of tool("low-pass").options) option.disabled = Number(option.value) * 2.2 >= shown.raw.rate;
  const isLong = shown.raw.seconds > shown.told.paper.seconds + 0.5;
  const moves = /** @type {HTMLElement} */ (desk.querySelector(".ecg-moves"));
  moves.hidden = !isLong || state.layout === "averaged";
  tell("seconds", fill(shown.told.words.seconds_of, { from: state.start.toFixed(0), to: Math.min(shown.raw.seconds, state.start + shown.told.paper.seconds).toFixed(0), all: shown.raw.seconds.toFixed(0) }));
}
