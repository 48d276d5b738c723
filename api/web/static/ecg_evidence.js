// What the numbers rest on, folded below the paper: ours beside the device's own, the state of each lead, the rhythm.

import { withUnit } from "./ecg_numbers.js";

/** Where a browser remembers whether its reader wants the panel open. */
const KEY = "sumu.ecg.evidence";
const HEIGHTS = /** @type {const} */ (["r", "s", "j", "st60"]);
const narrow = matchMedia("(max-width: 900px)");

/**
 * @typedef {{name: string, state: string, words: string, r: number | null, s: number | null, j: number | null, st60: number | null}} Lead
 * @typedef {{source: string, values: Record<string, number>, statements: string[]}} Device
 * @typedef {{summary: string, doubtful: boolean, signal: string[], rhythm: string[], leads: Lead[], device: Device | null, names: Record<string, import("./ecg_numbers.js").Name>}} Evidence
 * @typedef {{text: string, kind?: string}} Cell
 */

/**
 * A table whose first row and first column are heads; on a narrow screen it is turned round.
 * @param {Cell[][]} cells
 */
function grid(cells) {
  const rows = narrow.matches ? cells[0].map((_, column) => cells.map((row) => row[column])) : cells;
  const table = document.createElement("table");
  table.className = "ecg-grid";
  rows.forEach((row, number) => {
    const line = table.insertRow();
    row.forEach(({ text, kind }, column) => {
      const isHead = number === 0 || column === 0;
      const made = document.createElement(isHead ? "th" : "td");
      made.textContent = text;
      made.className = kind ?? "";
      if (isHead) made.setAttribute("scope", number === 0 ? "col" : "row");
      line.append(made);
    });
  });
  return table;
}

/**
 * @param {string} head
 * @param {string[]} lines
 */
function paragraph(head, lines) {
  const made = document.createElement("p");
  const strong = document.createElement("strong");
  strong.textContent = head;
  made.append(strong, ` ${lines.map((line) => line.replace(/[.。]$/u, "")).join(" · ")}`);
  return made;
}

/** @param {any} told by the server @returns {HTMLTableElement[]} */
function numbers(told) {
  const { words, doctor } = told;
  const device = told.evidence.device?.values;
  const names = { ...told.names, ...told.evidence.names };
  const codes = Object.keys(names).filter((code) => [told.values, device, doctor?.values].some((values) => values?.[code] !== undefined));
  if (!codes.length) return [];
  const row = (/** @type {string} */ head, /** @type {Record<string, number>} */ values, kind = "") => [
    { text: head, kind },
    ...codes.map((code) => ({ text: withUnit(values[code], names[code]), kind })),
  ];
  const rows = [[{ text: words.measurement }, ...codes.map((code) => ({ text: names[code].name }))], row(words.machine, told.values)];
  if (device) rows.push(row(words.device, device, "ecg-devices"));
  if (doctor) rows.push(row(words.doctor, doctor.values, "ecg-doctors"));
  return [grid(rows)];
}

/** @param {Record<string, string>} words @param {Lead[]} leads @returns {HTMLTableElement[]} */
function heights(words, leads) {
  if (!leads.length) return [];
  const measured = HEIGHTS.filter((height) => leads.some((lead) => lead[height] !== null));
  return [
    grid([
      [{ text: words.lead }, ...leads.map(({ name }) => ({ text: name }))],
      [{ text: words.signal }, ...leads.map((lead) => ({ text: lead.words, kind: lead.state === "good" ? "" : "ecg-unfit" }))],
      ...measured.map((height) => [{ text: words[`height_${height}`] }, ...leads.map((lead) => ({ text: millivolts(lead[height]) }))]),
    ]),
  ];
}

/** @param {number | null} value */
const millivolts = (value) => (value === null ? "—" : value.toFixed(2).replace(/^-0\.00$/, "0.00").replace("-", "−"));

/**
 * @param {HTMLDetailsElement} panel
 * @param {any} told by the server
 */
export function showEvidence(panel, told) {
  /** @type {Evidence} */
  const { summary, doubtful, signal, rhythm, leads, device } = told.evidence;
  const { words } = told;
  panel.hidden = !summary;
  panel.classList.toggle("is-doubtful", doubtful);
  /** @type {HTMLElement} */ (panel.querySelector("summary")).textContent = summary;
  const saidBy = device?.source ? `${words.device_says} (${device.source})` : words.device_says;
  /** @type {HTMLElement} */ (panel.querySelector("div")).replaceChildren(
    ...numbers(told),
    ...(device?.statements.length ? [paragraph(saidBy, device.statements)] : []),
    ...(rhythm.length ? [paragraph(words.rhythm, rhythm)] : []),
    ...(signal.length ? [paragraph(words.signal, signal)] : []),
    ...heights(words, leads),
  );
}

/**
 * Open on a wide screen until its reader folds it; on a narrow one folded.
 * @param {HTMLDetailsElement} panel
 * @param {() => void} turned the panel was opened or folded, or the screen became wide or narrow
 */
export function wireEvidence(panel, turned) {
  panel.open = !narrow.matches && localStorage.getItem(KEY) !== "folded";
  panel.addEventListener("toggle", () => {
    if (!narrow.matches) localStorage.setItem(KEY, panel.open ? "open" : "folded");
    turned();
  });
  narrow.addEventListener("change", turned);
}
