// Elements, made in one line.

/** An HTML element with a class and children, texts or elements. */
export function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** An SVG element with attributes. */
export function shape(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/** Writes `text` where it differs: what stays the same is not laid out again. */
export function write(target, text) {
  if (target.textContent !== text) target.textContent = text;
}
