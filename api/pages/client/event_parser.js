// Server-sent events, out of the pieces of text in which they come.

/**
 * One block of the stream: its name ("" without one), its data (null without any), and its id ("" without one). A
 * comment is a block with none of them.
 *
 * @typedef {{name: string, data: any, id: string}} StreamEvent
 */

/** Keeps what is not whole yet. */
export class EventParser {
  /** @type {string[]} */
  #pieces = [];

  /**
   * The blocks that this text completes.
   *
   * @param {string} text
   * @returns {StreamEvent[]}
   */
  take(text) {
    const last = this.#pieces.at(-1) ?? "";
    this.#pieces.push(text);
    if (!`${last.slice(-1)}${text}`.includes("\n\n")) return [];
    const blocks = this.#pieces.join("").split("\n\n");
    this.#pieces = [/** @type {string} */ (blocks.pop())];
    return blocks.map(parseBlock);
  }
}

/** @param {string} block @returns {StreamEvent} */
function parseBlock(block) {
  /** @type {Record<string, string>} */
  const fields = {};
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 1).replace(/^ /, "");
  }
  return { name: fields.event ?? "", data: fields.data ? JSON.parse(fields.data) : null, id: fields.id ?? "" };
}
