//! What tissues look like: the spin-echo equation with each tissue's relaxation times.

use rand::rngs::StdRng;

use super::shape::vary;

/// What a point of the body is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tissue {
    /// Outside the body, and gas in the gut.
    Air,
    /// Under the skin and between organs.
    Fat,
    /// Wall of the trunk, psoas, back.
    Muscle,
    /// Ribs and the shell of vertebrae.
    CorticalBone,
    /// Inside of vertebrae.
    Marrow,
    /// Spinal canal, gallbladder.
    Fluid,
    /// Vessels: flowing blood gives next to no echo.
    Blood,
    /// Lungs.
    Lung,
    /// Liver.
    Liver,
    /// Spleen.
    Spleen,
    /// The outer layer of a kidney.
    RenalCortex,
    /// The core of a kidney.
    RenalMedulla,
    /// Pancreas.
    Pancreas,
    /// What fills stomach and bowel.
    GutContent,
    /// Wall of stomach and bowel.
    GutWall,
}

/// Proton density relative to water, T1 and T2 in ms at 1.5 T: rounded from the ranges commonly published.
const RELAXATION: [(Tissue, f64, f64, f64); 15] = [
    (Tissue::Air, 0.0, 1000.0, 50.0),
    (Tissue::Fat, 0.90, 340.0, 85.0),
    (Tissue::Muscle, 0.85, 1000.0, 44.0),
    (Tissue::CorticalBone, 0.08, 500.0, 20.0),
    (Tissue::Marrow, 0.75, 550.0, 52.0),
    (Tissue::Fluid, 1.00, 3000.0, 400.0),
    (Tissue::Blood, 0.12, 1400.0, 120.0),
    (Tissue::Lung, 0.12, 1100.0, 35.0),
    (Tissue::Liver, 0.85, 600.0, 50.0),
    (Tissue::Spleen, 0.90, 1050.0, 78.0),
    (Tissue::RenalCortex, 0.90, 970.0, 86.0),
    (Tissue::RenalMedulla, 0.92, 1400.0, 102.0),
    (Tissue::Pancreas, 0.85, 620.0, 62.0),
    (Tissue::GutContent, 0.85, 1500.0, 110.0),
    (Tissue::GutWall, 0.85, 950.0, 60.0),
];

/// How the pulse sequence weights the tissues of one patient.
pub struct Sequence {
    /// RepetitionTime, ms.
    pub repetition_time: f64,
    /// EchoTime, ms.
    pub echo_time: f64,
    /// Signal of each tissue, in the order of the enum; water at its full would be 1.
    signals: [f64; RELAXATION.len()],
}

impl Sequence {
    /// A T2-weighted spin echo with fat suppression. Times and suppression vary as between sites, tissues as
    /// between people: fat and iron shorten or lengthen T2 by more than measuring errors would.
    pub fn new(rng: &mut StdRng) -> Self {
        let repetition_time = vary(rng, 2200.0, 500.0).round();
        let echo_time = vary(rng, 80.0, 15.0).round();
        let fat_left = vary(rng, 0.18, 0.08);
        let signals = RELAXATION.map(|(tissue, density, t1, t2)| {
            let (t1, t2) = (t1 * vary(rng, 1.0, 0.15), t2 * vary(rng, 1.0, 0.15));
            let kept = if tissue == Tissue::Fat { fat_left } else { 1.0 };
            density * kept * (1.0 - (-repetition_time / t1).exp()) * (-echo_time / t2).exp()
        });
        Self { repetition_time, echo_time, signals }
    }

    /// The signal of a tissue.
    pub fn signal(&self, tissue: Tissue) -> f64 {
        self.signals[tissue as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn the_table_is_in_the_order_of_the_tissues() {
        for (index, (tissue, ..)) in RELAXATION.iter().enumerate() {
            assert_eq!(*tissue as usize, index);
        }
    }

    #[test]
    fn the_contrast_is_that_of_a_t2_weighted_image() {
        for seed in 0..20 {
            let sequence = Sequence::new(&mut StdRng::seed_from_u64(seed));
            assert!(sequence.signal(Tissue::Spleen) > sequence.signal(Tissue::Liver));
            assert!(sequence.signal(Tissue::Fluid) > sequence.signal(Tissue::Spleen));
            assert_eq!(sequence.signal(Tissue::Air), 0.0);
        }
    }
}
