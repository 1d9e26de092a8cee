//! The fields that wait for partners: all that the ledger holds, and those on their way there.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use super::pairing::{Name, Pairing, Place, pairing};
use crate::analysis::segmentation::Centroids;
use crate::store::{Identity, PixelsOf, RegistrablePlane, View};
use crate::units::PlaneIndex;

/// Names of plates, cycles and wells, by number.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<Box<str>, Name>);

/// Every field that can be registered, by well.
#[derive(Debug, Default)]
pub(super) struct Fields {
    names: Names,
    by_well: HashMap<Option<Name>, BTreeMap<(i64, PlaneIndex), Waiting>>,
}

/// A field that waits.
#[derive(Debug, Clone)]
struct Waiting {
    key: PixelsOf,
    place: Place,
    /// Until they are in the ledger.
    centroids: Weak<Centroids>,
}

/// A field to be tried with a new one.
#[derive(Debug, Clone)]
pub(super) struct Partner {
    pub(super) key: PixelsOf,
    pub(super) view: View,
    /// How the new one pairs with this.
    pub(super) pairing: Pairing,
    /// Gone once they are in the ledger.
    pub(super) centroids: Weak<Centroids>,
}

impl Fields {
    /// Takes a field that the ledger holds.
    pub(super) fn load(&mut self, plane: RegistrablePlane) {
        let RegistrablePlane { root_id, key, identity, view } = plane;
        let place = self.names.place(root_id, &identity, view);
        self.put(Waiting { key, place, centroids: Weak::new() });
    }

    /// Takes a field, in place of what stood under its name before, and says which ones it pairs with, by file and
    /// plane.
    pub(super) fn insert(&mut self, plane: RegistrablePlane, centroids: &Arc<Centroids>) -> Vec<Partner> {
        let RegistrablePlane { root_id, key, identity, view } = plane;
        let place = self.names.place(root_id, &identity, view);
        // it may have stood in another well
        self.remove(key.file_id, key.index);
        let partners = self.partners(&place);
        self.put(Waiting { key, place, centroids: Arc::downgrade(centroids) });
        partners
    }

    /// Forgets a plane that cannot be registered any more.
    pub(super) fn remove(&mut self, file_id: i64, index: PlaneIndex) {
        self.by_well.values_mut().for_each(|fields| drop(fields.remove(&(file_id, index))));
    }

    fn put(&mut self, field: Waiting) {
        let PixelsOf { file_id, index, .. } = field.key;
        self.by_well.entry(field.place.well).or_default().insert((file_id, index), field);
    }

    fn partners(&self, place: &Place) -> Vec<Partner> {
        let wells: Vec<_> = match place.well {
            Some(_) => [place.well, None].iter().filter_map(|well| self.by_well.get(well)).collect(),
            None => self.by_well.values().collect(),
        };
        let partner = |field: &Waiting| {
            let pairing = pairing(place, &field.place)?;
            Some(Partner {
                key: field.key,
                view: field.place.view,
                pairing,
                centroids: field.centroids.clone(),
            })
        };
        let mut partners: Vec<_> = wells.into_iter().flat_map(BTreeMap::values).filter_map(partner).collect();
        partners.sort_unstable_by_key(|partner| partner.key);
        partners
    }
}

impl Names {
    /// Where a field was taken.
    pub(super) fn place(&mut self, root_id: i64, identity: &Identity, view: View) -> Place {
        let Identity { plate, cycle, well, t, .. } = identity;
        let [plate, cycle, well] =
            [plate, cycle, well].map(|name| name.as_deref().map(|name| self.name(name)));
        Place { root_id, plate, cycle, well, t: *t, view }
    }

    fn name(&mut self, text: &str) -> Name {
        let next = Name(u32::try_from(self.0.len()).expect("fewer names than planes"));
        match self.0.get(text) {
            Some(name) => *name,
            None => *self.0.entry(text.into()).or_insert(next),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Side;

    fn plane(file_id: i64, pixel_size_um: f64, well: Option<&str>) -> RegistrablePlane {
        RegistrablePlane {
            root_id: 1,
            key: PixelsOf { file_id, index: PlaneIndex::default(), digest: [file_id as u8; 32] },
            identity: Identity { well: well.map(str::to_owned), ..Identity::default() },
            view: View {
                height: 100,
                width: 100,
                pixel_size_um: Some(pixel_size_um),
                magnification: None,
                stage_um: Some([50.0, 50.0]),
            },
        }
    }

    fn ids(partners: &[Partner]) -> Vec<i64> {
        partners.iter().map(|partner| partner.key.file_id).collect()
    }

    #[test]
    fn each_pair_is_named_once_by_whichever_comes_second() {
        let mut fields = Fields::default();
        let centroids = Arc::new(Centroids::default());
        fields.load(plane(9, 1.0, None));
        assert_eq!(ids(&fields.insert(plane(3, 0.25, Some("B02")), &centroids)), [9]);
        assert_eq!(ids(&fields.insert(plane(2, 0.25, Some("B03")), &centroids)), [9]);
        let found = fields.insert(plane(5, 1.0, Some("B02")), &centroids);
        assert_eq!(ids(&found), [3]);
        assert_eq!(found[0].pairing.side, Side::Reference);
        assert_eq!(ids(&fields.insert(plane(6, 1.0, None), &centroids)), [2, 3]);
    }

    #[test]
    fn a_plane_stands_once_and_can_be_taken_out() {
        let mut fields = Fields::default();
        let centroids = Arc::new(Centroids::default());
        fields.insert(plane(1, 0.25, None), &centroids);
        let other_pixels = PixelsOf { digest: [7; 32], ..plane(1, 0.25, None).key };
        fields.insert(RegistrablePlane { key: other_pixels, ..plane(1, 0.25, None) }, &centroids);
        let found = fields.insert(plane(2, 1.0, None), &centroids);
        assert_eq!(found.iter().map(|partner| partner.key).collect::<Vec<_>>(), [other_pixels]);
        assert!(found[0].centroids.upgrade().is_some());
        fields.insert(plane(1, 0.25, Some("B02")), &centroids);
        fields.insert(plane(1, 0.25, Some("B03")), &centroids);
        assert!(fields.insert(plane(4, 1.0, Some("B02")), &centroids).is_empty(), "it stands in B03 now");
        [1, 4].into_iter().for_each(|file_id| fields.remove(file_id, PlaneIndex::default()));
        assert!(fields.insert(plane(3, 1.0, None), &centroids).is_empty());
    }
}
