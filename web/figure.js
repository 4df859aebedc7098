// A figure on the screen that lights up for a moment when it changes.

/** Writes `text`; `change` > 0 or < 0 lights it up in the colour of a rise or a fall, 0 leaves it dark. */
export function writeFigure(element, text, change = 0) {
  if (element.textContent === text) return;
  element.textContent = text;
  if (change === 0 || Number.isNaN(change)) return;
  delete element.dataset.flash;
  void element.offsetWidth; // Reading the layout lets the animation start anew.
  element.dataset.flash = change > 0 ? "up" : "down";
}
