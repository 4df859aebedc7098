/// <reference lib="esnext.disposable" preserve="true" />

// What `using` calls. A platform that lacks the symbols gets the ones that polyfills and compilers agree on.

export const dispose: typeof Symbol.dispose = Symbol.dispose ?? (Symbol.for("Symbol.dispose") as never);
export const asyncDispose: typeof Symbol.asyncDispose = Symbol.asyncDispose ?? (Symbol.for("Symbol.asyncDispose") as never);
