// The reading page: tabs on a narrow screen, the sign dialog, and an editor that follows the pre-read until it is touched.

const page = /** @type {HTMLElement} */ (document.querySelector("main.reading"));
const editor = /** @type {HTMLFormElement | null} */ (document.getElementById("report-form"));
const dialog = /** @type {HTMLDialogElement | null} */ (document.getElementById("sign-dialog"));
/** Whether the editor holds words that the server has not. */
let unsaved = false;

/**
 * Show one part of the page on a narrow screen.
 * @param {string} part
 */
function show(part) {
  page.dataset.tab = part;
  for (const tab of page.querySelectorAll("[data-shows]")) {
    tab.setAttribute("aria-selected", String(tab.getAttribute("data-shows") === part));
  }
}

for (const tab of page.querySelectorAll("[data-shows]")) {
  tab.addEventListener("click", () => show(tab.getAttribute("data-shows") ?? "images"));
}
if (location.hash === "#report") show("report");

/**
 * @param {string} name
 * @returns {HTMLTextAreaElement} a text field of the editor
 */
const field = (name) => /** @type {HTMLTextAreaElement} */ (editor?.elements.namedItem(name));

/** Take the suggestion of the pre-read into an editor that nobody has touched. */
function follow() {
  const suggestion = document.getElementById("suggestion");
  if (!editor || !suggestion || editor.dataset.suggested !== "true") return;
  field("findings").value = suggestion.dataset.findings ?? "";
  field("impression").value = suggestion.dataset.impression ?? "";
}

/**
 * Add the lines of a text that a field does not have yet.
 * @param {HTMLTextAreaElement} target
 * @param {string} lines
 */
function add(target, lines) {
  const missing = lines.split("\n").filter((line) => line && !target.value.includes(line));
  target.value = [target.value.trimEnd(), ...missing].filter(Boolean).join("\n");
}

editor?.addEventListener("input", () => {
  editor.dataset.suggested = "false";
  unsaved = true;
  document.getElementById("suggested-note")?.remove();
});

document.addEventListener("click", (event) => {
  const button = event.target instanceof Element ? event.target.closest("button") : null;
  if (button?.dataset.opens) dialog?.showModal();
  if (button?.dataset.closes) dialog?.close();
  if (button?.dataset.inserts !== undefined && editor) {
    const suggestion = document.getElementById("suggestion");
    add(field("findings"), suggestion?.dataset.findings ?? "");
    add(field("impression"), suggestion?.dataset.impression ?? "");
    editor.dispatchEvent(new Event("input", { bubbles: true }));
  }
});

document.body.addEventListener("htmx:beforeRequest", (event) => {
  const { elt } = /** @type {CustomEvent} */ (event).detail;
  // While a signature is asked for, the words go with the signature.
  if (elt === editor && dialog?.open) event.preventDefault();
  if (document.hidden && elt.id === "pre-read-panel") event.preventDefault();
});
dialog?.addEventListener("close", () => {
  if (unsaved) editor?.dispatchEvent(new Event("input", { bubbles: true }));
});

document.body.addEventListener("htmx:afterRequest", (event) => {
  const { elt, successful } = /** @type {CustomEvent} */ (event).detail;
  if (elt === editor && successful) unsaved = false;
});
document.body.addEventListener("htmx:afterSettle", follow);

// The last words before a page goes away, which the waiting save would lose.
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden" && unsaved && editor && !dialog?.open) {
    navigator.sendBeacon(editor.action, new FormData(editor));
  }
});
