//! Descriptions of six points that neither shift, rotation nor scale changes.

use super::triangulation::Cluster;

/// Numbers of a description.
pub(super) const N_NUMBERS: usize = 8;

/// A triangle and the corners across its edges, in the frame that takes the longest edge's ends to `0` and `1`: four
/// points in the plane of complex numbers. No centroid is known to more digits than these have.
pub(super) type Descriptor = [f32; N_NUMBERS];

/// Six points in the order of their description: both ends of the longest edge, the third corner, then the corners
/// across from the first, the second and the third.
pub(super) type SixPoints = [u32; 6];

/// Numbers of a description beyond this belong to a sliver, whose shape noise decides.
const EXTENT_MAX: f32 = 4.0;

/// Describes a triangle with its surroundings; `None` for slivers.
pub(super) fn describe(points: &[[f64; 2]], cluster: &Cluster) -> Option<(SixPoints, Descriptor)> {
    let at = |index: u32| points[index as usize];
    let square = |edge: usize| {
        let [[ax, ay], [bx, by]] = [edge, (edge + 1) % 3].map(|corner| at(cluster.corners[corner]));
        (bx - ax) * (bx - ax) + (by - ay) * (by - ay)
    };
    let longest = (1..3).fold(0, |longest, edge| if square(edge) > square(longest) { edge } else { longest });
    let turned = |of: [u32; 3]| [0, 1, 2].map(|step| of[(longest + step) % 3]);
    let [a, b, c] = turned(cluster.corners);
    // an edge runs from its corner to the next: across from a lies the edge of b
    let [across_c, across_a, across_b] = turned(cluster.across);
    let six = [a, b, c, across_a, across_b, across_c];
    let descriptor = in_frame(at(a), at(b), [c, across_a, across_b, across_c].map(at));
    // a longest edge of no length makes them no numbers
    let is_compact =
        descriptor.as_chunks::<2>().0.iter().all(|[x, y]| x * x + y * y < EXTENT_MAX * EXTENT_MAX);
    is_compact.then_some((six, descriptor))
}

/// `(p - a) / (b - a)` of each point, as complex numbers.
fn in_frame([ax, ay]: [f64; 2], [bx, by]: [f64; 2], points: [[f64; 2]; 4]) -> Descriptor {
    let [ux, uy] = [bx - ax, by - ay];
    let square = ux * ux + uy * uy;
    let mut descriptor = [0.0; N_NUMBERS];
    for ([x, y], numbers) in points.into_iter().zip(descriptor.as_chunks_mut().0) {
        let [dx, dy] = [x - ax, y - ay];
        *numbers = [(dx * ux + dy * uy) / square, (dy * ux - dx * uy) / square].map(|number| number as f32);
    }
    descriptor
}

/// The same six points as seen in a mirror, where the ends of the longest edge change places: `z` becomes the
/// conjugate of `1 - z`.
pub(super) fn mirrored(
    [a, b, c, across_a, across_b, across_c]: SixPoints,
    seen: &Descriptor,
) -> (SixPoints, Descriptor) {
    let [cx, cy, ax, ay, bx, by, ex, ey] = *seen;
    let descriptor = [1.0 - cx, cy, 1.0 - bx, by, 1.0 - ax, ay, 1.0 - ex, ey];
    ([b, a, c, across_b, across_a, across_c], descriptor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Affine;

    const POINTS: [[f64; 2]; 6] = [[0.0, 0.0], [4.0, 0.5], [1.5, 2.0], [5.0, 3.0], [-1.0, 2.5], [2.0, -2.0]];

    fn close(left: &Descriptor, right: &Descriptor) {
        assert!(left.iter().zip(right).all(|(l, r)| (l - r).abs() < 1e-6), "{left:?} is not {right:?}");
    }

    #[test]
    fn it_stands_in_the_frame_of_the_longest_edge() {
        for first in 0..3 {
            let turned = |of: [u32; 3]| [0, 1, 2].map(|step| of[(first + step) % 3]);
            // across the edges 0-1, 1-2, 2-0 lie 5, 3, 4
            let cluster = Cluster { corners: turned([0, 1, 2]), across: turned([5, 3, 4]) };
            let (six, descriptor) = describe(&POINTS, &cluster).unwrap();
            assert_eq!(six, [0, 1, 2, 3, 4, 5]);
            let unit = [POINTS[0], POINTS[1]];
            close(&descriptor, &in_frame(unit[0], unit[1], [POINTS[2], POINTS[3], POINTS[4], POINTS[5]]));
        }
    }

    #[test]
    fn neither_shift_nor_turn_nor_scale_nor_mirror_matters() {
        let cluster = Cluster { corners: [0, 1, 2], across: [5, 3, 4] };
        let (six, descriptor) = describe(&POINTS, &cluster).unwrap();
        let moved = POINTS.map(|point| Affine::similarity(0.3, 2.0, false, [50.0, -7.0]).apply(point));
        let (six_moved, descriptor_moved) = describe(&moved, &cluster).unwrap();
        assert_eq!(six, six_moved);
        close(&descriptor, &descriptor_moved);
        let moved = POINTS.map(|point| Affine::similarity(3.0, -1.0, true, [50.0, -7.0]).apply(point));
        // seen in the mirror the corners turn the other way
        let cluster = Cluster { corners: [1, 0, 2], across: [5, 4, 3] };
        let (six_seen, descriptor_seen) = describe(&moved, &cluster).unwrap();
        let (six_mirrored, descriptor_mirrored) = mirrored(six, &descriptor);
        assert_eq!(six_seen, six_mirrored);
        close(&descriptor_seen, &descriptor_mirrored);
    }

    #[test]
    fn slivers_are_not_described() {
        let points = [[0.0, 0.0], [4.0, 0.5], [1.5, 2.0], [5.0, 90.0], [-1.0, 2.5], [2.0, -2.0]];
        assert_eq!(describe(&points, &Cluster { corners: [0, 1, 2], across: [5, 3, 4] }), None);
        let one = [[1.0, 1.0]; 6];
        assert_eq!(describe(&one, &Cluster { corners: [0, 1, 2], across: [5, 3, 4] }), None);
    }
}
