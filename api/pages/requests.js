// Requests to this server: paths are relative to the page, so that it works behind any prefix.

export class ApiError extends Error {
  constructor(status, code, message, isRetryable) {
    super(message);
    this.status = status;
    this.code = code;
    this.isRetryable = isRetryable;
  }
}

/** Answers with the parsed body. `askForKey(wasWrong)` is awaited when the server wants an API key; then it is tried again. */
export class Requests {
  constructor(keyring, askForKey) {
    this.keyring = keyring;
    this.askForKey = askForKey;
  }

  async send(method, path, body) {
    for (;;) {
      const key = this.keyring.key;
      const response = await this.#fetch(method, path, body, key);
      if (response.status === 204) return null;
      const answer = await response.json().catch(() => null);
      if (response.ok && answer) return answer;
      if (response.status !== 401) throw toError(response.status, answer);
      if (this.keyring.key === key) await this.askForKey(Boolean(key));
    }
  }

  async #fetch(method, path, body, key) {
    const headers = { ...(body && { "Content-Type": "application/json" }), ...(key && { Authorization: `Bearer ${key}` }) };
    try {
      return await fetch(new URL(path, document.baseURI), { method, headers, body: body && JSON.stringify(body) });
    } catch {
      throw new ApiError(0, "unreachable", "The server cannot be reached.", true);
    }
  }
}

function toError(status, answer) {
  const error = answer?.error ?? {};
  return new ApiError(status, error.code ?? "internal", error.message ?? `The server answered ${status}.`, error.retryable ?? false);
}

/** Where the conversation's socket is, and what to offer it so that it knows the key. */
export function socketAddress(sessionId, key) {
  const url = new URL(`api/sessions/${encodeURIComponent(sessionId)}`, document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return { url: url.href, protocols: key ? ["greenroom", `bearer.${key}`] : ["greenroom"] };
}
