//! Buffers for events that arrive in many reads.

/// Up to this many bytes a buffer doubles when it is full.
const SMALL_BYTES: usize = 256 * 1024;
/// A larger buffer gets this much at once, and beyond it eight times as much.
const AT_ONCE_BYTES: usize = 64 * 1024 * 1024;
const STEP: usize = 8;

/// Reserves room for `more` bytes in a buffer that will hold at most `limit`.
///
/// A large buffer that doubles leaves as much memory behind, in pieces, as it has in the end. Memory that was never
/// written costs nothing, so a large buffer grows in few steps.
pub(super) fn reserve(bytes: &mut Vec<u8>, more: usize, limit: usize) {
    let needed = bytes.len().saturating_add(more);
    if needed > bytes.capacity() && needed > SMALL_BYTES {
        let target = needed.saturating_mul(STEP).max(AT_ONCE_BYTES);
        let target = target.min(limit).max(needed);
        bytes.reserve_exact(target - bytes.len());
    }
}
