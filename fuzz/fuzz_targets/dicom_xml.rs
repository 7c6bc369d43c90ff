#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| engram_fuzz_targets::DICOM_XML.run(input));
