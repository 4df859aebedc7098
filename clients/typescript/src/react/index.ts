"use client";

// Hooks for React. They need a `FreshetProvider` above them.

export { useConnection } from "./connection.js";
export { type Hooks, hooks } from "./hooks.js";
export { type Mutation, type MutationOptions, useMutation } from "./mutation.js";
export { FreshetProvider, useFreshet } from "./provider.js";
export type { UsedRecord } from "./recordstore.js";
export { type Initial, type InitialRecords, useRecord, useRecords } from "./records.js";
