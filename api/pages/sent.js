// What was sent to an inferlet from this tab, and after which of its events: the server lists only what it did itself.

const MOST_KEPT = 200;

export class Sent {
  #entries;
  #unshown;

  constructor(instanceId) {
    this.name = `greenroom.sent.${instanceId}`;
    try {
      this.#entries = JSON.parse(sessionStorage.getItem(this.name)) ?? [];
    } catch {
      this.#entries = [];
    }
    this.#unshown = [...this.#entries];
  }

  /** This was sent when the event at this position had come. */
  note(value, position) {
    this.#entries = [...this.#entries, { value, position }].slice(-MOST_KEPT);
    try {
      sessionStorage.setItem(this.name, JSON.stringify(this.#entries));
    } catch {
      // A full or forbidden storage: after a reload the page shows only the inferlet's side.
    }
  }

  /** What an earlier page of this tab sent before the event at this position, once. */
  before(position) {
    const values = [];
    while (this.#unshown[0]?.position < position) values.push(this.#unshown.shift().value);
    return values;
  }
}
