// How long a change made on this page takes until its state is on this screen: to the server, committed, back, drawn.

const KEPT = 5;

export class Roundtrip {
  /** The last few, in milliseconds, the newest first. */
  last = [];
  onmeasure = () => {};

  #under = new Set(); // { key, begun, drawn: [{ version, at }], version }

  /** A change of `key` begins now. Call the answer with the version that it was committed as, or with nothing if it was not. */
  begin(key) {
    const change = { key, begun: performance.now(), drawn: [], version: null };
    this.#under.add(change);
    return (version) => {
      change.version = version ?? null;
      if (change.version === null) this.#under.delete(change);
      else this.#settle(change);
    };
  }

  /** A state of `key` has been written into the page; it is on the screen once the next frame has been made. */
  drew(key, version) {
    for (const change of this.#under) {
      if (change.key !== key) continue;
      requestAnimationFrame(() => {
        // The frame's own callbacks run before it is painted, the next task after.
        const channel = new MessageChannel();
        channel.port1.onmessage = () => {
          channel.port1.close();
          change.drawn.push({ version, at: performance.now() });
          this.#settle(change);
        };
        channel.port2.postMessage(null);
      });
    }
  }

  // The state may be drawn before the answer tells which version it has: the push is not behind the answer.
  #settle(change) {
    const drawn = change.version !== null && change.drawn.find(({ version }) => version >= change.version);
    if (!drawn || !this.#under.delete(change)) return;
    this.last = [drawn.at - change.begun, ...this.last].slice(0, KEPT);
    this.onmeasure();
  }
}
