//! Finds out where each fine field lies in its overview: every plane with nuclei is tried with every partner known so
//! far, and waits in the ledger for those that come later.
//!
//! A pair is tried by whichever of its planes comes second here. Which planes pair follows from what they say of
//! themselves, never from the order in which they come: see `pairing`. What a pair does not tell by itself, the other
//! fields of its well may: see `wells`, which go over what stands in the ledger beside the line.

mod desk;
mod fields;
mod matching;
mod pairing;
mod wells;

use std::sync::Arc;

use crate::actor::{CpuPool, IoPool, Stage, StageError, StageOutbox};
use crate::analysis::registration;
use crate::messages::{FileContext, HashedImage, Nuclei, RegisteredImage, VerifiedImage};
use crate::stages::bookkeeping::Bookkeeping;
use crate::stages::figures;
use crate::store::{Identity, LedgerError, LedgerReader, PixelsOf, Registrable, RegistrablePlane, View};
use crate::units::PlaneIndex;
use desk::{Desk, Own};
use fields::Fields;

pub use wells::Wells;

/// How fields are registered.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// What is fitted, and whose solution is taken; scales and orientations that are known are filled in.
    pub method: registration::Settings,
}

/// Registers planes.
pub struct Registrar {
    fields: Fields,
    desk: Desk,
}

impl Registrar {
    /// Loads the fields that the ledger holds. Blocks.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn load(
        reader: LedgerReader,
        (cpu, io): (CpuPool, IoPool),
        settings: Settings,
    ) -> Result<Self, LedgerError> {
        let mut fields = Fields::default();
        reader.registrable_planes(|plane| fields.load(plane))?;
        Ok(Self { fields, desk: Desk::new(reader, (cpu, io), settings) })
    }

    /// What goes over the wells, with the same memory.
    pub fn wells(&self, books: Bookkeeping) -> Wells {
        Wells::new(self.desk.clone(), books)
    }
}

impl Stage for Registrar {
    const NAME: &'static str = "registrar";
    type Input = VerifiedImage;
    type Output = RegisteredImage;

    async fn process(&mut self, image: VerifiedImage, out: &mut StageOutbox<Self>) -> Result<(), StageError> {
        let plane = &image.image;
        let key = PixelsOf { file_id: plane.file.claim.file_id, index: plane.index, digest: plane.digest.0 };
        let Some(registrable) = registrable(plane) else {
            self.fields.remove(key.file_id, key.index);
            return out.send(RegisteredImage { image, registrable: None, registrations: Vec::new() }).await;
        };
        let Registrable { view, ref centroids } = registrable;
        let (root_id, identity) = (plane.ticket.root.id, identity(&plane.file, plane.index));
        let partners = self.fields.insert(RegistrablePlane { root_id, key, identity, view }, centroids);
        let own = Own { key, view, centroids: Arc::clone(centroids) };
        let (desk, ticket, counters) = (self.desk.clone(), plane.ticket.clone(), out.counters().clone());
        out.send_when(ticket, async move {
            let registrations = desk.try_all(own, partners, &counters).await?;
            Ok(Some(RegisteredImage { image, registrable: Some(registrable), registrations }))
        })
        .await
    }
}

/// What is kept of a plane for registration: of the nuclear channel, and of the middle focus step of a stack. None for
/// any other plane.
fn registrable(plane: &HashedImage) -> Option<Registrable> {
    let Nuclei::Segmented { centroids: Some(centroids), .. } = &plane.nuclei else { return None };
    let metadata = &plane.file.metadata;
    if plane.index.z != metadata.dims.z.max(1) / 2 {
        return None;
    }
    let sound = |value: &f64| value.is_finite() && *value > 0.0;
    let position = metadata.positions.get(plane.index.p as usize);
    let stage_um = position.and_then(|position| Some([position.x_um?, position.y_um?]));
    let view = View {
        height: u32::try_from(plane.shape[0]).ok()?,
        width: u32::try_from(plane.shape[1]).ok()?,
        pixel_size_um: metadata.pixel_size_um.filter(sound),
        magnification: metadata.nominal_magnification.or(plane.file.identity.magnification).filter(sound),
        stage_um: stage_um.filter(|position| position.iter().all(|value| value.is_finite())),
    };
    Some(Registrable { view, centroids: Arc::clone(centroids) })
}

/// What is known of the plane and, where that says nothing, of its file; the ledger keeps the same.
fn identity(file: &FileContext, index: PlaneIndex) -> Identity {
    let own = figures::plane_identity(&file.identity, &file.metadata, index);
    let of_file = figures::file_identity(&file.identity);
    Identity { t: own.t.or(of_file.t), z: own.z.or(of_file.z), site: own.site.or(of_file.site), ..of_file }
}
