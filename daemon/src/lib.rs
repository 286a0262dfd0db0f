//! The privileged daemon that owns CNS cards: readers, cards, custody, the counter's procedures, audit, the socket.
//!
//! The walk of every act: `server` → `peer` → `judge` → `dispatch` → `methods` → `procedure` → `audit` (intention) →
//! `custody` lends the secret → `card` and `reader` → `audit` (outcome) → answer.

pub mod audit;
pub mod authority;
pub mod card;
pub mod config;
pub mod connection;
pub mod custody;
pub mod database;
pub mod dispatch;
pub mod error;
pub mod holder;
pub mod judge;
pub mod login;
pub mod methods;
pub mod national;
pub mod operator;
pub mod order;
pub mod outside;
pub(crate) mod papers;
pub mod peer;
pub mod procedure;
pub mod puk;
pub mod reader;
pub mod server;
pub mod standing;
