// How values are written for people, and read back from them. Pure: no DOM, no clock.

const LOCALE = "en-GB";
const wholeNumber = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 0 });
const oneDecimal = new Intl.NumberFormat(LOCALE, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const percentage = new Intl.NumberFormat(LOCALE, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

// From here on a figure is written short where there is little room: "1.2m".
const SHORT_FROM = 1e6;
const SHORT = { notation: "compact", maximumFractionDigits: 1 };
const shortNumber = new Intl.NumberFormat(LOCALE, SHORT);

const currencies = new Map();

// A currency's own formatter and its number of minor digits (GBP 2, JPY 0). A code that is not one is written out.
function currencyOf(code) {
  if (!currencies.has(code)) currencies.set(code, makeCurrency(code));
  return currencies.get(code);
}

function makeCurrency(code) {
  try {
    const format = new Intl.NumberFormat(LOCALE, { style: "currency", currency: code });
    const short = new Intl.NumberFormat(LOCALE, { style: "currency", currency: code, ...SHORT });
    const symbol = format.formatToParts(0).find((part) => part.type === "currency").value;
    return { write: (amount) => format.format(amount), short: (amount) => short.format(amount), digits: format.resolvedOptions().maximumFractionDigits, symbol };
  } catch {
    const after = (text) => `${text} ${code ?? ""}`.trim();
    return { write: (amount) => after(amount.toFixed(2)), short: (amount) => after(shortNumber.format(amount)), digits: 2, symbol: code ?? "" };
  }
}

/** "£2.95" from 295 and "GBP"; an en dash for what is no number. */
export function money(minor, code) {
  if (!Number.isFinite(minor)) return "–";
  const currency = currencyOf(code);
  return currency.write(minor / 10 ** currency.digits);
}

/** As `money`, but "£1.2m" and "£1bn" from a million on: for rows and tiles. */
export function moneyShort(minor, code) {
  const { digits, short } = currencyOf(code);
  const amount = minor / 10 ** digits;
  return Math.abs(amount) >= SHORT_FROM ? short(amount) : money(minor, code);
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

/** As `count`, but "1.2m" from a million on. */
export function countShort(number) {
  return Math.abs(number) >= SHORT_FROM ? shortNumber.format(number) : count(number);
}

/** "88.2%" from 0.882. */
export function percent(share) {
  return Number.isFinite(share) ? percentage.format(share) : "–";
}

/** "264/s"; small rates with a decimal. */
export function rate(perSecond) {
  if (!Number.isFinite(perSecond)) return "–";
  return `${(perSecond > 0 && perSecond < 9.95 ? oneDecimal : wholeNumber).format(perSecond)}/s`;
}

/** "0.8 ms", "12 ms", "1.4 s". */
export function milliseconds(ms) {
  if (!Number.isFinite(ms)) return "–";
  if (ms >= 999.5) return `${oneDecimal.format(ms / 1000)} s`;
  return `${(ms < 9.95 ? oneDecimal : wholeNumber).format(ms)} ms`;
}

/** "2.1 MB". */
export function bytes(number) {
  if (!Number.isFinite(number)) return "–";
  return number < 1e5 ? `${oneDecimal.format(number / 1e3)} kB` : `${oneDecimal.format(number / 1e6)} MB`;
}

/** How long ago, short: "now", "12 s", "3 min", "2 h". */
export function ago(ms) {
  if (ms < 1500) return "now";
  if (ms < 60_000) return `${Math.floor(ms / 1000)} s`;
  return ms < 3_600_000 ? `${Math.floor(ms / 60_000)} min` : `${Math.floor(ms / 3_600_000)} h`;
}

/** "+1" or "−40", with a true minus sign. */
export function difference(number) {
  return `${number < 0 ? "−" : "+"}${wholeNumber.format(Math.abs(number))}`;
}

export function timeOfDay(date) {
  return clock.format(date);
}

/** "3 s", "2 min": short and rounded up, so that it never promises too early. */
export function duration(ms) {
  const seconds = Math.max(1, Math.ceil(ms / 1000));
  return seconds < 120 ? `${seconds} s` : `${Math.ceil(seconds / 60)} min`;
}

// Words that a title does not begin with a capital, unless they come first.
const SMALL = new Set(["a", "and", "for", "in", "of", "on", "or", "the", "to", "with"]);

/** "White Hanging Heart T-Light Holder" from the shop's capitals; a name with small letters of its own stays as it is. */
export function title(name) {
  if (/\p{Ll}/u.test(name)) return name;
  return name.toLowerCase().replaceAll(/[\p{L}\p{N}][\p{L}\p{N}'’]*/gu, (word, at) => {
    return at > 0 && SMALL.has(word) ? word : word[0].toUpperCase() + word.slice(1);
  });
}
