//! Numbers as PostgreSQL prints them: `numeric` keeps its scale, `float8` is the shortest text that reads back.

/// A decimal holds at most this many digits before the point.
const WHOLE_DIGITS_MAX: usize = 131_072;
/// And at most this many after it.
const FRACTION_DIGITS_MAX: usize = 16_383;

/// `text` as `numeric` prints it: no exponent, the scale kept (`1.50` stays, `1e3` is 1000), `NaN` and the
/// infinities quoted, as JSON needs them.
///
/// # Errors
/// PostgreSQL's message: the text is no number, or longer than `numeric` holds.
///
/// # Source
/// PostgreSQL 15, appendix B.1 of the limits (131,072 digits before and 16,383 after the point); tried there.
pub(super) fn numeric(text: &str) -> Result<String, String> {
    let body = text.trim_matches(SPACE);
    if let Some(special) = special(body) {
        return Ok(special.into());
    }
    let decimal = Decimal::parse(body).ok_or_else(|| super::datatype::syntax("numeric", text))?;
    decimal.plain().ok_or_else(|| "value overflows numeric format".into())
}

/// `text` as `float8` prints it, `NaN` and the infinities quoted.
///
/// # Errors
/// PostgreSQL's message: the text is no number, or too large or too small for one.
///
/// # Source
/// PostgreSQL's `double_to_shortest_decimal_buf`: an exponent from 15 digits up and below 0.0001, two digits wide.
pub(super) fn float8(text: &str) -> Result<String, String> {
    const NAME: &str = "double precision";
    let body = text.trim_matches(SPACE);
    if let Some(special) = special(body) {
        return Ok(special.into());
    }
    let decimal = Decimal::parse(body).ok_or_else(|| super::datatype::syntax(NAME, text))?;
    let number: f64 = body.parse().map_err(|_| super::datatype::syntax(NAME, text))?;
    if number.is_infinite() || (number == 0.0 && !decimal.is_zero()) {
        return Err(format!("\"{body}\" is out of range for type {NAME}"));
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    Ok(match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..15).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => format!("{number}"),
    })
}

/// What PostgreSQL's input functions take for blank.
pub(super) const SPACE: [char; 6] = [' ', '\t', '\n', '\r', '\x0b', '\x0c'];

fn special(text: &str) -> Option<&'static str> {
    Some(match text.to_ascii_lowercase().as_str() {
        "nan" => "\"NaN\"",
        "inf" | "+inf" | "infinity" | "+infinity" => "\"Infinity\"",
        "-inf" | "-infinity" => "\"-Infinity\"",
        _ => return None,
    })
}

/// A decimal's digits as they were written: `0.<whole><fraction> * 10^(len(whole) + exponent)`.
struct Decimal<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: i64,
}

impl<'a> Decimal<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Self::exponent(exponent)?),
            None => (text, 0),
        };
        let unsigned = mantissa.strip_prefix(['+', '-']).unwrap_or(mantissa);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let valid = digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty());
        valid.then_some(Decimal { negative: mantissa.starts_with('-'), whole, fraction, exponent })
    }

    /// Exponents beyond what any type holds are cut to a size that still overflows.
    fn exponent(text: &str) -> Option<i64> {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let beyond = if text.starts_with('-') { -1_000_000_000 } else { 1_000_000_000 };
        Some(text.parse::<i32>().map_or(beyond, |n| i64::from(n).clamp(-1_000_000_000, 1_000_000_000)))
    }

    fn is_zero(&self) -> bool {
        self.whole.bytes().chain(self.fraction.bytes()).all(|b| b == b'0')
    }

    /// The number without exponent; `None` when `numeric` cannot hold it.
    fn plain(&self) -> Option<String> {
        let scale = usize::try_from((self.fraction.len() as i64 - self.exponent).max(0)).ok()?;
        if scale > FRACTION_DIGITS_MAX {
            return None;
        }
        if self.is_zero() {
            return Some(if scale == 0 { "0".into() } else { format!("0.{:0scale$}", 0) });
        }
        let digits = format!("{}{}", self.whole, self.fraction);
        let significant = digits.trim_start_matches('0');
        let leading = significant.len() as i64 + self.exponent - self.fraction.len() as i64;
        if leading > WHOLE_DIGITS_MAX as i64 {
            return None;
        }
        let trailing = usize::try_from(self.exponent - self.fraction.len() as i64).unwrap_or(0);
        let padded = format!("{:0>width$}{}", significant, "0".repeat(trailing), width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        let sign = if self.negative { "-" } else { "" };
        let point = if scale == 0 { "" } else { "." };
        Some(format!("{sign}{whole}{point}{fraction}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Every expectation of this module was read off PostgreSQL 15.
    #[test]
    fn numeric_prints_as_postgresql_does() {
        for (text, printed) in [
            ("1.50", "1.50"),
            ("1e3", "1000"),
            ("1.5e3", "1500"),
            ("1e-3", "0.001"),
            ("1.50e1", "15.0"),
            ("-12.5E-1", "-1.25"),
            ("-0.00", "0.00"),
            ("-0", "0"),
            (" 0012.0 ", "12.0"),
            (".5", "0.5"),
            ("5.", "5"),
            ("0e5", "0"),
            ("0e-5", "0.00000"),
            ("0.00e3", "0"),
            ("+1", "1"),
            ("nan", "\"NaN\""),
            ("-inf", "\"-Infinity\""),
        ] {
            assert_eq!(numeric(text).as_deref(), Ok(printed), "{text}");
        }
        assert_eq!(numeric("1e131071").map(|text| text.len()), Ok(131_072));
        assert_eq!(numeric("1e-16383").map(|text| text.len()), Ok(16_385));
    }

    #[test]
    fn numeric_refuses_what_postgresql_refuses() {
        for text in ["1e131072", "1e-16384", "1e400000", "1e99999999999"] {
            assert_eq!(numeric(text), Err("value overflows numeric format".into()), "{text}");
        }
        for text in ["abc", "", ".", "true", "1e", "1_0", "--1", "0x10"] {
            assert_eq!(numeric(text), Err(format!("invalid input syntax for type numeric: \"{text}\"")));
        }
    }

    #[test]
    fn float8_prints_as_postgresql_does() {
        for (text, printed) in [
            ("1", "1"),
            ("1e14", "100000000000000"),
            ("999999999999999", "999999999999999"),
            ("1e15", "1e+15"),
            ("1e-4", "0.0001"),
            ("1e-5", "1e-05"),
            ("0.1", "0.1"),
            ("1.2345678901234567e17", "1.2345678901234566e+17"),
            ("-0.0", "-0"),
            ("5e-324", "5e-324"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            (" 1.5 ", "1.5"),
            ("Infinity", "\"Infinity\""),
        ] {
            assert_eq!(float8(text).as_deref(), Ok(printed), "{text}");
        }
        for text in ["1e400", "1e-400"] {
            assert_eq!(float8(text), Err(format!("\"{text}\" is out of range for type double precision")));
        }
        for text in ["x", "", "1.5x", "true", "1e"] {
            assert_eq!(float8(text), Err(format!("invalid input syntax for type double precision: \"{text}\"")));
        }
    }
}
