//! The cluster: its members, who leads, what they have agreed on.

use std::sync::Arc;

use poem_openapi::OpenApi;

use super::front::{Front, Group};
use crate::http::cluster::{
    ClusterBody, LevelBody, MemberIdBody, NewMember, SettingsBody, SettingsChangeBody, TransferBody,
    WantedLevel,
};
use crate::http::coding::Coding;
use crate::http::operations::{
    AddMember, Failure, GetCluster, GetLevel, GetSettings, Leave, PromoteMember, PutSettings, RaiseLevel,
    RemoveMember, Stop, Transfer,
};
use crate::http::params::Param;
use crate::http::payload::{Document, SMALL_BYTES, Shown};
use crate::model::{Level, NodeId, Principal};

/// Operations on the cluster. Any node takes them; its leader does them.
pub(in crate::http) struct Cluster(pub(super) Arc<Front>);

#[OpenApi]
impl Cluster {
    /// Read the state of the cluster
    ///
    /// Its members as the leader sees them, and the place of the node that was asked.
    ///
    /// ```sh
    /// curl -s http://127.0.0.1:8080/v1/cluster
    /// ```
    #[oai(path = "/v1/cluster", method = "get", operation_id = "getCluster", tag = "Group::Cluster")]
    async fn get_cluster(&self, coding: Coding) -> Result<Shown<ClusterBody>, Failure<GetCluster>> {
        Ok(Shown(coding, self.0.kv()?.cluster(&Principal::Anonymous).await.into()))
    }

    /// Add a member
    ///
    /// The node at this address must be running and waiting for a cluster: its seeds reach none. It begins as a learner and
    /// becomes a voter by itself when it has caught up, if one more is wanted. Nodes whose seeds reach the cluster join
    /// without this.
    ///
    /// ```sh
    /// curl -s -X POST -H 'Content-Type: application/json' -d '{"address": "10.0.0.4:7000"}' \
    ///   http://127.0.0.1:8080/v1/cluster/members
    /// ```
    #[oai(path = "/v1/cluster/members", method = "post", operation_id = "addMember", tag = "Group::Cluster")]
    async fn add_member(
        &self,
        member: Document<NewMember, SMALL_BYTES>,
        coding: Coding,
    ) -> Result<Shown<MemberIdBody>, Failure<AddMember>> {
        let kv = self.0.kv()?;
        let NewMember { address } = member.read(&self.0.bodies).await?;
        Ok(Shown(coding, kv.add_member(&Principal::Anonymous, address).await?.into()))
    }

    /// Remove a member
    ///
    /// For good: its node marks its data directory and ends. Refused if the voters that would be left could not decide. A
    /// leader that is to go hands over first.
    ///
    /// ```sh
    /// curl -s -X DELETE http://127.0.0.1:8080/v1/cluster/members/3
    /// ```
    #[oai(
        path = "/v1/cluster/members/:id",
        method = "delete",
        operation_id = "removeMember",
        tag = "Group::Cluster"
    )]
    async fn remove_member(
        &self,
        /// The member's id.
        id: Param<NodeId>,
        coding: Coding,
    ) -> Result<Shown<MemberIdBody>, Failure<RemoveMember>> {
        self.0.kv()?.remove_member(&Principal::Anonymous, id.0).await?;
        Ok(Shown(coding, id.0.into()))
    }

    /// Make a learner a voter
    ///
    /// It must have caught up. Learners become voters by themselves as long as more are wanted.
    ///
    /// ```sh
    /// curl -s -X POST http://127.0.0.1:8080/v1/cluster/members/4/promote
    /// ```
    #[oai(
        path = "/v1/cluster/members/:id/promote",
        method = "post",
        operation_id = "promoteMember",
        tag = "Group::Cluster"
    )]
    async fn promote_member(
        &self,
        /// The member's id.
        id: Param<NodeId>,
        coding: Coding,
    ) -> Result<Shown<MemberIdBody>, Failure<PromoteMember>> {
        Ok(Shown(coding, self.0.kv()?.promote_member(&Principal::Anonymous, id.0).await?.into()))
    }

    /// Hand over leadership
    ///
    /// Answers with who leads then.
    ///
    /// ```sh
    /// curl -s -X POST -H 'Content-Type: application/json' -d '{"to": 2}' http://127.0.0.1:8080/v1/cluster/transfer
    /// ```
    #[oai(path = "/v1/cluster/transfer", method = "post", operation_id = "transfer", tag = "Group::Cluster")]
    async fn transfer(
        &self,
        transfer: Document<TransferBody, SMALL_BYTES>,
        coding: Coding,
    ) -> Result<Shown<MemberIdBody>, Failure<Transfer>> {
        let kv = self.0.kv()?;
        let TransferBody { to } = transfer.read(&self.0.bodies).await?;
        Ok(Shown(coding, kv.transfer_leadership(&Principal::Anonymous, to.map(NodeId)).await?.into()))
    }

    /// Leave the cluster
    ///
    /// The node that is asked leaves for good and ends. When it is started again, what it had is set aside and it joins as
    /// a new member.
    ///
    /// ```sh
    /// curl -s -X POST http://127.0.0.1:8080/v1/cluster/leave
    /// ```
    #[oai(path = "/v1/cluster/leave", method = "post", operation_id = "leave", tag = "Group::Cluster")]
    async fn leave(&self, coding: Coding) -> Result<Shown<MemberIdBody>, Failure<Leave>> {
        Ok(Shown(coding, self.0.kv()?.leave(&Principal::Anonymous).await?.into()))
    }

    /// Ask whether this node may stop
    ///
    /// Success means that it may: the others keep a quorum without it, and no other node that was told so is still away. The
    /// node hands over leadership, if it leads. 409 means not yet: ask again.
    ///
    /// ```sh
    /// curl -s -X POST http://127.0.0.1:8080/v1/cluster/stop
    /// ```
    #[oai(path = "/v1/cluster/stop", method = "post", operation_id = "stop", tag = "Group::Cluster")]
    async fn stop(&self, coding: Coding) -> Result<Shown<MemberIdBody>, Failure<Stop>> {
        Ok(Shown(coding, self.0.kv()?.ask_to_stop(&Principal::Anonymous).await?.into()))
    }

    /// Read the settings of the cluster
    ///
    /// What the members have agreed on: limits, eviction, and how many are to vote.
    ///
    /// ```sh
    /// curl -s http://127.0.0.1:8080/v1/cluster/settings
    /// ```
    #[oai(
        path = "/v1/cluster/settings",
        method = "get",
        operation_id = "getSettings",
        tag = "Group::Cluster"
    )]
    async fn get_settings(&self, coding: Coding) -> Result<Shown<SettingsBody>, Failure<GetSettings>> {
        Ok(Shown(coding, self.0.kv()?.settings(&Principal::Anonymous).await?.into()))
    }

    /// Change settings of the cluster
    ///
    /// In force on all members from one log entry on. Answers with all settings as they are then.
    ///
    /// ```sh
    /// curl -s -X PUT -H 'Content-Type: application/json' -d '{"max_bytes": 1073741824}' \
    ///   http://127.0.0.1:8080/v1/cluster/settings
    /// ```
    #[oai(
        path = "/v1/cluster/settings",
        method = "put",
        operation_id = "putSettings",
        tag = "Group::Cluster"
    )]
    async fn put_settings(
        &self,
        change: Document<SettingsChangeBody, SMALL_BYTES>,
        coding: Coding,
    ) -> Result<Shown<SettingsBody>, Failure<PutSettings>> {
        let kv = self.0.kv()?;
        let change = change.read(&self.0.bodies).await?.change()?;
        Ok(Shown(coding, kv.configure(&Principal::Anonymous, change).await?.into()))
    }

    /// Read the level
    ///
    /// ```sh
    /// curl -s http://127.0.0.1:8080/v1/cluster/level
    /// ```
    #[oai(path = "/v1/cluster/level", method = "get", operation_id = "getLevel", tag = "Group::Cluster")]
    async fn get_level(&self, coding: Coding) -> Result<Shown<LevelBody>, Failure<GetLevel>> {
        let (level, max_level) = self.0.kv()?.level(&Principal::Anonymous);
        Ok(Shown(coding, LevelBody { level: level.0, max_level: max_level.0 }))
    }

    /// Raise the level
    ///
    /// Every member must be there and understand it. There is no way back: a member of an older version cannot take part any
    /// more. A level that is in force already changes nothing.
    ///
    /// ```sh
    /// curl -s -X POST -H 'Content-Type: application/json' -d '{"level": 2}' http://127.0.0.1:8080/v1/cluster/level
    /// ```
    #[oai(path = "/v1/cluster/level", method = "post", operation_id = "raiseLevel", tag = "Group::Cluster")]
    async fn raise_level(
        &self,
        wanted: Document<WantedLevel, SMALL_BYTES>,
        coding: Coding,
    ) -> Result<Shown<LevelBody>, Failure<RaiseLevel>> {
        let kv = self.0.kv()?;
        let WantedLevel { level } = wanted.read(&self.0.bodies).await?;
        kv.raise_level(&Principal::Anonymous, Level(level)).await?;
        let (_, max_level) = kv.level(&Principal::Anonymous);
        Ok(Shown(coding, LevelBody { level, max_level: max_level.0 }))
    }
}
