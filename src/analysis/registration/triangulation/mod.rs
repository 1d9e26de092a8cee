//! Delaunay triangulation by insertion, with a ghost corner outside of the hull (Bowyer 1981; Watson 1981; the ghost
//! triangles as in Shewchuk's lecture notes on geometric robustness, 2013).
//!
//! Points are first put on a grid of 2^29 steps per side of their bounding square, on which all questions are decided
//! exactly: no input can make the structure inconsistent. Points that share a grid cell count as one.

mod hilbert;
mod predicates;

use predicates::{GRID_MAX, GridPoint, in_circle, orientation};

/// The corner outside of the hull that closes the outermost edges to triangles.
const GHOST: u32 = u32::MAX;

/// A Delaunay triangulation; corners are indices of the points it was made of.
///
/// Half edge `h` belongs to triangle `h / 3`, starts at `corners[h]` and runs in the triangle's sense, from x
/// towards y.
#[derive(Debug, Default)]
pub(super) struct Triangulation {
    corners: Vec<u32>,
    /// The half edge on the other side.
    twins: Vec<u32>,
}

/// A triangle and the corners of its three neighbours that it does not share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cluster {
    /// Turning from x towards y.
    pub(super) corners: [u32; 3],
    /// Across the edge from the corner of the same index to the next.
    pub(super) across: [u32; 3],
}

impl Triangulation {
    /// Triangulates finite points. Fewer than three, or points on one line, have no triangle.
    ///
    /// Takes O(n) for points as nature scatters them, where they come in [`curve_order`]; O(n^2) at worst.
    pub(super) fn new(points: &[[f64; 2]]) -> Self {
        let grid = to_grid(points);
        let n_half_edges = 6 * grid.len();
        let mesh =
            Self { corners: Vec::with_capacity(n_half_edges), twins: Vec::with_capacity(n_half_edges) };
        let mut builder = Builder { grid: &grid, mesh, cavity: Cavity::default(), start: 0 };
        let Some(first) = builder.begin() else { return Self::default() };
        for vertex in 0..grid.len() as u32 {
            if !first.contains(&vertex) {
                builder.insert(vertex);
            }
        }
        builder.mesh
    }

    /// The triangles that have a neighbour across each edge, in a fixed order.
    pub(super) fn clusters(&self) -> impl Iterator<Item = Cluster> + '_ {
        let triangles = self.corners.as_chunks::<3>().0.iter();
        triangles.enumerate().filter_map(|(index, &corners)| {
            let across = [0, 1, 2].map(|edge| self.corners[previous(self.twin(3 * index + edge))]);
            let is_real = !corners.contains(&GHOST) && !across.contains(&GHOST);
            is_real.then_some(Cluster { corners, across })
        })
    }

    fn twin(&self, half_edge: usize) -> usize {
        self.twins[half_edge] as usize
    }

    fn link(&mut self, left: usize, right: usize) {
        self.twins[left] = right as u32;
        self.twins[right] = left as u32;
    }
}

/// What is built, and room that is used again for each point.
struct Builder<'a> {
    grid: &'a [GridPoint],
    mesh: Triangulation,
    cavity: Cavity,
    /// A triangle without the ghost near the last point: where the next search starts.
    start: usize,
}

/// The triangles that a new point puts out of place, and the edges around them in turn.
#[derive(Default)]
struct Cavity {
    triangles: Vec<usize>,
    /// Of each edge around: where it starts and ends, and the half edge outside.
    border: Vec<(u32, u32, usize)>,
    open: Vec<usize>,
}

impl Builder<'_> {
    /// Makes the first triangle of the first points that span one, and the three ghosts around it.
    fn begin(&mut self) -> Option<[u32; 3]> {
        let (a, n) = (0, self.grid.len() as u32);
        let b = (1..n).find(|&b| self.point(b) != self.point(a))?;
        let turn = |c: u32| orientation(self.point(a), self.point(b), self.point(c));
        let c = (1..n).find(|&c| turn(c) != 0)?;
        let [b, c] = if turn(c) > 0 { [b, c] } else { [c, b] };
        self.mesh.corners.extend([a, b, c, b, a, GHOST, c, b, GHOST, a, c, GHOST]);
        self.mesh.twins.resize(12, 0);
        for (left, right) in [(0, 3), (1, 6), (2, 9), (4, 11), (5, 7), (8, 10)] {
            self.mesh.link(left, right);
        }
        Some([a, b, c])
    }

    fn point(&self, corner: u32) -> GridPoint {
        self.grid[corner as usize]
    }

    fn insert(&mut self, vertex: u32) {
        let point = self.point(vertex);
        let found = self.locate(point);
        if !self.is_corner(found, point) {
            self.open_cavity(found, point);
            self.fill_cavity(vertex);
        }
    }

    /// Walks towards the point, to the triangle that holds it or the ghost that sees it. In a Delaunay triangulation
    /// the walk never comes back to a triangle (De Floriani et al. 1991).
    fn locate(&self, point: GridPoint) -> usize {
        let mut triangle = self.start;
        let mut came_from = usize::MAX;
        loop {
            let crossed = (3 * triangle..3 * triangle + 3).find(|&edge| {
                let [a, b] = [self.mesh.corners[edge], self.mesh.corners[next(edge)]];
                edge != came_from && orientation(self.point(a), self.point(b), point) < 0
            });
            let Some(edge) = crossed else { return triangle };
            came_from = self.mesh.twin(edge);
            triangle = came_from / 3;
            if self.is_ghost(triangle) {
                return triangle;
            }
        }
    }

    fn is_ghost(&self, triangle: usize) -> bool {
        self.mesh.corners[3 * triangle..3 * triangle + 3].contains(&GHOST)
    }

    /// Is the point there already? Then it is a corner of every triangle that holds it.
    fn is_corner(&self, triangle: usize, point: GridPoint) -> bool {
        let corners = &self.mesh.corners[3 * triangle..3 * triangle + 3];
        corners.iter().any(|&corner| corner != GHOST && self.point(corner) == point)
    }

    /// Collects the triangles whose circle holds the point, going around in one sense: so the border comes in turn.
    /// No corner lies inside of the cavity, hence no triangle is met twice.
    fn open_cavity(&mut self, found: usize, point: GridPoint) {
        self.cavity.triangles.clear();
        self.cavity.border.clear();
        self.cavity.triangles.push(found);
        self.cavity.open.extend((3 * found..3 * found + 3).rev());
        while let Some(edge) = self.cavity.open.pop() {
            let outside = self.mesh.twin(edge);
            if self.is_in_conflict(outside / 3, point) {
                self.cavity.triangles.push(outside / 3);
                self.cavity.open.extend([previous(outside), next(outside)]);
            } else {
                self.cavity.border.push((self.mesh.corners[edge], self.mesh.corners[next(edge)], outside));
            }
        }
    }

    /// Is the point inside the triangle's circle? A ghost's circle is the half plane outside of its edge, with the
    /// edge itself.
    fn is_in_conflict(&self, triangle: usize, point: GridPoint) -> bool {
        let corners = [0, 1, 2].map(|corner| self.mesh.corners[3 * triangle + corner]);
        let Some(ghost) = corners.iter().position(|&corner| corner == GHOST) else {
            let [a, b, c] = corners.map(|corner| self.point(corner));
            return in_circle(a, b, c, point);
        };
        let [a, b] = [1, 2].map(|step| self.point(corners[(ghost + step) % 3]));
        let turn = orientation(a, b, point);
        turn > 0 || turn == 0 && is_between(a, b, point)
    }

    /// Puts a fan around the new corner into the cavity; the emptied places are used again.
    fn fill_cavity(&mut self, vertex: u32) {
        let Cavity { triangles, border, .. } = &self.cavity;
        let n_known = self.mesh.corners.len() / 3;
        let n_reused = triangles.len();
        let place =
            |index: usize| if index < n_reused { triangles[index] } else { n_known + index - n_reused };
        let n_new = 3 * (border.len() - n_reused);
        self.mesh.corners.resize(self.mesh.corners.len() + n_new, 0);
        self.mesh.twins.resize(self.mesh.twins.len() + n_new, 0);
        for (index, &(from, to, outside)) in border.iter().enumerate() {
            let first = 3 * place(index);
            self.mesh.corners[first..first + 3].copy_from_slice(&[from, to, vertex]);
            self.mesh.link(first, outside);
            let following = 3 * place((index + 1) % border.len());
            self.mesh.link(first + 1, following + 2);
            if from != GHOST && to != GHOST {
                self.start = first / 3;
            }
        }
    }
}

const fn next(half_edge: usize) -> usize {
    if half_edge % 3 == 2 { half_edge - 2 } else { half_edge + 1 }
}

const fn previous(half_edge: usize) -> usize {
    if half_edge.is_multiple_of(3) { half_edge + 2 } else { half_edge - 1 }
}

/// Of points on one line: does `point` lie between the other two?
fn is_between(a: GridPoint, b: GridPoint, point: GridPoint) -> bool {
    let product = |axis: usize| i64::from(point[axis] - a[axis]) * i64::from(b[axis] - point[axis]);
    product(0) + product(1) > 0
}

/// All points in an order in which neighbours follow one another; those of one cell of the curve by x, then y, then
/// position.
pub(super) fn curve_order(points: &[[f64; 2]]) -> Vec<u32> {
    let at = |index: u32| points[index as usize];
    hilbert::order(&to_grid(points), |left, right| {
        let ([x, y], [u, v]) = (at(left), at(right));
        x.total_cmp(&u).then(y.total_cmp(&v)).then(left.cmp(&right))
    })
}

/// Puts points on the grid that their bounding square spans. A unit has a power of two of steps: so whole numbers that
/// lie on a line or a circle still do on the grid.
fn to_grid(points: &[[f64; 2]]) -> Vec<GridPoint> {
    let low = [0, 1].map(|axis| points.iter().map(|point| point[axis]).fold(f64::INFINITY, f64::min));
    let high = [0, 1].map(|axis| points.iter().map(|point| point[axis]).fold(f64::NEG_INFINITY, f64::max));
    let side = (high[0] - low[0]).max(high[1] - low[1]);
    let exponent = (f64::from(GRID_MAX) / side).log2().floor().min(1000.0);
    let steps_per_unit = exponent.exp2();
    let step = |value: f64, low: f64| (((value - low) * steps_per_unit).round() as i32).clamp(0, GRID_MAX);
    points.iter().map(|point| [0, 1].map(|axis| step(point[axis], low[axis]))).collect()
}

#[cfg(test)]
mod tests;
