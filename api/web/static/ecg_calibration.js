// How many pixels of this screen are a millimetre: a person lays a bank card or a ruler against a drawn bar, once a screen.

const KEY = "sumu.ecg.screens";
/** What a browser takes for a millimetre when nobody has measured. */
const GUESS = 96 / 25.4;
/** Narrower than this, in CSS pixels, no screen shows a whole card. */
const NARROW = 500;

/** The screen by its size; the kept number is in device pixels, so that the browser's own zoom does not spoil it. */
const screenName = () => `${screen.width}x${screen.height}`;

/** @returns {Record<string, number>} device pixels a millimetre, by screen */
function kept() {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "{}") ?? {};
  } catch {
    return {};
  }
}

/** @returns {boolean} whether a person has measured this screen */
export const isCalibrated = () => kept()[screenName()] > 0;

/** @returns {number} CSS pixels a millimetre: measured, or guessed */
export const pixelsPerMillimetre = () => (isCalibrated() ? kept()[screenName()] / devicePixelRatio : GUESS);

/** @param {number | null} pixels CSS pixels a millimetre; null forgets */
function keep(pixels) {
  const all = kept();
  if (pixels === null) delete all[screenName()];
  else all[screenName()] = pixels * devicePixelRatio;
  localStorage.setItem(KEY, JSON.stringify(all));
}

/**
 * @param {HTMLDialogElement} dialog
 * @param {() => void} changed
 */
export function wireCalibration(dialog, changed) {
  const thing = /** @type {HTMLSelectElement} */ (dialog.querySelector("[name=thing]"));
  const size = /** @type {HTMLInputElement} */ (dialog.querySelector("[name=size]"));
  const bar = /** @type {HTMLElement} */ (dialog.querySelector(".ecg-bar"));
  const millimetres = () => Number(thing.value);
  const show = () => {
    bar.style.width = `${size.value}px`;
    size.setAttribute("aria-valuetext", `${size.value} px`);
  };
  const begin = () => {
    size.max = String(Math.floor(/** @type {HTMLElement} */ (bar.parentElement).clientWidth));
    size.value = String(millimetres() * pixelsPerMillimetre());
    show();
  };
  thing.addEventListener("change", begin);
  size.addEventListener("input", show);
  for (const button of dialog.querySelectorAll("[data-step]")) {
    button.addEventListener("click", () => {
      size.value = String(Number(size.value) + Number(button.getAttribute("data-step")));
      show();
    });
  }
  dialog.querySelector("[data-keep]")?.addEventListener("click", () => {
    keep(Number(size.value) / millimetres());
    dialog.close();
    changed();
  });
  dialog.querySelector("[data-forget]")?.addEventListener("click", () => {
    keep(null);
    dialog.close();
    changed();
  });
  addEventListener("resize", changed);
  return () => {
    dialog.showModal();
    // A phone is narrower than a card is long: its short side then.
    const room = /** @type {HTMLElement} */ (bar.parentElement).clientWidth;
    if (room < NARROW) thing.value = thing.options[thing.options.length - 1].value;
    begin();
  };
}
