//! Computes the features of a plane and lets its pixels go: what travels further is a few KiB.

use crate::actor::{Charged, CpuPool, Stage, StageError, StageOutbox};
use crate::analysis::hashing;
use crate::messages::{HashedImage, SegmentedImage};

/// Computes features.
pub struct Hasher {
    cpu: CpuPool,
}

impl Hasher {
    /// Puts a hasher together.
    pub fn new(cpu: CpuPool) -> Self {
        Self { cpu }
    }
}

impl Stage for Hasher {
    const NAME: &'static str = "hasher";
    type Input = Charged<SegmentedImage>;
    type Output = HashedImage;

    async fn process(
        &mut self,
        segmented: Charged<SegmentedImage>,
        out: &mut StageOutbox<Self>,
    ) -> Result<(), StageError> {
        let cpu = self.cpu.clone();
        out.counters().add_bytes(segmented.value.image.plane.size_bytes() as u64);
        let ticket = segmented.value.image.ticket.clone();
        out.send_when(ticket, async move { Ok(Some(cpu.run(move |_| hash(segmented)).await?)) }).await
    }
}

fn hash(segmented: Charged<SegmentedImage>) -> HashedImage {
    let Charged { value: SegmentedImage { image, nuclei }, permit } = segmented;
    let features = hashing::plane_features(&image.plane);
    let shape = [image.plane.height, image.plane.width, image.plane.n_samples];
    let sample_type = image.plane.samples.sample_type();
    drop(image.plane);
    drop(permit);
    HashedImage {
        ticket: image.ticket,
        file: image.file,
        index: image.index,
        shape,
        sample_type,
        digest: image.digest,
        nuclei,
        features,
    }
}
