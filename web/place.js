// Where a record lies, in a line. Pure: no DOM, no clock.

/** "shard 17 on shop-2 at b, replica b2 40 ms behind"; "" where there is one database on one server. */
export function placeText({ shard, database, databases, servers = [] }) {
  if (isOnePlace({ databases, servers })) return "";
  const shown = databases > 1 ? `shard ${shard} on ${database}` : `shard ${shard}`;
  if (servers.length < 2) return shown;
  const primary = servers.find(({ role }) => role === "primary");
  const replicas = servers.filter((server) => server !== primary).map(replicaText);
  return [primary ? `${shown} at ${short(primary.server)}` : shown, ...replicas].join(", ");
}

/** Whether there is nothing to tell of any record, now and later. */
export function isOnePlace({ databases, servers = [] }) {
  return databases === 1 && servers.length < 2;
}

function replicaText({ server, role, lag_ms: lagMs }) {
  if (role !== "replica") return `replica ${short(server)} away`;
  return Number.isFinite(lagMs) ? `replica ${short(server)} ${lagMs} ms behind` : `replica ${short(server)}`;
}

// A server on a socket is known by its folder.
function short(server) {
  return server.startsWith("/") ? server.split("/").filter(Boolean).at(-1) : server;
}
