//! The place where 40x fields will meet their 10x overview. It hands every plane on as it is: no method of
//! registration is part of this version.

use crate::actor::{Stage, StageError, StageOutbox};
use crate::messages::{RegisteredImage, VerifiedImage};

/// Hands planes on.
pub struct Registrar;

impl Stage for Registrar {
    const NAME: &'static str = "registrar";
    type Input = VerifiedImage;
    type Output = RegisteredImage;

    async fn process(&mut self, image: VerifiedImage, out: &mut StageOutbox<Self>) -> Result<(), StageError> {
        out.send(RegisteredImage { image, registrable: None, registrations: Vec::new() }).await
    }
}
