// How values are written for people, and read back from them. Pure: no DOM, no clock.

const LOCALE = "en-GB";
const wholeNumber = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 0 });
const clock = new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });

const currencies = new Map();

// A currency's own formatter and its number of minor digits (GBP 2, JPY 0). A code that is not one is written out.
function currencyOf(code) {
  if (!currencies.has(code)) currencies.set(code, makeCurrency(code));
  return currencies.get(code);
}

function makeCurrency(code) {
  try {
    const format = new Intl.NumberFormat(LOCALE, { style: "currency", currency: code });
    const symbol = format.formatToParts(0).find((part) => part.type === "currency").value;
    return { write: (amount) => format.format(amount), digits: format.resolvedOptions().maximumFractionDigits, symbol };
  } catch {
    return { write: (amount) => `${amount.toFixed(2)} ${code ?? ""}`.trim(), digits: 2, symbol: code ?? "" };
  }
}

/** "£2.95" from 295 and "GBP"; an en dash for what is no number. */
export function money(minor, code) {
  if (!Number.isFinite(minor)) return "–";
  const currency = currencyOf(code);
  return currency.write(minor / 10 ** currency.digits);
}

/** "2.95" from 295: what a person would type. */
export function moneyInput(minor, code) {
  const { digits } = currencyOf(code);
  return Number.isFinite(minor) ? (minor / 10 ** digits).toFixed(digits) : "";
}

/** "£" from "GBP". */
export function currencySymbol(code) {
  return currencyOf(code).symbol;
}

/** 295 from "2.95", "£2.95" or "2.9"; null when it is no price. Digits are moved as text, so that no cent is lost to binary fractions. */
export function parseMoney(text, code) {
  const { digits, symbol } = currencyOf(code);
  const bare = text.replace(symbol, "").replaceAll(/[\s,](?=\d{3}(\D|$))/g, "").trim();
  const match = /^(\d{1,12})(?:\.(\d*))?$/.exec(bare);
  if (!match || (match[2] ?? "").length > digits) return null;
  return Number(match[1] + (match[2] ?? "").padEnd(digits, "0"));
}

export function count(number) {
  return Number.isFinite(number) ? wholeNumber.format(number) : "–";
}

/** "+1" or "−40", with a true minus sign. */
export function difference(number) {
  return `${number < 0 ? "−" : "+"}${wholeNumber.format(Math.abs(number))}`;
}

export function timeOfDay(date) {
  return clock.format(date);
}

/** "1 Dec 2009" from RFC 3339 text, or the text itself when it is no date. */
export function date(text) {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? String(text) : day.format(at);
}

/** "3 s", "2 min": short and rounded up, so that it never promises too early. */
export function duration(ms) {
  const seconds = Math.max(1, Math.ceil(ms / 1000));
  return seconds < 120 ? `${seconds} s` : `${Math.ceil(seconds / 60)} min`;
}
