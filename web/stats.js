// The node's counters as they come, and the rates between them.
//
// Promises: a rate is what happened in the last few seconds, over the time between the snapshots it is taken from; a
// node that was restarted starts its counts anew, and so do the rates; the same holds when the stream was lost, because
// behind a balancer another node may go on with it. A page that nobody looks at asks for nothing. A stream that was lost comes
// back with the page's connection, by itself, or when it has been silent for too long, whichever is first.

// What a rate is taken over: long enough to be readable, short enough to be called now.
const RATE_OVER_MS = 3_000;
const KEPT = 90;
// Snapshots come each second. A longer silence, as of a page that was not looked at, lies between no two of a rate, and a
// stream that is so silent is opened anew.
const SILENCE_MS = 5_000;
// EventSource comes back by itself unless the server has refused it; then we ask again after this.
const ASK_AGAIN_MS = 3_000;

/** The stream of snapshots. `onsnapshot` gets each with the time it came; `onlost` is called when they stop coming. */
export class Stats {
  onsnapshot = () => {};
  onlost = () => {};

  #url;
  #source = null;
  #isLost = false;
  #timer = 0;

  constructor(url) {
    this.#url = url;
    document.addEventListener("visibilitychange", () => this.#follow());
    addEventListener("pagehide", () => this.close());
    addEventListener("pageshow", (event) => event.persisted && this.#follow());
  }

  open() {
    this.close();
    const source = new EventSource(this.#url);
    this.#source = source;
    this.#openAfter(SILENCE_MS);
    source.onmessage = ({ data }) => {
      this.#isLost = false;
      this.#openAfter(SILENCE_MS);
      this.onsnapshot(JSON.parse(data), performance.now());
    };
    source.onerror = () => {
      this.#lose();
      if (source.readyState === EventSource.CLOSED) this.#openAfter(ASK_AGAIN_MS);
    };
  }

  /** The node can be reached: a stream that was lost need not wait. */
  hasten() {
    if (this.#isLost && this.#source) this.open();
  }

  close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  #openAfter(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#lose();
      this.open();
    }, ms);
  }

  #lose() {
    this.#isLost = true;
    this.onlost();
  }

  #follow() {
    if (document.visibilityState === "visible") this.open();
    else this.close();
  }
}

/** The last snapshots, and what changed between them. */
export class Rates {
  #snapshots = []; // { at, snapshot }, the newest last

  add(snapshot, at) {
    const last = this.#snapshots.at(-1);
    if (last && (snapshot.uptime_s < last.snapshot.uptime_s || at - last.at > SILENCE_MS)) this.#snapshots = [];
    this.#snapshots.push({ at, snapshot });
    if (this.#snapshots.length > KEPT) this.#snapshots.shift();
  }

  /** What comes next may be another node's, whose counts have nothing to do with those before. */
  restart() {
    this.#snapshots = [];
  }

  /** How much `read(snapshot)` rose each second, lately; null before there are two snapshots. */
  perSecond(read, over = RATE_OVER_MS) {
    const newest = this.#snapshots.at(-1);
    const since = newest && this.#before(newest.at - over);
    if (!since || since === newest) return null;
    return ((read(newest.snapshot) - read(since.snapshot)) * 1000) / (newest.at - since.at);
  }

  // The latest snapshot that is at least so old, give or take the jitter of its coming; else the oldest.
  #before(at) {
    return this.#snapshots.findLast((snapshot) => snapshot.at <= at + 300) ?? this.#snapshots[0];
  }
}

// Whose records are not proven fresh: one database by its name, several by their number, all without.
export function notFresh(databases = []) {
  const old = databases.filter((database) => !database.fresh);
  if (databases.length < 2 || old.length === 0) return "Not proven fresh";
  return old.length === 1 ? `${old[0].name} not proven fresh` : `${old.length} of ${databases.length} databases not proven fresh`;
}
