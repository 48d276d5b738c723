// What a person is told when a request of htmx is refused or finds no server.

/**
 * A refusal is shown where its form says (`data-refusals` names an element), else at the foot of the page;
 * what the page shows already stays.
 */
document.body.addEventListener("htmx:beforeSwap", (event) => {
  const { detail } = /** @type {CustomEvent} */ (event);
  const shelf = document.getElementById("notices");
  if (detail.xhr.status < 400) {
    if (shelf && detail.target !== shelf) shelf.replaceChildren();
    return;
  }
  const named = /** @type {HTMLElement} */ (detail.requestConfig.elt).closest("[data-refusals]")?.getAttribute("data-refusals");
  const place = (named && document.getElementById(named)) || shelf;
  if (!place || !detail.xhr.getResponseHeader("Content-Type")?.startsWith("text/html")) return;
  detail.target = place;
  detail.swapOverride = "innerHTML";
  detail.shouldSwap = true;
  detail.isError = false;
});

document.body.addEventListener("htmx:sendError", () => {
  const words = /** @type {HTMLTemplateElement | null} */ (document.getElementById("no-connection"));
  if (words) document.getElementById("notices")?.replaceChildren(words.content.cloneNode(true));
});
