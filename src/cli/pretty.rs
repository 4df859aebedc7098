//! JSON text laid out anew, token by token: numbers and strings stay as they are.

/// How JSON is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// No space between tokens, so that a value is one line.
    Compact,
    /// Two spaces a level; empty arrays and objects stay together.
    Indented,
}

/// Lays out `text`, which must be JSON. Only the space between tokens changes, and control characters in strings,
/// which a terminal might obey, are escaped.
pub(super) fn lay_out(text: &str, layout: Layout) -> String {
    let mut printer = Printer { out: String::with_capacity(text.len() * 2), depth: 0, layout };
    let mut chars = text.chars().peekable();
    while let Some(token) = chars.next() {
        match token {
            ' ' | '\t' | '\n' | '\r' => {}
            '"' => printer.string(&mut chars),
            '{' | '[' => {
                while chars.next_if(char::is_ascii_whitespace).is_some() {}
                match chars.next_if(|&next| next == '}' || next == ']') {
                    Some(end) => printer.out.extend([token, end]),
                    None => printer.open(token),
                }
            }
            '}' | ']' => printer.close(token),
            ',' => printer.comma(),
            ':' => printer.colon(),
            other => printer.out.push(other),
        }
    }
    printer.out
}

/// `text` with control characters escaped, for a line of a terminal.
pub(super) fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| push_harmless(&mut out, c));
    out
}

fn push_harmless(out: &mut String, c: char) {
    if c.is_control() {
        out.push_str(&format!("\\u{:04x}", u32::from(c)));
    } else {
        out.push(c);
    }
}

struct Printer {
    out: String,
    depth: usize,
    layout: Layout,
}

impl Printer {
    fn string(&mut self, chars: &mut impl Iterator<Item = char>) {
        self.out.push('"');
        let mut escaped = false;
        for c in chars {
            push_harmless(&mut self.out, c);
            if c == '"' && !escaped {
                return;
            }
            escaped = c == '\\' && !escaped;
        }
    }

    fn open(&mut self, token: char) {
        self.out.push(token);
        self.depth += 1;
        self.line();
    }

    fn close(&mut self, token: char) {
        self.depth = self.depth.saturating_sub(1);
        self.line();
        self.out.push(token);
    }

    fn comma(&mut self) {
        self.out.push(',');
        self.line();
    }

    fn colon(&mut self) {
        self.out.push_str(if self.layout == Layout::Indented { ": " } else { ":" });
    }

    fn line(&mut self) {
        if self.layout == Layout::Indented {
            self.out.push('\n');
            (0..self.depth).for_each(|_| self.out.push_str("  "));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn numbers_and_escapes_are_untouched() {
        let text =
            "{ \"price\" : 2.50,\n\"big\":12345678901234567890123,\"e\":1E+2,\"s\":\"a\\\"{,\",\"list\":[1, [ ],{}]}";
        let compact = r#"{"price":2.50,"big":12345678901234567890123,"e":1E+2,"s":"a\"{,","list":[1,[],{}]}"#;
        assert_eq!(lay_out(text, Layout::Compact), compact);
        let indented = "{\n  \"price\": 2.50,\n  \"big\": 12345678901234567890123,\n  \"e\": 1E+2,\n  \"s\": \"a\\\"{,\",\n  \
            \"list\": [\n    1,\n    [],\n    {}\n  ]\n}";
        assert_eq!(lay_out(text, Layout::Indented), indented);
    }

    #[test]
    fn a_terminal_is_told_nothing() {
        assert_eq!(lay_out("\"\u{9b}31m\u{7f}\"", Layout::Compact), r#""\u009b31m\u007f""#);
        assert_eq!(harmless("a\u{1b}[2Jb"), r"a\u001b[2Jb");
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(json!(null)), any::<i64>().prop_map(Value::from), any::<String>().prop_map(Value::from)];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_layout_means_the_same(value in value()) {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).expect("JSON")] {
                let indented = lay_out(&text, Layout::Indented);
                prop_assert_eq!(serde_json::from_str::<Value>(&indented).expect("JSON"), value.clone());
                prop_assert_eq!(lay_out(&indented, Layout::Compact), lay_out(&text, Layout::Compact));
                prop_assert!(!lay_out(&text, Layout::Compact).contains('\n'));
            }
        }
    }
}
