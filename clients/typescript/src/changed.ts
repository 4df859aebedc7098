import type { Change } from "./parameters.js";

type Row = Record<string, unknown>;

/** What the server makes of `value` by `change`, as far as it can be told here: a guess to be shown until the commit is seen. */
export function changed(value: unknown, { merge = {}, increment = {} }: Change): unknown {
  // Not rows: what a `parse` of the program's own made.
  if (value !== null && !isRow(value)) return value;
  const row: Row = { ...value };
  for (const [column, given] of Object.entries(merge)) {
    // A column that is set to null becomes NULL; within a JSON column, null removes a member.
    if (given !== undefined) row[column] = isRow(given) ? merged(row[column], given) : given;
  }
  for (const [column, amount] of Object.entries(increment)) row[column] = sum(row[column], amount);
  return row;
}

/** The same of `put`. What becomes of a column that is left out only the database knows. */
export function replaced(before: unknown, value: unknown): unknown {
  return isRow(before) && isRow(value) ? { ...before, ...value } : value;
}

/** Source: RFC 7396, section 2. */
function merged(target: unknown, patch: Row): Row {
  const result: Row = isRow(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else if (value !== undefined) result[name] = isRow(value) ? merged(result[name], value) : value;
  }
  return result;
}

/** As the database adds decimals: 0.1 and 0.2 make 0.3. */
function sum(a: unknown, b: unknown): unknown {
  if (typeof a !== "number" || typeof b !== "number") return a;
  const places = Math.max(decimals(a), decimals(b));
  return places <= 20 ? Number((a + b).toFixed(places)) : a + b;
}

function decimals(number: number): number {
  const [digits = "", exponent = "0"] = String(number).split("e");
  return Math.max(0, (digits.split(".")[1]?.length ?? 0) - Number(exponent));
}

function isRow(value: unknown): value is Row {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
