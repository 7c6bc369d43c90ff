use super::*;
use crate::testing::image as slice;
use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::FileMetaTableBuilder;
use proptest::prelude::*;
use tiny_skia::Point;

fn item(elements: impl IntoIterator<Item = (Tag, VR, PrimitiveValue)>) -> InMemDicomObject {
    InMemDicomObject::from_element_iter(
        elements.into_iter().map(|(tag, vr, value)| DataElement::new(tag, vr, value)),
    )
}

fn put_item(object: &mut InMemDicomObject, sequence: Tag, item: InMemDicomObject) {
    object.put(DataElement::new(sequence, VR::SQ, DataSetSequence::from(vec![item])));
}

fn state(of: InMemDicomObject) -> PresentationState {
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(uids::GRAYSCALE_SOFTCOPY_PRESENTATION_STATE_STORAGE)
        .media_storage_sop_instance_uid("1.2.4")
        .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
        .build()
        .unwrap();
    PresentationState::of(of.with_exact_meta(meta)).unwrap()
}

fn numbers(values: &[f64]) -> PrimitiveValue {
    PrimitiveValue::F32(values.iter().map(|value| *value as f32).collect())
}

fn strings<T: ToString>(values: impl IntoIterator<Item = T>) -> PrimitiveValue {
    PrimitiveValue::Strs(values.into_iter().map(|value| value.to_string()).collect())
}

/// 4 by 3 pixels, each of a level of its own, shown through a window of just those.
fn image_of_levels() -> DefaultDicomObject {
    slice(3, 4, &(0..12).map(|level| level * 20).collect::<Vec<i16>>())
}

fn window(object: &mut InMemDicomObject) {
    let window = item([
        (tags::WINDOW_CENTER, VR::DS, "127.5".into()),
        (tags::WINDOW_WIDTH, VR::DS, "255".into()),
        (tags::VOILUT_FUNCTION, VR::CS, "LINEAR_EXACT".into()),
    ]);
    put_item(object, tags::SOFTCOPY_VOILUT_SEQUENCE, window);
}

fn turned(rotation: u16, flip: &str, corners: [[i32; 2]; 2]) -> InMemDicomObject {
    let mut object = item([
        (tags::IMAGE_ROTATION, VR::US, rotation.into()),
        (tags::IMAGE_HORIZONTAL_FLIP, VR::CS, flip.into()),
    ]);
    let [top_left, bottom_right] = corners.map(|corner| PrimitiveValue::I32(corner.into_iter().collect()));
    let area = item([
        (tags::DISPLAYED_AREA_TOP_LEFT_HAND_CORNER, VR::SL, top_left),
        (tags::DISPLAYED_AREA_BOTTOM_RIGHT_HAND_CORNER, VR::SL, bottom_right),
    ]);
    put_item(&mut object, tags::DISPLAYED_AREA_SELECTION_SEQUENCE, area);
    window(&mut object);
    object
}

#[test]
fn graphics_are_where_their_pixels_are() {
    let image = image_of_levels();
    let limits = DecodeLimits::default();
    for rotation in [0, 90, 180, 270] {
        for flip in ["N", "Y"] {
            let object = turned(rotation, flip, [[2, 1], [4, 3]]);
            let area = Area::of(&object, &Place::of(&image, 1), [4, 3]);
            let shown = state(object).raster(&image, 1, None, limits).unwrap().image.to_luma8();
            for (row, column) in (0..3).flat_map(|row| (1..4).map(move |column| (row, column))) {
                let mut middle = Point::from_xy(column as f32 + 0.5, row as f32 + 0.5);
                area.transform().map_point(&mut middle);
                let level = shown.get_pixel(middle.x as u32, middle.y as u32).0[0];
                assert_eq!(level, (row * 4 + column) as u8 * 20, "{rotation} {flip} {row} {column}");
            }
        }
    }
}

#[test]
fn an_item_is_for_the_frames_that_it_names() {
    let image = image_of_levels();
    let named = |frames: &[i32]| {
        let frames = PrimitiveValue::Strs(frames.iter().map(i32::to_string).collect());
        let reference = item([
            (tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, "1.2.3".into()),
            (tags::REFERENCED_FRAME_NUMBER, VR::IS, frames),
        ]);
        let mut window = item([(tags::WINDOW_CENTER, VR::DS, "1".into())]);
        put_item(&mut window, tags::REFERENCED_IMAGE_SEQUENCE, reference);
        let mut object = InMemDicomObject::new_empty();
        put_item(&mut object, tags::SOFTCOPY_VOILUT_SEQUENCE, window);
        object
    };
    let mut place = Place::of(&image, 2);
    place.sop_instance_uid = "1.2.3".to_owned();
    assert!(place.item(&named(&[1, 2]), tags::SOFTCOPY_VOILUT_SEQUENCE).is_some());
    assert!(place.item(&named(&[1, 3]), tags::SOFTCOPY_VOILUT_SEQUENCE).is_none());
    place.sop_instance_uid = "1.2.9".to_owned();
    assert!(place.item(&named(&[1, 2]), tags::SOFTCOPY_VOILUT_SEQUENCE).is_none());
}

#[test]
fn an_object_of_another_class_is_none() {
    assert!(PresentationState::of(image_of_levels()).is_err());
    assert!(!PresentationState::is_class(uids::BLENDING_SOFTCOPY_PRESENTATION_STATE_STORAGE));
}

/// What a number in a file may be: small, or anything.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![-70.0..70.0, any::<f32>().prop_map(f64::from), Just(0.0), Just(f64::MAX)]
}

fn graphics(kind: &str, points: &[f64], units: &str, thickness: f64) -> InMemDicomObject {
    let mut graphic = item([
        (tags::GRAPHIC_TYPE, VR::CS, kind.into()),
        (tags::GRAPHIC_DATA, VR::FL, numbers(points)),
        (tags::GRAPHIC_ANNOTATION_UNITS, VR::CS, units.into()),
        (tags::GRAPHIC_FILLED, VR::CS, "Y".into()),
    ]);
    put_item(
        &mut graphic,
        tags::LINE_STYLE_SEQUENCE,
        item([(tags::LINE_THICKNESS, VR::FL, numbers(&[thickness]))]),
    );
    let text = item([
        (tags::UNFORMATTED_TEXT_VALUE, VR::ST, "a\r\nb".into()),
        (tags::ANCHOR_POINT, VR::FL, numbers(points)),
        (tags::ANCHOR_POINT_VISIBILITY, VR::CS, "Y".into()),
        (tags::BOUNDING_BOX_TOP_LEFT_HAND_CORNER, VR::FL, numbers(points.get(2..).unwrap_or_default())),
        (tags::BOUNDING_BOX_ANNOTATION_UNITS, VR::CS, units.into()),
    ]);
    let mut annotation = InMemDicomObject::new_empty();
    put_item(&mut annotation, tags::GRAPHIC_OBJECT_SEQUENCE, graphic);
    put_item(&mut annotation, tags::TEXT_OBJECT_SEQUENCE, text);
    annotation
}

proptest! {
    #[test]
    fn whatever_a_state_says_there_is_an_answer(
        corners in any::<[[i16; 2]; 2]>(),
        rotation in any::<u16>(),
        kind in prop::sample::select(vec!["POINT", "POLYLINE", "INTERPOLATED", "CIRCLE", "ELLIPSE", "OTHER"]),
        units in prop::sample::select(vec!["PIXEL", "DISPLAY", "MATRIX"]),
        points in prop::collection::vec(number(), 0..12),
        thickness in number(),
        shutter in any::<[i32; 4]>(),
        polygon in prop::collection::vec(prop_oneof![-5..20i32, any::<i32>()], 0..12),
        origin in any::<[i16; 2]>(),
    ) {
        let mut object = turned(rotation, "Y", corners.map(|corner| corner.map(|place| i32::from(place % 50))));
        put_item(&mut object, tags::GRAPHIC_ANNOTATION_SEQUENCE, graphics(kind, &points, units, thickness));
        for (tag, vr, value) in [
            (tags::SHUTTER_SHAPE, VR::CS, strings(["RECTANGULAR", "CIRCULAR", "POLYGONAL", "BITMAP"])),
            (tags::SHUTTER_LEFT_VERTICAL_EDGE, VR::IS, shutter[0].to_string().into()),
            (tags::SHUTTER_RIGHT_VERTICAL_EDGE, VR::IS, shutter[1].to_string().into()),
            (tags::SHUTTER_UPPER_HORIZONTAL_EDGE, VR::IS, shutter[2].to_string().into()),
            (tags::SHUTTER_LOWER_HORIZONTAL_EDGE, VR::IS, shutter[3].to_string().into()),
            (tags::CENTER_OF_CIRCULAR_SHUTTER, VR::IS, strings([shutter[0], shutter[1]])),
            (tags::RADIUS_OF_CIRCULAR_SHUTTER, VR::IS, shutter[2].to_string().into()),
            (tags::VERTICES_OF_THE_POLYGONAL_SHUTTER, VR::IS, strings(polygon)),
            (tags::SHUTTER_OVERLAY_GROUP, VR::US, PrimitiveValue::from(0x6000u16)),
            (Tag(0x6000, 0x0010), VR::US, PrimitiveValue::from(3u16)),
            (Tag(0x6000, 0x0011), VR::US, PrimitiveValue::from(4u16)),
            (Tag(0x6000, 0x0050), VR::SS, PrimitiveValue::I16(origin.into_iter().collect())),
            (Tag(0x6000, 0x3000), VR::OB, PrimitiveValue::U8([0xAA, 0x05].into_iter().collect())),
            (Tag(0x6000, 0x1001), VR::CS, "LAYER".into()),
        ] {
            object.put(DataElement::new(tag, vr, value));
        }
        let _ = state(object).raster(&image_of_levels(), 1, None, DecodeLimits { max_frame_bytes: 1 << 20 });
    }
}
