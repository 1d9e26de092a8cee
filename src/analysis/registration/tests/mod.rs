//! Two views of generated nuclei: found again, or refused.

mod scene;
