//! The numbers of the encoding. They never change their meaning; new ones need a new level.

/// First byte of every entry.
pub(super) const FORMAT: u8 = 1;

pub(super) const OP_SET: u8 = 1;
pub(super) const OP_DELETE: u8 = 2;
pub(super) const OP_EXPIRE: u8 = 3;
pub(super) const OP_ADD: u8 = 4;
pub(super) const OP_CLEAR: u8 = 5;
pub(super) const OP_CONFIGURE: u8 = 6;
pub(super) const OP_INITIALIZE: u8 = 7;
pub(super) const OP_RAISE: u8 = 8;

pub(super) const MODE_EACH: u8 = 0;
pub(super) const MODE_MULTI: u8 = 1;
pub(super) const MODE_ALL: u8 = 2;

pub(super) const EXPIRY_NEVER: u8 = 0;
pub(super) const EXPIRY_KEEP: u8 = 1;
pub(super) const EXPIRY_AFTER: u8 = 2;
pub(super) const EXPIRY_AT: u8 = 3;

pub(super) const CONDITION_ALWAYS: u8 = 0;
pub(super) const CONDITION_ABSENT: u8 = 1;
pub(super) const CONDITION_PRESENT: u8 = 2;
pub(super) const CONDITION_VERSION: u8 = 3;
