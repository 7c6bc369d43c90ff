//! CIELab colours as DICOM writes them (PS3.3 C.10.7.1.1).

/// The D50 white point of the profile connection space (ICC.1, 6.3.4.3), in which PS3.3 C.10.7.1.1 has its colours.
const D50: [f64; 3] = [0.9642, 1.0, 0.8249];
/// From XYZ under D50 to linear sRGB (IEC 61966-2-1), by the Bradford adaptation to D65.
const SRGB_OF_XYZ: [[f64; 3]; 3] = [
    [3.133_856_1, -1.616_866_7, -0.490_614_6],
    [-0.978_768_4, 1.916_141_5, 0.033_454_0],
    [0.071_945_3, -0.228_991_4, 1.405_242_7],
];

/// The sRGB colour of a CIELab value of three 16-bit numbers: L* from 0 to 100 as 0 to 65535, a* and b* from -128 to
/// 127 as 0 to 65535 (PS3.3 C.10.7.1.1). Colours outside sRGB are cut to it.
pub fn srgb_of_cielab([lightness, a, b]: [u16; 3]) -> [u8; 3] {
    let share = |value: u16| f64::from(value) / 65535.0;
    let lightness = share(lightness) * 100.0;
    let [a, b] = [a, b].map(|value| share(value) * 255.0 - 128.0);
    let middle = (lightness + 16.0) / 116.0;
    let [x, y, z] = [middle + a / 500.0, middle, middle - b / 200.0].map(linear_of_lab);
    let xyz = [x * D50[0], y * D50[1], z * D50[2]];
    SRGB_OF_XYZ.map(|[x, y, z]| {
        let linear = x * xyz[0] + y * xyz[1] + z * xyz[2];
        (companded(linear.clamp(0.0, 1.0)) * 255.0).round() as u8
    })
}

/// The inverse of CIELab's cube root with its linear foot (CIE 15).
fn linear_of_lab(value: f64) -> f64 {
    const FOOT: f64 = 6.0 / 29.0;
    match value > FOOT {
        true => value.powi(3),
        false => 3.0 * FOOT * FOOT * (value - 4.0 / 29.0),
    }
}

/// The transfer function of sRGB.
fn companded(linear: f64) -> f64 {
    match linear <= 0.003_130_8 {
        true => 12.92 * linear,
        false => 1.055 * linear.powf(1.0 / 2.4) - 0.055,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_those_of_the_profile_connection_space() {
        // CIELab under D50 of sRGB's corners and a grey, as colour management systems give them.
        for (lab, srgb) in [
            ([0.0, 0.0, 0.0], [0, 0, 0]),
            ([100.0, 0.0, 0.0], [255, 255, 255]),
            ([53.585, 0.0, 0.0], [128, 128, 128]),
            ([54.29, 80.81, 69.89], [255, 0, 0]),
            ([87.82, -79.29, 80.99], [0, 255, 0]),
            ([29.57, 68.30, -112.03], [0, 0, 255]),
        ] {
            let [lightness, a, b]: [f64; 3] = lab;
            let encoded = [lightness / 100.0, (a + 128.0) / 255.0, (b + 128.0) / 255.0]
                .map(|share| (share * 65535.0).round() as u16);
            for (found, expected) in srgb_of_cielab(encoded).into_iter().zip(srgb) {
                assert!(found.abs_diff(expected) <= 1, "{lab:?}: {found} for {expected}");
            }
        }
    }
}
