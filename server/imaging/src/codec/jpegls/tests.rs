use super::*;
use proptest::prelude::*;

/// The example of T.87 H.3: 4 x 4 samples of 8 bits.
#[rustfmt::skip]
const EXAMPLE: [u8; 60] = [
    0xFF, 0xD8, 0xFF, 0xF7, 0x00, 0x0B, 0x08, 0x00, 0x04, 0x00, 0x04, 0x01, 0x01, 0x11, 0x00,
    0xFF, 0xDA, 0x00, 0x08, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00,
    0xC0, 0x00, 0x00, 0x6C, 0x80, 0x20, 0x8E, 0x01, 0xC0, 0x00, 0x00, 0x57, 0x40, 0x00, 0x00,
    0x6E, 0xE6, 0x00, 0x00, 0x01, 0xBC, 0x18, 0x00, 0x00, 0x05, 0xD8, 0x00, 0x00, 0x91, 0x60,
    0xFF, 0xD9, 0x00, 0x00, 0x00,
];

#[test]
fn the_example_of_the_standard_decodes() {
    let image = decode(&EXAMPLE, (4, 4)).unwrap();
    let samples = vec![0, 0, 90, 74, 68, 50, 43, 205, 64, 145, 145, 145, 100, 145, 145, 145];
    assert_eq!(image.samples, Samples::U16(samples));
    assert_eq!((image.precision, image.components), (8, 1));
}

#[test]
fn malformed_streams_are_refused() {
    // (what is wrong, where, the byte there)
    let cases = [
        ("more rows than the attributes have", 7, 1),
        ("17 bits", 6, 17),
        ("2 components", 11, 2),
        ("a mapping table", 21, 1),
        ("NEAR beyond half the range", 22, 200),
        ("components interleaved that are one", 23, 3),
        ("a component that the frame lacks", 20, 9),
    ];
    for (what, place, byte) in cases {
        let mut bytes = EXAMPLE;
        bytes[place] = byte;
        assert!(decode(&bytes, (4, 4)).is_err(), "{what}");
    }
    for length in 0..50 {
        assert!(decode(&EXAMPLE[..length], (4, 4)).is_err(), "cut to {length} bytes");
    }
}

proptest! {
    #[test]
    fn spoilt_streams_never_panic(
        places in proptest::collection::vec((2usize..60, any::<u8>()), 1..4),
        rows in 1usize..40,
    ) {
        let mut bytes = EXAMPLE;
        for (place, value) in places {
            bytes[place] = value;
        }
        bytes[8] = rows as u8;
        let _ = decode(&bytes, (rows, 4));
    }

    #[test]
    fn preset_parameters_never_panic(preset in any::<[u8; 10]>(), data in any::<[u8; 30]>(), near in 0u8..20) {
        let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xF8, 0, 13, 1];
        bytes.extend(preset);
        bytes.extend([0xFF, 0xF7, 0, 11, 16, 0, 9, 0, 9, 1, 1, 0x11, 0]);
        bytes.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, near, 0, 0]);
        bytes.extend(data);
        let _ = decode(&bytes, (9, 9));
    }
}
