//! Outlines of objects: closed polygons along the edges of their pixels.

use std::collections::HashMap;

use super::LabelImage;

/// A closed polygon without its first corner repeated; corners are `[x, y]` in pixels with the origin at the outer corner
/// of the first pixel, so that pixel `(row, column)` covers `column..column + 1` by `row..row + 1`. Sides lie along the
/// axes, no corner comes twice, and the first corner is the uppermost, of these the leftmost.
pub type Ring = Vec<[u32; 2]>;

/// One part of an object whose pixels hang together by their sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Polygon {
    /// The outer boundary: its area by the shoelace formula is above 0.
    pub outer: Ring,
    /// The boundaries of holes, with areas below 0. They touch each other and the outer one in single corners at most.
    pub holes: Vec<Ring>,
}

/// The outlines of every object: `[i]` are the parts of the object with label `i + 1`, from top to bottom; none where no
/// pixel has the label. Labels above `n_objects` are passed over.
///
/// Takes one look at each pixel and time in proportion to the length of the boundaries.
pub fn outlines(labels: &LabelImage) -> Vec<Vec<Polygon>> {
    if labels.labels.len() != labels.height * labels.width || labels.labels.is_empty() {
        return vec![Vec::new(); labels.n_objects as usize];
    }
    let mut tracer = Tracer {
        labels,
        is_traced: vec![0; labels.labels.len().div_ceil(64)],
        ring: Vec::new(),
        pinches: HashMap::new(),
        pinch_order: Vec::new(),
    };
    let mut rings = vec![Vec::new(); labels.n_objects as usize];
    for (y, row) in labels.labels.chunks_exact(labels.width).enumerate() {
        let mut before = 0;
        for (x, &label) in row.iter().enumerate() {
            let is_left_edge = label != before && label != 0;
            before = label;
            if is_left_edge
                && !tracer.is_traced(x, y)
                && let Some(rings) = rings.get_mut(label as usize - 1)
            {
                tracer.trace([x, y], label, rings);
            }
        }
    }
    rings.into_iter().map(polygons).collect()
}

/// Twice the area that a ring encloses by the shoelace formula: above 0 for outer boundaries, below for holes.
fn doubled_area(ring: &[[u32; 2]]) -> i64 {
    let next = ring.iter().cycle().skip(1);
    let cross = |(a, b): (&[u32; 2], &[u32; 2])| {
        i64::from(a[0]) * i64::from(b[1]) - i64::from(b[0]) * i64::from(a[1])
    };
    ring.iter().zip(next).map(cross).sum()
}

/// Sorts the rings of one object into outer boundaries and their holes.
fn polygons(mut rings: Vec<Ring>) -> Vec<Polygon> {
    for ring in &mut rings {
        let first = (0..ring.len()).min_by_key(|&index| [ring[index][1], ring[index][0]]);
        ring.rotate_left(first.unwrap_or(0));
    }
    rings.sort_unstable_by_key(|ring| ring.first().map(|&[x, y]| [y, x]));
    let (outers, holes): (Vec<_>, Vec<_>) = rings.into_iter().partition(|ring| doubled_area(ring) > 0);
    let mut polygons: Vec<Polygon> =
        outers.into_iter().map(|outer| Polygon { outer, holes: Vec::new() }).collect();
    for hole in holes {
        // of several parts around a hole the smallest has it: others have it inside one of their own
        let around = polygons.iter_mut().filter(|polygon| is_around(&polygon.outer, &hole));
        if let Some(polygon) = around.min_by_key(|polygon| doubled_area(&polygon.outer)) {
            polygon.holes.push(hole);
        }
    }
    polygons
}

/// Whether the pixel above the first corner of `hole`, which belongs to the part that has the hole, lies in `outer`.
fn is_around(outer: &[[u32; 2]], hole: &[[u32; 2]]) -> bool {
    let Some(&[column, below]) = hole.first() else { return false };
    let next = outer.iter().cycle().skip(1);
    let crossed = outer.iter().zip(next).filter(|(a, b)| {
        let rows = a[1].min(b[1])..a[1].max(b[1]);
        a[0] <= column && below > 0 && rows.contains(&(below - 1))
    });
    crossed.count() % 2 == 1
}

/// Walks along boundaries with the object on the left hand, where y goes upwards.
struct Tracer<'l> {
    labels: &'l LabelImage,
    /// One bit per pixel: its left edge was walked along.
    is_traced: Vec<u64>,
    /// The corners of the walk so far.
    ring: Ring,
    /// Where the walk came by a corner at which two pixels of the object touch by nothing else: by their place the number
    /// in `ring`. Such a corner is the only one that a walk may come by twice.
    pinches: HashMap<[u32; 2], usize>,
    pinch_order: Vec<[u32; 2]>,
}

const UP: [i64; 2] = [0, -1];

impl Tracer<'_> {
    fn is_traced(&self, x: usize, y: usize) -> bool {
        let index = y * self.labels.width + x;
        self.is_traced[index / 64] >> (index % 64) & 1 == 1
    }

    fn set_traced(&mut self, [x, y]: [i64; 2]) {
        let index = y as usize * self.labels.width + x as usize;
        self.is_traced[index / 64] |= 1 << (index % 64);
    }

    fn is_inside(&self, label: u32, [x, y]: [i64; 2]) -> bool {
        let (width, height) = (self.labels.width as i64, self.labels.height as i64);
        (0..width).contains(&x)
            && (0..height).contains(&y)
            && self.labels.labels[(y * width + x) as usize] == label
    }

    /// Walks the boundary that holds the left edge of a pixel once around. Where the walk touches itself, what it went
    /// around since is a ring of its own.
    fn trace(&mut self, [column, row]: [usize; 2], label: u32, rings: &mut Vec<Ring>) {
        let start = [column as i64, row as i64 + 1];
        let (mut at, mut step) = (start, UP);
        loop {
            if step == UP {
                self.set_traced([at[0], at[1] - 1]);
            }
            at = [at[0] + step[0], at[1] + step[1]];
            let [on_left, on_right] = pixels_ahead(at, step).map(|pixel| self.is_inside(label, pixel));
            let [dx, dy] = step;
            if !on_left {
                self.turn(at, on_right, rings);
                step = [-dy, dx];
            } else if on_right {
                self.turn(at, false, rings);
                step = [dy, -dx];
            }
            if (at, step) == (start, UP) {
                break;
            }
        }
        self.pinches.clear();
        self.pinch_order.clear();
        rings.push(std::mem::take(&mut self.ring));
    }

    fn turn(&mut self, at: [i64; 2], is_pinch: bool, rings: &mut Vec<Ring>) {
        let corner = at.map(|coordinate| coordinate as u32);
        if is_pinch {
            if let Some(&index) = self.pinches.get(&corner) {
                rings.push(self.ring.split_off(index));
                while let Some(last) = self.pinch_order.last()
                    && self.pinches[last] >= index
                {
                    self.pinches.remove(last);
                    self.pinch_order.pop();
                }
            } else {
                self.pinches.insert(corner, self.ring.len());
                self.pinch_order.push(corner);
            }
        }
        self.ring.push(corner);
    }
}

/// The pixels to the left and to the right of the next edge of a walk that came to a corner by `step`, as
/// `[column, row]`.
fn pixels_ahead([x, y]: [i64; 2], step: [i64; 2]) -> [[i64; 2]; 2] {
    let [above_left, above, left, here] = [[x - 1, y - 1], [x, y - 1], [x - 1, y], [x, y]];
    match step {
        UP => [above, above_left],
        [0, _] => [left, here],
        [1, _] => [here, above],
        _ => [above_left, left],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn image(rows: &[&[u32]]) -> LabelImage {
        let labels = rows.concat();
        let n_objects = labels.iter().copied().max().unwrap_or(0);
        LabelImage { height: rows.len(), width: rows[0].len(), n_objects, labels }
    }

    /// Whether a pixel's centre lies in a ring, by the edges to its left.
    fn is_in(ring: &[[u32; 2]], x: usize, y: usize) -> bool {
        let crossings = (0..ring.len()).filter(|&index| {
            let (a, b) = (ring[index], ring[(index + 1) % ring.len()]);
            let centre = y as f64 + 0.5;
            let spans = (f64::from(a[1]) > centre) != (f64::from(b[1]) > centre);
            spans && f64::from(a[0]) < x as f64 + 0.5
        });
        crossings.count() % 2 == 1
    }

    /// Draws every object's polygons, asserting what rings promise on the way.
    fn drawn(found: &[Vec<Polygon>], height: usize, width: usize) -> Vec<u32> {
        let mut labels = vec![0; height * width];
        for (polygons, label) in found.iter().zip(1_u32..) {
            for Polygon { outer, holes } in polygons {
                assert!(doubled_area(outer) > 0 && holes.iter().all(|hole| doubled_area(hole) < 0));
                let mut doubled = doubled_area(outer);
                for ring in [outer].into_iter().chain(holes) {
                    assert_eq!(ring.iter().collect::<HashSet<_>>().len(), ring.len(), "a corner comes twice");
                    assert_eq!(ring[0], *ring.iter().min_by_key(|corner| [corner[1], corner[0]]).unwrap());
                    for index in 0..ring.len() {
                        let [a, b, c] = [0, 1, 2].map(|more| ring[(index + more) % ring.len()]);
                        let is_level = |a: [u32; 2], b: [u32; 2]| a[1] == b[1];
                        assert!((a[0] == b[0]) != is_level(a, b) && is_level(a, b) != is_level(b, c));
                    }
                }
                let mut n_pixels = 0;
                for (index, drawn) in labels.iter_mut().enumerate() {
                    let (x, y) = (index % width, index / width);
                    let n_holes = holes.iter().filter(|hole| is_in(hole, x, y)).count();
                    assert!(n_holes <= usize::from(is_in(outer, x, y)), "a hole lies outside or in another");
                    if is_in(outer, x, y) && n_holes == 0 {
                        assert_eq!(*drawn, 0, "drawn twice");
                        *drawn = label;
                        n_pixels += 2;
                    }
                }
                doubled += holes.iter().map(|hole| doubled_area(hole)).sum::<i64>();
                assert_eq!(doubled, n_pixels, "the areas of the rings are those of the pixels");
            }
        }
        labels
    }

    #[test]
    fn a_pixel_is_a_square_between_its_corners() {
        let found = outlines(&image(&[&[0, 0], &[0, 1]]));
        let square = Polygon { outer: vec![[1, 1], [2, 1], [2, 2], [1, 2]], holes: Vec::new() };
        assert_eq!(found, [[square]]);
    }

    #[test]
    fn a_hole_is_an_inner_ring_and_an_island_in_it_a_part_of_its_own() {
        let found = outlines(&image(&[
            &[1, 1, 1, 1, 1],
            &[1, 0, 0, 2, 1],
            &[1, 0, 1, 0, 1],
            &[1, 0, 0, 0, 1],
            &[1, 1, 1, 1, 1],
        ]));
        assert_eq!(found[0].len(), 2);
        assert_eq!(found[0][0].outer, [[0, 0], [5, 0], [5, 5], [0, 5]]);
        assert_eq!(found[0][0].holes, [[[1, 1], [1, 4], [4, 4], [4, 1]]]);
        assert_eq!(found[0][1], Polygon { outer: vec![[2, 2], [3, 2], [3, 3], [2, 3]], holes: Vec::new() });
        assert_eq!(found[1].len(), 1);
    }

    #[test]
    fn a_hole_that_is_open_at_a_corner_stays_a_hole() {
        let found = outlines(&image(&[&[1, 1, 1], &[1, 0, 1], &[1, 1, 0]]));
        assert_eq!(found[0].len(), 1);
        assert_eq!(found[0][0].outer, [[0, 0], [3, 0], [3, 2], [2, 2], [2, 3], [0, 3]]);
        assert_eq!(found[0][0].holes, [[[1, 1], [1, 2], [2, 2], [2, 1]]]);
        let parts = outlines(&image(&[&[1, 0], &[0, 1]]));
        assert_eq!(parts[0].len(), 2, "what touches by a corner does not hang together");
    }

    #[test]
    fn what_is_no_image_has_no_outlines() {
        let short = LabelImage { height: 2, width: 2, n_objects: 2, labels: vec![1] };
        assert_eq!(outlines(&short), [[], []]);
        assert!(outlines(&LabelImage::default()).is_empty());
        assert_eq!(outlines(&LabelImage { n_objects: 1, ..image(&[&[0, 7]]) }), [[]], "a label too high");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]
        #[test]
        fn drawing_the_outlines_gives_the_labels(
            width in 1_usize..12,
            rows in prop::collection::vec(prop::array::uniform12(0_u32..3), 1..12),
            fill in 0_u32..3,
        ) {
            // more of one label than of others, so that holes and parts within holes occur
            let value = |value: u32| if value == 2 { fill } else { value };
            let labels: Vec<u32> = rows.iter().flat_map(|row| row[..width].iter().map(|&v| value(v))).collect();
            let labels = LabelImage { height: rows.len(), width, n_objects: 2, labels };
            let found = outlines(&labels);
            prop_assert_eq!(drawn(&found, labels.height, width), labels.labels);
        }
    }
}
