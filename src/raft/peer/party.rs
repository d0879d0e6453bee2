//! Who sends to whom, as it travels with every message.

/// 128 bits.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Id {
    #[prost(fixed64, tag = "1")]
    high: u64,
    #[prost(fixed64, tag = "2")]
    low: u64,
}

impl From<u128> for Id {
    fn from(id: u128) -> Id {
        Id { high: (id >> 64) as u64, low: id as u64 }
    }
}

impl From<Id> for u128 {
    fn from(id: Id) -> u128 {
        u128::from(id.high) << 64 | u128::from(id.low)
    }
}

/// One end of a conversation.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Party {
    /// Its id in the cluster; 0 before it has one.
    #[prost(uint64, tag = "1")]
    pub(crate) node: u64,
    /// Constant for the life of its data directory.
    #[prost(message, required, tag = "2")]
    pub(crate) incarnation: Id,
}

/// Who sends to whom.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Envelope {
    /// The cluster; 0 before there is one.
    #[prost(message, required, tag = "1")]
    pub(crate) cluster: Id,
    #[prost(uint32, tag = "2")]
    pub(crate) group: u32,
    /// The level in force at the sender.
    #[prost(uint32, tag = "3")]
    pub(crate) level: u32,
    #[prost(message, required, tag = "4")]
    pub(crate) from: Party,
    #[prost(message, required, tag = "5")]
    pub(crate) to: Party,
    /// Random for each process: tells a copied directory.
    #[prost(message, required, tag = "6")]
    pub(crate) boot: Id,
}
