//! Dates and times as keys (PS3.4 sections C.2.2.2.1 and C.2.2.2.5), written as PS3.5 Table 6.2-1 has them or had them:
//! dates may have dots and times colons of old.

use dicom_core::VR;

/// A key of DA, TM or DT.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Moment {
    /// A date or time whose digits begin so.
    Single(String),
    /// From and to, both included, and either open.
    Range { from: Option<String>, to: Option<String> },
}

impl Moment {
    /// Reads a key; where it does not read, why.
    pub(crate) fn read(vr: VR, value: &str) -> Result<Moment, &'static str> {
        let value = value.trim();
        let Some((from, to)) = split_range(vr, value) else { return Ok(Moment::Single(check(vr, value)?)) };
        let bound = |text: &str| match text.trim() {
            "" => Ok(None),
            text => check(vr, text).map(Some),
        };
        match (bound(from)?, bound(to)?) {
            (None, None) => Err("a range has at least one end"),
            (Some(from), Some(to)) if cut(&from, to.len()) > cut(&to, from.len()) => {
                Err("the range ends before it begins")
            }
            (from, to) => Ok(Moment::Range { from, to }),
        }
    }

    /// Whether a date or time lies within.
    pub(crate) fn takes(&self, text: &str) -> bool {
        let digits = digits(text);
        match self {
            Moment::Single(wanted) => digits.starts_with(wanted.as_str()),
            Moment::Range { from, to } => {
                let above = from.as_ref().is_none_or(|from| *from <= padded(&digits, from.len()));
                let below = to.as_ref().is_none_or(|to| cut(&digits, to.len()) <= to.as_str());
                !digits.is_empty() && above && below
            }
        }
    }

    /// What dates that lie within begin with; those of old have a dot after the year.
    pub(crate) fn beginnings(&self) -> Vec<String> {
        match self {
            Moment::Single(digits) => match digits.get(..4) {
                Some(year) if digits.len() > 4 => vec![digits.clone(), format!("{year}.")],
                _ => vec![digits.clone()],
            },
            Moment::Range { from: Some(from), to: Some(to) } => {
                let same = from.chars().zip(to.chars()).take(4).take_while(|(from, to)| from == to);
                vec![same.map(|(digit, _)| digit).collect()]
            }
            Moment::Range { .. } => vec![String::new()],
        }
    }

    /// A range of dates and one of times of the same form, as one range of both.
    pub(crate) fn combined(&self, time: &Moment) -> Option<Moment> {
        let (Moment::Range { from: day, to: last_day }, Moment::Range { from, to }) = (self, time) else {
            return None;
        };
        let join = |day: &Option<String>, time: &Option<String>| match (day, time) {
            (Some(day), Some(time)) => Some(Some(format!("{day}{time}"))),
            (None, None) => Some(None),
            _ => None,
        };
        Some(Moment::Range { from: join(day, from)?, to: join(last_day, to)? })
    }
}

/// The digits before an offset from UTC.
pub(crate) fn digits(text: &str) -> String {
    let text = match text.char_indices().skip(1).find(|(_, character)| matches!(character, '+' | '-')) {
        Some((at, _)) => text.get(..at).unwrap_or(text),
        None => text,
    };
    text.chars().filter(char::is_ascii_digit).collect()
}

/// The two ends of a range; `None` for a single value. A date and time may end in an offset from UTC
/// (`-0500`), which is no range.
fn split_range(vr: VR, value: &str) -> Option<(&str, &str)> {
    let (from, to) = value.split_once('-')?;
    let is_offset = |text: &str| text.len() == 4 && text.parse::<u16>().is_ok_and(|offset| offset <= 1400);
    if vr != VR::DT || from.is_empty() {
        return Some((from, to));
    }
    match to.split_once('-') {
        None if is_offset(to) => None,
        Some((offset, to)) if is_offset(offset) => Some((from, to)),
        _ => Some((from, to)),
    }
}

/// The digits of one date or time; where it is none, why.
fn check(vr: VR, text: &str) -> Result<String, &'static str> {
    const WRONG: &str = "this is no date or time";
    let (date, time) = match vr {
        VR::DA if text.len() == 8 => (text.to_owned(), ""),
        VR::DA => match *text.split('.').collect::<Vec<_>>() {
            [year, month, day] if (year.len(), month.len(), day.len()) == (4, 2, 2) => {
                (format!("{year}{month}{day}"), "")
            }
            _ => return Err(WRONG),
        },
        VR::TM => (String::new(), text),
        _ => {
            let text = text.split_at_checked(1).map_or(text, |(_, rest)| match rest.find(['+', '-']) {
                Some(at) => text.get(..=at).unwrap_or(text),
                None => text,
            });
            let (date, time) = text.split_at_checked(8).unwrap_or((text, ""));
            (date.to_owned(), time)
        }
    };
    let has_date = vr != VR::TM;
    let has_time = vr == VR::TM || !time.is_empty();
    match (!has_date || is_date(&date)) && (!has_time || is_time(time)) {
        true => Ok(date + &digits(time)),
        false => Err(WRONG),
    }
}

/// `YYYY[MM[DD]]`.
fn is_date(text: &str) -> bool {
    let number = |at| two_digits(text, at);
    let year = text.get(..4).filter(|year| year.bytes().all(|byte| byte.is_ascii_digit()));
    let Some(year) = year.and_then(|year| year.parse::<u32>().ok()) else { return false };
    match text.len() {
        4 => true,
        6 => number(4).is_some_and(|month| (1..=12).contains(&month)),
        8 => number(4).zip(number(6)).is_some_and(|(month, day)| (1..=days(year, month)).contains(&day)),
        _ => false,
    }
}

/// Days of a month; 0 where there is no such month.
fn days(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    }
}

/// `HH[MM[SS[.F]]]`, with colons of old or without.
fn is_time(text: &str) -> bool {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let clock = match clock.contains(':') {
        true if clock.split(':').all(|part| part.len() == 2) => clock.replace(':', ""),
        true => return false,
        false => clock.to_owned(),
    };
    let below = |at, limit| two_digits(&clock, at).is_some_and(|number| number < limit);
    let is_fraction =
        |text: &str| (1..=6).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_whole = match clock.len() {
        2 => below(0, 24),
        4 => below(0, 24) && below(2, 60),
        // A leap second is the sixty-first.
        6 => below(0, 24) && below(2, 60) && below(4, 61),
        _ => false,
    };
    is_whole && (!text.contains('.') || (clock.len() == 6 && is_fraction(fraction)))
}

fn two_digits(text: &str, at: usize) -> Option<u32> {
    let text = text.get(at..at + 2)?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// At least `length` digits, with zeros for what is not known.
fn padded(digits: &str, length: usize) -> String {
    let missing = length.saturating_sub(digits.len());
    digits.chars().chain(std::iter::repeat_n('0', missing)).collect()
}

fn cut(digits: &str, length: usize) -> &str {
    digits.get(..length).unwrap_or(digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_that_are_no_dates_or_times_say_so() {
        for (vr, good) in [
            (VR::DA, "20240229"),
            (VR::DA, "2024.02.29"),
            (VR::DA, "20240101-20241231"),
            (VR::DA, "-20240101"),
            (VR::DA, "20240101 - 20240102"),
            (VR::TM, "10"),
            (VR::TM, "10:15:30.5"),
            (VR::TM, "1015-235959.999999"),
            (VR::DT, "2024"),
            (VR::DT, "20240229101530.5+0100"),
            (VR::DT, "20240229-0500-2025-0500"),
        ] {
            assert!(Moment::read(vr, good).is_ok(), "{vr:?} {good}");
        }
        for (vr, bad) in [
            (VR::DA, "2024"),
            (VR::DA, "20230229"),
            (VR::DA, "20241301"),
            (VR::DA, "2024-01-01"),
            (VR::DA, "20240101-20249999"),
            (VR::DA, "20240102-20240101"),
            (VR::DA, "-"),
            (VR::DA, "\"\""),
            (VR::DA, "2024\u{661}\u{661}"),
            (VR::TM, "24"),
            (VR::TM, "1"),
            (VR::TM, "106000"),
            (VR::TM, "1015.5"),
            (VR::TM, "22-06"),
            (VR::DT, "today"),
            (VR::DT, "20240101x"),
        ] {
            assert!(Moment::read(vr, bad).is_err(), "{vr:?} {bad}");
        }
    }

    #[test]
    fn ranges_of_dates_and_times_combine() {
        let read = |vr, value| Moment::read(vr, value).unwrap();
        let combined = read(VR::DA, "20060705-20060707").combined(&read(VR::TM, "1000-1800")).unwrap();
        for (moment, expected) in [
            ("200607050959", false),
            ("200607051000", true),
            ("200607060300", true),
            ("20060707180059", true),
            ("200607071801", false),
        ] {
            assert_eq!(combined.takes(moment), expected, "{moment}");
        }
        let open = read(VR::DA, "20060705-").combined(&read(VR::TM, "10-")).unwrap();
        assert!(open.takes("200607060900") && !open.takes("200607050900"));
        assert_eq!(read(VR::DA, "20060705-").combined(&read(VR::TM, "-10")), None);
        assert_eq!(read(VR::DA, "20060705").combined(&read(VR::TM, "10-11")), None);
    }

    proptest! {
        #[test]
        fn no_key_panics(key in "\\PC{0,30}", text in "\\PC{0,30}") {
            for vr in [VR::DA, VR::TM, VR::DT] {
                let _ = Moment::read(vr, &key).map(|moment| moment.takes(&text));
            }
        }

        #[test]
        fn a_range_takes_exactly_what_lies_within(from in 1u32..=31, to in 1u32..=31, day in 1u32..=31) {
            let [first, last, date] = [from, to, day].map(|day| format!("202401{day:02}"));
            let range = Moment::read(VR::DA, &format!("{first}-{last}"));
            prop_assert_eq!(range.is_ok(), from <= to);
            prop_assert!(range.is_err() || range.is_ok_and(|range| range.takes(&date) == (from..=to).contains(&day)));
        }
    }
}
