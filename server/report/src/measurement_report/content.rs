//! The tree of content items of a structured report (PS3.3 C.17.3, C.18).

use dicom_core::{PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use engram_seg::Code;
use engram_seg::put::{Put, decimal};

/// How an item stands to the one that holds it (PS3.3 C.17.3.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relationship {
    /// It is held by none.
    Root,
    Contains,
    HasObservationContext,
    HasConceptModifier,
    HasAcquisitionContext,
}

impl Relationship {
    fn term(self) -> Option<&'static str> {
        match self {
            Self::Root => None,
            Self::Contains => Some("CONTAINS"),
            Self::HasObservationContext => Some("HAS OBS CONTEXT"),
            Self::HasConceptModifier => Some("HAS CONCEPT MOD"),
            Self::HasAcquisitionContext => Some("HAS ACQ CONTEXT"),
        }
    }
}

/// An image that an item refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImageReference {
    pub(super) sop_class_uid: String,
    pub(super) sop_instance_uid: String,
    /// ReferencedSegmentNumber of a SEG.
    pub(super) segment: Option<u16>,
}

/// A content item.
#[derive(Debug, Clone)]
pub(super) struct Item {
    relationship: Relationship,
    name: Option<Code>,
    value: Value,
    /// Of PS3.16, for a container that follows one.
    template: Option<&'static str>,
    children: Vec<Item>,
}

#[derive(Debug, Clone)]
enum Value {
    Container,
    Code(Code),
    Text(String),
    Number { value: f64, unit: Code },
    Uid(String),
    Image(ImageReference),
}

impl Item {
    fn new(relationship: Relationship, name: Option<Code>, value: Value) -> Self {
        Self { relationship, name, value, template: None, children: Vec::new() }
    }

    pub(super) fn container(relationship: Relationship, name: Code, children: Vec<Item>) -> Self {
        Self { children, ..Self::new(relationship, Some(name), Value::Container) }
    }

    pub(super) fn code(relationship: Relationship, name: Code, value: Code) -> Self {
        Self::new(relationship, Some(name), Value::Code(value))
    }

    pub(super) fn text(relationship: Relationship, name: Code, value: &str) -> Self {
        Self::new(relationship, Some(name), Value::Text(value.to_owned()))
    }

    pub(super) fn number(relationship: Relationship, name: Code, value: f64, unit: Code) -> Self {
        Self::new(relationship, Some(name), Value::Number { value, unit })
    }

    pub(super) fn uid(relationship: Relationship, name: Code, value: &str) -> Self {
        Self::new(relationship, Some(name), Value::Uid(value.to_owned()))
    }

    pub(super) fn image(relationship: Relationship, name: Option<Code>, value: ImageReference) -> Self {
        Self::new(relationship, name, Value::Image(value))
    }

    /// The same with what it holds.
    pub(super) fn with(mut self, children: impl IntoIterator<Item = Item>) -> Self {
        self.children.extend(children);
        self
    }

    /// The same, said to follow a template of PS3.16.
    pub(super) fn of_template(self, template: &'static str) -> Self {
        Self { template: Some(template), ..self }
    }

    /// Puts the item into a data set: the document itself for the root, an item of ContentSequence for others.
    pub(super) fn put(&self, object: &mut InMemDicomObject) {
        if let Some(relationship) = self.relationship.term() {
            object.put_value(tags::RELATIONSHIP_TYPE, VR::CS, relationship);
        }
        object.put_value(tags::VALUE_TYPE, VR::CS, self.value.term());
        if let Some(name) = &self.name {
            object.put_code(tags::CONCEPT_NAME_CODE_SEQUENCE, name);
        }
        self.value.put(object);
        if let Some(template) = self.template {
            let mut item = InMemDicomObject::new_empty();
            item.put_value(tags::MAPPING_RESOURCE, VR::CS, "DCMR");
            item.put_value(tags::TEMPLATE_IDENTIFIER, VR::CS, template);
            object.put_items(tags::CONTENT_TEMPLATE_SEQUENCE, vec![item]);
        }
        if !self.children.is_empty() {
            let children = self.children.iter().map(|child| {
                let mut item = InMemDicomObject::new_empty();
                child.put(&mut item);
                item
            });
            object.put_items(tags::CONTENT_SEQUENCE, children.collect());
        }
    }
}

impl Value {
    fn term(&self) -> &'static str {
        match self {
            Self::Container => "CONTAINER",
            Self::Code(_) => "CODE",
            Self::Text(_) => "TEXT",
            Self::Number { .. } => "NUM",
            Self::Uid(_) => "UIDREF",
            Self::Image(_) => "IMAGE",
        }
    }

    fn put(&self, object: &mut InMemDicomObject) {
        match self {
            Self::Container => object.put_value(tags::CONTINUITY_OF_CONTENT, VR::CS, "SEPARATE"),
            Self::Code(code) => object.put_code(tags::CONCEPT_CODE_SEQUENCE, code),
            Self::Text(text) => object.put_value(tags::TEXT_VALUE, VR::UT, text.as_str()),
            Self::Uid(uid) => object.put_value(tags::UID, VR::UI, uid.as_str()),
            Self::Number { value, unit } => {
                let mut item = InMemDicomObject::new_empty();
                item.put_value(tags::NUMERIC_VALUE, VR::DS, decimal(*value));
                // A decimal string has 16 characters at most (PS3.3 C.18.1).
                item.put_value(tags::FLOATING_POINT_VALUE, VR::FD, *value);
                item.put_code(tags::MEASUREMENT_UNITS_CODE_SEQUENCE, unit);
                object.put_items(tags::MEASURED_VALUE_SEQUENCE, vec![item]);
            }
            Self::Image(image) => {
                let mut item = InMemDicomObject::new_empty();
                item.put_value(tags::REFERENCED_SOP_CLASS_UID, VR::UI, image.sop_class_uid.as_str());
                item.put_value(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, image.sop_instance_uid.as_str());
                if let Some(segment) = image.segment {
                    let numbers = PrimitiveValue::U16([segment][..].into());
                    item.put_value(tags::REFERENCED_SEGMENT_NUMBER, VR::US, numbers);
                }
                object.put_items(tags::REFERENCED_SOP_SEQUENCE, vec![item]);
            }
        }
    }
}
