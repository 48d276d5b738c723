// The ECG on the reading page: fetched once, drawn here as paper; every tool and key of it ends in an action below.

import { ask, Refused } from "./ecg_ask.js";
import { Calipers, isFollowing } from "./ecg_calipers.js";
import { isCalibrated, pixelsPerMillimetre, wireCalibration } from "./ecg_calibration.js";
import { wireEvidence } from "./ecg_evidence.js";
import { LINES, MeasuredLines, withOrWithout } from "./ecg_lines.js";
import { fill } from "./ecg_numbers.js";
import { unpack } from "./ecg_signal.js";
import { announce, desk, draw, evidence, filterWords, holding, numbers, reflect, resize, shown, state, strip, tell, tool } from "./ecg_view.js";

const ZOOM_STEP = 1.25;
const LOW_PASS = [0, 40, 35];
const address = desk.dataset.address ?? "";

/** @param {Partial<typeof state>} change */
function set(change) {
  if (change.layout === "averaged" && !shown.told.beats.length) return announce(shown.told.words.no_beats);
  Object.assign(state, change);
  draw();
  return undefined;
}

/** @param {Partial<typeof state.filters>} change */
function setFilters(change) {
  Object.assign(state.filters, change);
  draw();
  announce(filterWords() || shown.told.words.filters_off);
}

/** @param {number | "fit"} zoom */
function setZoom(zoom) {
  const middle = { x: (strip.scrollLeft + strip.clientWidth / 2) / strip.scrollWidth, y: (strip.scrollTop + strip.clientHeight / 2) / strip.scrollHeight };
  state.zoom = zoom === "fit" ? zoom : Math.min(8, Math.max(0.2, zoom));
  resize();
  reflect();
  strip.scrollTo(middle.x * strip.scrollWidth - strip.clientWidth / 2, middle.y * strip.scrollHeight - strip.clientHeight / 2);
}

/** @param {1 | -1} way */
const zoomBy = (way) => setZoom((Number(shown.sheet?.svg.dataset.pixelsPerMm) / pixelsPerMillimetre()) * ZOOM_STEP ** way);

/** @param {number} by seconds */
async function moveTo(by) {
  const last = Math.max(0, shown.raw.seconds - shown.told.paper.seconds);
  const start = Math.min(last, Math.max(0, state.start + by));
  const end = shown.raw.start + [...shown.raw.leads.values()][0].length / shown.raw.rate;
  if (start < shown.raw.start || Math.min(shown.raw.seconds, start + shown.told.paper.seconds) > end + 0.01) {
    shown.told.signal = (await ask(`${address}.json?start=${Math.max(0, start - shown.told.paper.seconds)}`)).signal;
    shown.raw = unpack(shown.told.signal);
  }
  set({ start });
}

/** @param {boolean} on */
function useCaliper(on) {
  shown.calipers.draw(on);
  if (on) announce(shown.told.words.caliper_ready);
  reflect();
}

/** A caliper in the middle of what is seen, for the keyboard. */
function standCaliper() {
  if (!shown.sheet) return;
  useCaliper(true);
  const pixels = Number(shown.sheet.svg.dataset.pixelsPerMm);
  const x = (strip.scrollLeft + Math.min(strip.clientWidth, shown.sheet.width * pixels) / 2) / pixels;
  const y = (strip.scrollTop + Math.min(strip.clientHeight, shown.sheet.height * pixels) / 2) / pixels;
  shown.calipers.standAt(x, y);
}

async function toggleBeside() {
  if (!shown.told.earlier.length) return announce(shown.told.words.no_earlier);
  if (shown.beside && state.layout === "averaged") shown.beside = null;
  else {
    if (!shown.beside) await layBeside(tool("earlier").value || shown.told.earlier[0].study);
    state.layout = "averaged";
  }
  return draw();
}

/** @param {string} study */
async function layBeside(study) {
  const found = await ask(`${address}/beside/${study}`);
  shown.beside = { ...found, raw: unpack(found.signal) };
  announce(fill(shown.told.words.laid_over, { at: found.at }));
}

/** @param {Record<string, number | null> | null} standing null takes the measurement back */
async function save(standing) {
  try {
    const answer = await ask(`${address}/measurement`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Form-Token": desk.dataset.formToken ?? "" },
      body: JSON.stringify({ lines: standing }),
    });
    shown.told.doctor = answer.doctor;
    shown.moved = null;
    draw();
    announce(standing ? shown.told.words.saved : shown.told.words.taken_back);
  } catch (problem) {
    tell("measured", `${shown.told.words.not_saved} ${problem instanceof Error ? problem.message : ""}`);
  }
}

/** @param {"p" | "t"} wave */
function toggleWave(wave) {
  shown.moved = withOrWithout(holding() ?? {}, wave);
  draw();
}

/** Every tool by name: buttons, selects and keys end here. */
const actions = /** @type {Record<string, (value?: string) => unknown>} */ ({
  layout: (value) => set({ layout: value }),
  speed: (value) => set({ speed: Number(value ?? (state.speed === 25 ? 50 : 25)) }),
  gain: (value) => set({ gain: Number(value ?? { 5: 10, 10: 20, 20: 5 }[state.gain]) }),
  "zoom-in": () => zoomBy(1),
  "zoom-out": () => zoomBy(-1),
  fit: () => setZoom("fit"),
  "true-size": () => setZoom(1),
  notch: () => setFilters({ notch: !state.filters.notch && shown.raw.rate > 110 }),
  baseline: () => setFilters({ baseline: !state.filters.baseline }),
  "low-pass": (value) => setFilters({ lowPass: value === undefined ? nextLowPass() : Number(value) }),
  caliper: (value) => (value === "key" ? standCaliper() : useCaliper(!shown.calipers.drawing)),
  march: () => {
    shown.calipers.march(!shown.calipers.marching);
    reflect();
  },
  annotations: () => set({ annotated: !state.annotated }),
  beside: toggleBeside,
  earlier: async (value) => {
    await layBeside(String(value));
    set({ layout: "averaged" });
  },
  "move-back": () => moveTo(-shown.told.paper.seconds),
  "move-on": () => moveTo(shown.told.paper.seconds),
  "wave-p": () => toggleWave("p"),
  "wave-t": () => toggleWave("t"),
  save: () => shown.moved && save(shown.moved),
  undo: () => {
    shown.moved = null;
    draw();
  },
  "take-back": () => save(null),
  more: () => tool("more").setAttribute("aria-expanded", String(desk.classList.toggle("is-open"))),
  help: () => /** @type {HTMLDialogElement} */ (document.getElementById("ecg-help")).showModal(),
});

function nextLowPass() {
  const allowed = LOW_PASS.filter((hz) => hz * 2.2 < shown.raw.rate);
  return allowed[(allowed.indexOf(state.filters.lowPass) + 1) % allowed.length];
}

/** @type {Record<string, [string, string?]>} */
const KEYS = {
  1: ["layout", "3x4+1"], 2: ["layout", "6x2"], 3: ["layout", "12x1"], 4: ["layout", "averaged"],
  s: ["speed"], g: ["gain"], "+": ["zoom-in"], "=": ["zoom-in"], "-": ["zoom-out"], 0: ["fit"], t: ["true-size"],
  n: ["notch"], b: ["baseline"], l: ["low-pass"], c: ["caliper", "key"], m: ["march"], r: ["annotations"], p: ["beside"],
  "[": ["move-back"], "]": ["move-on"], k: ["calibrate"], w: ["save"], "?": ["help"],
};

/** @param {KeyboardEvent} event */
function key(event) {
  const within = event.target instanceof Element ? event.target : document.body;
  if (event.ctrlKey || event.metaKey || event.altKey || within.closest("input, textarea, select, dialog, [contenteditable]") || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape" && (shown.calipers.box || shown.calipers.drawing)) {
    if (shown.calipers.remove()) announce(shown.told.words.caliper_gone);
    shown.calipers.march(false);
    useCaliper(false);
    return;
  }
  const named = KEYS[event.key] ?? KEYS[event.key.toLowerCase()];
  if (!named || (named[0] === "move-back" || named[0] === "move-on") && state.layout === "averaged") return;
  event.preventDefault();
  actions[named[0]]?.(named[1]);
}

function wire() {
  const openCalibration = wireCalibration(/** @type {HTMLDialogElement} */ (document.getElementById("ecg-calibration")), () => {
    if (isCalibrated() && state.zoom === "fit" && !desk.classList.contains("is-calibrated")) state.zoom = 1;
    resize();
    reflect();
  });
  actions.calibrate = openCalibration;
  desk.addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest("button[data-tool]") : null;
    if (button) actions[button.getAttribute("data-tool") ?? ""]?.();
  });
  for (const select of desk.querySelectorAll("select[data-tool]")) {
    select.addEventListener("change", () => actions[select.getAttribute("data-tool") ?? ""](/** @type {HTMLSelectElement} */ (select).value));
  }
  for (const dialog of document.querySelectorAll("dialog.ecg-dialog")) {
    dialog.querySelector("[data-shut]")?.addEventListener("click", () => /** @type {HTMLDialogElement} */ (dialog).close());
  }
  wireEvidence(evidence, numbers);
  document.addEventListener("keydown", key);
  // Under a hand that measures, the paper keeps its scale; it fits again when the hand is lifted.
  new ResizeObserver(() => isFollowing() || resize()).observe(strip);
  for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, () => shown.told && resize());
}

async function open() {
  const waiting = /** @type {HTMLElement} */ (strip.querySelector(".loading"));
  waiting.hidden = false;
  try {
    shown.told = await ask(`${address}.json`);
  } catch (problem) {
    if (problem instanceof Refused) strip.innerHTML = problem.notice;
    else waiting.replaceWith(/** @type {HTMLTemplateElement} */ (document.getElementById("no-connection")).content.cloneNode(true));
    return;
  }
  shown.raw = unpack(shown.told.signal);
  shown.told.words.per_minute = shown.told.names.ecg_heart_rate.unit;
  shown.calipers = new Calipers(shown.told.words, (text) => tell("caliper", text));
  shown.lines = new MeasuredLines(shown.told.words, shown.told.paper, (standing) => {
    shown.moved = Object.fromEntries(LINES.map((name) => [name, standing[name] ?? null]));
    numbers();
  });
  const earlier = tool("earlier");
  for (const one of shown.told.earlier) earlier.append(new Option(one.at, one.study));
  earlier.closest("label").hidden = shown.told.earlier.length < 2;
  wire();
  draw();
  desk.classList.add("is-ready");
}

await open();
