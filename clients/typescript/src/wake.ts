type Target = {
  addEventListener?(name: string, listener: () => void): void;
  removeEventListener?(name: string, listener: () => void): void;
};

/**
 * Calls `wake` when the network comes back, or a page is looked at again, where there are such events. Answers a way to
 * stop that.
 */
export function onWake(wake: () => void): () => void {
  const page = globalThis as unknown as Target & { document?: Target & { visibilityState: string } };
  const { document } = page;
  if (!page.addEventListener || !document?.addEventListener) return () => {};
  const seen = (): void => void (document.visibilityState === "visible" && wake());
  const listen = (how: "addEventListener" | "removeEventListener"): void => {
    page[how]?.("online", wake);
    page[how]?.("pageshow", wake);
    document[how]?.("visibilitychange", seen);
  };
  listen("addEventListener");
  return () => listen("removeEventListener");
}
