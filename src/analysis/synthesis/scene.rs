//! Cells on a plate, in micrometres: where their nuclei lie, how large and how bright they are.

use std::collections::HashMap;

use super::random::Random;

/// Channels that a cell shows, at most.
pub(super) const N_CHANNELS_MAX: usize = 4;

/// Nuclei per square millimetre: a culture that is not yet confluent.
const DENSITY_PER_MM2: f64 = 1700.0;
/// Mean diameter of a nucleus and the deviation of single ones, in micrometres.
const DIAMETER_UM: (f64, f64) = (11.0, 1.5);
/// Part of the cells that belong to a cluster; the others lie anywhere.
const PART_IN_CLUSTERS: f64 = 0.5;
/// Mean number of cells in a cluster, and its radius in micrometres.
const CLUSTER: (f64, f64) = (6.0, 22.0);
/// Part of the cells that lie edge to edge with another one, as after a division.
const PART_TOUCHING: f64 = 0.08;
/// Free space that others keep, as a part of the sum of their radii.
const FREE_SPACE: f64 = 0.1;

/// A cell and its nucleus.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cell {
    /// Centre of the nucleus in micrometres at the first time point.
    pub(super) centre_um: [f64; 2],
    /// Half axes of the nucleus in micrometres, the longer one first.
    pub(super) radii_um: [f64; 2],
    /// Unit vector along the longer axis.
    pub(super) axis: [f64; 2],
    /// How much the outline strays from an ellipse: factors of cos 2a, sin 2a, cos 3a, sin 3a.
    pub(super) lobes: [f64; 4],
    /// Photo-electrons at the middle of the nucleus or cell in each channel.
    pub(super) electrons: [f64; N_CHANNELS_MAX],
    /// Movement from one time point to the next in micrometres.
    pub(super) step_um: [f64; 2],
    /// Seed of its texture.
    pub(super) texture: u64,
}

impl Cell {
    /// Distance from the centre to the edge of the ellipse in a direction (a unit vector).
    fn radius_along(&self, [x, y]: [f64; 2]) -> f64 {
        let along = (x * self.axis[0] + y * self.axis[1]) / self.radii_um[0];
        let across = (y * self.axis[0] - x * self.axis[1]) / self.radii_um[1];
        1.0 / (along * along + across * across).sqrt()
    }

    /// Distance between two edges on the line of the centres, as a part of the radii; below 0 where they overlap.
    fn gap(&self, other: &Self) -> f64 {
        let [dx, dy] = [0, 1].map(|axis| other.centre_um[axis] - self.centre_um[axis]);
        let distance = (dx * dx + dy * dy).sqrt();
        if distance < 1e-6 {
            return -1.0;
        }
        let direction = [dx / distance, dy / distance];
        distance / (self.radius_along(direction) + other.radius_along(direction)) - 1.0
    }

    fn random(centre_um: [f64; 2], random: &mut Random) -> Self {
        let (mean, deviation) = DIAMETER_UM;
        let radius = (mean + deviation * random.normal()).clamp(8.0, 14.5) / 2.0;
        let elongation = random.between(1.0, 1.25);
        let lobes = std::array::from_fn(|_| random.between(-0.03, 0.03));
        let positive = random.uniform() < 0.4;
        let speed_um = random.between(0.1, 0.4);
        Self {
            centre_um,
            radii_um: [radius * elongation, radius / elongation],
            axis: random.direction(),
            lobes,
            electrons: [
                random.between(1100.0, 2400.0),
                random.between(150.0, 1500.0),
                if positive { random.between(700.0, 2000.0) } else { random.between(40.0, 120.0) },
                random.between(200.0, 900.0),
            ],
            step_um: random.direction().map(|part| part * speed_um),
            texture: random.bits(),
        }
    }
}

/// The cells of one place on the plate.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Scene {
    pub(super) cells: Vec<Cell>,
}

impl Scene {
    /// Grows cells over a square of `side_um` around `centre_um`.
    pub(super) fn grow(centre_um: [f64; 2], side_um: f64, seed: u64) -> Self {
        let mut culture = Culture::new(centre_um, side_um, seed);
        let n_cells = (side_um * side_um * 1e-6 * DENSITY_PER_MM2).round() as usize;
        let n_clusters = (n_cells as f64 * PART_IN_CLUSTERS / CLUSTER.0).ceil() as usize;
        let centres: Vec<_> = (0..n_clusters).map(|_| culture.anywhere()).collect();
        for _ in 0..n_cells.saturating_mul(3) {
            if culture.cells.len() >= n_cells {
                break;
            }
            let chance = culture.random.uniform();
            if chance < PART_TOUCHING {
                culture.settle_beside_another();
            } else if chance < PART_TOUCHING + PART_IN_CLUSTERS && !centres.is_empty() {
                let centre = centres[(culture.random.uniform() * centres.len() as f64) as usize];
                culture.settle_near(centre);
            } else {
                let place = culture.anywhere();
                culture.settle(place);
            }
        }
        Self { cells: culture.cells }
    }
}

/// A scene while it is grown.
struct Culture {
    cells: Vec<Cell>,
    /// Cells by square of `SQUARE_UM`.
    squares: HashMap<(i64, i64), Vec<usize>>,
    random: Random,
    centre_um: [f64; 2],
    side_um: f64,
}

/// No two nuclei that touch have their centres farther apart.
const SQUARE_UM: f64 = 24.0;

impl Culture {
    fn new(centre_um: [f64; 2], side_um: f64, seed: u64) -> Self {
        Self { cells: Vec::new(), squares: HashMap::new(), random: Random::new(seed), centre_um, side_um }
    }

    fn anywhere(&mut self) -> [f64; 2] {
        let half = self.side_um / 2.0;
        self.centre_um.map(|centre| centre + self.random.between(-half, half))
    }

    fn settle(&mut self, centre_um: [f64; 2]) {
        let cell = Cell::random(centre_um, &mut self.random);
        if self.is_free(&cell, None) {
            self.add(cell);
        }
    }

    fn settle_near(&mut self, centre: [f64; 2]) {
        let place = centre.map(|part| part + CLUSTER.1 * self.random.normal());
        self.settle(place);
    }

    /// Puts a cell edge to edge with the last one.
    fn settle_beside_another(&mut self) {
        let Some(other) = self.cells.len().checked_sub(1) else { return };
        let direction = self.random.direction();
        let mut cell = Cell::random(self.cells[other].centre_um, &mut self.random);
        let distance = self.cells[other].radius_along(direction) + cell.radius_along(direction);
        for (part, direction) in cell.centre_um.iter_mut().zip(direction) {
            *part += direction * distance;
        }
        let half = self.side_um / 2.0;
        let is_inside =
            cell.centre_um.iter().zip(self.centre_um).all(|(part, centre)| (part - centre).abs() < half);
        if is_inside && self.is_free(&cell, Some(other)) {
            self.add(cell);
        }
    }

    fn square(centre_um: [f64; 2]) -> (i64, i64) {
        let [x, y] = centre_um.map(|part| (part / SQUARE_UM).floor() as i64);
        (x, y)
    }

    fn is_free(&self, cell: &Cell, touched: Option<usize>) -> bool {
        let (x, y) = Self::square(cell.centre_um);
        let near = (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (x + dx, y + dy)));
        near.filter_map(|square| self.squares.get(&square))
            .flatten()
            .all(|&index| Some(index) == touched || cell.gap(&self.cells[index]) > FREE_SPACE)
    }

    fn add(&mut self, cell: Cell) {
        self.squares.entry(Self::square(cell.centre_um)).or_default().push(self.cells.len());
        self.cells.push(cell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nuclei_are_dense_enough_and_touch_without_overlap() {
        let scene = Scene::grow([5000.0, -3000.0], 600.0, 3);
        let expected = 600.0 * 600.0 * 1e-6 * DENSITY_PER_MM2;
        assert!(scene.cells.len() as f64 > 0.95 * expected, "{} of {expected}", scene.cells.len());
        let mut n_touching = 0;
        for (index, cell) in scene.cells.iter().enumerate() {
            for other in &scene.cells[..index] {
                let gap = cell.gap(other);
                assert!(gap > -1e-9, "{cell:?} overlaps {other:?}");
                n_touching += usize::from(gap < FREE_SPACE / 2.0);
            }
        }
        assert!(n_touching * 40 > scene.cells.len(), "{n_touching} pairs touch");
        assert_eq!(scene, Scene::grow([5000.0, -3000.0], 600.0, 3));
    }
}
