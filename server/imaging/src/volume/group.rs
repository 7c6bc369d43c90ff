//! Which frames belong to one volume: the same grid, and one frame a position.

use super::geometry::dot;
use super::slice::{Candidate, Plane, TIME_KEYS, time_value};
use super::{NotAVolume, VolumeNote};
use dicom_object::DefaultDicomObject;
use std::borrow::Borrow;

/// Offsets along the normal closer than this are one position, mm.
const SAME_POSITION_MM: f64 = 0.01;
/// Direction cosines closer than this are one direction; about 0.06 degrees.
const SAME_DIRECTION: f64 = 1e-3;
/// Spacings closer than this are one spacing, mm.
const SAME_SPACING_MM: f64 = 1e-3;

/// The slices of one volume, sorted, with what there is to say of the choice.
pub(super) struct Group {
    pub slices: Vec<Candidate>,
    pub spatial: bool,
    pub notes: Vec<VolumeNote>,
}

/// Splits frames into volumes, the largest first.
pub(super) fn groups<O: Borrow<DefaultDicomObject>>(candidates: Vec<Candidate>, objects: &[O]) -> Vec<Group> {
    let (placed, unplaced): (Vec<Candidate>, Vec<Candidate>) =
        candidates.into_iter().partition(|candidate| candidate.plane.is_some());
    let mut grids = by_grid(placed);
    grids.sort_by_key(|grid| std::cmp::Reverse(grid.len()));
    let stills = by_instance(unplaced);
    let count = grids.len() + stills.len();
    let mut groups = Vec::new();
    for (index, grid) in grids.into_iter().enumerate() {
        for mut group in by_time(grid, objects) {
            if count > 1 {
                group.notes.push(VolumeNote::MixedGeometry { index, count });
            }
            groups.push(group);
        }
    }
    groups.extend(stills.into_iter().map(|slices| Group { slices, spatial: false, notes: Vec::new() }));
    groups
}

/// Frames of the same size, spacing and orientation.
fn by_grid(candidates: Vec<Candidate>) -> Vec<Vec<Candidate>> {
    let close = |a: &[f64], b: &[f64], tolerance: f64| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance)
    };
    let orientation = |candidate: &Candidate| candidate.plane.map(|plane| plane.orientation);
    let mut grids: Vec<Vec<Candidate>> = Vec::new();
    for candidate in candidates {
        let place = grids.iter_mut().find(|grid| {
            grid.first().is_some_and(|first| {
                (first.rows, first.columns) == (candidate.rows, candidate.columns)
                    && close(
                        &first.spacing.unwrap_or_default(),
                        &candidate.spacing.unwrap_or_default(),
                        SAME_SPACING_MM,
                    )
                    && close(
                        &orientation(first).unwrap_or_default(),
                        &orientation(&candidate).unwrap_or_default(),
                        SAME_DIRECTION,
                    )
            })
        });
        match place {
            Some(grid) => grid.push(candidate),
            None => grids.push(vec![candidate]),
        }
    }
    grids
}

/// Frames without a position: each instance is on its own, its frames in their order; instances by number.
fn by_instance(mut candidates: Vec<Candidate>) -> Vec<Vec<Candidate>> {
    candidates.sort_by_key(|candidate| (candidate.instance_number, candidate.object, candidate.source.frame));
    candidates.chunk_by(|a, b| a.object == b.object).map(<[Candidate]>::to_vec).collect()
}

/// Splits a grid whose positions hold several frames into time points, each sorted along the normal.
fn by_time<O: Borrow<DefaultDicomObject>>(mut grid: Vec<Candidate>, objects: &[O]) -> Vec<Group> {
    let normal = grid.first().and_then(|slice| slice.plane).map_or([0.0, 0.0, 1.0], |plane| plane.normal());
    let offset = |slice: &Candidate| slice.plane.map_or(0.0, |plane: Plane| dot(normal, plane.position));
    grid.sort_by(|a, b| {
        offset(a)
            .total_cmp(&offset(b))
            .then(a.instance_number.cmp(&b.instance_number))
            .then(a.source.frame.cmp(&b.source.frame))
    });
    // Where several frames lie, in the order of their positions.
    let positions: Vec<&[Candidate]> =
        grid.chunk_by(|a, b| (offset(a) - offset(b)).abs() < SAME_POSITION_MM).collect();
    let most = positions.iter().map(|frames| frames.len()).max().unwrap_or(0);
    if most <= 1 {
        return vec![Group { slices: grid, spatial: true, notes: Vec::new() }];
    }
    let Some((by, indices)) = time_indices(&positions, most, objects) else {
        // Nothing orders the frames: the first at each position stays.
        let slices: Vec<Candidate> = positions.iter().filter_map(|frames| frames.first().cloned()).collect();
        let left_out = grid.len() - slices.len();
        let notes = vec![VolumeNote::DuplicatePosition { frames: left_out }];
        return vec![Group { slices, spatial: true, notes }];
    };
    let mut points: Vec<Vec<Candidate>> =
        vec![Vec::new(); most.max(indices.iter().max().map_or(0, |i| i + 1))];
    for (candidate, index) in grid.iter().zip(indices) {
        if let Some(point) = points.get_mut(index) {
            point.push(candidate.clone());
        }
    }
    points.retain(|point| !point.is_empty());
    let count = points.len();
    let note = |index| vec![VolumeNote::TimePoint { index, count, by }];
    let group = |(index, slices)| Group { slices, spatial: true, notes: note(index) };
    points.into_iter().enumerate().map(group).collect()
}

/// The time point of each frame, position after position, by the first attribute that tells the frames at
/// every position apart; else by instance and frame number, where every position holds as many frames.
fn time_indices<O: Borrow<DefaultDicomObject>>(
    positions: &[&[Candidate]],
    most: usize,
    objects: &[O],
) -> Option<(&'static str, Vec<usize>)> {
    for (group, tag, name) in TIME_KEYS {
        let values: Option<Vec<Vec<f64>>> = positions
            .iter()
            .map(|frames| {
                frames
                    .iter()
                    .map(|frame| {
                        let object = objects.get(frame.object)?.borrow();
                        time_value(object, frame.source.frame as usize, group, tag)
                    })
                    .collect()
            })
            .collect();
        if let Some(indices) = values.and_then(|values| ranks(&values, most)) {
            return Some((name, indices));
        }
    }
    let even = positions.iter().all(|frames| frames.len() == most);
    let numbers: Vec<Vec<f64>> = positions
        .iter()
        .map(|frames| {
            // Frames of one instance are apart by less than instances are.
            let number =
                |frame: &Candidate| frame.instance_number as f64 * 1e6 + f64::from(frame.source.frame);
            frames.iter().map(number).collect()
        })
        .collect();
    even.then(|| ranks(&numbers, most)).flatten().map(|indices| ("InstanceNumber", indices))
}

/// The rank of each value: among all distinct values where they are as many as time points (so that a
/// position that misses one keeps its place), else among the values at its position. None where two frames
/// at a position have one value.
fn ranks(values: &[Vec<f64>], most: usize) -> Option<Vec<usize>> {
    let sorted = |values: &mut Vec<f64>| values.sort_by(f64::total_cmp);
    let mut all: Vec<f64> = values.iter().flatten().copied().collect();
    sorted(&mut all);
    all.dedup();
    let mut indices = Vec::new();
    for at_position in values {
        let mut own = at_position.clone();
        sorted(&mut own);
        own.dedup();
        if own.len() != at_position.len() {
            return None;
        }
        let order = if all.len() == most { &all } else { &own };
        indices.extend(at_position.iter().map(|value| order.partition_point(|other| other < value)));
    }
    Some(indices)
}

/// The reason that most of the refused objects share, and how many frames they are.
pub(super) fn commonest(refused: &[(NotAVolume, usize)]) -> Vec<(NotAVolume, usize)> {
    let mut totals: Vec<(NotAVolume, usize)> = Vec::new();
    for (reason, frames) in refused {
        match totals.iter_mut().find(|(other, _)| other == reason) {
            Some((_, total)) => *total += frames,
            None => totals.push((*reason, *frames)),
        }
    }
    totals.sort_by_key(|(_, frames)| std::cmp::Reverse(*frames));
    totals
}
