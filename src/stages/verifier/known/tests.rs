//! Which pairs are asked for, in any order of arrival; and that what has gone leaves nothing behind.

use super::super::nearest::NEAREST_MAX;
use super::*;
use crate::analysis::hashing::{Code256, Fingerprints};
use crate::analysis::synthesis::Random;
use crate::formats::{Plane, Samples};

fn place(file_id: i64, z: u32) -> Place {
    let index = PlaneIndex { z, ..PlaneIndex::default() };
    Place { file_id, index, field: None, lane: 0, t: 0, z: z.into(), is_stacked: z > 0 }
}

fn digest(byte: u8) -> PixelDigest {
    PixelDigest([byte; 32])
}

/// All codes look alike.
fn looks() -> Looks {
    Looks { code: Code256([7, 0, 0, 0]), fingerprints: Fingerprints::default() }
}

fn add(known: &mut KnownPlanes, byte: u8, place: Place, bytes: i64) {
    known.add(digest(byte), Known { place, bytes }, Some(looks()));
}

/// The pairs of a plane, as the first bytes of the other digests.
fn pairs_of(known: &mut KnownPlanes, byte: u8) -> Vec<u8> {
    let mut met = Met::default();
    known.meet(&digest(byte), &mut met);
    met.pairs.iter().map(|asked| asked.pair[1].digest.0[0]).collect()
}

#[test]
fn a_plane_that_is_another_now_leaves_its_place_to_its_copies() {
    let mut known = KnownPlanes::default();
    let (a, c, other) = (place(1, 0), place(2, 0), place(3, 0));
    add(&mut known, 1, a, 5);
    add(&mut known, 1, c, 5);
    add(&mut known, 1, other, 6);
    assert_eq!(known.exemplars(&digest(1), &place(9, 0)), [a, other], "one of equal bytes");
    assert_eq!(known.exemplars(&digest(1), &a), [c, other], "never itself");
    add(&mut known, 2, a, -1);
    assert_eq!(known.exemplars(&digest(1), &place(9, 0)), [c, other]);
    assert_eq!(known.of_digest(&digest(2)).len(), 1);
    add(&mut known, 1, a, 6);
    assert_eq!(known.of_digest(&digest(1)).len(), 3, "and back");
    assert!(known.of_digest(&digest(2)).is_empty());
}

#[test]
fn a_plane_that_is_another_now_suppresses_no_pair() {
    let mut known = KnownPlanes::default();
    // 1 and 2 lie in one container
    add(&mut known, 1, place(1, 0), 1);
    add(&mut known, 2, place(1, 1), 1);
    assert!(pairs_of(&mut known, 2).is_empty());
    add(&mut known, 3, place(1, 0), -1);
    add(&mut known, 1, place(2, 0), 2);
    assert_eq!(pairs_of(&mut known, 1), [2, 3]);
}

#[test]
fn a_container_that_is_complete_is_compared_as_the_series_that_it_is() {
    let mut known = KnownPlanes::default();
    let before = |z| Place { is_stacked: false, ..place(1, z) };
    add(&mut known, 1, before(1), 1);
    add(&mut known, 2, before(2), 1);
    assert!(pairs_of(&mut known, 2).is_empty());
    let wanted = known.renew_places(1, |index| place(1, index.z));
    assert_eq!(wanted, [digest(1), digest(2)]);
    assert_eq!(pairs_of(&mut known, 1), [2], "a neighbour may be a stuck frame");
}

#[test]
fn a_pair_waits_until_either_side_lies_in_a_container_that_is_complete() {
    let mut known = KnownPlanes::default();
    add(&mut known, 1, place(1, 0), 1);
    add(&mut known, 2, place(2, 0), 2);
    known.add_growing(2);
    assert!(pairs_of(&mut known, 2).is_empty());
    assert!(pairs_of(&mut known, 1).is_empty());
    // a copy that does not grow
    add(&mut known, 2, place(3, 0), 3);
    assert_eq!(pairs_of(&mut known, 2), [1]);
    assert!(pairs_of(&mut known, 2).is_empty(), "once");
}

/// Fingerprints that only planes of the same seed share.
fn noise(seed: u64) -> Fingerprints {
    let mut random = Random::new(seed);
    let samples = (0..64 * 64).map(|_| random.bits() as u16).collect();
    let plane = Plane { height: 64, width: 64, n_samples: 1, samples: Samples::Uint16(samples) };
    crate::analysis::hashing::plane_features(&plane).fingerprints
}

fn numbered(number: u16) -> PixelDigest {
    let mut bytes = [7; 32];
    bytes[..2].copy_from_slice(&number.wrapping_mul(0x9E37).to_be_bytes());
    bytes[2..4].copy_from_slice(&number.to_be_bytes());
    PixelDigest(bytes)
}

fn put(known: &mut KnownPlanes, digest: PixelDigest, plane: (Known, Looks), verified: &[PixelDigest]) -> Met {
    let mut met = Met::default();
    known.put(digest, plane, verified, &mut met);
    met
}

#[test]
fn what_stands_nowhere_any_more_takes_no_memory_and_leaves_nothing_behind() {
    let mut known = KnownPlanes::default();
    let n_places = 2 * NEAREST_MAX;
    let prints: Vec<Fingerprints> = (0..20).map(noise).collect();
    for round in 0..4000_u16 {
        let (number, seed) = (round % 3001, usize::from(round % 3001) % prints.len());
        // the codes of three in four look alike
        let code = Code256([if number.is_multiple_of(4) { u64::MAX } else { number.into() }, 0, 0, 0]);
        let looks = Looks { code, fingerprints: prints[seed] };
        let at = place((usize::from(round) % n_places) as i64, 0);
        put(&mut known, numbered(number), (Known { place: at, bytes: round.into() }, looks), &[]);
    }
    let (n_classes, n_numbers, n_noted) = known.classes.check();
    assert_eq!(n_classes, n_places);
    assert!(n_numbers <= n_places + 1, "{n_numbers}");
    assert!(n_noted > n_places * NEAREST_MAX / 2, "{n_noted}");
}

#[test]
fn what_the_ledger_says_of_pixels_that_come_back_is_not_asked_again() {
    let mut known = KnownPlanes::default();
    let put_at = |known: &mut KnownPlanes, byte: u8, at: i64, verified: &[PixelDigest]| {
        put(known, digest(byte), (Known { place: place(at, 0), bytes: at }, looks()), verified)
    };
    let put = |known: &mut KnownPlanes, byte, at| put_at(known, byte, at, &[]);
    put(&mut known, 1, 1);
    let met = put(&mut known, 2, 2);
    assert_eq!(met.pairs.len(), 1);
    put(&mut known, 3, 2);
    // the pair that was asked first is not read: whoever asks again is not concerned
    assert!(!known.is_wanted([&digest(1), &digest(2)]));
    let again = put(&mut known, 2, 3);
    assert_eq!(again.pairs.len(), 2, "with 1 and 3");
    met.pairs.iter().for_each(|asked| known.forget_asked(asked));
    assert!(known.is_wanted([&digest(1), &digest(2)]));
    again.pairs.iter().for_each(|asked| known.forget_asked(asked));
    assert!(!known.is_wanted([&digest(1), &digest(2)]));
    // gone and back, with the verdict of the ledger
    put(&mut known, 4, 3);
    let met = put_at(&mut known, 2, 4, &[digest(1), digest(9)]);
    let others: Vec<_> = met.pairs.iter().map(|asked| asked.pair[1].digest).collect();
    assert_eq!(others, [digest(3), digest(4)]);
}

/// What comes of planes that arrive in this order: the pairs that stand, as the first bytes of the digests, and how
/// many were taken back. A plane of a place that was there before takes the place of the other.
fn arrive(planes: &[(u16, Place, Code256)], is_restarted: bool) -> (HashSet<(u16, u16)>, usize) {
    let number = |digest: &PixelDigest| u16::from_be_bytes([digest.0[2], digest.0[3]]);
    let (mut known, mut n_taken_back) = (KnownPlanes::default(), 0);
    let mut stand = HashSet::new();
    for (n, (own, place, code)) in planes.iter().enumerate() {
        let looks = Looks { code: *code, fingerprints: Fingerprints::default() };
        let at = Known { place: *place, bytes: n as i64 };
        // the ledger knows what pixels were to others that come back
        let is_back = known.classes.of(&numbered(*own)).is_none();
        let verified = stand.iter().filter(|(a, b)| is_back && [a, b].contains(&own));
        let other = |(a, b): &(u16, u16)| numbered(if a == own { *b } else { *a });
        let verified: Vec<PixelDigest> = verified.map(other).collect();
        let mut met = put(&mut known, numbered(*own), (at, looks), &verified);
        let pushed_out = met.pushed_out.clone();
        known.settle(&mut met);
        let in_order = |a: &PixelDigest, b: &PixelDigest| {
            let (a, b) = (number(a), number(b));
            (a.min(b), a.max(b))
        };
        for [a, b] in &met.pushed_out {
            n_taken_back += usize::from(stand.remove(&in_order(a, b)));
        }
        let pushed_out: HashSet<_> = pushed_out.iter().map(|[a, b]| in_order(a, b)).collect();
        for Asked { pair: [a, b], .. } in &met.pairs {
            let pair = in_order(&a.digest, &b.digest);
            assert!(
                stand.insert(pair) || pushed_out.contains(&pair),
                "each pair once, unless it was pushed out"
            );
        }
        if is_restarted && n % 50 == 0 {
            // nobody has looked since
            known.classes.iter_mut().for_each(|class| class.nearest = None);
        }
    }
    // the ledger counts no pair of planes that are gone, or are expected to look alike
    stand.retain(|(a, b)| {
        let pair = known.classes.of_pair([&numbered(*a), &numbered(*b)]);
        pair.is_some_and(|[a, b]| known.standing(a, b, true) != Standing::Apart)
    });
    (stand, n_taken_back)
}

#[test]
fn no_crowd_of_other_exposures_pushes_out_what_shares_its_noise() {
    let mut known = KnownPlanes::default();
    for byte in 1..=120_u8 {
        // the first and the last are one exposure, and farther from one another than any two of the rest
        let (seed, bits) = match byte {
            1 | 120 => (0, if byte == 1 { 0 } else { 0xFFFF }),
            _ => (byte.into(), 1_u64 << (byte % 4)),
        };
        let looks = Looks { code: Code256([bits, 0, 0, 0]), fingerprints: noise(seed) };
        let known_plane = Known { place: place(byte.into(), 0), bytes: byte.into() };
        known.add(digest(byte), known_plane, Some(looks));
        let mut met = Met::default();
        known.meet(&digest(byte), &mut met);
        let is_original = |asked: &Asked| asked.pair[1].digest.0[0] == 1;
        assert!(byte < 120 || met.pairs.iter().any(is_original), "a copy is compared with its original");
    }
}

#[test]
fn who_moves_up_behind_a_copy_that_is_an_expected_repeat_is_asked_also_after_a_start() {
    for is_restarted in [false, true] {
        let mut known = KnownPlanes::default();
        let in_field = |file_id, t| Place { field: Some(5), t, is_stacked: true, ..place(file_id, 0) };
        let mut add = |byte: u8, place: Place, n_bits: u32| {
            let bits = (1_u128 << n_bits) - 1;
            let code = Code256([bits as u64, (bits >> 64) as u64, 0, 0]);
            let looks = Looks { code, fingerprints: Fingerprints::default() };
            let met = put(&mut known, digest(byte), (Known { place, bytes: 0 }, looks), &[]);
            if is_restarted {
                known.classes.iter_mut().for_each(|class| class.nearest = None);
            }
            met
        };
        // 1 is as near to the last as 2 is, and goes before it
        add(1, in_field(1, 0), 0);
        for n_bits in 0..=NEAREST_MAX as u32 {
            add(2 + n_bits as u8, place(2 + i64::from(n_bits), 0), n_bits);
        }
        let met = add(2, in_field(100, 1), 0);
        let asked = met.pairs.iter().map(|asked| asked.pair.each_ref().map(|side| side.digest.0[0]));
        let last = 2 + NEAREST_MAX as u8;
        assert!(
            asked.clone().any(|pair| pair == [1, last]),
            "{is_restarted}: {:?}",
            asked.collect::<Vec<_>>()
        );
    }
}

#[test]
fn which_of_many_look_alikes_are_compared_does_not_depend_on_the_order_of_arrival() {
    let mut random = Random::new(5);
    let n_classes = 4 * NEAREST_MAX as u16;
    let mut planes = Vec::new();
    for number in 0..n_classes {
        // all within the distance that is searched, many equally far
        let code = Code256([random.bits() & 0xFFF, number as u64 % 3, 0, random.bits() & 0x7]);
        for _ in 0..1 + number % 7 / 5 {
            let file_id = planes.len() as i64;
            let is_in_series = random.bits().is_multiple_of(4);
            let field = is_in_series.then_some((random.bits() % 6) as i64);
            let z = if is_in_series { (random.bits() % 9) as i64 } else { 0 };
            let index = PlaneIndex::default();
            let place = Place { file_id, index, field, lane: 0, t: 0, z, is_stacked: is_in_series };
            planes.push((number, place, code));
        }
    }
    let (expected, n_taken_back) = arrive(&planes, false);
    assert!(n_taken_back > 1000 && expected.len() > 4000, "{n_taken_back} {}", expected.len());
    let mut degrees: HashMap<u16, usize> = HashMap::new();
    expected.iter().flat_map(|(a, b)| [a, b]).for_each(|number| *degrees.entry(*number).or_default() += 1);
    let most = degrees.values().max().unwrap();
    assert!((NEAREST_MAX..NEAREST_MAX + 8).contains(most), "neighbours beside the nearest: {most}");
    for _ in 0..3 {
        for at in (1..planes.len()).rev() {
            planes.swap(at, (random.uniform() * (at + 1) as f64) as usize);
        }
        assert_eq!(arrive(&planes, true).0, expected);
        // other planes at the places of these, which then become what they are
        let mut history: Vec<_> = planes
            .iter()
            .take(120)
            .map(|(number, place, code)| (n_classes + number, *place, *code))
            .collect();
        history.extend(&planes);
        for is_restarted in [false, true] {
            assert_eq!(arrive(&history, is_restarted).0, expected, "after planes that are gone");
        }
        // these first, others in place of some, and these once more
        let mut history = planes.clone();
        history.extend(
            planes.iter().step_by(3).map(|(number, place, code)| (n_classes + number % 40, *place, *code)),
        );
        history.extend(planes.iter().step_by(3));
        for is_restarted in [false, true] {
            assert_eq!(arrive(&history, is_restarted).0, expected, "after they were gone");
        }
    }
}
