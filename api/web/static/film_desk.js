// The slip's print button.
for (const button of document.querySelectorAll("[data-print]")) button.addEventListener("click", () => window.print());
