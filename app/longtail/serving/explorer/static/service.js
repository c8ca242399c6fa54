// The calls of the service that the page makes. Paths are relative, so the page also works under a prefix.

const KEY = "longtail-key"; // kept for this tab only

/** An answer that is not 200: a problem document of the server, or no answer at all. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `The service answered ${status}.`);
    this.status = status;
    this.faults = problem.faults ?? [];
  }
}

/** From now on every call carries this API key; an empty one carries none. */
export function useKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

export function recommend(asked, signal) {
  const body = JSON.stringify(asked);
  return called("v1/recommend", { method: "POST", body, signal, headers: { "content-type": "application/json" } });
}

export function titles(prefix, signal) {
  return called(`v1/titles?${new URLSearchParams({ prefix })}`, { signal });
}

export function version(signal) {
  return called("version", { signal });
}

async function called(path, options) {
  const key = sessionStorage.getItem(KEY);
  const headers = { accept: "application/json", ...options.headers, ...(key ? { "x-api-key": key } : {}) };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers, credentials: "omit", cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, { detail: "The service does not answer. Is it still running?" });
  }
  if (answer.ok) return answer.json(); // may be aborted until its last byte
  throw new Refused(answer.status, await answer.json().catch(() => ({})));
}
