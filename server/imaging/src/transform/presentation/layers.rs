//! Graphic layers: what is drawn above what, and in which colour (PS3.3 C.10.7).

use super::reference::items;
use crate::attributes::{integer, text};
use crate::transform::srgb_of_cielab;
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

/// What is drawn where a layer recommends no colour.
const WHITE: [u8; 3] = [255; 3];

/// The layers of a state.
pub(super) struct Layers(Vec<Layer>);

struct Layer {
    name: String,
    order: i64,
    colour: [u8; 3],
}

impl Layers {
    pub(super) fn of(state: &InMemDicomObject) -> Self {
        let layers = items(state, tags::GRAPHIC_LAYER_SEQUENCE).iter();
        Layers(layers.filter_map(Layer::of).collect())
    }

    /// The colour of a layer.
    pub(super) fn colour(&self, name: &str) -> [u8; 3] {
        self.find(name).map_or(WHITE, |layer| layer.colour)
    }

    /// The place of a layer: one with a larger number lies above.
    pub(super) fn order(&self, name: &str) -> i64 {
        self.find(name).map_or(i64::MAX, |layer| layer.order)
    }

    fn find(&self, name: &str) -> Option<&Layer> {
        self.0.iter().find(|layer| layer.name == name)
    }
}

impl Layer {
    fn of(item: &InMemDicomObject) -> Option<Self> {
        let colour = cielab(item, tags::GRAPHIC_LAYER_RECOMMENDED_DISPLAY_CIE_LAB_VALUE);
        let grey = || p_value(item, tags::GRAPHIC_LAYER_RECOMMENDED_DISPLAY_GRAYSCALE_VALUE);
        Some(Layer {
            name: text(item, tags::GRAPHIC_LAYER)?,
            order: integer(item, tags::GRAPHIC_LAYER_ORDER).unwrap_or(0),
            colour: colour.or_else(grey).unwrap_or(WHITE),
        })
    }
}

/// A colour that is written as CIELab.
pub(super) fn cielab(item: &InMemDicomObject, tag: Tag) -> Option<[u8; 3]> {
    let lab = item.get(tag)?.to_multi_int::<u16>().ok()?;
    Some(srgb_of_cielab(lab.try_into().ok()?))
}

/// A grey level that is written as a P-value of 16 bits.
pub(super) fn p_value(item: &InMemDicomObject, tag: Tag) -> Option<[u8; 3]> {
    let value = item.get(tag)?.to_int::<u16>().ok()?;
    Some([(value >> 8) as u8; 3])
}
