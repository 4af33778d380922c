//! Digests of passwords, zeroed when dropped.

use aws_lc_rs::digest::{Algorithm, Context};
use zeroize::Zeroizing;

/// The digest of `parts`, one after the other. `N` is the length of the algorithm's digest.
pub(super) fn hash<const N: usize>(
    algorithm: &'static Algorithm,
    parts: &[&[u8]],
) -> Zeroizing<[u8; N]> {
    debug_assert_eq!(algorithm.output_len(), N);
    let mut context = Context::new(algorithm);
    for part in parts {
        context.update(part);
    }
    let mut out = Zeroizing::new([0; N]);
    for (byte, digest) in out.iter_mut().zip(context.finish().as_ref()) {
        *byte = *digest;
    }
    out
}
