// Types of a client that knows the server's collections: `Client<Schema>`, where `Schema` has a row's type by collection.

/** The schema of a client that was told none. */
export type AnySchema = Record<string, unknown>;

/** The names of a schema's collections. */
export type NameOf<S> = keyof S & string;

/** Any name where there is no schema; none where there is one. */
export type FreeName<S> = string extends keyof S ? string : never;
