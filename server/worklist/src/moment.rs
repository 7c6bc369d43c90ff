//! Dates with times as DICOM writes them: DT of PS3.5 Table 6.2-1.

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

/// A moment as DT, in UTC, to the millisecond.
pub fn format_moment(moment: OffsetDateTime) -> String {
    let utc = moment.to_offset(UtcOffset::UTC);
    let (hour, minute, second, millisecond) = utc.time().as_hms_milli();
    format!(
        "{:04}{:02}{:02}{hour:02}{minute:02}{second:02}.{millisecond:03}+0000",
        utc.year(),
        u8::from(utc.month()),
        utc.day()
    )
}

/// Reads a DT; what it leaves out is the beginning of the year, month, day or hour. `offset` is the data set's Timezone
/// Offset From UTC (0008,0201), as `+0100`; without one in either place it is UTC.
pub fn parse_moment(text: &str, offset: Option<&str>) -> Option<OffsetDateTime> {
    let text = text.trim();
    // A date has at least four digits, so that a sign before them is none of an offset.
    let (clock, own) = match text.char_indices().find(|(at, sign)| *at >= 4 && matches!(sign, '+' | '-')) {
        Some((at, _)) => (text.get(..at)?, text.get(at..)),
        None => (text, None),
    };
    let offset = match own.or(offset.map(str::trim)) {
        Some(offset) => parse_offset(offset)?,
        None => UtcOffset::UTC,
    };
    let (digits, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    if !digits.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit())
        || !matches!(digits.len(), 4 | 6 | 8 | 10 | 12 | 14)
    {
        return None;
    }
    let part = |at: usize, missing: u8| match digits.get(at..at + 2) {
        Some(two) => two.parse::<u8>().ok(),
        None => Some(missing),
    };
    let month = Month::try_from(part(4, 1)?).ok()?;
    let date = Date::from_calendar_date(digits.get(..4)?.parse().ok()?, month, part(6, 1)?).ok()?;
    // A leap second is the sixty-first.
    let time = Time::from_hms(part(8, 0)?, part(10, 0)?, part(12, 0)?.min(59)).ok()?;
    Some(PrimitiveDateTime::new(date, time).assume_offset(offset))
}

fn parse_offset(text: &str) -> Option<UtcOffset> {
    let sign = match text.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let two = |at: usize| text.get(at..at + 2)?.parse::<i8>().ok();
    let (hours, minutes) = (two(1)?, two(3)?);
    (text.len() == 5).then_some(())?;
    UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn moments_are_read_with_and_without_offsets() {
        for (text, offset, unix) in [
            ("20240101", None, Some(1_704_067_200)),
            ("2024", None, Some(1_704_067_200)),
            ("20240101120000.5", None, Some(1_704_110_400)),
            ("20240101120000+0100", None, Some(1_704_106_800)),
            ("20240101120000", Some("+0100"), Some(1_704_106_800)),
            ("20240101120000-0500", Some("+0100"), Some(1_704_128_400)),
            ("20240229", None, Some(1_709_164_800)),
            ("20230229", None, None),
            ("20241301", None, None),
            ("2024010112000", None, None),
            ("20240101+01", None, None),
            ("tomorrow", None, None),
            ("", None, None),
        ] {
            let read = parse_moment(text, offset).map(OffsetDateTime::unix_timestamp);
            assert_eq!(read, unix, "{text} {offset:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_again(seconds in 0i64..4_000_000_000) {
            let moment = OffsetDateTime::from_unix_timestamp(seconds).unwrap();
            prop_assert_eq!(parse_moment(&format_moment(moment), None), Some(moment));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,30}", offset in proptest::option::of("\\PC{0,8}")) {
            let _ = parse_moment(&text, offset.as_deref());
        }
    }
}
