// Drawings over a radiograph: shown and hidden by buttons and keys.

const picture = /** @type {HTMLElement | null} */ (document.querySelector(".picture"));

/**
 * Show a drawing, or hide it when it is shown.
 * @param {HTMLButtonElement} button
 */
function toggle(button) {
  const shown = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(shown));
  picture?.setAttribute(`data-${button.dataset.draws}`, String(shown));
}

for (const button of picture?.querySelectorAll("[data-draws]") ?? []) {
  button.addEventListener("click", () => toggle(/** @type {HTMLButtonElement} */ (button)));
}

document.addEventListener("keydown", (event) => {
  const typing = event.target instanceof Element && event.target.closest("input, textarea, select, dialog");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const button = picture?.querySelector(`[aria-keyshortcuts="${CSS.escape(event.key.toUpperCase())}"]`);
  if (button) toggle(/** @type {HTMLButtonElement} */ (button));
});
