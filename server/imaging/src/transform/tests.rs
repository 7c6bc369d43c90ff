use super::*;
use crate::testing::{image, set};
use crate::{DecodeLimits, Error};
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::DefaultDicomObject;

fn png(object: &DefaultDicomObject, options: RenderOptions) -> image::DynamicImage {
    let picture = render(object, 1, &options, DecodeLimits::default()).unwrap();
    assert_eq!(picture.media_type, "image/png");
    image::load_from_memory(&picture.bytes).unwrap()
}

fn grey(object: &DefaultDicomObject, options: RenderOptions) -> Vec<u8> {
    png(object, options).to_luma8().into_raw()
}

fn windowed() -> DefaultDicomObject {
    let mut object = image(1, 4, &[-100, 0, 50, 300]);
    set(&mut object, tags::WINDOW_CENTER, VR::DS, "50");
    set(&mut object, tags::WINDOW_WIDTH, VR::DS, "100");
    set(&mut object, tags::VOILUT_FUNCTION, VR::CS, "LINEAR_EXACT");
    object
}

#[test]
fn the_window_is_the_options_else_the_files_else_robust() {
    let object = windowed();
    assert_eq!(grey(&object, RenderOptions::default()), [0, 0, 128, 255]);
    let window = Window::new(100.0, 400.0, VoiFunction::LinearExact);
    assert_eq!(grey(&object, RenderOptions { window, ..RenderOptions::default() }), [0, 64, 96, 255]);
    let bare = image(1, 4, &[-100, 0, 50, 300]);
    let robust = grey(&bare, RenderOptions::default());
    assert_eq!((robust[0], robust[3]), (0, 255));
}

#[test]
fn monochrome1_is_inverted() {
    let mut object = windowed();
    set(&mut object, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME1");
    assert_eq!(grey(&object, RenderOptions::default()), [255, 255, 128, 0]);
}

#[test]
fn palettes_become_colours() {
    let mut object = image(1, 2, &[5, 6]);
    set(&mut object, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "PALETTE COLOR");
    for (descriptor, data, entries) in [
        (
            tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
            tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            [0xFF00u16, 0x1000],
        ),
        (
            tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
            tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            [0x8000, 0x2000],
        ),
        (
            tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
            tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            [0, 0x3000],
        ),
    ] {
        let layout = PrimitiveValue::U16([2, 5, 16].as_slice().into());
        object.put(DataElement::new(descriptor, VR::US, layout));
        object.put(DataElement::new(data, VR::OW, PrimitiveValue::U16(entries.as_slice().into())));
    }
    let pixels = png(&object, RenderOptions::default()).to_rgb8().into_raw();
    assert_eq!(pixels, [0xFF, 0x80, 0, 0x10, 0x20, 0x30]);
    object.remove_element(tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA);
    let error = render(&object, 1, &RenderOptions::default(), DecodeLimits::default()).unwrap_err();
    assert!(matches!(error, Error::MissingAttribute { name: "BluePaletteColorLookupTableData" }));
}

#[test]
fn regions_and_viewports_cut_and_scale() {
    let object = image(4, 6, &(0..24).collect::<Vec<i16>>());
    let size = |region, viewport| {
        let picture = png(&object, RenderOptions { region, viewport, ..RenderOptions::default() });
        (picture.width(), picture.height())
    };
    assert_eq!(size(None, Some((60, 60))), (60, 40));
    assert_eq!(size(None, Some((60, u32::MAX))), (60, 40));
    assert_eq!(size(Some(Region::Pixels(1, 1, 3, 2)), None), (3, 2));
    assert_eq!(size(Some(Region::Pixels(4, 2, 90, 90)), Some((10, 10))), (10, 10));
    assert_eq!(size(Some(Region::Shares([0.5, 0.25, 1.0, 1.0])), None), (3, 3));
    // (region, viewport) that cannot be met
    let cases = [
        (Some(Region::Pixels(6, 0, 1, 1)), None),
        (Some(Region::Pixels(0, 0, 0, 1)), None),
        (Some(Region::Shares([0.5, 0.0, 0.5, 1.0])), None),
        (Some(Region::Shares([1.0, 0.0, 0.5, 1.0])), None),
        (None, Some((0, 5))),
        (None, Some((u32::MAX, u32::MAX))),
    ];
    for (region, viewport) in cases {
        let options = RenderOptions { region, viewport, ..RenderOptions::default() };
        let error = render(&object, 1, &options, DecodeLimits::default()).unwrap_err();
        assert!(matches!(error, Error::BadOption { .. } | Error::TooLarge { .. }), "{error}");
    }
}

#[test]
fn jpeg_2000_is_held_to_what_encoding_takes() {
    let picture = |format, max_frame_bytes| {
        let limits = DecodeLimits { max_frame_bytes };
        Raster::black(10, 10, limits)?
            .viewed(&RenderOptions { format, ..RenderOptions::default() }, limits)?
            .encode(format)
    };
    assert!(picture(PictureFormat::Png, 100).is_ok());
    assert!(matches!(picture(PictureFormat::Jpeg2000, 799), Err(Error::TooLarge { needed: 800, .. })));
    assert_eq!(picture(PictureFormat::Jpeg2000, 800).unwrap().media_type, "image/jp2");
}

#[test]
fn jpeg_is_a_jpeg_of_the_quality_asked_for() {
    let object = image(64, 64, &(0..4096).map(|pixel| (pixel * 37 % 1000) as i16).collect::<Vec<_>>());
    let bytes = |quality| {
        let format = PictureFormat::Jpeg { quality };
        let options = RenderOptions { format, ..RenderOptions::default() };
        let picture = render(&object, 1, &options, DecodeLimits::default()).unwrap();
        assert_eq!(picture.media_type, "image/jpeg");
        assert_eq!(image::load_from_memory(&picture.bytes).unwrap().width(), 64);
        picture.bytes.len()
    };
    assert!(bytes(95) > bytes(20));
}

/// The frames of a GIF as RGBA, and how long each stands in milliseconds.
fn gif_frames(bytes: &[u8]) -> Vec<(Vec<u8>, u32)> {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    let mut decoder = options.read_info(bytes).unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = decoder.read_next_frame().unwrap() {
        frames.push((frame.buffer.to_vec(), u32::from(frame.delay) * 10));
    }
    frames
}

#[test]
fn a_gif_holds_greys_exactly() {
    let picture = render(
        &windowed(),
        1,
        &RenderOptions { format: PictureFormat::Gif, ..RenderOptions::default() },
        DecodeLimits::default(),
    )
    .unwrap();
    assert_eq!(picture.media_type, "image/gif");
    let frames = gif_frames(&picture.bytes);
    assert_eq!(frames.len(), 1);
    let greys: Vec<u8> = frames[0].0.chunks(4).map(|pixel| pixel[0]).collect();
    assert_eq!(greys, [0, 0, 128, 255]);
}

#[test]
fn an_animation_is_written_frame_by_frame_at_the_files_pace() {
    let mut object = windowed();
    set(&mut object, tags::FRAME_TIME, VR::DS, "40");
    let grey = Raster::of_frame(&object, 1, None, DecodeLimits::default()).unwrap();
    let coloured = grey.clone().overlaid([None, Some(([200, 100, 0], 1.0)), Some(([0, 0, 28], 0.5))]);
    let mut animation = Animation::of_frames(&object, &grey).unwrap();
    let mut bytes = Vec::new();
    for picture in [&grey, &coloured] {
        let more = animation.add(picture).unwrap();
        assert!(!more.is_empty());
        bytes.extend(more);
    }
    bytes.extend(animation.finish().unwrap());
    let frames = gif_frames(&bytes);
    assert_eq!(frames.iter().map(|frame| frame.1).collect::<Vec<_>>(), [40, 40]);
    assert_eq!(frames[0].0[8..12], [128, 128, 128, 255]);
    assert_eq!(frames[1].0, [0, 0, 0, 255, 200, 100, 0, 255, 64, 64, 78, 255, 255, 255, 255, 255]);
}
