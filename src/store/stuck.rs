//! Stuck frames: consecutive planes of one series that hold one exposure, a fault of the camera or its buffer.

use std::collections::BTreeSet;

use rusqlite::{Row, params};
use serde_json::{Map, json};

use super::edges;
use super::outbox;
use super::rows::Columns;
use super::session::Session;
use super::verdicts;
use crate::analysis::verification::Relation;
use crate::paths::RelativePath;
use crate::store::{Alert, Edge, LedgerError, OperatorVerdict, PixelDigest, Place};
use crate::units::PlaneIndex;

/// A live plane beside another one in its series.
struct Frame {
    plane_id: i64,
    digest: PixelDigest,
    byte_class: i64,
    root: String,
    path: RelativePath,
    index: PlaneIndex,
}

const FRAME_SELECT: &str = "SELECT plane.id, digest, byte_class, root.name, folder, file.name, t, p, z, c \
    FROM plane JOIN file ON file.id = file_id JOIN root ON root.id = root_id WHERE is_live = 1 AND ";

/// Looks whether a plane, whose results are saved, holds the exposure of one of its neighbours, and raises the alert.
pub(super) fn look(session: &Session<'_>, plane_id: i64, place: &Place) -> Result<(), LedgerError> {
    if !place.is_stacked {
        return Ok(());
    }
    let sql = [FRAME_SELECT, "plane.id = ?1"].concat();
    let own = session.row(&sql, [plane_id], Frame::read)?;
    for (t, z) in [(-1, 0), (1, 0), (0, -1), (0, 1)] {
        for other in frames_at(session, place, (t, z))? {
            if is_one_exposure(session, &own, &other)? {
                let is_after = t + z < 0;
                let (first, second) = if is_after { (&other, &own) } else { (&own, &other) };
                if note(session, first, second)? {
                    tell(session, first, second, period(session, place, t == 0)?)?;
                }
            }
        }
    }
    Ok(())
}

/// Looks at the planes of edges that were written.
pub(super) fn look_at_edges(
    session: &Session<'_>,
    edges: &[Edge],
    touched: &BTreeSet<edges::Ends>,
) -> Result<(), LedgerError> {
    let is_new =
        |edge: &&Edge| edge.relation == Relation::SameExposureMapped && touched.contains(&[edge.a, edge.b]);
    // from either end the other is seen
    let digests: BTreeSet<_> = edges.iter().filter(is_new).map(|edge| edge.a).collect();
    digests.iter().try_for_each(|digest| look_at_pixels(session, digest))
}

/// Looks at every plane of these pixels.
pub(super) fn look_at_pixels(session: &Session<'_>, digest: &PixelDigest) -> Result<(), LedgerError> {
    let planes = session.rows(
        "SELECT id, file_id, t, p, z, c, field, lane, series_t, series_z, is_stacked FROM plane \
         WHERE digest = ?1 AND is_live = 1 AND is_stacked = 1 ORDER BY id",
        [digest],
        |row| {
            let mut column = Columns::new(row);
            Ok((column.next()?, column.place()?))
        },
    )?;
    planes.iter().try_for_each(|(plane_id, place)| look(session, *plane_id, place))
}

/// Forgets that planes of these pixels were found stuck: an operator knows better.
pub(super) fn forget_pair(
    session: &Session<'_>,
    one: &PixelDigest,
    other: &PixelDigest,
) -> Result<(), LedgerError> {
    let sql = "DELETE FROM stuck WHERE first IN (SELECT id FROM plane WHERE digest = ?1 AND is_live = 1) \
               AND second IN (SELECT id FROM plane WHERE digest = ?2 AND is_live = 1)";
    session.execute(sql, [one, other])?;
    session.execute(sql, [other, one])?;
    Ok(())
}

/// Forgets what was found of a plane.
pub(super) fn forget(session: &Session<'_>, plane_id: i64) -> Result<(), LedgerError> {
    session.execute("DELETE FROM stuck WHERE first = ?1", [plane_id])?;
    session.execute("DELETE FROM stuck WHERE second = ?1", [plane_id])?;
    Ok(())
}

/// The planes that hold the exposure of this one beside it in its series.
pub(super) fn partners(session: &Session<'_>, plane_id: i64) -> Result<Vec<i64>, LedgerError> {
    session.rows(
        "SELECT first FROM stuck WHERE second = ?1 UNION ALL SELECT second FROM stuck WHERE first = ?1 ORDER BY 1",
        [plane_id],
        |row| row.get(0),
    )
}

/// The planes so many steps of time and focus away.
fn frames_at(session: &Session<'_>, place: &Place, (t, z): (i64, i64)) -> Result<Vec<Frame>, LedgerError> {
    let PlaneIndex { t: own_t, p, z: own_z, c } = place.index;
    let sql = [FRAME_SELECT, "file_id = ?1 AND t = ?2 AND p = ?3 AND z = ?4 AND c = ?5"].concat();
    let at = params![place.file_id, i64::from(own_t) + t, p, i64::from(own_z) + z, c];
    let mut frames = session.rows(&sql, at, Frame::read)?;
    if let Some(field) = place.field {
        let sql = [
            FRAME_SELECT,
            "field = ?1 AND lane = ?2 AND series_t = ?3 AND series_z = ?4 AND is_stacked = 1 AND file_id != ?5",
        ];
        let at = params![field, place.lane, place.t + t, place.z + z, place.file_id];
        frames.extend(session.rows(&sql.concat(), at, Frame::read)?);
    }
    Ok(frames)
}

fn is_one_exposure(session: &Session<'_>, one: &Frame, other: &Frame) -> Result<bool, LedgerError> {
    if one.digest == other.digest {
        // one file written into each TimePoint_ or ZStep_ folder is a custom of the vendor
        let is_layout = one.byte_class == other.byte_class && one.path.split().0 != other.path.split().0;
        return Ok(!is_layout);
    }
    let edge = edges::between(session, &one.digest, &other.digest)?;
    let is_denied =
        verdicts::of_pair(session, &one.digest, &other.digest)? == Some(OperatorVerdict::NotDuplicate);
    Ok(!is_denied && edge.is_some_and(|edge| edge.relation == Relation::SameExposureMapped))
}

/// Notes a repeated frame; whether it is new.
fn note(session: &Session<'_>, first: &Frame, second: &Frame) -> Result<bool, LedgerError> {
    let n_new = session.execute(
        "INSERT OR IGNORE INTO stuck (first, second) VALUES (?1, ?2)",
        [first.plane_id, second.plane_id],
    )?;
    Ok(n_new > 0)
}

/// Repeats that make a period, at least.
const REPEATS_MIN: usize = 3;

/// The steps from one repeated frame of a series to the next, where all that are known so far lie equally far apart, and at least
/// [`REPEATS_MIN`] are known.
fn period(session: &Session<'_>, place: &Place, is_focus: bool) -> Result<Option<i64>, LedgerError> {
    const SELECT: &str = "SELECT two.t, two.z, two.t - one.t, two.z - one.z FROM stuck \
        JOIN plane one ON one.id = stuck.first JOIN plane two ON two.id = stuck.second WHERE ";
    let PlaneIndex { t, p, z, c } = place.index;
    let read = |row: &Row<'_>| Ok([[row.get(0)?, row.get(1)?], [row.get(2)?, row.get(3)?]]);
    let (repeats, own): (Vec<[[i64; 2]; 2]>, _) = match place.field {
        Some(field) => {
            let sql = [SELECT, "two.field = ?1 AND two.lane = ?2"].concat().replace(".t", ".series_t");
            let at = params![field, place.lane];
            (session.rows(&sql.replace(".z", ".series_z"), at, read)?, [place.t, place.z])
        }
        None => {
            let sql =
                [SELECT, "two.file_id = ?1 AND one.file_id = ?1 AND two.p = ?2 AND two.c = ?3"].concat();
            (session.rows(&sql, params![place.file_id, p, c], read)?, [t.into(), z.into()])
        }
    };
    let axis = usize::from(is_focus);
    let along = repeats
        .iter()
        .filter(|[at, step]| step[axis] == 1 && step[1 - axis] == 0 && at[1 - axis] == own[1 - axis]);
    let places: BTreeSet<i64> = along.map(|[at, _]| at[axis]).collect();
    let steps: BTreeSet<i64> =
        places.iter().zip(places.iter().skip(1)).map(|(one, next)| next - one).collect();
    let is_even = places.len() >= REPEATS_MIN && steps.len() == 1;
    Ok(steps.first().copied().filter(|&step| is_even && step > 1))
}

fn tell(
    session: &Session<'_>,
    first: &Frame,
    second: &Frame,
    period: Option<i64>,
) -> Result<(), LedgerError> {
    let sameness = if first.digest == second.digest { "the same pixels" } else { "the same exposure" };
    let cause = match period {
        Some(period) => {
            format!("so far one frame in {period} is such a repeat, as where a frame rate was converted")
        }
        None => "the camera or its buffer repeated a frame".to_owned(),
    };
    let text = format!(
        "{} {} holds {sameness} as {} {} before it: {cause}",
        second.path.to_report(),
        second.index,
        first.path.to_report(),
        first.index
    );
    let name = |frame: &Frame| json!({ "root": frame.root, "file": frame.path.to_report(), "plane": frame.index.to_string() });
    let fields = Map::from_iter([
        ("root".to_owned(), second.root.as_str().into()),
        ("file".to_owned(), second.path.to_report().into()),
        ("plane".to_owned(), second.index.to_string().into()),
        ("previous".to_owned(), name(first)),
        ("is_exact".to_owned(), (first.digest == second.digest).into()),
        ("period".to_owned(), period.into()),
    ]);
    outbox::emit_alert(session, &Alert { kind: "stuck_frame".into(), text, fields })
}

impl Frame {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let mut column = Columns::new(row);
        Ok(Self {
            plane_id: column.next()?,
            digest: column.next()?,
            byte_class: column.next()?,
            root: column.next()?,
            path: column.path()?,
            index: column.index()?,
        })
    }
}
