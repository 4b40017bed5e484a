// What goes wrong, in one class. The codes and their meaning are those of the server's tree (`api/errors.py`).

/**
 * An error for the caller to act on.
 *
 * `code` is the server's, such as "inferlet_not_found" or "too_busy"; "unavailable" with status 0 is a server that
 * cannot be reached, and "timeout" a wait that ended by itself. `status` is HTTP's; 0 where the error is this client's
 * own, or came within a stream. `retryable`: the same call may succeed later, after `retryAfterS` seconds where that is
 * not null.
 */
export class GreenroomError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{status?: number, retryable?: boolean, retryAfterS?: number | null, cause?: unknown}} [facts]
   */
  constructor(code, message, { status = 0, retryable = false, retryAfterS = null, cause } = {}) {
    super(message, { cause });
    this.name = "GreenroomError";
    this.code = code;
    this.status = status;
    this.retryable = retryable;
    this.retryAfterS = retryAfterS;
  }
}

/** A run ended without success; `run` says how. */
export class RunFailed extends GreenroomError {
  /** @param {any} run */
  constructor(run) {
    const error = run.error ? `: ${run.error.message}` : "";
    super("run_failed", `run ${run.id} ${run.state} (${run.reason})${error}`);
    this.name = "RunFailed";
    this.run = run;
  }
}

/** The server, or the way to it, does not answer. @param {unknown} cause */
export function unreachable(cause) {
  return new GreenroomError("unavailable", "The server cannot be reached.", { retryable: true, cause });
}

/**
 * What the server says went wrong: `{code, message, retryable}`, from an answer, a stream or a socket. Where it says
 * nothing that can be read, somebody on the way has spoken in its place, and it is "unavailable".
 *
 * @param {any} view
 * @param {{status?: number, retryAfterS?: number | null}} [facts]
 */
export function errorOf(view, { status = 0, retryAfterS = null } = {}) {
  const { code = "unavailable", message = `The server answered ${status}.`, retryable = true } = view ?? {};
  return new GreenroomError(code, message, { status, retryable, retryAfterS: view?.retry_after_s ?? retryAfterS });
}
