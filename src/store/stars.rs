//! Groups of mapped copies: stars over exact classes, so that no chain of look-alikes joins what nobody compared.
//!
//! The stars of a set of classes follow from the counted edges alone: the classes in the order of their best planes,
//! each joins the first representative with which it has an edge, or becomes one itself. After a change they are made
//! anew for everything that is connected with it, and the difference is told in `duplicates.jsonl`.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::params;

use super::edges::{self, class_report};
use super::groups::{Member, group_name};
use super::outbox::{self, Content};
use super::session::Session;
use crate::store::{LedgerError, PixelDigest, Stream};

/// The kind of the groups made here.
pub(super) const MAPPED: &str = "mapped";

/// The digest of each representative with the digests of all members, itself among them; two at least.
type Stars = BTreeMap<PixelDigest, BTreeSet<PixelDigest>>;

/// Makes the stars anew of everything that is connected with the seeds.
pub(super) fn rebuild(session: &Session<'_>, seeds: BTreeSet<PixelDigest>) -> Result<(), LedgerError> {
    let (nodes, before) = connected(session, seeds)?;
    let after = canonical(session, &nodes)?;
    if before == after {
        return Ok(());
    }
    for (star, members) in &before {
        for member in members {
            session
                .execute("DELETE FROM star_member WHERE digest = ?1 AND star = ?2", params![member, star])?;
        }
    }
    for (star, members) in &after {
        for member in members {
            session
                .execute("INSERT INTO star_member (digest, star) VALUES (?1, ?2)", params![member, star])?;
        }
    }
    tell(session, &before, &after)
}

/// The star of a class, or the class itself.
pub(super) fn of_class(session: &Session<'_>, digest: &PixelDigest) -> Result<PixelDigest, LedgerError> {
    let star = "SELECT star FROM star_member WHERE digest = ?1";
    Ok(session.row_if_any(star, [digest], |row| row.get(0))?.unwrap_or(*digest))
}

/// The edges of every class that the seeds lead to, over edges and over the stars as they stood; and these.
#[allow(clippy::type_complexity, reason = "an adjacency list and the stars")]
fn connected(
    session: &Session<'_>,
    seeds: BTreeSet<PixelDigest>,
) -> Result<(BTreeMap<PixelDigest, Vec<PixelDigest>>, Stars), LedgerError> {
    let (mut nodes, mut stars) = (BTreeMap::new(), Stars::new());
    let mut open: Vec<_> = seeds.into_iter().collect();
    while let Some(digest) = open.pop() {
        if nodes.contains_key(&digest) {
            continue;
        }
        let neighbours = edges::mapped_neighbours(session, &digest)?;
        open.extend(&neighbours);
        nodes.insert(digest, neighbours);
        let star: Option<PixelDigest> =
            session
                .row_if_any("SELECT star FROM star_member WHERE digest = ?1", [digest], |row| row.get(0))?;
        if let Some(star) = star
            && !stars.contains_key(&star)
        {
            let members: BTreeSet<PixelDigest> = session
                .rows("SELECT digest FROM star_member WHERE star = ?1", [star], |row| row.get(0))?
                .into_iter()
                .collect();
            open.extend(&members);
            stars.insert(star, members);
        }
    }
    Ok((nodes, stars))
}

/// The stars that follow from the edges.
fn canonical(
    session: &Session<'_>,
    nodes: &BTreeMap<PixelDigest, Vec<PixelDigest>>,
) -> Result<Stars, LedgerError> {
    let mut ranked = Vec::with_capacity(nodes.len());
    for (digest, neighbours) in nodes.iter().filter(|(_, neighbours)| !neighbours.is_empty()) {
        if let Some(member) = Member::of_class(session, digest)? {
            ranked.push((member, *digest, neighbours));
        }
    }
    ranked.sort_by(|(a, ..), (b, ..)| a.rank().cmp(&b.rank()));
    let mut representatives: Vec<PixelDigest> = Vec::new();
    let mut stars = Stars::new();
    for (_, digest, neighbours) in ranked {
        let star = representatives.iter().find(|representative| neighbours.contains(representative)).copied();
        let star = star.unwrap_or_else(|| {
            representatives.push(digest);
            digest
        });
        stars.entry(star).or_default().insert(digest);
    }
    stars.retain(|_, members| members.len() > 1);
    Ok(stars)
}

/// Writes the events that lead from one set of stars to the other.
fn tell(session: &Session<'_>, before: &Stars, after: &Stars) -> Result<(), LedgerError> {
    let heirs: BTreeMap<_, _> =
        before.iter().map(|(star, members)| (star, heir(star, members, after))).collect();
    for (star, members) in after {
        let ancestors: Vec<_> =
            before.keys().filter(|old| heirs.get(old).copied().flatten() == Some(star)).collect();
        // the group of the same name goes on, or else the first
        let Some(&previous) = ancestors.iter().find(|old| **old == star).or(ancestors.first()) else {
            tell_created(session, star, members)?;
            continue;
        };
        let event = |name: &str| event(name, star, members.len());
        let representative = class_report(session, star)?;
        if previous != star {
            let content = event("representative_changed")
                .with("previous_group", group_name(previous))
                .with("representative", representative.clone())
                .with("previous", class_report(session, previous)?);
            outbox::emit(session, Stream::Duplicates, &content)?;
        }
        for merged in ancestors.iter().filter(|old| **old != previous) {
            let content = event("merged").with("merged_group", group_name(*merged));
            outbox::emit(session, Stream::Duplicates, &content)?;
        }
        let known: BTreeSet<_> = ancestors.iter().flat_map(|old| &before[*old]).collect();
        for member in members.iter().filter(|member| !known.contains(member)) {
            let content = event("member_added")
                .with("relation", relation(session, star, member)?)
                .with("representative", representative.clone())
                .with("member", class_report(session, member)?);
            outbox::emit(session, Stream::Duplicates, &content)?;
        }
    }
    for (star, members) in before {
        tell_retracted(session, (star, members), heirs[star].map(|heir| (heir, &after[heir])))?;
    }
    Ok(())
}

/// The star that goes on for an old one: of its name, or that of its representative, or that of its first member.
fn heir<'s>(
    star: &PixelDigest,
    members: &BTreeSet<PixelDigest>,
    after: &'s Stars,
) -> Option<&'s PixelDigest> {
    let home = |digest: &PixelDigest| after.iter().find(|(_, members)| members.contains(digest));
    after
        .get_key_value(star)
        .or_else(|| home(star))
        .or_else(|| members.iter().find_map(home))
        .map(|(heir, _)| heir)
}

fn tell_created(
    session: &Session<'_>,
    star: &PixelDigest,
    members: &BTreeSet<PixelDigest>,
) -> Result<(), LedgerError> {
    let mut reports = Vec::with_capacity(members.len());
    for member in members {
        let mut report = class_report(session, member)?;
        report["relation"] = relation(session, star, member)?.into();
        reports.push(report);
    }
    let content = event("created", star, members.len())
        .with("representative", class_report(session, star)?)
        .with("members", reports);
    outbox::emit(session, Stream::Duplicates, &content)
}

/// Tells which members of a star are not in the one that goes on for it.
fn tell_retracted(
    session: &Session<'_>,
    (star, members): (&PixelDigest, &BTreeSet<PixelDigest>),
    heir: Option<(&PixelDigest, &BTreeSet<PixelDigest>)>,
) -> Result<(), LedgerError> {
    let Some((heir, kept)) = heir else {
        let content = event("retracted", star, 0).with("dissolved", true);
        return outbox::emit(session, Stream::Duplicates, &content);
    };
    for member in members.difference(kept) {
        let content = event("retracted", heir, kept.len())
            .with("member", class_report(session, member)?)
            .with("dissolved", false);
        outbox::emit(session, Stream::Duplicates, &content)?;
    }
    Ok(())
}

fn event(name: &str, star: &PixelDigest, n_members: usize) -> Content {
    Content::default()
        .with("event", name)
        .with("group", group_name(star))
        .with("kind", MAPPED)
        .with("n_members", n_members)
}

/// What a member is to its representative; none for that itself.
fn relation(
    session: &Session<'_>,
    star: &PixelDigest,
    member: &PixelDigest,
) -> Result<Option<&'static str>, LedgerError> {
    Ok(edges::between(session, star, member)?.map(|edge| edge.relation.name()))
}
