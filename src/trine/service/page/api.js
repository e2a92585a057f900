// Calls of the API. A call that needs a key asks for one, and is then sent again.

/** An error that the API answered, or that there was no answer. */
export class ApiError extends Error {
  constructor(status, { code = "no_answer", message = "", hint = "" } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.hint = hint;
  }
}

let askForKey = null;
let asking = null;

/** Says how to ask a person for a key: a function that resolves when there is one. */
export function onKeyNeeded(ask) {
  askForKey = ask;
}

/**
 * Sends a request and returns the answer.
 * @param {string} path below the service's address
 * @param {{method?: string, json?: object, form?: FormData, query?: object, signal?: AbortSignal, as?: string}} how
 */
export async function call(path, how = {}) {
  const { query, json, form, signal, as = "json" } = how;
  const method = how.method ?? (json || form ? "POST" : "GET");
  const address = query ? `${path}?${parameters(query)}` : path;
  const request = { method, signal, credentials: "same-origin" };
  if (json) {
    request.headers = { "Content-Type": "application/json" };
    request.body = JSON.stringify(json);
  } else if (form) request.body = form;
  let response;
  try {
    response = await fetch(address, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, {
      message: "The service does not answer.",
      hint: "See whether it still runs, then try again.",
    });
  }
  if (response.status === 401 && askForKey && path !== "/v1/session") {
    asking ??= askForKey().finally(() => { asking = null; });
    await asking;
    return call(path, how);
  }
  if (!response.ok) throw new ApiError(response.status, await errorIn(response));
  if (as === "response") return response;
  return response.json();
}

/** The calls of one gallery. */
export function galleryAt(name) {
  const base = `/v1/galleries/${encodeURIComponent(name)}`;
  return {
    base,
    call: (path, how) => call(`${base}/${path}`, how),
    thumbnail: (item, side = 128) => `${base}/thumbnail?${parameters({ item, side })}`,
  };
}

/** A probe as a form: a picture goes as a file, everything else as JSON. */
export function formOf(fields) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value === null || value === undefined) continue;
    if (value instanceof Blob) form.append(name, value, value.name || "picture");
    else form.append(name, typeof value === "string" ? value : JSON.stringify(value));
  }
  return form;
}

function parameters(query) {
  const kept = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return new URLSearchParams(kept).toString();
}

async function errorIn(response) {
  try {
    return (await response.json()).error ?? {};
  } catch {
    return { code: "no_answer", message: `The service answered with status ${response.status}.` };
  }
}
