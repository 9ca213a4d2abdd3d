//! Times as they are written on a command line and read on a screen.

use std::time::Duration;

/// `250ms`, `5s`, `2m`, `1h`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => 0.0,
    };
    let seconds = number.parse::<f64>().ok().filter(|_| scale > 0.0).map(|number| number * scale);
    match seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        Some(Duration::ZERO) => Err("a time of zero leaves no time at all".to_owned()),
        Some(duration) => Ok(duration),
        None => Err("write a number and a unit, such as 250ms, 5s, 2m or 1h".to_owned()),
    }
}

/// Three digits: `1.25 ms`.
pub(crate) fn show(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let (value, unit) = match seconds {
        _ if seconds < 0.000_999_5 => (seconds * 1e6, "us"),
        _ if seconds < 0.999_5 => (seconds * 1e3, "ms"),
        _ => (seconds, "s"),
    };
    match value {
        _ if value < 9.995 => format!("{value:.2} {unit}"),
        _ if value < 99.95 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse("20us"), Ok(Duration::from_micros(20)));
        for text in ["", "5", "s", "-5s", "5 s", "1.2.3s", "5sec", "99999999999999999999h", "0s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_is_shown_with_three_digits() {
        let shown = [950, 1_250, 12_340, 123_400, 999_700, 1_500_000, 61_000_000].map(|micros| show(Duration::from_micros(micros)));
        assert_eq!(shown, ["950 us", "1.25 ms", "12.3 ms", "123 ms", "1.00 s", "1.50 s", "61.0 s"]);
    }
}
