//! Pictures of a measurement: the worst, the median and the best target, and how Dice spreads by label.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use engram_segmenter::Segmentation;
use engram_segmenter::evaluate::Case;
use image::ImageFormat;
use ndarray::{Array3, Zip};
use plotters::prelude::*;

use super::report::Report;
use crate::cli::{Failure, write_into};
use crate::montage::montage;

/// Size of the plot, pixels: width of a label, height.
const PLOT: (u32, u32) = (150, 420);
/// Width of the plot beside its labels, pixels.
const MARGINS: u32 = 90;

/// Pictures of the targets so far.
#[derive(Default)]
pub struct Pictures(Vec<Picture>);

struct Picture {
    target: String,
    dice: f64,
    png: Vec<u8>,
}

impl Pictures {
    /// Draws a target; a picture that cannot be drawn is left out.
    pub fn offer(&mut self, case: &Case, found: &Segmentation, dice: f64) {
        let picture = montage(case.volume.voxels.view(), &found.voxels, &truth(case, found));
        let mut png = Cursor::new(vec![]);
        if picture.write_to(&mut png, ImageFormat::Png).is_ok() {
            self.0.push(Picture { target: case.name.to_owned(), dice, png: png.into_inner() });
        }
    }

    /// Writes `worst.png`, `median.png`, `best.png` and `dice.svg`.
    pub fn save(&self, folder: &Path, report: &Report) -> Result<(), Failure> {
        let mut ranked: Vec<&Picture> = self.0.iter().collect();
        ranked.sort_by(|a, b| a.dice.total_cmp(&b.dice).then_with(|| a.target.cmp(&b.target)));
        let chosen = [("worst", 0), ("median", ranked.len() / 2), ("best", ranked.len().saturating_sub(1))];
        for (name, index) in chosen {
            if let Some(picture) = ranked.get(index) {
                write_into(folder, &format!("{name}.png"), &picture.png)?;
            }
        }
        let values = by_label(report);
        if values.is_empty() {
            return Ok(());
        }
        let plot =
            box_plot(&values).map_err(|error| Failure::say(format!("could not draw the plot: {error}")))?;
        write_into(folder, "dice.svg", plot.as_bytes())
    }
}

/// Label numbers as the result has them.
fn truth(case: &Case, found: &Segmentation) -> Array3<u8> {
    let mut truth = Array3::zeros(found.voxels.dim());
    for mask in &case.masks {
        let index = found.labels.iter().position(|label| label == mask.label);
        let Some(number) = index.and_then(|index| u8::try_from(index + 1).ok()) else { continue };
        Zip::from(&mut truth).and(&mask.mask).for_each(|truth, inside| {
            if *inside != 0 {
                *truth = number;
            }
        });
    }
    truth
}

/// Dice of every target by label.
fn by_label(report: &Report) -> BTreeMap<&str, Vec<f64>> {
    let mut values: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (label, dice) in report.targets.iter().flat_map(|target| &target.dice) {
        values.entry(label).or_default().push(*dice);
    }
    values
}

/// Boxes from the lower to the upper quartile, whiskers of 1.5 box lengths at the most; SVG.
fn box_plot(values: &BTreeMap<&str, Vec<f64>>) -> Result<String, Box<dyn std::error::Error>> {
    let labels: Vec<&str> = values.keys().copied().collect();
    let mut svg = String::new();
    {
        let width = MARGINS + PLOT.0 * labels.len() as u32;
        let area = SVGBackend::with_string(&mut svg, (width, PLOT.1)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(52)
            .build_cartesian_2d(labels[..].into_segmented(), 0.0_f32..1.0_f32)?;
        let name = |value: &SegmentValue<&&str>| match value {
            SegmentValue::CenterOf(label) | SegmentValue::Exact(label) => (**label).to_owned(),
            SegmentValue::Last => String::new(),
        };
        chart.configure_mesh().disable_x_mesh().x_label_formatter(&name).y_desc("Dice").draw()?;
        chart.draw_series(labels.iter().filter_map(|label| {
            let quartiles = Quartiles::new(values.get(label)?);
            Some(Boxplot::new_vertical(SegmentValue::CenterOf(label), &quartiles).width(36))
        }))?;
        area.present()?;
    }
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_names_its_labels() {
        let values = BTreeMap::from([("Liver", vec![0.9, 0.8, 0.95]), ("Spleen", vec![0.5])]);
        let svg = box_plot(&values).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains(">\nLiver\n<") && svg.contains(">\nSpleen\n<"));
    }
}
