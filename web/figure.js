// A figure on the screen that lights up for a moment when it changes.

/** Writes `text`; a `change` other than 0 lights it up. */
export function writeFigure(element, text, change = 0) {
  if (element.textContent === text) return;
  element.textContent = text;
  if (change === 0 || Number.isNaN(change)) return;
  // An animation of another name starts anew, and nobody has to wait for the layout.
  element.dataset.flash = element.dataset.flash === "odd" ? "even" : "odd";
}

/** Lets the style choose a size at which a figure of so many characters fits. */
export function fitFigure(element) {
  element.parentElement.style.setProperty("--characters", element.textContent.length);
}
