// The numbers beside the averaged beat: what the pre-read measured, what a doctor measured, what it was on the earlier ECG.

/**
 * @typedef {{name: string, unit: string, digits: number, low: number | null, high: number | null}} Name
 * @typedef {{values: Record<string, number>, evidence: {device: {values: Record<string, number>} | null}, doctor: {values: Record<string, number>, by: string, at: string} | null}} Told
 */

/** @param {string} text @param {Record<string, any>} values fill `%(name)s` */
export const fill = (text, values) => text.replace(/%\((\w+)\)s/g, (_, key) => String(values[key])).replaceAll("%%", "%");

/**
 * A number with its unit, and an arrow where it lies beyond its usual limits.
 * @param {number | undefined} value
 * @param {Name} name
 */
export function withUnit(value, { unit, digits, low, high }) {
  if (value === undefined) return "—";
  const beyond = high !== null && value > high ? " ↑" : low !== null && value < low ? " ↓" : "";
  return `${value.toFixed(digits)}${unit === "°" ? "" : " "}${unit}${beyond}`;
}

/**
 * @param {string} name
 * @param {string} [text]
 * @param {string} [kind] class
 */
function cell(name, text = "", kind = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  if (name === "th") made.setAttribute("scope", "row");
  return made;
}

/**
 * @param {object} what
 * @param {Record<string, Name>} what.names by code, in order
 * @param {Record<string, string>} what.words
 * @param {Record<string, number>} what.changedFrom
 * @param {Told} what.now
 * @param {Record<string, number> | null} what.edited intervals of lines that nobody has saved yet
 * @param {boolean} what.mayMeasure then the doctor's column stands there from the beginning, and nothing jumps under a hand
 * @param {(Told & {at: string}) | null} what.earlier
 * @returns {HTMLTableElement}
 */
export function numbersTable({ names, words, changedFrom, now, edited, mayMeasure, earlier }) {
  const table = document.createElement("table");
  table.className = "ecg-table";
  /** @type {Record<string, number> | null} */
  const mine = edited ?? now.doctor?.values ?? (mayMeasure ? {} : null);
  // The comparison with an earlier ECG takes the room of the device's own numbers.
  const device = earlier ? undefined : now.evidence.device?.values;
  const heads = [words.measurement, words.machine, ...(device ? [words.device] : []), ...(mine ? [words.doctor] : []), ...(earlier ? [words.earlier, words.difference] : [])];
  const head = table.createTHead().insertRow();
  for (const text of heads) {
    const made = cell("th", text);
    made.setAttribute("scope", "col");
    head.append(made);
  }
  const body = table.createTBody();
  for (const [code, named] of Object.entries(names)) {
    const { name, unit, digits } = named;
    const past = earlier ? (earlier.doctor?.values[code] ?? earlier.values[code]) : undefined;
    const machine = now.values[code];
    const doctors = mine?.[code];
    if ([machine, doctors, past, device?.[code]].every((value) => value === undefined)) continue;
    const shown = (/** @type {number | undefined} */ value) => withUnit(value, named);
    const row = body.insertRow();
    row.dataset.code = code;
    row.append(cell("th", name), cell("td", shown(machine), "number"));
    if (device) row.append(cell("td", shown(device[code]), "number ecg-devices"));
    if (mine) row.append(cell("td", shown(doctors), "number ecg-doctors"));
    if (!earlier) continue;
    const present = doctors ?? machine;
    row.append(cell("td", shown(past), "number"));
    if (present === undefined || past === undefined) {
      row.append(cell("td", "—"));
      continue;
    }
    const difference = turned(Number(present.toFixed(digits)) - Number(past.toFixed(digits)), unit);
    const changed = Math.abs(difference) >= (changedFrom[code] ?? Infinity);
    row.classList.toggle("is-changed", changed);
    const sign = difference > 0 ? "+" : difference < 0 ? "−" : "±";
    row.append(cell("td", `${sign}${Math.abs(difference).toFixed(digits)}${changed ? ` ● ${words.changed}` : ""}`, "number"));
  }
  return table;
}

/** @param {number} difference @param {string} unit an axis goes the shorter way round */
function turned(difference, unit) {
  if (unit !== "°") return difference;
  return ((((difference + 180) % 360) + 360) % 360) - 180;
}

/**
 * @param {Record<string, number>} values
 * @param {Record<string, Name>} names
 * @returns {string} the numbers in one line
 */
export function valuesLine(values, names) {
  const known = Object.entries(names).filter(([code]) => code in values);
  return known.map(([code, { name, unit, digits }]) => `${name} ${values[code].toFixed(digits)} ${unit}`).join("\u2003");
}
