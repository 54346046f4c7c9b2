//! The constants of the format. `format-spec/00-conventions.md` has the same table; a test
//! compares the two.

/// Longest blob.
pub const BLOB_MAX: usize = 8 << 20;
/// Longest run of blobs that a writer puts into one frame together.
pub const FRAME_TARGET: usize = 1 << 20;
/// The same for files of [`LONG_FILE`] bytes and more.
pub const FRAME_TARGET_LONG: usize = 2 << 20;
/// Files from this length on are compressed in longer frames.
pub const LONG_FILE: u64 = 64 << 20;
/// The same for pages and for volumes.
pub const FRAME_TARGET_SMALL: usize = 128 << 10;
/// Longest plaintext of a frame that a reader accepts, prefix included.
pub const FRAME_PLAIN_MAX: usize = BLOB_MAX + (1 << 20);
/// Most blobs in one frame.
pub const FRAME_BLOBS_MAX: usize = 65_535;
/// Longest pack.
pub const PACK_MAX: u64 = 1 << 30;
/// Packs are a multiple of this long, from [`PACK_SMALL`] on.
pub const PACK_ROUND: u64 = 16 << 10;
/// Shorter packs are a multiple of [`PACK_ROUND_SMALL`], so that a small change stays small.
pub const PACK_SMALL: u64 = 256 << 10;
/// What packs below [`PACK_SMALL`] are a multiple of.
pub const PACK_ROUND_SMALL: u64 = 1 << 10;
/// Longest sealed table of a pack.
pub const TABLE_MAX: usize = 64 << 20;
/// Longest page.
pub const PAGE_MAX: usize = 256 << 10;
/// A page is cut by content only after this many entries of a directory.
pub const DIR_PAGE_MIN: usize = 16;
/// Most entries in a page.
pub const PAGE_ENTRIES_MAX: usize = 4096;
/// A page is cut by content only after this many extents.
pub const LIST_PAGE_MIN: usize = 64;
/// Smallest fan-out of an inner page that is cut by content.
pub const INNER_PAGE_MIN: usize = 16;
/// Largest fan-out.
pub const INNER_PAGE_MAX: usize = 2048;
/// Highest page tree.
pub const PAGE_LEVEL_MAX: u8 = 12;
/// Files up to this long are kept in their node.
pub const INLINE_MAX: usize = 512;
/// Content lists up to this long are kept in their node.
pub const EXTENTS_INLINE_MAX: usize = 16;
/// Extended attributes up to this long are kept in their node.
pub const XATTR_INLINE_MAX: usize = crate::model::ext::XATTR_INLINE_MAX;
/// Longest extended attribute.
pub const XATTR_MAX: usize = crate::model::ext::XATTR_MAX;
/// Longest name of a path component.
pub const NAME_MAX: usize = 4096;
/// Longest target of a symbolic link.
pub const SYMLINK_MAX: usize = 64 << 10;
/// Deepest directory.
pub const DEPTH_MAX: usize = 4096;
/// Longest small record, before armour.
pub const RECORD_MAX: usize = 1 << 20;
/// Longest index segment.
pub const SEGMENT_MAX: usize = 256 << 20;
/// Data and parity shards of armour.
pub const ARMOUR_SHARDS: usize = 16;
/// Most key slots that are tried.
pub const SLOTS_MAX: usize = 32;
/// Most packs that one gc record condemns.
pub const GC_PACKS_MAX: usize = 16_384;
/// Longest text that a person attaches to a snapshot.
pub const TEXT_MAX: usize = 64 << 10;
/// Most tags of a snapshot.
pub const TAGS_MAX: usize = 1024;
/// Most data shards of a parity sidecar.
pub const PARITY_DATA_MAX: usize = 32_768;
/// Most parity shards of a parity sidecar.
pub const PARITY_SHARDS_MAX: usize = 4096;
