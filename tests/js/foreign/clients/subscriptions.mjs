// Which push is whose, for clients that hand all notifications to one callback.
//
// The answer with a subscription's id and its first pushes may reach a client in one read of its socket. `ws` hands them
// over in one turn, before whoever awaits the answer has learned the id: what is of an unknown id is kept until then.

/** The subscriptions of one connection. */
export class Subscriptions {
  #listeners = new Map();
  #early = new Map();

  /** Takes the params of a `freshet_subscription`. */
  hear = ({ subscription, result }) => {
    const listener = this.#listeners.get(subscription);
    if (listener) listener(result);
    else this.#early.set(subscription, [...(this.#early.get(subscription) ?? []), result]);
  };

  /** Hands what came of `id`, and what will, to `listener`. */
  add(id, listener) {
    this.#listeners.set(id, listener);
    for (const result of this.#early.get(id) ?? []) listener(result);
    this.#early.delete(id);
  }
}
