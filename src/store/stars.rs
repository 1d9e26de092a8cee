//! Groups of mapped copies: stars over exact classes, so that no chain of look-alikes joins what nobody compared.
//!
//! The stars of a set of classes follow from the counted edges and the operator's verdicts alone: the classes in the order
//! of their best planes, each joins the first representative with which it has an edge, or becomes one itself. What an
//! operator says is the same goes together; where he says of one member that it is no duplicate, the class goes on to the
//! next representative. After a change they are made anew for everything that is connected with it, and the difference is
//! told in `duplicates.jsonl`.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::params;

use super::edges::{self, class_report};
use super::groups::{Member, group_name};
use super::outbox::{self, Content};
use super::session::Session;
use super::verdicts;
use crate::store::{LedgerError, OperatorVerdict, PixelDigest, Stream};

/// The kind of the groups made here.
pub(super) const MAPPED: &str = "mapped";

/// The digest of each representative with the digests of all members, itself among them; two at least.
pub(super) type Stars = BTreeMap<PixelDigest, BTreeSet<PixelDigest>>;

/// Makes the stars anew of everything that is connected with the seeds.
pub(super) fn rebuild(session: &Session<'_>, seeds: BTreeSet<PixelDigest>) -> Result<(), LedgerError> {
    let (before, after) = standing_and_due(session, seeds)?;
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

/// The stars of everything that is connected with the seeds, as they stand and as they follow from the bonds.
pub(super) fn standing_and_due(
    session: &Session<'_>,
    seeds: BTreeSet<PixelDigest>,
) -> Result<(Stars, Stars), LedgerError> {
    let (nodes, before) = connected(session, seeds)?;
    Ok((before, canonical(session, &nodes)?))
}

/// The star of a class, or the class itself.
pub(super) fn of_class(session: &Session<'_>, digest: &PixelDigest) -> Result<PixelDigest, LedgerError> {
    let star = "SELECT star FROM star_member WHERE digest = ?1";
    Ok(session.row_if_any(star, [digest], |row| row.get(0))?.unwrap_or(*digest))
}

/// What decides where a class belongs.
#[derive(Default)]
struct Bonds {
    /// Classes with an edge to it that makes groups.
    neighbours: Vec<PixelDigest>,
    /// What an operator says is the same.
    same: Vec<PixelDigest>,
    /// What an operator says is no duplicate of it.
    denied: Vec<PixelDigest>,
}

impl Bonds {
    fn of(session: &Session<'_>, digest: &PixelDigest) -> Result<Self, LedgerError> {
        Ok(Self {
            neighbours: edges::mapped_neighbours(session, digest)?,
            same: verdicts::partners(session, digest, OperatorVerdict::Same)?,
            denied: verdicts::partners(session, digest, OperatorVerdict::NotDuplicate)?,
        })
    }
}

/// The bonds of every class that the seeds lead to, over these and over the stars as they stood; and these.
fn connected(
    session: &Session<'_>,
    seeds: BTreeSet<PixelDigest>,
) -> Result<(BTreeMap<PixelDigest, Bonds>, Stars), LedgerError> {
    let (mut nodes, mut stars) = (BTreeMap::new(), Stars::new());
    let mut open: Vec<_> = seeds.into_iter().collect();
    while let Some(digest) = open.pop() {
        if nodes.contains_key(&digest) {
            continue;
        }
        let bonds = Bonds::of(session, &digest)?;
        open.extend(bonds.neighbours.iter().chain(&bonds.same));
        nodes.insert(digest, bonds);
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

/// The stars that follow from the bonds.
fn canonical(session: &Session<'_>, nodes: &BTreeMap<PixelDigest, Bonds>) -> Result<Stars, LedgerError> {
    // the stars in the order of their representatives, and where each class has come
    let mut stars: Vec<(PixelDigest, BTreeSet<PixelDigest>)> = Vec::new();
    let (mut by_head, mut by_member) = (BTreeMap::new(), BTreeMap::new());
    for block in blocks(session, nodes)? {
        let bonds = || block.iter().map(|digest| &nodes[digest]);
        let denied: BTreeSet<usize> = bonds()
            .flat_map(|bonds| &bonds.denied)
            .filter_map(|other| by_member.get(other))
            .copied()
            .collect();
        let near = bonds().flat_map(|bonds| &bonds.neighbours).filter_map(|other| by_head.get(other));
        let star = near.copied().filter(|star| !denied.contains(star)).min().unwrap_or_else(|| {
            by_head.extend(block.iter().map(|digest| (*digest, stars.len())));
            stars.push((block[0], BTreeSet::new()));
            stars.len() - 1
        });
        by_member.extend(block.iter().map(|digest| (*digest, star)));
        stars[star].1.extend(block);
    }
    Ok(stars.into_iter().filter(|(_, members)| members.len() > 1).collect())
}

/// The classes that may belong together, in the order of their best planes; those that an operator says are the same are
/// one block, wherever its best stands.
fn blocks(
    session: &Session<'_>,
    nodes: &BTreeMap<PixelDigest, Bonds>,
) -> Result<Vec<Vec<PixelDigest>>, LedgerError> {
    let mut ranked = Vec::with_capacity(nodes.len());
    for (digest, bonds) in nodes {
        if (!bonds.neighbours.is_empty() || !bonds.same.is_empty())
            && let Some(member) = Member::of_class(session, digest)?
        {
            ranked.push((member, *digest));
        }
    }
    ranked.sort_by(|(a, _), (b, _)| a.rank().cmp(&b.rank()));
    let mut blocks: Vec<Vec<PixelDigest>> = Vec::new();
    let mut block_of: BTreeMap<PixelDigest, usize> = BTreeMap::new();
    for (_, digest) in ranked {
        let block = *block_of.entry(digest).or_insert_with(|| {
            blocks.push(Vec::new());
            blocks.len() - 1
        });
        // classes without a plane now lead on, too
        let mut open = vec![digest];
        while let Some(same) = open.pop() {
            let new = nodes[&same].same.iter().filter(|other| block_of.insert(**other, block).is_none());
            open.extend(new.copied().collect::<Vec<_>>());
        }
        blocks[block].push(digest);
    }
    Ok(blocks)
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
            let bond = edges::bond(session, star, member)?;
            let content = event("member_added")
                .with("relation", bond.as_ref().map(|bond| bond.relation))
                .with("reason", bond.as_ref().and_then(|bond| bond.reason))
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
        let bond = edges::bond(session, star, member)?;
        report["relation"] = bond.as_ref().map(|bond| bond.relation).into();
        if let Some(reason) = bond.and_then(|bond| bond.reason) {
            report["reason"] = reason.into();
        }
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
