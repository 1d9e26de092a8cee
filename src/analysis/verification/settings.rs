//! The thresholds of the verification.

/// Thresholds of the verification; the defaults are those of the measured separations of S, R and Q.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VerificationSettings {
    /// Code distance up to which planes may show the same frame as a whole; 0 to 256 bits, default 64.
    pub distance_max: u32,
    /// Whether planes whose codes are farther apart are searched for a common part; default true.
    pub search_parts: bool,
    /// Least correlation of the reduced planes (stage 4) that is worth a look at full resolution; 0 to 1, default 0.5.
    pub structure_min: f32,
    /// Least S, the correlation of the smoothed planes, of one scene; 0 to 1, default 0.9.
    pub s_min: f32,
    /// Least R, the correlation of the finest details, of one exposure; 0 to 1, default 0.35.
    pub r_min: f32,
    /// Largest Q, the difference in units of what two exposures would give, of one exposure; 0 to 1, default 0.5.
    pub q_max: f32,
    /// Largest Q of one scene in two exposures; above 1, default 2.5.
    pub q_scene_max: f32,
    /// Least common part of the smaller plane; 0 to 1, default 0.5.
    pub overlap_min: f32,
}

impl Default for VerificationSettings {
    fn default() -> Self {
        Self {
            distance_max: 64,
            search_parts: true,
            structure_min: 0.5,
            s_min: 0.9,
            r_min: 0.35,
            q_max: 0.5,
            q_scene_max: 2.5,
            overlap_min: 0.5,
        }
    }
}
