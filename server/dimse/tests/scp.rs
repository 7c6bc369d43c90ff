//! The SCP against `dicom-ul`'s own requestor.

#![allow(clippy::unwrap_used)] // a test may

use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dicom_core::{DataElement, VR, dicom_value};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::entries::{EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN};
use dicom_ul::association::client::{ClientAssociation, ClientAssociationOptions};
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};
use engram_archive::{Archive, ArchiveOptions};
use engram_dimse::{ANY_AE_TITLE, Asked, Named, Peer, Port, Receiver, Refusal, Scp, ScpOptions};
use engram_imaging::{DecodeLimits, TranscodeLimits};

/// Keeps what it is sent; refuses what does not fit.
struct Shelf {
    kept: Mutex<Vec<Vec<u8>>>,
    heard: Mutex<Vec<(String, String, u16)>>,
    largest: usize,
}

impl Receiver for Shelf {
    type Instance = Vec<u8>;

    fn begin(&self) -> Result<Vec<u8>, Refusal> {
        Ok(Vec::new())
    }

    fn finish(&self, _: &Peer, instance: Vec<u8>) -> Result<(), Refusal> {
        if instance.len() > self.largest {
            return Err(Refusal { status: 0xA700, comment: "the shelf is full".into() });
        }
        self.kept.lock().unwrap().push(instance);
        Ok(())
    }

    fn stored(&self, peer: &Peer, instance: &Named, status: u16) {
        assert!(peer.address.ip().is_loopback() && instance.bytes > 0);
        let heard = (peer.ae_title.clone(), instance.sop_instance_uid.clone(), status);
        self.heard.lock().unwrap().push(heard);
    }

    fn asked(&self, peer: &Peer, asked: &Asked) {
        self.heard.lock().unwrap().push((peer.ae_title.clone(), asked.key.clone(), asked.status));
    }
}

fn start(largest: usize) -> (std::net::SocketAddr, Arc<Shelf>) {
    start_with(largest, |_| {})
}

fn start_for(calling_ae_title: &str, largest: usize) -> (std::net::SocketAddr, Arc<Shelf>) {
    start_with(largest, |options| options.calling_ae_titles = vec![calling_ae_title.into()])
}

fn start_with(largest: usize, change: impl FnOnce(&mut ScpOptions)) -> (std::net::SocketAddr, Arc<Shelf>) {
    let shelf = Arc::new(Shelf { kept: Mutex::default(), heard: Mutex::default(), largest });
    let root = tempfile::tempdir().unwrap();
    let mut options = ScpOptions {
        ports: vec![Port { bind: "127.0.0.1:0".parse().unwrap(), tls: None }],
        ae_title: "ENGRAM".into(),
        calling_ae_titles: vec![ANY_AE_TITLE.into()],
        calling_addresses: Vec::new(),
        nodes: Vec::new(),
        query_retrieve: true,
        max_associations: 2,
        max_pdu_bytes: 16 << 10,
        timeout: Duration::from_secs(5),
        transcoding: TranscodeLimits {
            decode: DecodeLimits { max_frame_bytes: 1 << 20 },
            max_object_bytes: 1 << 20,
        },
        commitment_journal: root.path().join("commitment.journal"),
    };
    change(&mut options);
    let folder = root.path().join("db");
    let database = sled::open(&folder).unwrap();
    let archive = Archive::open(root.path(), &database, ArchiveOptions::new(folder)).unwrap();
    let scp = Scp::bind(options, archive, Arc::clone(&shelf), Arc::default()).unwrap();
    let address = scp.addresses().unwrap()[0];
    std::thread::spawn(move || {
        let _root = root;
        scp.serve().unwrap();
    });
    (address, shelf)
}

fn connect(address: std::net::SocketAddr, abstract_syntax: &'static str) -> ClientAssociation<TcpStream> {
    ClientAssociationOptions::new()
        .with_presentation_context(abstract_syntax, vec![uids::EXPLICIT_VR_LITTLE_ENDIAN])
        .establish(address)
        .unwrap()
}

fn command(field: u16, sop_class: &str, has_data_set: bool) -> Vec<u8> {
    let object = InMemDicomObject::command_from_element_iter([
        DataElement::new(tags::AFFECTED_SOP_CLASS_UID, VR::UI, dicom_value!(Str, sop_class)),
        DataElement::new(tags::COMMAND_FIELD, VR::US, dicom_value!(U16, [field])),
        DataElement::new(tags::MESSAGE_ID, VR::US, dicom_value!(U16, [1])),
        DataElement::new(
            tags::COMMAND_DATA_SET_TYPE,
            VR::US,
            dicom_value!(U16, [if has_data_set { 0 } else { 0x0101 }]),
        ),
        DataElement::new(tags::AFFECTED_SOP_INSTANCE_UID, VR::UI, dicom_value!(Str, "1.2.3.4")),
    ]);
    let mut bytes = Vec::new();
    object.write_dataset_with_ts(&mut bytes, &IMPLICIT_VR_LITTLE_ENDIAN.erased()).unwrap();
    bytes
}

fn send(peer: &mut ClientAssociation<TcpStream>, value_type: PDataValueType, data: Vec<u8>, is_last: bool) {
    let value = PDataValue { presentation_context_id: 1, value_type, is_last, data };
    peer.send(&Pdu::PData { data: vec![value] }).unwrap();
}

fn status(peer: &mut ClientAssociation<TcpStream>) -> u16 {
    let Pdu::PData { data } = peer.receive().unwrap() else { panic!("no response") };
    let response =
        InMemDicomObject::read_dataset_with_ts(data[0].data.as_slice(), &IMPLICIT_VR_LITTLE_ENDIAN.erased())
            .unwrap();
    response.element(tags::STATUS).unwrap().to_int().unwrap()
}

fn data_set() -> Vec<u8> {
    let object = InMemDicomObject::from_element_iter([
        DataElement::new(tags::SOP_CLASS_UID, VR::UI, dicom_value!(Str, uids::CT_IMAGE_STORAGE)),
        DataElement::new(tags::SOP_INSTANCE_UID, VR::UI, dicom_value!(Str, "1.2.3.4")),
    ]);
    let mut bytes = Vec::new();
    object.write_dataset_with_ts(&mut bytes, &EXPLICIT_VR_LITTLE_ENDIAN.erased()).unwrap();
    bytes
}

#[test]
fn echo_is_answered() {
    let (address, _) = start(0);
    let mut peer = connect(address, uids::VERIFICATION);
    send(&mut peer, PDataValueType::Command, command(0x0030, uids::VERIFICATION, false), true);
    assert_eq!(status(&mut peer), 0);
    peer.release().unwrap();
}

#[test]
fn a_stored_instance_arrives_as_part_10() {
    let (address, shelf) = start(1 << 20);
    let mut peer = connect(address, uids::CT_IMAGE_STORAGE);
    send(&mut peer, PDataValueType::Command, command(0x0001, uids::CT_IMAGE_STORAGE, true), true);
    let bytes = data_set();
    let (first, second) = bytes.split_at(10);
    send(&mut peer, PDataValueType::Data, first.to_vec(), false);
    send(&mut peer, PDataValueType::Data, second.to_vec(), true);
    assert_eq!(status(&mut peer), 0);
    peer.release().unwrap();
    let kept = shelf.kept.lock().unwrap();
    let object = dicom_object::from_reader(kept[0].as_slice()).unwrap();
    assert_eq!(object.element(tags::SOP_INSTANCE_UID).unwrap().to_str().unwrap(), "1.2.3.4");
}

#[test]
fn a_refusal_reaches_the_sender_and_the_association_lives_on() {
    let (address, shelf) = start(10);
    let mut peer = connect(address, uids::CT_IMAGE_STORAGE);
    for _ in 0..2 {
        send(&mut peer, PDataValueType::Command, command(0x0001, uids::CT_IMAGE_STORAGE, true), true);
        send(&mut peer, PDataValueType::Data, data_set(), true);
        assert_eq!(status(&mut peer), 0xA700);
    }
    peer.release().unwrap();
    assert!(shelf.kept.lock().unwrap().is_empty());
    let heard = ("THIS-SCU".to_owned(), "1.2.3.4".to_owned(), 0xA700);
    assert_eq!(*shelf.heard.lock().unwrap(), [heard.clone(), heard]);
}

#[test]
fn only_callers_that_are_named_get_an_association() {
    let (address, _) = start_for("CT1", 0);
    let call = |title| {
        ClientAssociationOptions::new()
            .with_presentation_context(uids::VERIFICATION, vec![uids::EXPLICIT_VR_LITTLE_ENDIAN])
            .calling_ae_title(title)
            .establish(address)
    };
    call("CT1").unwrap().release().unwrap();
    for title in ["CT2", "ct1", "*"] {
        assert!(call(title).is_err(), "{title}");
    }
}

#[test]
fn an_address_that_may_not_call_is_turned_away() {
    for (address, is_welcome) in [("10.0.0.7", false), ("127.0.0.1", true)] {
        let (port, _) = start_with(0, |options| options.calling_addresses = vec![address.parse().unwrap()]);
        let association = ClientAssociationOptions::new()
            .with_presentation_context(uids::VERIFICATION, vec![uids::EXPLICIT_VR_LITTLE_ENDIAN])
            .establish(port);
        assert_eq!(association.is_ok(), is_welcome, "{address}");
    }
}

#[test]
fn queries_are_answered_unless_they_are_switched_off() {
    let model = uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND;
    for (query_retrieve, expected) in [(true, 0xA900), (false, 0x0122)] {
        let (address, shelf) = start_with(0, |options| options.query_retrieve = query_retrieve);
        let mut peer = connect(address, model);
        send(&mut peer, PDataValueType::Command, command(0x0020, model, true), true);
        send(&mut peer, PDataValueType::Data, data_set(), true);
        assert_eq!(status(&mut peer), expected, "an identifier without a level");
        peer.release().unwrap();
        assert!(shelf.kept.lock().unwrap().is_empty());
    }
}
