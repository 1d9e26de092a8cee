//! One object and its measures.

/// One object, measured as scikit-image's `regionprops` does. Lengths are in pixels, intensities in the units of
/// the file, points `[row, column]` with the origin at the centre of the first pixel.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// Label of the object, from 1.
    pub label: u32,
    /// Number of pixels.
    pub area: u64,
    /// Mean position of the pixels.
    pub centroid: [f64; 2],
    /// Mean position weighted by intensity; `None` where the intensities sum to zero.
    pub centroid_weighted: Option<[f64; 2]>,
    /// First row, first column, row after the last, column after the last.
    pub bbox: [usize; 4],
    /// Major axis of the ellipse with the same second moments.
    pub axis_major_length: f64,
    /// Minor axis of the ellipse with the same second moments.
    pub axis_minor_length: f64,
    /// Eccentricity of that ellipse: 0 is a circle, 1 a line.
    pub eccentricity: f64,
    /// Angle between the row axis and the major axis, counter-clockwise, in radians from -pi/2 to pi/2.
    pub orientation: f64,
    /// Area over the area of the convex hull.
    pub solidity: f64,
    /// Area over the area of the bounding box.
    pub extent: f64,
    /// Length of the outline through the border pixels' centres, neighbourhood 4.
    pub perimeter: f64,
    /// Diameter of the circle of the same area.
    pub equivalent_diameter_area: f64,
    /// Mean intensity.
    pub intensity_mean: f64,
    /// Least intensity.
    pub intensity_min: f64,
    /// Greatest intensity.
    pub intensity_max: f64,
    /// Standard deviation of the intensity, divisor n.
    pub intensity_std: f64,
    /// Median intensity; the mean of the middle two for an even number.
    pub intensity_median: f64,
    /// Whether a pixel of it lies in the first or last row or column.
    pub touches_border: bool,
}
