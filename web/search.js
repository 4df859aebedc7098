// Search by name or SKU over the static index. Pure: no DOM.
//
// The index comes in order of popularity, and equally good matches keep that order.

/** Prepares `[sku, name]` pairs for searching. Most visitors look first: what is compared is made with the first search. */
export function makeIndex(pairs) {
  return pairs.map(([sku, name]) => ({ sku, name, text: null, folded: null }));
}

/** The words of a query, as they are compared. */
export function words(query) {
  return fold(query).split(/\s+/).filter(Boolean);
}

/** The best `limit` matches, best first, and how many there are in all. No words match everything. */
export function search(index, wanted, limit) {
  const found = [];
  for (const product of index) {
    const rank = rankOf(product, wanted);
    if (rank !== null) found.push({ product, rank });
  }
  found.sort((a, b) => a.rank - b.rank); // Stable: popularity decides among equals.
  return { products: found.slice(0, limit).map((match) => match.product), total: found.length };
}

/** Cuts `name` into pieces, those that match one of the words marked. */
export function pieces(name, wanted) {
  const parts = wanted.map((word) => word.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  if (parts.length === 0) return [{ text: name, match: false }];
  parts.sort((a, b) => b.length - a.length);
  return name
    .split(new RegExp(`(${parts.join("|")})`, "i"))
    .map((text, at) => ({ text, match: at % 2 === 1 }))
    .filter((piece) => piece.text !== "");
}

// 0 the SKU itself, 1 a SKU that begins so, 2 every word begins a word, 3 every word stands somewhere.
function rankOf(product, wanted) {
  if (wanted.length === 0) return 0;
  const text = (product.text ??= fold(`${product.sku} ${product.name}`));
  const folded = (product.folded ??= fold(product.sku));
  if (!wanted.every((word) => text.includes(word))) return null;
  if (wanted.length === 1 && folded === wanted[0]) return 0;
  if (wanted.length === 1 && folded.startsWith(wanted[0])) return 1;
  return wanted.every((word) => beginsWord(text, word)) ? 2 : 3;
}

function beginsWord(text, word) {
  for (let at = text.indexOf(word); at !== -1; at = text.indexOf(word, at + 1)) {
    if (at === 0 || !/[a-z0-9]/.test(text[at - 1])) return true;
  }
  return false;
}

function fold(text) {
  return text.normalize("NFKD").replaceAll(/\p{M}/gu, "").toLowerCase();
}
