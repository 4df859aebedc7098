// The TypeScript client behind the driver's commands; the same in Node and in a browser. It imports nothing.

/** Takes commands for clients made by `makeClient(url, options)`; `say` gets answers and events. */
export function adapter(makeClient, say) {
  const clients = new Map();
  const watches = new Map();
  const plain = ({ code, reason, data, retryAfterMs }) => ({ code, reason, data, retryAfterMs });

  const operations = {
    open: (_, { client: name, url, options }) => {
      const client = makeClient(url, options);
      client.onState(({ error, ...state }) => say({ event: "state", client: name, state }));
      clients.set(name, client);
    },
    get: (client, { collection, key, ...options }) => client.get(collection, key, options),
    getMany: (client, { collection, keys }) => client.getMany(collection, keys),
    freshness: (client, { collection, keys }) => client.freshness(collection, keys),
    put: (client, { collection, key, value, ...options }) => client.put(collection, key, value, options),
    patch: (client, { collection, key, merge, increment, ...options }) =>
      client.patch(collection, key, { merge, increment }, options),
    delete: (client, { collection, key, ...options }) => client.delete(collection, key, options),
    watch: (client, { watch, collection, keys }) => {
      const handed = (record) => say({ event: "record", watch, record });
      const onError = (error) => say({ event: "refused", watch, error: plain(error) });
      const onFreshness = ({ isFresh, ageMs }, key) => say({ event: "freshness", watch, key, isFresh, ageMs });
      watches.set(watch, client.watch(collection, keys, handed, { onError, onFreshness }));
    },
    unwatch: (_, { watch }) => watches.get(watch).close(),
    close: (client) => client.close(),
  };

  return async ({ id, do: operation, client, ...params }) => {
    try {
      say({ id, ok: await operations[operation](clients.get(client), { client, ...params }) });
    } catch (error) {
      say({ id, error: error.reason === undefined ? { reason: String(error) } : plain(error) });
    }
  };
}
