//! A record with places for a number, which makes each one of its own.

use std::io::Write as _;

use serde_json::Value;

/// In a template it stands for a number that rises.
const NUMBER: &str = "%n";

/// A value with places for a number.
#[derive(Clone, Debug)]
pub(super) struct Template(Vec<String>);

impl Template {
    /// Reads `text`, which is a JSON object once the number stands in its places.
    ///
    /// # Errors
    /// What is wrong with it, to follow the name of the option.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let sample = text.replace(NUMBER, "1");
        match serde_json::from_str(&sample) {
            Ok(Value::Object(_)) => Ok(Template(text.split(NUMBER).map(str::to_owned).collect())),
            Ok(_) => Err(format!("must be a JSON object: {sample}")),
            Err(error) => Err(format!("must be a JSON object: {error}")),
        }
    }

    /// Appends the value with `number` in its places.
    pub(super) fn write(&self, out: &mut Vec<u8>, number: u64) {
        for (place, part) in self.0.iter().enumerate() {
            if place > 0 {
                // Writing to a Vec does not fail.
                let _ = write!(out, "{number}");
            }
            out.extend_from_slice(part.as_bytes());
        }
    }

    /// The value with `number` in its places.
    pub(super) fn text(&self, number: u64) -> String {
        self.0.join(&number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_their_places_in_a_value() {
        let template = Template::parse(r#"{"stock":%n,"note":"no. %n"}"#).expect("a template");
        let mut out = Vec::new();
        template.write(&mut out, 17);
        assert_eq!(out, br#"{"stock":17,"note":"no. 17"}"#);
        assert_eq!(template.text(17).as_bytes(), out);
        for wrong in ["", "[%n]", r#"{"stock":}"#] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }
}
