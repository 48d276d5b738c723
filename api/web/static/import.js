// Bringing files: drop, list, progress. Without this script the form sends itself.

/** @typedef {{file: File, name: string}} Brought */

const form = /** @type {HTMLFormElement} */ (document.querySelector("[data-import]"));
const zone = /** @type {HTMLElement} */ (form.querySelector("[data-zone]"));
const progress = /** @type {HTMLElement} */ (form.querySelector("[data-progress]"));
const results = /** @type {HTMLElement} */ (document.getElementById("import-results"));
const find = (/** @type {string} */ mark) => /** @type {HTMLElement} */ (form.querySelector(`[data-${mark}]`));
/** Rows that are shown of a long list. */
const SHOWN = 100;
/** @type {Brought[]} */
let brought = [];

/** Return one of the form's words with its places filled. */
function word(/** @type {string} */ name, /** @type {Record<string, string | number>} */ values = {}) {
  const text = form.dataset[`word${name}`] ?? "";
  return text.replace(/%\((\w+)\)s/g, (_, key) => String(values[key])).replace("%%", "%");
}

function show() {
  const megabytes = brought.reduce((sum, one) => sum + one.file.size, 0) / 1048576;
  find("chosen").textContent = brought.length ? word("Chosen", { count: brought.length, size: Math.max(megabytes, 0.1).toFixed(1) }) : "";
  find("clear").hidden = !brought.length;
  find("list").replaceChildren(
    ...brought.slice(0, SHOWN).map((one) => {
      const row = document.createElement("li");
      const name = document.createElement("code");
      const remove = document.createElement("button");
      name.textContent = one.name;
      remove.type = "button";
      remove.className = "quiet small";
      remove.textContent = word("Remove");
      remove.setAttribute("aria-label", `${word("Remove")} ${one.name}`);
      remove.addEventListener("click", () => {
        brought = brought.filter((other) => other !== one);
        show();
      });
      row.append(name, remove);
      return row;
    }),
  );
}

function add(/** @type {Brought[]} */ more) {
  const known = new Set(brought.map((one) => `${one.name}/${one.file.size}`));
  brought.push(...more.filter((one) => !known.has(`${one.name}/${one.file.size}`)));
  show();
}

/** Return the files of a dropped file or folder, with the folder's name before them. */
async function filesOf(/** @type {FileSystemEntry} */ entry, folder = "") {
  if (entry.isFile) {
    const file = await new Promise((done, fail) => /** @type {FileSystemFileEntry} */ (entry).file(done, fail));
    return [{ file, name: folder + entry.name }];
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  /** @type {Brought[]} */
  const found = [];
  for (;;) {
    // A reader gives at most a hundred entries at a time.
    const some = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (!some.length) return found;
    for (const inner of some) found.push(...(await filesOf(inner, `${folder}${entry.name}/`)));
  }
}

for (const mark of ["files", "folder"]) {
  const input = /** @type {HTMLInputElement} */ (find(mark));
  input.addEventListener("change", () => {
    add([...(input.files ?? [])].map((file) => ({ file, name: file.webkitRelativePath || file.name })));
    input.value = "";
  });
}

for (const over of ["dragenter", "dragover"]) {
  zone.addEventListener(over, (event) => {
    event.preventDefault();
    zone.classList.add("is-over");
  });
}
zone.addEventListener("dragleave", (event) => {
  if (!zone.contains(/** @type {Node | null} */ (event.relatedTarget))) zone.classList.remove("is-over");
});
zone.addEventListener("drop", async (event) => {
  event.preventDefault();
  zone.classList.remove("is-over");
  const items = [...(event.dataTransfer?.items ?? [])].map((item) => ({ entry: item.webkitGetAsEntry?.(), file: item.getAsFile() }));
  for (const { entry, file } of items) {
    if (entry) add(await filesOf(entry));
    else if (file) add([{ file, name: file.name }]);
  }
});
// A file that misses the zone must not replace the page.
for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());

find("clear").addEventListener("click", () => {
  brought = [];
  show();
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const body = new FormData();
  for (const field of ["form_token", "organisation"]) {
    const value = new FormData(form).get(field);
    if (typeof value === "string") body.append(field, value);
  }
  for (const one of brought) body.append("files", one.file, one.name);
  send(body);
});

function send(/** @type {FormData} */ body) {
  const request = new XMLHttpRequest();
  const bar = /** @type {HTMLProgressElement} */ (progress.querySelector("progress"));
  const button = /** @type {HTMLButtonElement} */ (find("send"));
  request.open("POST", form.action);
  request.setRequestHeader("HX-Request", "true");
  request.setRequestHeader("Accept", "text/html");
  request.setRequestHeader("X-Form-Token", /** @type {string} */ (body.get("form_token")));
  request.upload.addEventListener("progress", ({ loaded, total }) => {
    const percent = Math.floor((100 * loaded) / Math.max(total, 1));
    bar.value = percent;
    find("told").textContent = word("Sending", { percent });
  });
  request.upload.addEventListener("load", () => {
    bar.removeAttribute("value");
    find("told").textContent = word("Taking");
  });
  request.addEventListener("loadend", () => {
    progress.hidden = true;
    button.disabled = false;
    const elsewhere = request.getResponseHeader("HX-Redirect");
    if (elsewhere) return location.assign(elsewhere);
    if (!request.status) {
      const told = document.createElement("p");
      told.className = "notice notice-refused";
      told.textContent = word("Lost");
      return results.replaceChildren(told);
    }
    results.innerHTML = request.responseText;
    if (request.status === 200) {
      brought = [];
      show();
      /** @type {HTMLElement | null} */ (results.querySelector(".import-heading"))?.focus();
    }
  });
  bar.value = 0;
  progress.hidden = false;
  button.disabled = true;
  request.send(body);
}

form.classList.add("has-script");
for (const part of form.querySelectorAll("[data-script]")) /** @type {HTMLElement} */ (part).hidden = false;
