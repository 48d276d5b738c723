// Keys of the worklist, and polling that rests while nobody looks.

/** @returns {HTMLAnchorElement[]} the links of all rows, from the top */
const links = () => [...document.querySelectorAll("a.row-link")];

/**
 * Move the focus by some rows; from nowhere to the first.
 * @param {number} step
 */
function move(step) {
  const rows = links();
  const here = rows.indexOf(/** @type {HTMLAnchorElement} */ (document.activeElement));
  const target = rows[here < 0 ? 0 : Math.min(Math.max(here + step, 0), rows.length - 1)];
  target?.focus();
  target?.closest("tr")?.scrollIntoView({ block: "nearest" });
}

/**
 * @param {EventTarget | null} target
 * @returns {boolean} whether keys belong to a field
 */
const isField = (target) => target instanceof HTMLElement && target.matches("input, select, textarea, [contenteditable]");

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (isField(event.target)) {
    if (event.key === "Escape") /** @type {HTMLElement} */ (event.target).blur();
    return;
  }
  if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "/") document.getElementById("search")?.focus();
  else return;
  event.preventDefault();
});

const filters = /** @type {HTMLFormElement} */ (document.getElementById("filters"));
filters.addEventListener("change", (event) => {
  if (event.target instanceof HTMLSelectElement || (event.target instanceof HTMLInputElement && event.target.type === "date")) {
    filters.requestSubmit();
  }
});
filters.querySelector(".more-filters")?.addEventListener("click", (event) => {
  const isOpen = filters.classList.toggle("is-open");
  /** @type {HTMLElement} */ (event.currentTarget).setAttribute("aria-expanded", String(isOpen));
});
// Empty fields would only make the address long.
filters.addEventListener("formdata", ({ formData }) => {
  for (const [name, value] of [...formData]) if (!value) formData.delete(name);
});

document.body.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden) event.preventDefault();
});
