//! Damage to a file that is otherwise real: what random bytes would not reach within days.

/// Reads the fuzzer's bytes as a list of edits to one of the `bases`, so that checks on magic numbers and offsets stay
/// passed. The first byte chooses: 0 takes the rest as it is, anything else a base.
pub fn apply(bases: &[Vec<u8>], input: &[u8]) -> Vec<u8> {
    match input.split_first() {
        None | Some((0, _)) => input.get(1..).unwrap_or_default().to_vec(),
        Some((choice, edits)) => {
            let mut file = bases[usize::from(*choice) % bases.len()].clone();
            for edit in edits.chunks_exact(8) {
                edit_once(&mut file, edit);
            }
            file
        }
    }
}

/// One edit: what (1 byte), where (4 bytes), with what (3 bytes).
fn edit_once(file: &mut Vec<u8>, edit: &[u8]) {
    if file.is_empty() {
        return;
    }
    let place = u32::from_le_bytes([edit[1], edit[2], edit[3], edit[4]]) as usize;
    // counted from the front or from the back: directories and maps often stand at the end
    let at = if edit[0] & 0x80 == 0 { place % file.len() } else { file.len() - 1 - place % file.len() };
    let value = [edit[5], edit[6], edit[7]];
    match edit[0] & 7 {
        0 => file[at] = value[0],
        1 => file[at] ^= 1 << (value[0] & 7),
        2 => overwrite(file, at, &value),
        3 => overwrite(file, at, &u32::MAX.to_le_bytes()),
        4 => overwrite(file, at, &(1_u64 << (value[0] & 63)).to_le_bytes()),
        5 => {
            // a run taken from elsewhere
            let from = (at + usize::from(value[0]) * 97) % file.len();
            let n = usize::from(value[1] & 63).min(file.len() - from);
            let run = file[from..from + n].to_vec();
            overwrite(file, at, &run);
        }
        6 => {
            let n = usize::from(value[0]).min(file.len() - at);
            file.drain(at..at + n);
        }
        _ => file.truncate(at),
    }
}

fn overwrite(file: &mut [u8], at: usize, bytes: &[u8]) {
    let n = bytes.len().min(file.len() - at);
    file[at..at + n].copy_from_slice(&bytes[..n]);
}
