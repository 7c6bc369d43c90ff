//! The strip below the picture: what made it, and which colour is which segment.

use engram_seg::AlgorithmType;

use super::canvas::{Canvas, LETTER, dot};
use crate::SegmentedSeries;

/// Dots around and between what is written.
const MARGIN: usize = 6;
const LINE: usize = LETTER[1] + 4;
/// Dots that a segment's box, name and volume take at least.
const CELL: usize = 256;
/// Dots a side of a segment's box.
const BOX: usize = 12;
/// Most lines of segments; with more segments, those on the slice come first.
const MOST_LINES: usize = 12;

const WHITE: [u8; 3] = [255, 255, 255];
const DIMMED: [u8; 3] = [120, 120, 120];
const AMBER: [u8; 3] = [255, 190, 60];

const BY_SOFTWARE: &str = "Engram: made by software. Not for diagnosis alone.";
const BY_A_PERSON: &str = "Engram: drawn by a person. Not for diagnosis alone.";

/// What is said of a segment.
pub(super) struct Entry {
    pub(super) colour: [u8; 3],
    pub(super) name: String,
    pub(super) millilitres: Option<f64>,
    pub(super) is_on_slice: bool,
    pub(super) is_for_review: bool,
}

/// The strip; equally high for all slices of a series that are equally wide.
pub(super) struct Legend {
    notice: Vec<String>,
    entries: Vec<Entry>,
    /// Segments in a line.
    in_a_line: usize,
    /// Dots in a line.
    width: usize,
    /// Whether any slice of the series is for review, so that there is a line for it.
    has_review: bool,
    /// Pixels a side of a dot.
    dot: usize,
}

impl Legend {
    /// The strip for a picture of `columns` pixels.
    pub(super) fn new(entries: Vec<Entry>, series: &SegmentedSeries, columns: u32) -> Self {
        let columns = columns as usize;
        let (dot, width) = (dot(columns), columns / dot(columns));
        let by_a_person = series.segments().all(|segment| segment.algorithm_type == AlgorithmType::Manual);
        let notice = if by_a_person { BY_A_PERSON } else { BY_SOFTWARE };
        let provenances = || series.segments().filter_map(|segment| segment.provenance.as_ref());
        Self {
            notice: wrapped(notice, letters(width.saturating_sub(2 * MARGIN))),
            entries,
            in_a_line: (width / CELL).max(1),
            width,
            has_review: provenances().any(|provenance| !provenance.review.is_empty()),
            dot,
        }
    }

    /// Rows of pixels that it takes.
    pub(super) fn height(&self) -> usize {
        let lines = self.notice.len() + self.lines() + usize::from(self.has_review);
        (lines * LINE + 2 * MARGIN) * self.dot
    }

    /// Draws it into the strip at the bottom.
    pub(super) fn draw(&self, mut canvas: Canvas) -> Canvas {
        let mut row = (canvas.rows - self.height()).div_ceil(self.dot) + MARGIN;
        for line in &self.notice {
            canvas.write(line, [row, MARGIN], WHITE, true);
            row += LINE;
        }
        let cell = self.width / self.in_a_line;
        let (told, untold) = self.told();
        for (index, entry) in told.iter().enumerate() {
            let at = [row + index / self.in_a_line * LINE, index % self.in_a_line * cell];
            write_entry(&mut canvas, entry, at, cell);
        }
        if untold > 0 {
            let index = told.len();
            let at = [row + index / self.in_a_line * LINE, index % self.in_a_line * cell + MARGIN];
            canvas.write(&format!("and {untold} more"), at, DIMMED, false);
        }
        row += self.lines() * LINE;
        if let Some(review) = self.review() {
            canvas.write(&review, [row, MARGIN], AMBER, true);
        }
        canvas
    }

    /// Lines of segments.
    fn lines(&self) -> usize {
        self.entries.len().div_ceil(self.in_a_line).min(MOST_LINES)
    }

    /// The segments that there is room for, those on the slice first where there is none for all; and how many are left.
    fn told(&self) -> (Vec<&Entry>, usize) {
        let room = self.lines() * self.in_a_line;
        let mut entries: Vec<&Entry> = self.entries.iter().collect();
        if entries.len() <= room {
            return (entries, 0);
        }
        entries.sort_by_key(|entry| !entry.is_on_slice);
        // One place says that there are more.
        let untold = entries.split_off(room - 1).len();
        (entries, untold)
    }

    fn review(&self) -> Option<String> {
        let flagged = self.entries.iter().filter(|entry| entry.is_for_review);
        let names: Vec<&str> = flagged.map(|entry| entry.name.as_str()).collect();
        let line = format!("Check this slice: {}", names.join(", "));
        (!names.is_empty()).then(|| shortened(&line, letters(self.width.saturating_sub(2 * MARGIN))))
    }
}

/// A box in the segment's colour, full where the slice shows it; its name and volume.
fn write_entry(canvas: &mut Canvas, entry: &Entry, [row, column]: [usize; 2], width: usize) {
    let corner = [row + (LETTER[1] - BOX) / 2, column + MARGIN];
    canvas.fill(corner, [BOX, BOX], entry.colour);
    if !entry.is_on_slice {
        canvas.fill(corner.map(|at| at + 2), [BOX - 4, BOX - 4], [0; 3]);
    }
    let colour = if entry.is_on_slice { WHITE } else { DIMMED };
    let start = column + MARGIN + BOX + MARGIN;
    // A gap wider than that between name and volume keeps a volume with its own segment.
    let room = letters((column + width).saturating_sub(start + 4 * MARGIN));
    let volume = entry.millilitres.map(millilitres).unwrap_or_default();
    let name = shortened(&entry.name, room.saturating_sub(volume.chars().count() + 1));
    canvas.write(&name, [row, start], colour, false);
    let from_start = room.saturating_sub(volume.chars().count()) * LETTER[0];
    canvas.write(&volume, [row, start + from_start], colour, false);
}

/// A volume with as many digits as mean something.
fn millilitres(volume: f64) -> String {
    match volume {
        0.0 => "0 mL".to_owned(),
        v if v < 10.0 => format!("{v:.2} mL"),
        v if v < 100.0 => format!("{v:.1} mL"),
        v => format!("{v:.0} mL"),
    }
}

/// Letters that so many dots hold.
fn letters(dots: usize) -> usize {
    dots / LETTER[0]
}

/// The text, or its beginning and three dots.
fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(3)).collect();
    kept.trim_end().to_owned() + "..."
}

/// The text in lines of at most so many letters, broken between words; a word that is longer stands alone.
fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn legend(segments: usize, on_slice: &[usize]) -> Legend {
        let entry = |index| Entry {
            colour: [0; 3],
            name: format!("S{index}"),
            millilitres: None,
            is_on_slice: on_slice.contains(&index),
            is_for_review: false,
        };
        let notice = vec![BY_SOFTWARE.to_owned()];
        let entries = (0..segments).map(entry).collect();
        Legend { notice, entries, in_a_line: 2, width: 512, has_review: false, dot: 1 }
    }

    #[test]
    fn segments_on_the_slice_come_first_where_there_is_no_room_for_all() {
        let names = |legend: &Legend| {
            let (told, untold) = legend.told();
            (told.iter().map(|entry| entry.name.clone()).collect::<Vec<_>>(), untold)
        };
        assert_eq!(names(&legend(3, &[2])), (vec!["S0".into(), "S1".into(), "S2".into()], 0));
        let (told, untold) = names(&legend(30, &[29, 28]));
        assert_eq!((told.len(), untold), (23, 7));
        assert_eq!(told[..3], ["S28", "S29", "S0"]);
        assert_eq!(legend(30, &[]).height(), legend(100, &[5]).height());
    }

    #[test]
    fn texts_fit() {
        assert_eq!(shortened("Left kidney", 11), "Left kidney");
        assert_eq!(shortened("Left kidney", 8), "Left...");
        assert_eq!(wrapped("a bc def", 4), ["a bc", "def"]);
        assert_eq!(wrapped("abcdef g", 4), ["abcdef", "g"]);
        let volumes = [0.0, 0.004, 9.87, 12.34, 1234.5].map(millilitres);
        assert_eq!(volumes, ["0 mL", "0.00 mL", "9.87 mL", "12.3 mL", "1234 mL"]);
    }
}
