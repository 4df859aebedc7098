// Texts of values within a larger JSON text, for values that are handed on as they came. The text must be sound.

/** The text of what `path` leads to in `text`; `undefined` where there is nothing. */
export function slice(text: string, path: readonly string[]): string | undefined {
  let within: string | undefined = text;
  for (const name of path) within = within === undefined ? undefined : member(within, name);
  return within;
}

/** The texts of an array's elements. */
export function elements(text: string): string[] {
  const found: string[] = [];
  for (let at = skipBlank(text, skipBlank(text, 0) + 1); at < text.length && text[at] !== "]";) {
    const end = endOfValue(text, at);
    found.push(text.slice(at, end));
    at = skipSeparator(text, end, ",");
  }
  return found;
}

/** The text of an object with these members, given as JSON text; those `undefined` are left out. */
export function object(members: Readonly<Record<string, string | undefined>>): string {
  const given = Object.entries(members).filter(([, text]) => text !== undefined);
  return `{${given.map(([name, text]) => `${JSON.stringify(name)}:${text}`).join(",")}}`;
}

function member(text: string, name: string): string | undefined {
  for (let at = skipBlank(text, skipBlank(text, 0) + 1); at < text.length && text[at] === '"';) {
    const endOfName = endOfString(text, at);
    const start = skipSeparator(text, endOfName, ":");
    const end = endOfValue(text, start);
    if (JSON.parse(text.slice(at, endOfName)) === name) return text.slice(start, end);
    at = skipSeparator(text, end, ",");
  }
  return undefined;
}

function endOfValue(text: string, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length;) {
    const sign = text[at] as string;
    if (sign === '"') at = endOfString(text, at);
    else if (depth === 0 && !"{[".includes(sign)) return endOfScalar(text, at);
    else {
      if ("{[".includes(sign)) depth += 1;
      else if ("}]".includes(sign)) depth -= 1;
      at += 1;
    }
    if (depth === 0) return at;
  }
  return text.length;
}

function endOfScalar(text: string, at: number): number {
  while (at < text.length && !/[\s,\]}]/.test(text[at] as string)) at += 1;
  return at;
}

function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at += 1) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === '"') return at + 1;
  }
  return text.length;
}

function skipBlank(text: string, at: number): number {
  while (at < text.length && text.charCodeAt(at) <= 32) at += 1;
  return at;
}

function skipSeparator(text: string, at: number, separator: string): number {
  const next = skipBlank(text, at);
  return text[next] === separator ? skipBlank(text, next + 1) : next;
}
