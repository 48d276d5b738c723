// An ECG's samples in the browser: unpacked, filtered for the eye, averaged beat by beat. Numbers in, numbers out.

/**
 * @typedef {{leads: string[], rate: number, seconds: number, start: number, microvolts_per_step: number, samples: string, words: string[]}} Packed
 * @typedef {{rate: number, seconds: number, start: number, leads: Map<string, Float32Array>}} Signal  leads in microvolts
 * @typedef {{notch: boolean, baseline: boolean, lowPass: number}} Filters  lowPass in Hz, 0 for off
 * @typedef {{r: number, kind?: string, [wave: string]: any}} Beat  seconds from the beginning of the recording
 */

/**
 * @param {Packed} packed
 * @returns {Signal}
 */
export function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed.samples), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const length = bytes.length / 2 / packed.leads.length;
  const leads = new Map();
  packed.leads.forEach((name, row) => {
    const samples = new Float32Array(length);
    for (let i = 0; i < length; i += 1) samples[i] = view.getInt16((row * length + i) * 2, true) * packed.microvolts_per_step;
    leads.set(name, samples);
  });
  return { rate: packed.rate, seconds: packed.seconds, start: packed.start, leads };
}

/**
 * One second-order section (R. Bristow-Johnson's cookbook), normalised.
 * @param {"low" | "high" | "notch"} kind
 * @param {number} hz
 * @param {number} q
 * @param {number} rate
 */
function section(kind, hz, q, rate) {
  const w = (2 * Math.PI * hz) / rate;
  const cos = Math.cos(w);
  const alpha = Math.sin(w) / (2 * q);
  const b = { low: [(1 - cos) / 2, 1 - cos, (1 - cos) / 2], high: [(1 + cos) / 2, -1 - cos, (1 + cos) / 2], notch: [1, -2 * cos, 1] }[kind];
  const a0 = 1 + alpha;
  return { b: b.map((value) => value / a0), a: [(-2 * cos) / a0, (1 - alpha) / a0] };
}

/**
 * @param {{b: number[], a: number[]}} filter
 * @param {Float64Array} x
 */
function once({ b, a }, x) {
  const y = new Float64Array(x.length);
  // The section has been at rest at the first value for ever: no step at the beginning.
  const gain = (b[0] + b[1] + b[2]) / (1 + a[0] + a[1]);
  let x1 = x[0];
  let x2 = x[0];
  let y1 = gain * x[0];
  let y2 = y1;
  for (let i = 0; i < x.length; i += 1) {
    const value = b[0] * x[i] + b[1] * x1 + b[2] * x2 - a[0] * y1 - a[1] * y2;
    x2 = x1;
    x1 = x[i];
    y2 = y1;
    y1 = value;
    y[i] = value;
  }
  return y;
}

/**
 * Forwards and backwards, so that nothing moves in time; the ends are continued by their own point reflection.
 * @param {{b: number[], a: number[]}} filter
 * @param {Float64Array} x
 * @param {number} margin
 */
function twice(filter, x, margin) {
  const n = Math.min(margin, x.length - 1);
  const long = new Float64Array(x.length + 2 * n);
  for (let i = 0; i < n; i += 1) {
    long[i] = 2 * x[0] - x[n - i];
    long[n + x.length + i] = 2 * x[x.length - 1] - x[x.length - 2 - i];
  }
  long.set(x, n);
  return once(filter, once(filter, long).reverse()).reverse().slice(n, n + x.length);
}

/** Butterworth twice is 3 dB down at its name when each pass is this much wider. */
const TWO_PASSES = (Math.SQRT2 - 1) ** 0.25;

/**
 * @param {Float32Array} samples
 * @param {number} rate
 * @param {Filters} filters
 * @returns {Float32Array}
 */
export function filtered(samples, rate, filters) {
  const sections = [];
  if (filters.notch && rate > 110) sections.push(section("notch", 50, 30, rate));
  if (filters.baseline) sections.push(section("high", 0.5 * TWO_PASSES, Math.SQRT1_2, rate));
  if (filters.lowPass && rate > 2.2 * filters.lowPass) sections.push(section("low", filters.lowPass / TWO_PASSES, Math.SQRT1_2, rate));
  if (!sections.length || samples.length < 2) return samples;
  let x = Float64Array.from(samples);
  for (const one of sections) x = twice(one, x, Math.round(2 * rate));
  return Float32Array.from(x);
}

/**
 * The median beat of one lead, sample by sample, around R; its level before QRS is zero.
 * @param {Float32Array} samples
 * @param {Signal} signal
 * @param {Beat[]} beats
 * @param {{before: number, after: number, zeroAt: number}} span  seconds from R: window, and where the baseline is taken
 * @returns {{values: Float32Array, count: number}}
 */
export function averaged(samples, signal, beats, { before, after, zeroAt }) {
  const first = Math.round(-before * signal.rate);
  const length = Math.round((before + after) * signal.rate) + 1;
  const begins = ofOneKind(beats)
    .map((beat) => Math.round((beat.r - signal.start) * signal.rate) + first)
    .filter((begin) => begin >= 0 && begin + length <= samples.length);
  const values = new Float32Array(begins.length ? length : 0);
  for (let i = 0; i < values.length; i += 1) values[i] = median(begins.map((begin) => samples[begin + i]));
  const at = Math.max(0, Math.min(values.length - 1, Math.round(zeroAt * signal.rate) - first));
  const level = median([...values.slice(Math.max(0, at - Math.round(0.012 * signal.rate)), at + 1)]);
  return { values: values.map((value) => value - level), count: begins.length };
}

/**
 * Where beats carry annotations, only the most frequent kind is averaged.
 * @param {Beat[]} beats
 */
function ofOneKind(beats) {
  const counts = new Map();
  for (const beat of beats) counts.set(beat.kind ?? "", (counts.get(beat.kind ?? "") ?? 0) + 1);
  const [kind] = [...counts].sort((a, b) => b[1] - a[1])[0] ?? [""];
  return beats.filter((beat) => (beat.kind ?? "") === kind);
}

/** @param {number[]} values */
export function median(values) {
  if (!values.length) return 0;
  const sorted = values.slice().sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
