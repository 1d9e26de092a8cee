//! From a shift on reduced images to the shift in whole pixels.

use super::grey_image::Image;
use super::structure::Moments;

/// Side of the tiles that are compared, in pixels of each level.
const TILE: usize = 32;
/// Tiles with the strongest contrast that are compared.
const N_TILES: usize = 32;
/// Sums that go side by side.
const LANES: usize = 8;
/// Shifts tried around the expected one on the smallest level, in its pixels.
const REACH: i64 = 2;
/// The same on the others, where the level before left one pixel open.
const REACH_NEXT: i64 = 1;

/// Images of one plane, each half as large as the one before it; the first is the whole.
pub(super) fn pyramid(image: Image, n_levels: usize) -> Vec<Image> {
    let mut levels = vec![image];
    while levels.len() < n_levels.max(1) {
        let next = levels[levels.len() - 1].halved();
        levels.push(next);
    }
    levels
}

/// Follows `shift`, found on the smallest level, down to the whole images. Of equally good shifts the one nearest to
/// the expected wins, then the first.
pub(super) fn refined_shift(a: &[Image], b: &[Image], mut shift: (i64, i64)) -> (i64, i64) {
    let n_levels = a.len().min(b.len());
    for (level, (a, b)) in a.iter().zip(b).enumerate().rev() {
        let is_smallest = level + 1 == n_levels;
        shift = best_near(a, b, shift, if is_smallest { REACH } else { REACH_NEXT });
        if level > 0 {
            shift = (2 * shift.0, 2 * shift.1);
        }
    }
    shift
}

fn best_near(a: &Image, b: &Image, expected: (i64, i64), reach: i64) -> (i64, i64) {
    let tiles = tiles(a, b, expected);
    let mut tried: Vec<(i64, i64)> =
        (-reach..=reach).flat_map(|dy| (-reach..=reach).map(move |dx| (dy, dx))).collect();
    tried.sort_by_key(|&(dy, dx)| dy * dy + dx * dx);
    let mut best = (f32::MIN, expected);
    for (dy, dx) in tried {
        let shift = (expected.0 + dy, expected.1 + dx);
        let score: f32 = tiles.iter().map(|&tile| tile_correlation(a, b, tile, shift)).sum();
        if score.abs() > best.0 {
            best = (score.abs(), shift);
        }
    }
    best.1
}

/// The first pixels, in B, of the tiles with the strongest contrast that stay inside A under every shift tried.
fn tiles(a: &Image, b: &Image, shift: (i64, i64)) -> Vec<(usize, usize)> {
    let is_inside = |start: usize, shift: i64, length: usize| {
        let first = start as i64 + shift;
        first >= REACH && first + TILE as i64 + REACH <= length as i64
    };
    let mut found = Vec::new();
    for y in (0..(b.height + 1).saturating_sub(TILE)).step_by(TILE) {
        for x in (0..(b.width + 1).saturating_sub(TILE)).step_by(TILE) {
            if is_inside(y, shift.0, a.height) && is_inside(x, shift.1, a.width) {
                found.push((contrast(b, (y, x)), (y, x)));
            }
        }
    }
    found.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
    found.truncate(N_TILES);
    found.into_iter().map(|(_, tile)| tile).collect()
}

/// Variance of every other row of a tile.
fn contrast(image: &Image, (top, left): (usize, usize)) -> f32 {
    let rows = (top..top + TILE).step_by(2).map(|y| &image.row(y)[left..left + TILE]);
    let (mut n, mut sum, mut square) = (0.0_f32, 0.0_f32, 0.0_f32);
    let origin = image.row(top)[left];
    for value in rows.flatten().map(|value| value - origin) {
        n += 1.0;
        sum += value;
        square += value * value;
    }
    square / n - (sum / n) * (sum / n)
}

fn tile_correlation(a: &Image, b: &Image, (top, left): (usize, usize), shift: (i64, i64)) -> f32 {
    let from = (left as i64 + shift.1) as usize;
    let row_of_a = |y: usize| &a.row((y as i64 + shift.0) as usize)[from..from + TILE];
    // small numbers keep their digits
    let (origin_a, origin_b) = (row_of_a(top)[0], b.row(top)[left]);
    let mut sums = [[0.0_f32; LANES]; 5];
    for y in top..top + TILE {
        let lanes = row_of_a(y).chunks_exact(LANES).zip(b.row(y)[left..left + TILE].chunks_exact(LANES));
        for (lanes_a, lanes_b) in lanes {
            for lane in 0..LANES {
                let (a, b) = (lanes_a[lane] - origin_a, lanes_b[lane] - origin_b);
                for (sum, value) in sums.iter_mut().zip([a, b, a * a, b * b, a * b]) {
                    sum[lane] += value;
                }
            }
        }
    }
    let [a, b, aa, bb, ab] = sums.map(|lanes| lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>());
    Moments { n: (TILE * TILE) as f64, a, b, aa, bb, ab }.correlation()
}
