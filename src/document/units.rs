//! Durations and sizes as people write them.

use std::time::Duration;

/// The duration `text` names: `200ms`, `3s`, `3 sec`, `1m 30s`. Units ns, us, ms, s, m, h and d, and their long forms.
///
/// # Errors
/// What is wrong and what to write instead, for the caret.
pub fn duration(text: &str) -> Result<Duration, String> {
    const EXAMPLE: &str = "expected a duration such as \"200ms\" or \"3s\"";
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(EXAMPLE.to_owned());
    }
    if trimmed.starts_with('-') {
        return Err("expected a duration that is not negative".to_owned());
    }
    if trimmed.parse::<f64>().is_ok() {
        return Err(format!("expected a unit: \"{trimmed}s\" or \"{trimmed}ms\"?"));
    }
    // Bounds under which no sum of terms can overflow, whatever the units.
    let mut digits = 0;
    let longest = trimmed.chars().fold(0, |longest: usize, c| {
        digits = if c.is_ascii_digit() { digits + 1 } else { 0 };
        longest.max(digits)
    });
    if trimmed.len() > 40 || longest > 12 {
        return Err("expected a duration of at most a few days".to_owned());
    }
    humantime::parse_duration(trimmed).map_err(|error| match error {
        humantime::DurationError::UnknownUnit { unit, .. } if !unit.is_empty() => {
            format!("`{unit}` is no unit of time: use ns, us, ms, s, m or h")
        }
        _ => EXAMPLE.to_owned(),
    })
}

/// A duration as a workload writes it: the shortest exact form of one unit (`1500ms`, `3s`).
pub fn show_duration(duration: Duration) -> String {
    let ns = duration.as_nanos();
    const S: u128 = 1_000_000_000;
    let units =
        [(86_400 * S, "d"), (3_600 * S, "h"), (60 * S, "m"), (S, "s"), (1_000_000, "ms"), (1_000, "us")];
    for (unit_ns, unit) in units {
        if ns.is_multiple_of(unit_ns) && ns >= unit_ns {
            return format!("{}{unit}", ns / unit_ns);
        }
    }
    if ns == 0 { "0s".to_owned() } else { format!("{ns}ns") }
}

const SIZES: &[(&str, u64)] = &[
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

/// The bytes `text` names: `16MiB`, `64 KiB`, `1.5MB`, `512B`.
///
/// # Errors
/// What is wrong and what to write instead, for the caret.
pub fn size(text: &str) -> Result<u64, String> {
    const EXAMPLE: &str = "expected a size such as \"16MiB\" or \"64KiB\"";
    let trimmed = text.trim();
    if trimmed.parse::<f64>().is_ok_and(f64::is_finite) {
        return Err(format!("expected a unit: \"{trimmed}KiB\" or \"{trimmed}B\"?"));
    }
    let unit_at = trimmed.find(|c: char| c.is_ascii_alphabetic()).ok_or(EXAMPLE)?;
    let (number, unit) = trimmed.split_at(unit_at);
    let exact = SIZES.iter().find(|(name, _)| *name == unit);
    let Some((_, factor)) = exact.or_else(|| SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)))
    else {
        return Err(format!("`{unit}` is no unit of size: use B, KiB, MiB or GiB"));
    };
    let plain = |c: char| c.is_ascii_digit() || c == '.';
    let number = number.trim();
    let count = number.parse::<f64>().ok().filter(|_| number.chars().all(plain)).ok_or(EXAMPLE)?;
    let bytes = count * *factor as f64;
    if bytes > 1e15 {
        return Err("expected a size of at most a petabyte".to_owned());
    }
    Ok(bytes as u64)
}

/// The bytes a second `text` names: a [`size`], with or without `/s`.
///
/// # Errors
/// What is wrong and what to write instead, for the caret.
pub fn rate(text: &str) -> Result<u64, String> {
    let trimmed = text.trim();
    let amount = trimmed.strip_suffix("/s").or_else(|| trimmed.strip_suffix("/sec")).unwrap_or(trimmed);
    match size(amount) {
        Ok(0) => Err("expected at least one byte a second; to stop a link, use partition".to_owned()),
        Ok(bytes) => Ok(bytes),
        Err(_) if amount.parse::<f64>().is_ok() => Err(format!("expected a unit: \"{amount}KiB/s\"?")),
        Err(label) if label.starts_with('`') => Err(label),
        Err(_) => Err("expected a rate such as \"64KiB/s\"".to_owned()),
    }
}

/// A size as a workload writes it.
pub fn show_size(bytes: u64) -> String {
    let fits = SIZES
        .iter()
        .find(|(name, factor)| name.len() != 2 && bytes >= *factor && bytes.is_multiple_of(*factor));
    match fits {
        Some((name, factor)) => format!("{}{name}", bytes / factor),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, ms) in
            [("3s", 3000), ("3 s", 3000), ("3sec", 3000), ("200ms", 200), ("1m 30s", 90_000), ("0.5s", 500)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(duration("3").unwrap_err(), "expected a unit: \"3s\" or \"3ms\"?");
        assert_eq!(
            duration("3 sekunden").unwrap_err(),
            "`sekunden` is no unit of time: use ns, us, ms, s, m or h"
        );
        assert!(duration("-1s").is_err());
        assert!(duration("").is_err());
        assert!(duration("18446744073709551615s1000ms").is_err());
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(size("16MiB"), Ok(16 << 20));
        assert_eq!(size("1.5 kB"), Ok(1500));
        assert_eq!(rate("64KiB/s"), Ok(65536));
        assert_eq!(rate("64").unwrap_err(), "expected a unit: \"64KiB/s\"?");
        assert_eq!(size("3 stones").unwrap_err(), "`stones` is no unit of size: use B, KiB, MiB or GiB");
        assert!(rate("0B").is_err());
        assert!(size("-1KiB").is_err());
        assert!(size("1e400GiB").is_err());
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(ns in 0_u64..1_000_000_000_000, bytes in 0_u64..1_000_000_000_000) {
            prop_assert_eq!(duration(&show_duration(Duration::from_nanos(ns))), Ok(Duration::from_nanos(ns)));
            prop_assert_eq!(size(&show_size(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,30}", odd in "[0-9]{0,25}[a-zµ./ -]{0,4}[0-9]{0,25}[a-z/]{0,4}") {
            for text in [&text, &odd] {
                let _ = (duration(text), size(text), rate(text));
            }
        }
    }
}
