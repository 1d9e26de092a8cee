//! The empty circle, and everything that is no point set of a textbook.

use super::*;

/// Whole numbers stay apart on the grid, whatever its step.
fn scattered(n: usize, range: u32, seed: u64) -> Vec<[f64; 2]> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        f64::from((state >> 40) as u32 % range)
    };
    (0..n).map(|_| [next(), next()]).collect()
}

fn lattice(side: usize) -> Vec<[f64; 2]> {
    (0..side * side).map(|n| [(n % side) as f64, (n / side) as f64]).collect()
}

/// Checks the whole structure: twins, senses, the hull's count (Euler) and no corner inside of any circle.
fn check(points: &[[f64; 2]]) {
    let mesh = Triangulation::new(points);
    let grid = to_grid(points);
    let mut vertices: Vec<u32> = (0..grid.len() as u32).collect();
    vertices.sort_by_key(|vertex| grid[*vertex as usize]);
    vertices.dedup_by_key(|vertex| grid[*vertex as usize]);
    let triangles: Vec<[u32; 3]> = mesh.corners.as_chunks::<3>().0.to_vec();
    for edge in 0..mesh.corners.len() {
        let twin = mesh.twin(edge);
        assert_eq!(mesh.twin(twin), edge);
        assert_eq!(
            [mesh.corners[edge], mesh.corners[next(edge)]],
            [mesh.corners[next(twin)], mesh.corners[twin]]
        );
    }
    let n_ghosts = triangles.iter().filter(|corners| corners.contains(&GHOST)).count();
    let n_real = triangles.len() - n_ghosts;
    if !triangles.is_empty() {
        assert_eq!(n_real, 2 * vertices.len() - 2 - n_ghosts, "as many triangles as Euler says");
    }
    for corners in triangles.iter().filter(|corners| !corners.contains(&GHOST)) {
        let [a, b, c] = corners.map(|corner| grid[corner as usize]);
        assert!(orientation(a, b, c) > 0);
        let inside = vertices.iter().find(|&&vertex| in_circle(a, b, c, grid[vertex as usize]));
        assert_eq!(inside, None, "in the circle of {corners:?}");
    }
}

#[test]
fn no_corner_lies_in_a_circle() {
    for seed in 0..40 {
        check(&scattered(3 + 5 * seed as usize, 1000, seed));
        // crowded: duplicates, rows and circles through many points
        check(&scattered(150, 12, seed));
    }
}

#[test]
fn lattices_and_circles_are_triangulated() {
    check(&lattice(2));
    check(&lattice(15));
    let circle = |n: usize| (0..n).map(move |i| (i as f64 / n as f64 * std::f64::consts::TAU).sin_cos());
    check(&circle(64).map(|(y, x)| [x, y]).chain([[0.0, 0.0]]).collect::<Vec<_>>());
    // exactly on one circle: the 12 whole-numbered points of radius 5, and 20 of radius 25
    let whole = |square: i32| {
        let range = -30..=30;
        let all = range.clone().flat_map(move |x| range.clone().map(move |y| [x, y]));
        all.filter(move |[x, y]| x * x + y * y == square).map(|point| point.map(f64::from))
    };
    check(&whole(25).collect::<Vec<_>>());
    check(&whole(25).chain(whole(625)).collect::<Vec<_>>());
}

#[test]
fn what_spans_no_area_has_no_triangle() {
    let line = |n: usize| (0..n).map(|i| [i as f64, 2.0 * i as f64]).collect::<Vec<_>>();
    for points in [vec![], line(1), line(2), line(50), vec![[7.0, 7.0]; 20]] {
        check(&points);
        assert!(Triangulation::new(&points).corners.is_empty());
    }
    let mut fan = line(50);
    fan.push([0.0, 1.0]);
    check(&fan);
    fan.push([49.0, 0.0]);
    check(&fan);
}

#[test]
fn very_large_and_very_small_coordinates_are_no_trouble() {
    for scale in [1e-300, 1e300] {
        check(
            &scattered(50, 1000, 5).iter().map(|point| point.map(|value| value * scale)).collect::<Vec<_>>(),
        );
    }
    // no grid spans these: no triangle, and no panic
    check(&[[-f64::MAX, 0.0], [f64::MAX, 1.0], [0.0, f64::MAX], [3.0, -f64::MAX]]);
}

#[test]
fn a_cluster_is_a_triangle_with_the_corners_across_its_edges() {
    let inner = [[0.0, 0.0], [1.0, 0.0], [0.5, 0.8], [0.5, -1.0], [1.5, 1.0], [-0.5, 1.0]];
    let mesh = Triangulation::new(&inner);
    let of_inner: Vec<_> = mesh.clusters().filter(|cluster| cluster.corners.iter().all(|c| *c < 3)).collect();
    let [cluster] = of_inner[..] else { panic!("{of_inner:?}") };
    let at = cluster.corners.iter().position(|&corner| corner == 0).unwrap();
    let turned = |corners: [u32; 3]| [0, 1, 2].map(|step| corners[(at + step) % 3]);
    assert_eq!(turned(cluster.corners), [0, 1, 2]);
    assert_eq!(turned(cluster.across), [3, 4, 5]);
}
