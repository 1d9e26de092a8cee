//! The least distances of many codes to the eight orientations of one, at the speed of memory where the processor
//! counts bits in one instruction.
#![allow(unsafe_code, reason = "a function compiled for features that were found at run time")]

use crate::analysis::hashing::Code256;

/// Writes, for each code, the least distance to any of `queries` or to its complement.
pub(super) fn least_distances(codes: &[Code256], queries: &[Code256; 8], distances: &mut [u16]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("popcnt") {
        // SAFETY: the processor has the feature that the function is compiled for; its body is safe code
        return unsafe { with_popcnt(codes, queries, distances) };
    }
    scan(codes, queries, distances);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "popcnt")]
fn with_popcnt(codes: &[Code256], queries: &[Code256; 8], distances: &mut [u16]) {
    scan(codes, queries, distances);
}

#[inline(always)]
fn scan(codes: &[Code256], queries: &[Code256; 8], distances: &mut [u16]) {
    for (code, least) in codes.iter().zip(distances) {
        *least = u16::MAX;
        for query in queries {
            let distance: u32 = (0..4).map(|word| (code.0[word] ^ query.0[word]).count_ones()).sum();
            *least = (*least).min(distance.min(256 - distance) as u16);
        }
    }
}
