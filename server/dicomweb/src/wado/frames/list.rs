//! The list of frames in a path.

use crate::error::{BadQuerySnafu, Result};

/// Reads frame numbers, from 1, separated by commas; in any order, `most` of them at most.
pub fn frame_list(text: &str, most: usize) -> Result<Vec<usize>> {
    let refuse = |message: String| BadQuerySnafu { message }.fail();
    let mut frames = Vec::new();
    for number in text.split(',') {
        match number.trim().parse::<u32>() {
            Ok(frame) if frame > 0 => frames.push(frame as usize),
            _ => {
                return refuse(format!(
                    "a frame list is numbers from 1, separated by commas, not `{text:.80}`"
                ));
            }
        }
        if frames.len() > most {
            return refuse(format!("at most {most} frames can be asked for at once"));
        }
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_or_refused() {
        assert_eq!(frame_list("1", 3).unwrap(), [1]);
        assert_eq!(frame_list("3, 1,1", 3).unwrap(), [3, 1, 1]);
        for text in ["", "0", "-1", "x", "1,,2", "1,2,3,4", "99999999999"] {
            assert!(frame_list(text, 3).is_err(), "{text}");
        }
    }
}
