//! What the fuzz targets share: an allocator that counts, real files to start from, and damage to them.

pub mod budget;
pub mod mutation;
pub mod seeds;

use std::io::Cursor;

use scopewatch_portable::formats::{self, FetchedPlane, Limits, Plane, nd2};

/// Limits small enough that going beyond them is found with small inputs.
pub const LIMITS: Limits =
    Limits { plane_bytes_max: 1 << 20, metadata_bytes_max: 256 << 10, planes_max: 2000, depth_max: 16 };

/// Planes of one file that are decoded; the rest is as the first ones.
const PLANES_READ_MAX: usize = 24;

/// Opens a file and decodes its planes, finished or growing, within the budget.
pub fn read_file(bytes: &[u8]) {
    // the source itself is not the reader's
    let finished = Box::new(Cursor::new(bytes.to_vec()));
    let growing = Box::new(Cursor::new(bytes.to_vec()));
    budget::within(&LIMITS, || read_finished(finished));
    budget::within(&LIMITS, || read_growing(growing));
}

fn read_finished(source: Box<Cursor<Vec<u8>>>) {
    let Ok(mut container) = formats::open(source, &LIMITS) else { return };
    let _ = container.steady_bytes();
    for position in 0..container.planes().len().min(PLANES_READ_MAX) {
        let _ = container.place(position);
        let _ = container.plane_details(position);
        let plane = container.read_plane(position).map(of_bytes);
        if let Ok(plane) = &plane {
            let entry = container.planes()[position];
            assert_eq!(plane.3.len() as u64, entry.decoded_bytes(), "a plane is what was announced");
        }
        let fetched = container.fetch_plane(position).and_then(FetchedPlane::decode).map(of_bytes);
        assert_eq!(fetched, plane, "decoded apart from the file, a plane is the same");
    }
}

/// A plane as what can be compared: no number equals what is none.
fn of_bytes(plane: Plane) -> (usize, usize, usize, Vec<u8>) {
    (plane.height, plane.width, plane.n_samples, plane.samples.as_bytes().to_vec())
}

fn read_growing(mut source: Box<Cursor<Vec<u8>>>) {
    let Ok(Some(mut growing)) = formats::growing::open(&mut *source, &LIMITS) else { return };
    let _ = growing.advance(&mut *source, false);
    let _ = growing.advance(&mut *source, true);
    let Ok(Some(mut container)) = growing.new_planes(source) else { return };
    for position in 0..container.planes().len().min(PLANES_READ_MAX) {
        let _ = container.read_plane(position);
    }
}

/// Takes what is left of a damaged ND2 file, within the budget.
pub fn recover_file(bytes: &[u8]) {
    let source = Box::new(Cursor::new(bytes.to_vec()));
    budget::within(&LIMITS, || {
        let Ok(mut recovered) = nd2::recover(source, &LIMITS, []) else { return };
        for position in 0..recovered.container.planes().len().min(PLANES_READ_MAX) {
            let _ = recovered.container.plane_details(position);
            let _ = recovered.container.read_plane(position);
        }
    });
}
