//! Figures as people read them.

use bytesize::ByteSize;

/// `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 shard`, `12 shards`.
pub(super) fn counted(number: usize, noun: &str) -> String {
    let end = if number == 1 { "" } else { "s" };
    format!("{} {noun}{end}", grouped(number as u64))
}

/// `3.1 MiB`.
pub(super) fn size(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}

/// A length of time in its largest unit: `0.2 s`, `45 s`, `12 min`, `5 h`, `3 days`.
pub(super) fn lasting(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3_600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

/// How often something happens a second: `0`, `0.4`, `12`, `3,120`.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        r if r < 0.05 => "0".into(),
        r if r < 10.0 => format!("{r:.1}"),
        r => grouped(r.round() as u64),
    }
}

/// A part of one in per cent: `98.1%`; only what is everything is `100%`.
pub(super) fn share(part: f64) -> String {
    match part {
        p if p >= 1.0 => "100%".into(),
        p => format!("{:.1}%", (p * 100.0).min(99.9)),
    }
}

/// A short time: `0.42 ms`, `3.1 ms`, `120 ms`, `2.5 s`.
pub(super) fn latency(millis: f64) -> String {
    match millis {
        ms if ms < 1.0 => format!("{ms:.2} ms"),
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 1_000.0 => format!("{ms:.0} ms"),
        ms => lasting(ms / 1_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.19, 59.6, 600.0, 7_300.0, 1e6].map(lasting), ["0.2 s", "60 s", "10 min", "2 h", "12 days"]);
        assert_eq!((counted(1, "shard"), counted(64, "shard")), ("1 shard".into(), "64 shards".into()));
    }

    #[test]
    fn live_figures_read_well() {
        assert_eq!([0.01, 0.44, 12.4, 3_120.0].map(rate), ["0", "0.4", "12", "3,120"]);
        assert_eq!([0.0, 0.981, 0.99999, 1.0].map(share), ["0.0%", "98.1%", "99.9%", "100%"]);
        assert_eq!([0.421, 3.12, 120.4, 2_500.0].map(latency), ["0.42 ms", "3.1 ms", "120 ms", "2.5 s"]);
    }
}
