//! Where an optimizer has been.

use serde::Serialize;

/// Most numbers a trace may hold, 4 million (32 MB).
const N_VALUES_MAX: usize = 4_000_000;

/// The points where residuals were computed, in order; stops recording when full.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Trace {
    n_parameters: usize,
    n_points_max: usize,
    /// Per point: passes so far, cost, parameters.
    values: Vec<f64>,
}

/// One point of a trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TracePoint<'a> {
    /// Residual and Jacobian passes up to and with this point's residuals.
    pub n_passes: u32,
    /// The cost.
    pub cost: f64,
    /// Where.
    pub parameters: &'a [f64],
}

impl Trace {
    /// Room for `n_points` points, all allocated at once; none for 0.
    pub(crate) fn with_room(n_parameters: usize, n_points: usize) -> Self {
        let n_points_max = n_points.min(N_VALUES_MAX / (n_parameters + 2));
        Self { n_parameters, n_points_max, values: Vec::with_capacity(n_points_max * (n_parameters + 2)) }
    }

    pub(crate) fn record(&mut self, n_passes: u32, cost: f64, parameters: &[f64]) {
        if self.len() < self.n_points_max {
            self.values.extend_from_slice(&[f64::from(n_passes), cost]);
            self.values.extend_from_slice(parameters);
        }
    }

    /// How many points were recorded.
    pub fn len(&self) -> usize {
        self.values.len() / (self.n_parameters + 2)
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The points in order.
    pub fn points(&self) -> impl Iterator<Item = TracePoint<'_>> {
        self.values.chunks_exact(self.n_parameters + 2).map(|point| TracePoint {
            n_passes: point[0] as u32,
            cost: point[1],
            parameters: &point[2..],
        })
    }
}
