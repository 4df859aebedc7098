import type { Client } from "../client.js";
import type { NameOf } from "../schema.js";
import { type Mutation, useMutation } from "./mutation.js";
import { useFreshet } from "./provider.js";
import { type Initial, type InitialRecords, useRecord, useRecords } from "./records.js";
import type { UsedRecord } from "./recordstore.js";

/** The hooks of a schema: they know the rows' types by collection. */
export interface Hooks<S extends object> {
  useFreshet(): Client<S>;
  useRecord<C extends NameOf<S>>(collection: C, key: string | null, options?: Initial<S[C]>): UsedRecord<S[C]>;
  useRecords<C extends NameOf<S>>(
    collection: C,
    keys: readonly string[] | null,
    options?: InitialRecords<S[C]>,
  ): readonly UsedRecord<S[C]>[];
  useMutation<C extends NameOf<S>>(collection: C, key: string | null): Mutation<S[C]>;
}

/** The same hooks with the types of `Schema`: `export const { useRecord } = hooks<Schema>()`. */
export function hooks<S extends object>(): Hooks<S> {
  return { useFreshet, useRecord, useRecords, useMutation } as Hooks<S>;
}
