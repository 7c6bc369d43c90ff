//! Data sets in the transfer syntax that was agreed on.

use std::io::Read;

use dicom_encoding::TransferSyntaxIndex;
use dicom_encoding::transfer_syntax::{Codec, Endianness, TransferSyntax};
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use dicom_transfer_syntax_registry::entries::{
    EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN,
};
use snafu::{OptionExt, ResultExt};

use crate::bounds::{Encoding, check};
use crate::{Error, ReadDataSetSnafu, UnexpectedSnafu, WriteCommandSnafu};

/// A deflated data set larger than this is not inflated: as large as others may be.
const MAX_INFLATED_BYTES: u64 = 8 << 20;

/// Writes a data set.
pub fn encode(object: &InMemDicomObject, transfer_syntax: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    object.write_dataset_with_ts(&mut bytes, known(transfer_syntax)?).context(WriteCommandSnafu)?;
    Ok(bytes)
}

/// Reads a data set of a stranger's.
pub fn decode(bytes: &[u8], transfer_syntax: &str) -> Result<InMemDicomObject, Error> {
    let syntax = known(transfer_syntax)?;
    if let Codec::Dataset(Some(adapter)) = syntax.codec() {
        let mut inflated = Vec::new();
        let reader = adapter.adapt_reader(Box::new(bytes)).take(MAX_INFLATED_BYTES + 1);
        { reader }.read_to_end(&mut inflated).map_err(|error| nonsense(&error.to_string()))?;
        return match inflated.len() as u64 > MAX_INFLATED_BYTES {
            true => Err(nonsense("it inflates beyond all bounds")),
            false => decode_plain(&inflated, &EXPLICIT_VR_LITTLE_ENDIAN.erased()),
        };
    }
    if syntax.uid() == IMPLICIT_VR_LITTLE_ENDIAN.uid() {
        return decode_plain(bytes, &IMPLICIT_VR_LITTLE_ENDIAN.erased());
    }
    match syntax.endianness() {
        Endianness::Big => decode_plain(bytes, &EXPLICIT_VR_BIG_ENDIAN.erased()),
        Endianness::Little => decode_plain(bytes, &EXPLICIT_VR_LITTLE_ENDIAN.erased()),
    }
}

fn decode_plain(bytes: &[u8], syntax: &TransferSyntax) -> Result<InMemDicomObject, Error> {
    let has_vr = syntax.uid() != IMPLICIT_VR_LITTLE_ENDIAN.uid();
    check(bytes, Encoding { has_vr, endianness: syntax.endianness() }).map_err(nonsense)?;
    InMemDicomObject::read_dataset_with_ts(bytes, syntax).context(ReadDataSetSnafu)
}

fn known(transfer_syntax: &str) -> Result<&'static TransferSyntax, Error> {
    let what = || UnexpectedSnafu { what: format!("transfer syntax {transfer_syntax}") };
    TransferSyntaxRegistry.get(transfer_syntax).with_context(what)
}

fn nonsense(problem: &str) -> Error {
    UnexpectedSnafu { what: format!("a data set that is none: {problem}") }.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commitment::{Report, Request};
    use crate::identifier::{Identifier, Level, Root};
    use crate::{Command, Search};
    use dicom_core::{DataElement, PrimitiveValue, VR};
    use dicom_dictionary_std::{tags, uids};
    use proptest::prelude::*;

    const SYNTAXES: [&str; 4] = [
        uids::IMPLICIT_VR_LITTLE_ENDIAN,
        uids::EXPLICIT_VR_LITTLE_ENDIAN,
        EXPLICIT_VR_BIG_ENDIAN.uid(),
        uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    ];

    /// Everything that reads bytes of a peer.
    fn read_all(bytes: &[u8], syntax: &str) {
        let _ = Command::parse(bytes);
        let _ = Report::read(bytes, syntax);
        let _ = Request::read(bytes, syntax);
        if let Ok(identifier) = Identifier::read(bytes, syntax, Root::Study) {
            let _ = identifier.for_retrieval();
        }
    }

    fn written(syntax: &str) -> Vec<u8> {
        let instances = vec![("1.2".to_owned(), "1.2.3".to_owned()), ("1.2".to_owned(), "1.2.4".to_owned())];
        Request { transaction_uid: "1.2.5".into(), instances }.data_set(syntax).unwrap()
    }

    proptest! {
        #[test]
        fn bytes_of_a_stranger_are_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200), syntax in 0..4usize) {
            read_all(&bytes, SYNTAXES[syntax]);
        }

        #[test]
        fn so_is_a_data_set_that_was_tampered_with(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
            syntax in 0..4usize,
        ) {
            let mut bytes = written(SYNTAXES[syntax]);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(cut.index(bytes.len()) + 1);
            read_all(&bytes, SYNTAXES[syntax]);
        }

        #[test]
        fn what_is_written_is_read(name in "[A-Za-z^]{1,20}", syntax in 0..4usize) {
            let element = DataElement::new(tags::PATIENT_NAME, VR::PN, PrimitiveValue::from(name.as_str()));
            let keys = InMemDicomObject::from_element_iter([element]);
            let search = Search { level: Level::Study, keys };
            let bytes = search.data_set(SYNTAXES[syntax]).unwrap();
            let identifier = Identifier::read(&bytes, SYNTAXES[syntax], Root::Study).unwrap();
            prop_assert_eq!(identifier.value(tags::PATIENT_NAME), name);
        }
    }

    #[test]
    fn nothing_is_inflated_beyond_bounds() {
        let element = DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::from(vec![0u8; 9 << 20]));
        let object = InMemDicomObject::from_element_iter([element]);
        let bytes = encode(&object, uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN).unwrap();
        assert!(bytes.len() < 100_000);
        assert!(decode(&bytes, uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN).is_err());
    }
}
