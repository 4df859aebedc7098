/** A new idempotency key. */
export function idempotencyKey(): string {
  // It must be new, not secret, so where there is no `crypto` (Node 18) any random numbers will do. `randomUUID` is
  // missing on pages that came over plain http.
  const { crypto } = globalThis as { crypto?: Crypto };
  const random = (): number => Math.floor(Math.random() * 2 ** 32);
  const words = crypto?.getRandomValues(new Uint32Array(4)) ?? Uint32Array.from({ length: 4 }, random);
  return Array.from(words, (word) => word.toString(16).padStart(8, "0")).join("");
}
