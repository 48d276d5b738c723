// Questions to the server, and its refusals in the reader's words.

/** What the server refuses, in the reader's words: a notice as HTML. */
export class Refused extends Error {
  /** @param {string} notice */
  constructor(notice) {
    super(new DOMParser().parseFromString(notice, "text/html").body.textContent?.trim() ?? "");
    this.notice = notice;
  }
}

/**
 * @param {string} path
 * @param {RequestInit} [more]
 * @returns {Promise<any>}
 */
export async function ask(path, more) {
  const answer = await fetch(path, { ...more, headers: { Accept: "application/json", "HX-Request": "true", ...more?.headers } });
  if (answer.ok) return answer.json();
  const away = answer.headers.get("HX-Redirect");
  if (away) location.assign(away);
  throw new Refused(await answer.text());
}
