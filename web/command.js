// The line that changes a product from a terminal, behind the page's back. Pure: no DOM.

// The port that psql takes by itself, and the address that `freshet` does.
const POSTGRES_PORT = 5432;
const USUAL_HOSTS = ["127.0.0.1:8080", "localhost:8080"];

/** psql's for a database, `freshet`'s where records are in memory; null for a SKU that would mean something to a shell. */
export function commandLine(sku, { login }, { host, protocol }) {
  if (!/^[\w.-]+$/.test(sku)) return null;
  return login ? psqlLine(sku, login) : patchLine(sku, host, protocol);
}

function psqlLine(sku, { host, port, user, database }) {
  const server = port === POSTGRES_PORT ? ["-h", word(host)] : ["-h", word(host), "-p", port];
  const sql = `UPDATE products SET price = price + 100 WHERE sku = '${sku}'`;
  return ["psql", ...server, "-U", word(user), word(database), "-c", `"${sql}"`].join(" ");
}

function patchLine(sku, host, protocol) {
  const scheme = protocol === "https:" ? "wss" : "ws";
  const url = USUAL_HOSTS.includes(host) ? [] : ["--url", `${scheme}://${host}`];
  return ["freshet", "patch", "products", sku, "--increment", "stock=-1", ...url].join(" ");
}

// As one word of a shell.
function word(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
