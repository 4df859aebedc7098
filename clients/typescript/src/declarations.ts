// TypeScript's types of collections, written from what a server says of them.

/** What `describe` answers. */
export interface Description {
  readonly collection: string;
  readonly key_column: string;
  readonly columns: readonly DescribedColumn[];
}

/** A column as `describe` tells of it. */
export interface DescribedColumn {
  readonly name: string;
  readonly kind: string;
  /** PostgreSQL's name of its type. */
  readonly type: string;
  readonly nullable: boolean;
}

// As PostgreSQL's row_to_json writes them. A number that JSON has no word for (NaN, Infinity) comes as text.
const TYPES: Readonly<Record<string, string>> = {
  boolean: "boolean",
  smallint: "number",
  integer: "number",
  bigint: "number",
  numeric: "number",
  real: "number",
  "double precision": "number",
  text: "string",
  "character varying": "string",
  character: "string",
  citext: "string",
  name: "string",
  uuid: "string",
  date: "string",
  "timestamp with time zone": "string",
  "timestamp without time zone": "string",
  "time with time zone": "string",
  "time without time zone": "string",
  interval: "string",
  bytea: "string",
  inet: "string",
  cidr: "string",
  macaddr: "string",
  money: "string",
  tsvector: "string",
  xml: "string",
};

/** A module with an interface for each collection, and a `Schema` of all of them for `Client<Schema>`. */
export function declarations(descriptions: readonly Description[], source: string): string {
  const names = descriptions.map(({ collection }) => interfaceName(collection));
  const rows = descriptions.map((description, at) => row(description, unique(names, at)));
  const members = descriptions.map(({ collection }, at) => `  ${property(collection)}: ${unique(names, at)};`);
  const schema = ["/** The rows by collection: `new Client<Schema>(url)`. */", "export interface Schema {", ...members, "}"];
  return [`// Written by freshet-types from ${source}; do not edit.`, "", ...rows, ...schema, ""].join("\n");
}

function row({ collection, key_column, columns }: Description, name: string): string {
  const members = columns.map((column) => member(column, column.name === key_column));
  return [`/** A row of \`${collection}\`. */`, `export interface ${name} {`, ...members, "}", ""].join("\n");
}

function member({ name, kind, type, nullable }: DescribedColumn, isKey: boolean): string {
  const notes = [isKey && "the key", kind === "generated" && "filled by the database", plainType(type) === undefined && type];
  const note = notes.filter(Boolean).join(", ");
  const scalar = typeOf(type);
  const whole = nullable && scalar !== "unknown" ? `${scalar} | null` : scalar;
  return `  ${kind === "generated" ? "readonly " : ""}${property(name)}: ${whole};${note && ` // ${note}`}`;
}

// JSON of any shape, and types of the application's own, are for the program to know.
function typeOf(type: string): string {
  const element = type.endsWith("[]") ? type.slice(0, -2) : undefined;
  if (element === undefined) return plainType(type) ?? "unknown";
  const plain = plainType(element);
  return plain ? `(${plain} | null)[]` : "unknown[]";
}

function plainType(type: string): string | undefined {
  return Object.hasOwn(TYPES, type) ? TYPES[type] : undefined;
}

function property(name: string): string {
  return /^[\p{ID_Start}_$][\p{ID_Continue}$]*$/u.test(name) ? name : JSON.stringify(name);
}

/** `order_lines` becomes `OrderLines`. */
function interfaceName(collection: string): string {
  const words = collection.split(/[^\p{ID_Continue}]+|_/u).filter(Boolean);
  const name = words.map((word) => word[0]?.toUpperCase() + word.slice(1)).join("");
  return /^\p{ID_Start}/u.test(name) && name !== "Schema" ? name : `Row${name}`;
}

function unique(names: readonly string[], at: number): string {
  const earlier = names.slice(0, at).filter((name) => name === names[at]).length;
  return `${names[at]}${earlier === 0 ? "" : earlier + 1}`;
}
